"""Tests of what compares two items."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.pair import Comparison, compare
from tests.building import CONFIGS, build, flag, label
from tests.interactions import Interactions, from_pairs, random_interactions, small_interactions


def comparison(data: Interactions, item: int, other: int, config: ModelConfig | None = None) -> Comparison:
    columns = data.item_ptr, data.item_users, data.item_weights
    compared = compare(*columns, data.user_ptr, item, other, config or ModelConfig(), stop=flag())
    assert compared is not None
    return compared


def all_values(data: Interactions, config: ModelConfig) -> np.ndarray:
    """The value of each pair in an unlimited model, 0 if it has none."""
    row_ptr, row_items, row_values = build(data, replace(config, neighbours=data.n_items))
    values = np.zeros((data.n_items, data.n_items), np.float32)
    values[np.repeat(np.arange(data.n_items), np.diff(row_ptr)), row_items] = row_values
    return values


def all_comparisons(data: Interactions, config: ModelConfig) -> np.ndarray:
    """The same by comparing each pair."""
    values = np.zeros((data.n_items, data.n_items), np.float32)
    for item in range(data.n_items):
        for other in range(data.n_items):
            if item != other:
                values[item, other] = comparison(data, item, other, config).similarity
    return values


@given(data=small_interactions(), config=st.sampled_from(CONFIGS))
def test_a_pair_has_the_value_that_a_model_stores(data: Interactions, config: ModelConfig) -> None:
    """Bit for bit, in both directions, and 0 where it stores nothing."""
    assert all_comparisons(data, config).tobytes() == all_values(data, config).tobytes()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_a_pair_of_many_users_has_the_value_that_a_model_stores(config: ModelConfig, weighted: bool) -> None:
    """Sums so long that the order of additions shows, and values so many that each rounding does."""
    data = random_interactions(17, n_users=700, n_items=25, n_pairs=9_000, weighted=weighted)
    assert all_comparisons(data, config).tobytes() == all_values(data, config).tobytes()


def test_users_of_each_and_of_both_are_counted() -> None:
    """Three have the one, two the other, one both."""
    data = from_pairs({(0, 0): 1, (1, 0): 1, (2, 0): 1, (2, 1): 1, (3, 1): 1}, n_users=4, n_items=3)
    assert comparison(data, 0, 1) == Comparison(np.float32(1 / np.sqrt(6)), 3, 2, 1)
    assert comparison(data, 1, 0)[1:] == (2, 3, 1)
    assert comparison(data, 0, 2) == Comparison(np.float32(0), 3, 0, 0)


@pytest.mark.parametrize("weighted", [False, True])
def test_an_item_is_as_similar_to_itself_as_the_formula_says(weighted: bool) -> None:
    """1 without shrink, less with it, and 0 when nobody has it."""
    data = from_pairs({(0, 0): 2, (1, 0): 1, (2, 0): 1}, n_users=3, n_items=2, weighted=weighted)
    square = 6 if weighted else 3
    assert comparison(data, 0, 0) == Comparison(np.float32(1), 3, 3, 3)
    assert comparison(data, 0, 0, ModelConfig(shrink=2.0)).similarity == np.float32(square / (square + 2))
    assert comparison(data, 1, 1) == Comparison(np.float32(0), 0, 0, 0)


def test_a_stopped_comparison_returns_none() -> None:
    """Items with many users take a while."""
    data = random_interactions(11, n_users=10, n_items=10, n_pairs=50)
    columns = data.item_ptr, data.item_users, data.item_weights, data.user_ptr
    assert compare(*columns, 0, 1, ModelConfig(), stop=flag(1)) is None


def test_read_only_arrays_are_taken() -> None:
    """Snapshots are memory-mapped and cannot be written."""
    data = random_interactions(11, n_users=10, n_items=10, n_pairs=50, weighted=True)
    expected = comparison(data, 0, 1)
    for array in vars(data).values():
        array.flags.writeable = False
    assert comparison(data, 0, 1) == expected
