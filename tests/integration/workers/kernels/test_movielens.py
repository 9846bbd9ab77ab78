"""Tests of the kernels on real data, through memory maps as a worker reads them."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reckoner.shared.store.balance import balance
from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.join import Matrix
from reckoner.workers.kernels.building.work import bit_ranks, cost_of, row_work
from reckoner.workers.kernels.scoring.merge import merge
from tests.building import BIT_BYTES, build, label, ranked_of, same_bytes, score, weighting_of
from tests.interactions import Interactions
from tests.movielens import read_movielens
from tests.reference import reference_lists, reference_rows, reference_similarities

# One of each similarity, and those with parameters that no other test has on data of this size.
CLOSE = (
    ModelConfig("cosine", user_norm=0.5),
    ModelConfig("jaccard", shrink=2.5),
    ModelConfig("dice", shrink=2.5),
    ModelConfig("asymmetric", alpha=0.2),
    ModelConfig("bm25"),
    ModelConfig("tfidf"),
    ModelConfig("llr"),
    ModelConfig("rp3beta"),
)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Interactions:
    """The MovieLens data, memory-mapped."""
    folder = tmp_path_factory.mktemp("movielens")
    read = read_movielens(folder)
    return replace(
        read, **{name: mapped(folder, name, array) for name, array in vars(read).items() if array is not None}
    )


def highest(values: NDArray[Any], places: int) -> NDArray[Any]:
    """So many of the highest values, from the highest on."""
    best = values if values.size <= places else np.partition(values, values.size - places)[-places:]
    return np.sort(best)[::-1]


def mapped(folder: Path, name: str, array: NDArray[Any]) -> Any:
    np.save(folder / f"{name}.npy", array)
    return np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False)


def test_model_and_lists_of_everybody_are_the_reference_bit_for_bit(data: Interactions, tmp_path: Path) -> None:
    """671 users and 9,066 items, built in 21 tiles and scored in 5 chunks."""
    config = ModelConfig()
    weighting = weighting_of(data, config)
    ranked = ranked_of(data, weighting)
    assert 0 < bit_ranks(cost_of(ranked, weighting), BIT_BYTES) < data.n_items
    cuts = balance(row_work(cost_of(ranked, weighting), BIT_BYTES), 7).tolist()
    matrix = build(data, config, cuts, (1000, 3000))
    expected = reference_rows(*data.arrays, neighbours=100)
    assert same_bytes(matrix, expected)

    model = Matrix(*(mapped(tmp_path, name, array) for name, array in matrix._asdict().items()))
    chunks = balance(np.bincount(matrix.row_items, minlength=data.n_items), 5).tolist()
    best = merge([score(model, data, span, length=20) for span in pairwise(chunks)], 20)
    lists = reference_lists(*expected, data.user_ptr, data.user_items, None, length=20)
    entries = [entry for user_list in lists for entry in user_list]
    assert best.counts.tolist() == [len(user_list) for user_list in lists]
    assert best.items.tolist() == [entry.item for entry in entries]
    assert best.scores.tobytes() == np.array([entry.score for entry in entries], np.float32).tobytes()
    assert best.reasons.tolist() == [entry.reason for entry in entries]


@pytest.mark.parametrize("config", CLOSE, ids=label)
def test_models_of_every_similarity_are_close_to_the_reference(data: Interactions, config: ModelConfig) -> None:
    """Each value of each row, and of each row the values of its best."""
    row_ptr, row_items, row_values = build(data, config)
    facts = {name: value for name, value in config.facts().items() if name != "neighbours"}
    unbounded = config.similarity in ("asymmetric", "bm25", "llr", "rp3beta")
    relative, absolute = (1e-5, 1e-9) if unbounded else (0.0, 1e-6)
    wanted, of_best = [], []
    for item, similarities in enumerate(reference_similarities(*data.arrays, **facts)):
        span = slice(row_ptr[item], row_ptr[item + 1])
        wanted.append(similarities[row_items[span]])
        of_best.append(highest(similarities[similarities.astype(np.float32) > 0], config.neighbours))
    np.testing.assert_allclose(row_values, np.concatenate(wanted), rtol=relative, atol=absolute)
    assert np.diff(row_ptr).tolist() == [row.size for row in of_best]
    falling = [highest(row_values[a:b], config.neighbours) for a, b in pairwise(row_ptr.tolist())]
    np.testing.assert_allclose(np.concatenate(falling), np.concatenate(of_best), rtol=relative, atol=absolute)
