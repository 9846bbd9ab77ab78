"""Tests of what compares two items."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interactions import Interactions, from_pairs, random_interactions, small_interactions
from tests.reference import reference_rows
from workers.kernels.build import build_rows
from workers.kernels.pair import Comparison, compare


def comparison(data: Interactions, item: int, other: int, shrink: float = 0.0) -> Comparison:
    columns = data.item_ptr, data.item_users, data.item_weights
    compared = compare(*columns, item, other, similarity="cosine", shrink=shrink, stop=np.zeros(1, np.uint8))
    assert compared is not None
    return compared


def all_values(data: Interactions, shrink: float) -> np.ndarray:
    """What a model without a limit stores of each pair, 0 where it stores nothing."""
    row_ptr, row_items, row_values = reference_rows(
        *(data.item_ptr, data.item_users, data.item_weights),
        *(data.user_ptr, data.user_items, data.user_weights),
        neighbours=data.n_items,
        shrink=shrink,
    )
    values = np.zeros((data.n_items, data.n_items), np.float32)
    values[np.repeat(np.arange(data.n_items), np.diff(row_ptr)), row_items] = row_values
    return values


def all_comparisons(data: Interactions, shrink: float) -> np.ndarray:
    """The same by comparing each pair."""
    values = np.zeros((data.n_items, data.n_items), np.float32)
    for item in range(data.n_items):
        for other in range(data.n_items):
            if item != other:
                values[item, other] = comparison(data, item, other, shrink).similarity
    return values


@given(data=small_interactions(), shrink=st.sampled_from([0.0, 0.5, 30.0]))
def test_a_pair_has_the_value_that_a_model_stores(data: Interactions, shrink: float) -> None:
    """Bit for bit, in both directions, and 0 where it stores nothing."""
    assert all_comparisons(data, shrink).tobytes() == all_values(data, shrink).tobytes()


@pytest.mark.parametrize("weighted", [False, True])
def test_a_pair_of_many_users_has_the_value_that_a_model_stores(weighted: bool) -> None:
    """Sums so long that the order of additions shows."""
    data = random_interactions(17, n_users=700, n_items=40, n_pairs=12_000, weighted=weighted)
    assert all_comparisons(data, 2.5).tobytes() == all_values(data, 2.5).tobytes()


def test_a_pair_has_the_value_that_the_kernel_builds() -> None:
    """Which adds up in another way."""
    data = random_interactions(23, n_users=300, n_items=30, n_pairs=4_000, weighted=True)
    rows = build_rows(
        *(data.item_ptr, data.item_users, data.item_weights),
        *(data.user_ptr, data.user_items, data.user_weights),
        *(0, data.n_items),
        similarity="cosine",
        neighbours=5,
        shrink=1.0,
        stop=np.zeros(1, np.uint8),
    )
    assert rows is not None
    items = np.repeat(np.arange(data.n_items), rows.counts).tolist()
    compared = [comparison(data, i, j, 1.0).similarity for i, j in zip(items, rows.items.tolist(), strict=True)]
    assert np.array(compared, np.float32).tobytes() == rows.values.tobytes()


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
    assert comparison(data, 0, 0, 2.0).similarity == np.float32(square / (square + 2))
    assert comparison(data, 1, 1) == Comparison(np.float32(0), 0, 0, 0)


def test_a_comparison_that_is_stopped_is_none() -> None:
    """Of items with many users it takes a while."""
    data = random_interactions(11, n_users=10, n_items=10, n_pairs=50)
    columns, stop = (data.item_ptr, data.item_users, data.item_weights), np.ones(1, np.uint8)
    assert compare(*columns, 0, 1, similarity="cosine", shrink=0.0, stop=stop) is None


def test_read_only_arrays_are_taken() -> None:
    """Snapshots are memory-mapped and cannot be written."""
    data = random_interactions(11, n_users=10, n_items=10, n_pairs=50, weighted=True)
    expected = comparison(data, 0, 1)
    for array in vars(data).values():
        array.flags.writeable = False
    assert comparison(data, 0, 1) == expected
