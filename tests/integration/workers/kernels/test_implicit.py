"""Tests of models and scores against an independent library, on real data."""

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.join import Matrix
from tests.building import build, score
from tests.interactions import Interactions
from tests.movielens import read_movielens

NEIGHBOURS = 100
CONFIGS = (ModelConfig("cosine"), ModelConfig("bm25", k1=1.2), ModelConfig("tfidf"))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Interactions:
    """The MovieLens data."""
    return read_movielens(tmp_path_factory.mktemp("movielens"))


@dataclass(frozen=True)
class Answers:
    """Our models, of cosine also with all neighbours; scores and rows of implicit's recommenders."""

    whole: Matrix
    rows: dict[str, Matrix]
    theirs: Mapping[str, NDArray[Any]]


@pytest.fixture(scope="module")
def answers(data: Interactions, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """What both libraries make of the data; ours works while the process of the other runs."""
    folder = tmp_path_factory.mktemp("rival")
    source, target = folder / "in.npz", folder / "out.npz"
    np.savez(source, user_ptr=data.user_ptr, user_items=data.user_items, n_items=data.n_items, neighbours=NEIGHBOURS)
    script = Path(__file__).with_name("implicit_rival.py")
    with subprocess.Popen([sys.executable, str(script), str(source), str(target)]) as process:
        whole = build(data, ModelConfig("cosine", data.n_items))
        rows = {str(config.similarity): build(data, config) for config in CONFIGS}
    assert process.returncode == 0
    with np.load(target, allow_pickle=False) as theirs:
        return Answers(whole, rows, dict(theirs))


def test_with_all_neighbours_everybodys_ten_best_scores_are_implicits(data: Interactions, answers: Answers) -> None:
    """Implicit sums where we take the mean: ours times the weight of the history."""
    best = score(answers.whole, data, length=10)
    assert (best.counts == 10).all()
    ours = best.scores.reshape(data.n_users, 10).astype(np.float64) * np.diff(data.user_ptr)[:, np.newaxis]
    theirs = -np.sort(-answers.theirs["scores"], axis=1)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5)


@pytest.mark.parametrize("similarity", [config.similarity for config in CONFIGS])
def test_each_items_hundred_highest_similarities_are_implicits(
    data: Interactions, answers: Answers, similarity: str
) -> None:
    """Without the item itself, which implicit counts among its neighbours or loses among others at 1."""
    matrix, rival = answers.rows[similarity], answers.theirs
    row_ptr, row_items = rival[f"{similarity}_row_ptr"], rival[f"{similarity}_row_items"]
    for item in range(data.n_items):
        ours = matrix.row_values[matrix.row_ptr[item] : matrix.row_ptr[item + 1]]
        row = slice(row_ptr[item], row_ptr[item + 1])
        theirs = rival[f"{similarity}_row_values"][row][row_items[row] != item]
        np.testing.assert_allclose(-np.sort(-ours), -np.sort(-theirs)[:NEIGHBOURS], rtol=1e-6)
