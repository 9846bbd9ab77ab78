"""Interactions laid out for counting: items by popularity, and in each user's row the popular ones first.

What an item shares with more popular ones is then the beginning of each of its users' rows: every pair of items is met
once, most of what is counted falls into few counters, which stay in the processor's first cache, and ranks fit into 16
bits where there are no more than 65,536 items.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT8,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_INT64,
    WRITE_UINT16,
    WRITE_UINT32,
    Index,
    Ranks,
    compiled,
    empty_ranks,
)

ZERO, ONE = np.uint64(0), np.uint64(1)
# The rows of so many users are filled at a time, with the items of which so many of them have each on average.
USERS_AT_ONCE, MANY = np.uint64(2048), np.uint64(8)


class Ranked(NamedTuple):
    """I items and U users of a snapshot; rank 0 is the item with the most users, ties go by the smaller index.

    `order` uint32[I] has the item at each rank. `item_ptr` int64[I + 1] and `item_users` uint32[nnz] are the
    snapshot's, by item index, users ascending. `places`[nnz] beside them says how many more popular items that user
    has, which is where the item stands in the user's row: `user_ptr` int64[U + 1] into `user_ranks`[nnz], ascending
    within a user. Both are uint16 where ranks fit, else uint32. `additions` int64[I] has for each rank how many pairs
    with more popular items are counted. `item_weights` float32 beside `item_users` and `user_weights` float32 beside
    `user_ranks` are empty where all weights are 1.
    """

    order: NDArray[np.uint32]
    item_ptr: NDArray[np.int64]
    item_users: NDArray[np.uint32]
    item_weights: NDArray[np.float32]
    places: Ranks
    user_ptr: NDArray[np.int64]
    user_ranks: Ranks
    user_weights: NDArray[np.float32]
    additions: NDArray[np.int64]


def popularity_order(item_ptr: NDArray[np.int64]) -> NDArray[np.uint32]:
    """The items from the one with the most users on, the smaller index first at a tie, uint32[I]."""
    return np.argsort(-np.diff(item_ptr), kind="stable").astype(np.uint32)


def rank(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32] | None,
    user_ptr: NDArray[np.int64],
    *,
    stop: NDArray[np.uint8],
) -> Ranked | None:
    """Lay out a snapshot's interactions, or None if `stop`, uint8[1], was set by another thread.

    `item_ptr` int64[I + 1], `item_users` uint32[nnz] ascending within an item and `item_weights` float32 are the
    columns, None where all weights are 1, and `user_ptr` int64[U + 1] says how many items each user has.
    """
    order = popularity_order(item_ptr)
    places, user_ranks = empty_ranks(order.size, item_users.size), empty_ranks(order.size, item_users.size)
    weights = np.empty(0, np.float32) if item_weights is None else item_weights
    user_weights, additions = np.empty(weights.size, np.float32), np.empty(order.size, np.int64)
    done = _rank(order, item_ptr, item_users, weights, user_ptr, places, user_ranks, user_weights, additions, stop)
    if not done:
        return None
    return Ranked(order, item_ptr, item_users, weights, places, user_ptr, user_ranks, user_weights, additions)


def _appending(ranks: Any) -> Any:
    pair: Any = types.UniTuple(types.uint64, 2)  # type: ignore[no-untyped-call]
    return pair(
        *(types.uint64, types.uint64, types.uint64, types.uint64, READ_UINT32, READ_FLOAT32, READ_INT64),
        *(ranks, ranks, WRITE_FLOAT32, WRITE_UINT32),
    )


@compiled(_appending(WRITE_UINT16), later=[_appending(WRITE_UINT32)], inner=True)
def _append(
    ranked: Index,
    at: Index,
    end: Index,
    users: Index,
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    places: Ranks,
    user_ranks: Ranks,
    user_weights: NDArray[np.float32],
    filled: NDArray[np.uint32],
) -> tuple[Index, Index]:
    """Append an item to the rows of its users at at..end-1 below `users`; where it ended, and the sum of the places."""
    met = ZERO
    while at < end:
        user = np.uint64(item_users[at])
        if user >= users:
            break
        place = np.uint64(filled[user])
        places[at] = place
        met += place
        to = np.uint64(user_ptr[user]) + place
        user_ranks[to] = ranked
        if item_weights.size > 0:
            user_weights[to] = item_weights[at]
        filled[user] = place + ONE
        at += ONE
    return at, met


def _ranking(ranks: Any) -> Any:
    return types.boolean(
        *(READ_UINT32, READ_INT64, READ_UINT32, READ_FLOAT32, READ_INT64),
        *(ranks, ranks, WRITE_FLOAT32, WRITE_INT64, READ_UINT8),
    )


@compiled(_ranking(WRITE_UINT16), later=[_ranking(WRITE_UINT32)], allocates=True)
def _rank(
    order: NDArray[np.uint32],
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    places: Ranks,
    user_ranks: Ranks,
    user_weights: NDArray[np.float32],
    additions: NDArray[np.int64],
    stop: NDArray[np.uint8],
) -> bool:
    """Append each item to the rows of its users, the most popular first; False if stopped.

    Popular items are appended to the rows of some users at a time, which stay in the second cache meanwhile; of others
    there are too few users among those.
    """
    items, users = np.uint64(order.size), np.uint64(user_ptr.size - 1)
    filled, reached = np.zeros(users, np.uint32), np.empty(items, np.uint64)
    popular = ZERO
    for ranked in range(items):
        reached[ranked], additions[ranked] = item_ptr[order[ranked]], 0
        if np.uint64(item_ptr[order[ranked] + ONE]) - reached[ranked] >= (users // USERS_AT_ONCE + ONE) * MANY:
            popular = ranked + ONE
    for below in range(USERS_AT_ONCE, users + USERS_AT_ONCE, USERS_AT_ONCE):
        is_last = below >= users
        for ranked in range(items if is_last else popular):
            if stop[0]:
                return False
            end = np.uint64(item_ptr[order[ranked] + ONE])
            rows = (item_users, item_weights, user_ptr, places, user_ranks, user_weights, filled)
            reached[ranked], met = _append(ranked, reached[ranked], end, min(below, users), *rows)
            additions[ranked] += np.int64(met)
    return True
