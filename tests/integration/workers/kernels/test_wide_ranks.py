"""Tests of catalogues so large that ranks take 32 bits; what that needs is compiled only then."""

import numpy as np
import pytest

from reckoner.shared.store.model_config import ModelConfig
from tests.building import Model, build, same_bytes, score
from tests.interactions import Interactions, interactions, random_interactions
from tests.reference import reference_lists

# So many items, each with a user of its own, stand before those that are looked at, and are more popular than some.
OTHERS = 1 << 16


def among_others(data: Interactions) -> Interactions:
    """The same items and users with others before them, who share nothing with these or with each other."""
    users = OTHERS + np.repeat(np.arange(data.n_users), np.diff(data.user_ptr))
    items = OTHERS + data.user_items.astype(np.int64)
    weights = None if data.user_weights is None else np.concatenate((np.ones(OTHERS, np.float32), data.user_weights))
    alone = np.arange(OTHERS)
    return interactions(
        *(np.concatenate((alone, users)), np.concatenate((alone, items)), weights),
        n_users=OTHERS + data.n_users,
        n_items=OTHERS + data.n_items,
    )


def moved(model: Model) -> Model:
    """The model of the same items among the others."""
    row_ptr, row_items, row_values = model
    return np.concatenate((np.zeros(OTHERS, np.int64), row_ptr)), row_items + np.uint32(OTHERS), row_values


@pytest.mark.parametrize(
    ("config", "weighted"),
    [(ModelConfig("cosine", 5), False), (ModelConfig("cosine", 5), True), (ModelConfig("rp3beta", 5), False)],
    ids=["counts", "products", "factors"],
)
def test_models_and_lists_of_a_large_catalogue_are_those_of_the_small_one(config: ModelConfig, weighted: bool) -> None:
    """Whatever is added up, in tiles cut on both sides of the 65,536th rank; and everybody's lists."""
    data = random_interactions(1, n_users=60, n_items=400, n_pairs=900, weighted=weighted)
    assert (np.diff(data.item_ptr) == 1).sum() > 50
    large, small = among_others(data), build(data, config)
    model = build(large, config, (300, OTHERS + 300), (100, OTHERS + 250))
    assert same_bytes(model, moved(small))

    best = score(model, large, length=20, users=slice(OTHERS, OTHERS + data.n_users))
    histories = data.user_ptr, data.user_items, data.user_weights
    entries = [entry for user_list in reference_lists(*small, *histories, length=20) for entry in user_list]
    assert best.items.tolist() == [OTHERS + entry.item for entry in entries]
    assert best.reasons.tolist() == [OTHERS + entry.reason for entry in entries]
    assert best.scores.tobytes() == np.array([entry.score for entry in entries], np.float32).tobytes()


def test_users_of_popular_items_in_a_large_catalogue_are_counted_beyond_sixteen_bits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Two items of 70,000 users each, beside as many that have one."""
    monkeypatch.setattr("reckoner.workers.kernels.building.build.bit_ranks", lambda *_: 0)
    users = np.concatenate((np.arange(70_000), np.arange(70_000), np.arange(OTHERS)))
    items = np.concatenate((np.zeros(70_000, np.int64), np.ones(70_000, np.int64), 2 + np.arange(OTHERS)))
    model = build(interactions(users, items, None, n_users=70_000, n_items=2 + OTHERS), ModelConfig("cosine", 1))
    assert model.row_items[:2].tolist() == [1, 0]
    assert model.row_values[:2].tolist() == [1.0, 1.0]
    assert set(model.row_items[2:].tolist()) == {0}
