"""Lays interactions out for counting: items are ranked by popularity, and each user's row is sorted by rank.

The more popular items of a user are then the beginning of the row. So each pair is counted once, most counts fall into
few counters, which stay in the L1 cache, and ranks fit into 16 bits for up to 65,536 items.
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
MOST_16_BITS = np.uint16(65_535)
# Rows of this many users are filled together, with the items that at least `MANY` of them have on average.
USERS_AT_ONCE, MANY = np.uint64(2048), np.uint64(8)


class Ranked(NamedTuple):
    """The R most popular of I items, and U users. Rank 0 is the item with the most users, then the smaller index.

    `order` uint32[R]: the item of each rank.
    `item_ptr` int64[I + 1], `item_users` uint32[nnz], `item_weights` float32[nnz]: the users of each item, ascending.
    `places`[nnz]: for each of them how many more popular items the user has, the item's position in the user's row.
    `user_ptr` int64[U + 1], `user_ranks`[nnz], `user_weights` float32[nnz]: the ranks of each user, ascending.
    `additions` int64[R]: for each rank the number of counted pairs with more popular items.
    Places and ranks are uint16 if they fit, else uint32. Weights are empty if all are 1. What belongs to an item
    without a rank is not filled.
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
    """The items by descending number of users, then by index, uint32[I]."""
    users = np.diff(item_ptr)
    # 16 bits are sorted by radix, ten times faster: the few items with more users are sorted again.
    order = np.argsort(MOST_16_BITS - np.minimum(users, MOST_16_BITS).astype(np.uint16), kind="stable")
    many = np.count_nonzero(users >= MOST_16_BITS)
    order[:many] = order[:many][np.argsort(-users[order[:many]], kind="stable")]
    return order.astype(np.uint32)


def building_order(popular: NDArray[np.uint32], item_count: int) -> NDArray[np.uint32]:
    """The popular items as given, then all others by index, uint32[I]."""
    is_other = np.ones(item_count, bool)
    is_other[popular] = False
    return np.concatenate((popular, np.flatnonzero(is_other).astype(np.uint32)))


def rank(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32] | None,
    user_ptr: NDArray[np.int64],
    ranks: int | None = None,
    *,
    stop: NDArray[np.uint8],
) -> Ranked | None:
    """Lay out a snapshot's interactions with the most popular `ranks` items, or all. None if `stop`, uint8[1], was set.

    item_ptr int64[I + 1], item_users uint32[nnz] ascending within an item, item_weights float32[nnz] (None: all 1),
    user_ptr int64[U + 1].
    """
    order = popularity_order(item_ptr)[:ranks]
    places, user_ranks = (empty_ranks(order.size, item_users.size if order.size else 0) for _ in range(2))
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
    """Append an item to the rows of its users at at..end-1 below `users`. Returns the end and the sum of places."""
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
    """Append each item to the rows of its users, the most popular first. False if stopped.

    Popular items are appended for `USERS_AT_ONCE` users at a time, whose rows stay in the L2 cache.
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
