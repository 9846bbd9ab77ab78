"""Sums over the users that two items share, exact whatever their order: each user counts a whole number of units.

A unit is 2^-10 of a user of mean history. For pairs of popular items the sums are a table, a triangle: row a holds the
sums with the a more popular items. Other pairs are met through the users of the less popular item.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.building.logarithm import powers
from reckoner.workers.kernels.building.ranked import rank
from reckoner.workers.kernels.compiled import (
    READ_FLOAT64,
    READ_INT64,
    READ_UINT8,
    READ_UINT16,
    READ_UINT32,
    WRITE_FLOAT64,
    WRITE_UINT32,
    Index,
    Ranks,
    compiled,
)
from reckoner.workers.kernels.processor import prefetch

UNITS = 1024.0
# A user counts at most so many units, so that all sums are exact in float64.
MOST_UNITS = 2.0**22
# Sums below this fit into 32 bits.
MOST_32_BITS = 2.0**32
ZERO, ONE, TWO = np.uint64(0), np.uint64(1), np.uint64(2)
# Users' rows are prefetched this many users ahead, by cache lines.
AHEAD, LINE_BYTES = np.uint64(12), np.uint64(64)

Table = NDArray[np.uint32] | NDArray[np.float64]


class Shared(NamedTuple):
    """The sums that the regressions of I items and U users start from.

    `order`, `item_ptr`, `item_users`, `places`, `user_ptr` and `user_ranks` are those of `Ranked`, with all items.
    `units` uint32[U]: how much each user counts. `own` float64[I]: by rank, the sum of an item with itself. `table`:
    the triangle of the `popular` most popular items; uint32 if all sums fit, else float64.
    """

    order: NDArray[np.uint32]
    item_ptr: NDArray[np.int64]
    item_users: NDArray[np.uint32]
    places: Ranks
    user_ptr: NDArray[np.int64]
    user_ranks: Ranks
    units: NDArray[np.uint32]
    own: NDArray[np.float64]
    table: Table
    popular: int


def _shared(ranks: Any, table: Any) -> Any:
    rows = [READ_UINT32, READ_INT64, READ_UINT32, ranks, READ_INT64, ranks, READ_UINT32, READ_FLOAT64, table]
    return types.NamedTuple([*rows, types.int64], Shared)


# Of few items and sums that fit into 32 bits; and of others, which are rare.
SHARED = _shared(READ_UINT16, READ_UINT32)
RARE = [_shared(ranks, table) for ranks, table in ((READ_UINT32, READ_UINT32), (READ_UINT16, READ_FLOAT64))] + [
    _shared(READ_UINT32, READ_FLOAT64)
]


def units_of(user_ptr: NDArray[np.int64], user_norm: float) -> NDArray[np.uint32]:
    """How much each user counts, uint32[U], in units: (mean history / history)^user_norm, rounded, ties to even.

    user_ptr int64[U + 1]. The mean is over users with a history; others count nothing.
    """
    lengths = np.diff(user_ptr).astype(np.float64)
    mean = float(user_ptr[-1]) / max(int(np.count_nonzero(lengths)), 1)
    shares = np.where(lengths > 0.0, powers(mean / np.maximum(lengths, 1.0), user_norm), 0.0)
    return np.rint(np.minimum(shares * UNITS, MOST_UNITS)).astype(np.uint32)


def share(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    user_ptr: NDArray[np.int64],
    user_norm: float,
    popular: int,
    *,
    stop: NDArray[np.uint8],
) -> Shared | None:
    """Lay out interactions, with a table of the `popular` most popular items. None if `stop`, uint8[1], was set.

    item_ptr int64[I + 1], item_users uint32[nnz] ascending within an item, user_ptr int64[U + 1].
    """
    ranked = rank(item_ptr, item_users, None, user_ptr, stop=stop)
    if ranked is None:
        return None
    units = units_of(user_ptr, user_norm)
    own = _own(ranked.order, item_ptr, item_users, units)
    sums = popular * (popular - 1) // 2
    table: Table = np.zeros(sums, np.uint32) if own.max(initial=0.0) < MOST_32_BITS else np.zeros(sums)
    walk = ranked.order, item_ptr, item_users, ranked.places, user_ptr, ranked.user_ranks, units
    if not _fill(*walk, popular, table, stop):
        return None
    arrays: Any = (_fixed(array) for array in (*walk, own, table))
    return Shared._make((*arrays, popular))


def _fixed(array: NDArray[Any]) -> NDArray[Any]:
    """A view that kernels take in a tuple: there they ask for read-only arrays."""
    view = array.view()
    view.flags.writeable = False
    return view


@compiled(types.float64[::1](READ_UINT32, READ_INT64, READ_UINT32, READ_UINT32), allocates=True)
def _own(
    order: NDArray[np.uint32],
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    units: NDArray[np.uint32],
) -> NDArray[np.float64]:
    """The units of each rank's users, float64[I]."""
    own = np.zeros(order.size, np.float64)
    for n in range(order.size):
        item = np.uint64(order[n])
        for at in range(np.uint64(item_ptr[item]), np.uint64(item_ptr[item + ONE])):
            own[n] += np.float64(units[np.uint64(item_users[at])])
    return own


@compiled(types.uint64(types.uint64), inner=True)
def row_begin(row: Index) -> Index:
    """Where a row of the triangle begins."""
    return row * (row - ONE) // TWO if row > ZERO else ZERO


def _filling(ranks: Any, table: Any) -> Any:
    walk = (READ_UINT32, READ_INT64, READ_UINT32, ranks, READ_INT64, ranks, READ_UINT32)
    return types.boolean(*walk, types.uint64, table, READ_UINT8)


@compiled(
    _filling(READ_UINT16, WRITE_UINT32),
    later=[
        _filling(READ_UINT32, WRITE_UINT32),
        _filling(READ_UINT16, WRITE_FLOAT64),
        _filling(READ_UINT32, WRITE_FLOAT64),
    ],
)
def _fill(
    order: NDArray[np.uint32],
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    places: Ranks,
    user_ptr: NDArray[np.int64],
    user_ranks: Ranks,
    units: NDArray[np.uint32],
    popular: Index,
    table: Table,
    stop: NDArray[np.uint8],
) -> bool:
    """Add up the triangle, which is zeroed. False if stopped."""
    at_once = LINE_BYTES // np.uint64(user_ranks.itemsize)
    for row in range(popular):
        if stop[0]:
            return False
        item, to = np.uint64(order[row]), row_begin(row)
        end = np.uint64(item_ptr[item + ONE])
        for at in range(np.uint64(item_ptr[item]), end):
            if at + AHEAD < end:
                later = np.uint64(user_ptr[np.uint64(item_users[at + AHEAD])])
                for line in range(later, later + np.uint64(places[at + AHEAD]), at_once):
                    prefetch(user_ranks, line)
            user = np.uint64(item_users[at])
            counted, begin = units[user], np.uint64(user_ptr[user])
            for n in range(begin, begin + np.uint64(places[at])):
                table[to + np.uint64(user_ranks[n])] += counted
    return True
