"""Tests of the layout of interactions for counting."""

import numpy as np
import pytest
from hypothesis import given

from reckoner.workers.kernels.building.ranked import MANY, USERS_AT_ONCE, Ranked, popularity_order, rank
from tests.interactions import Interactions, random_interactions, small_interactions


def ranked(data: Interactions, stop: int = 0) -> Ranked | None:
    flag = np.array([stop], np.uint8)
    return rank(data.item_ptr, data.item_users, data.item_weights, data.user_ptr, stop=flag)


@given(data=small_interactions())
def test_items_stand_by_popularity_and_users_rows_begin_with_the_popular_ones(data: Interactions) -> None:
    """Ties go by index, and weights go along."""
    found = ranked(data)
    assert found is not None
    counts = np.diff(data.item_ptr)
    order = sorted(range(data.n_items), key=lambda item: (-counts[item], item))
    assert found.order.tolist() == popularity_order(data.item_ptr).tolist() == order
    assert found.user_ranks.dtype == found.places.dtype == np.uint16
    weights = np.zeros(0) if data.user_weights is None else data.user_weights
    rows = []
    for user in range(data.n_users):
        span = slice(data.user_ptr[user], data.user_ptr[user + 1])
        ranks = [order.index(item) for item in data.user_items[span]]
        rows.append(sorted(ranks))
        assert found.user_ranks[span].tolist() == rows[-1]
        if data.user_weights is not None:
            by_rank = dict(zip(ranks, weights[span].tolist(), strict=True))
            assert found.user_weights[span].tolist() == [by_rank[at] for at in rows[-1]]
    for item in range(data.n_items):
        span = slice(data.item_ptr[item], data.item_ptr[item + 1])
        places = [rows[user].index(order.index(item)) for user in data.item_users[span]]
        assert found.places[span].tolist() == places
        assert found.additions[order.index(item)] == sum(places)


@pytest.mark.parametrize("weighted", [False, True])
def test_rows_of_many_users_are_filled_some_at_a_time(weighted: bool) -> None:
    """With popular items, those of others being appended at last; and the outcome is what sorting has."""
    users = 2 * int(USERS_AT_ONCE) + 100
    data = random_interactions(3, n_users=users, n_items=2000, n_pairs=30_000, weighted=weighted)
    counts = np.diff(data.item_ptr)
    assert counts.min() < 3 * MANY < counts.max()
    found = ranked(data)
    assert found is not None
    rank_of = np.argsort(found.order)
    owners = np.repeat(np.arange(users), np.diff(data.user_ptr))
    by_rank = np.lexsort((rank_of[data.user_items], owners))
    assert found.user_ranks.tolist() == rank_of[data.user_items][by_rank].tolist()
    if data.user_weights is not None:
        assert found.user_weights.tolist() == data.user_weights[by_rank].tolist()
    items = np.repeat(np.arange(data.n_items), counts)
    at = data.user_ptr[data.item_users] + found.places
    assert found.user_ranks[at].tolist() == rank_of[items].tolist()
    assert found.additions.tolist() == np.bincount(rank_of[items], found.places).tolist()


def test_a_stopped_layout_returns_none() -> None:
    """It looks at the flag before each item."""
    assert ranked(random_interactions(1, n_users=9, n_items=9, n_pairs=30), stop=1) is None


@pytest.mark.parametrize("weighted", [False, True])
def test_read_only_arrays_are_taken(weighted: bool) -> None:
    """Snapshots are memory-mapped and cannot be written."""
    data = random_interactions(2, n_users=10, n_items=10, n_pairs=50, weighted=weighted)
    for array in vars(data).values():
        if array is not None:
            array.flags.writeable = False
    assert ranked(data) is not None
