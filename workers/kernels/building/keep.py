"""Keeps the best entries of a tile: of each row when it is finished, of each column as rows go by.

A column gathers entries above its floor, its K-th best so far, and prunes them now and then: cheaper than a heap, which
misses the cache at each level. A row looks only at groups whose largest value can be among its best K.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT32,
    READ_UINT64,
    WRITE_FLOAT32,
    WRITE_UINT32,
    WRITE_UINT64,
    Index,
    compiled,
)
from reckoner.workers.kernels.ranking import key_of, value_of
from reckoner.workers.kernels.selection import nth_largest, select_best

# Sums and similarities of this many columns stay in the L1 cache.
BLOCK = np.uint64(256)
# The largest value is noted for each group of this many columns.
GROUP = np.uint64(16)
ZERO, ONE, NONE = np.uint64(0), np.uint64(1), np.float32(0.0)
# A column gathers this many times K entries before it is pruned to K.
SPARE = 2
# The bisection of `_bound` stops after this many steps, or when at most wanted / MORE too many values reach it.
HALVINGS, MORE = 12, np.uint64(4)


@compiled(types.void(WRITE_FLOAT32, types.uint64, types.uint64, WRITE_FLOAT32), inner=True)
def put_maxima(values: NDArray[np.float32], at: Index, n: Index, maxima: NDArray[np.float32]) -> None:
    """Note the largest value of each group of a block with n values from `at` on, and fill the rest with zeros."""
    for k in range(n, BLOCK):
        values[at + k] = NONE
    for group in range(at // GROUP, (at + BLOCK) // GROUP):
        largest = NONE
        for k in range(GROUP):
            largest = max(largest, values[group * GROUP + k])
        maxima[group] = largest


@compiled(types.float32(READ_UINT64, types.uint64, types.uint64), inner=True)
def least_of(keys: NDArray[np.uint64], begin: Index, size: Index) -> float:
    """The smallest value of keys[begin : begin + size]."""
    worst = keys[begin]
    for at in range(begin, begin + size):
        worst = max(worst, keys[at])
    return float(value_of(worst))


LISTS = (READ_INT64, WRITE_UINT32, WRITE_UINT64, types.uint64, WRITE_FLOAT32)


@compiled(types.void(READ_FLOAT32, types.uint64, types.uint64, types.uint32, types.uint64, *LISTS), inner=True)
def keep_columns(
    block: NDArray[np.float32],
    n: Index,
    at: Index,
    item: int,
    rows: Index,
    starts: NDArray[np.int64],
    counts: NDArray[np.uint32],
    keys: NDArray[np.uint64],
    neighbours: Index,
    floors: NDArray[np.float32],
) -> None:
    """Offer a row's item, with the values of a block, to n columns from `at` on."""
    found = False
    for k in range(n):
        found |= (block[k] >= floors[at + k]) & (block[k] > NONE)
    if not found:
        return
    for k in range(n):
        if block[k] >= floors[at + k] and block[k] > NONE:
            begin, size = np.uint64(starts[rows + at + k]), np.uint64(counts[rows + at + k])
            keys[begin + size] = key_of(block[k], item)
            size += ONE
            if size == np.uint64(SPARE) * neighbours:
                size = select_best(keys, begin, size, neighbours)
                floors[at + k] = least_of(keys, begin, size)
            counts[rows + at + k] = size


@compiled(types.float32(READ_FLOAT32, types.uint64, types.uint64), inner=True)
def _bound(values: NDArray[np.float32], n: Index, wanted: Index) -> float:
    """A bound that `wanted` of n values reach, and few more; 0 if there are fewer.

    A bisection without value-dependent branches takes a tenth of the time of a selection.
    """
    low, high = NONE, NONE
    for k in range(n):
        high = values[k] if values[k] > high else high
    for _ in range(HALVINGS):
        middle, reached = np.float32(0.5) * (low + high), np.uint32(0)
        for k in range(n):
            reached += np.uint32(values[k] >= middle)
        if reached < wanted:
            high = middle
        else:
            low = middle
            if reached <= wanted + wanted // MORE:
                break
    return float(low)


@compiled(
    types.uint64(
        *(READ_FLOAT32, READ_FLOAT32, types.uint64, READ_UINT32, types.uint64, types.uint64),
        *(WRITE_UINT64, WRITE_UINT64, types.uint64),
    ),
    inner=True,
)
def keep_row(
    row_values: NDArray[np.float32],
    maxima: NDArray[np.float32],
    groups: Index,
    order: NDArray[np.uint32],
    low: Index,
    neighbours: Index,
    gathered: NDArray[np.uint64],
    keys: NDArray[np.uint64],
    begin: Index,
) -> Index:
    """Write a row's best K into its list from `begin` on. Returns how many these are.

    Only groups whose largest value reaches the bound of the K largest groups are read.
    """
    floor, size = _bound(maxima, groups, neighbours), ZERO
    for group in range(groups):
        if maxima[group] >= floor and maxima[group] > NONE:
            for k in range(group * GROUP, (group + ONE) * GROUP):
                if row_values[k] >= floor and row_values[k] > NONE:
                    gathered[size] = key_of(row_values[k], order[low + k])
                    size += ONE
    size = select_best(gathered, ZERO, size, neighbours)
    for n in range(size):
        keys[begin + n] = gathered[n]
    return size


@compiled(types.void(types.uint64, types.uint64, types.uint64, *LISTS), inner=True, allocates=True)
def _raise_floors(
    first: Index,
    rows: Index,
    low: Index,
    starts: NDArray[np.int64],
    counts: NDArray[np.uint32],
    keys: NDArray[np.uint64],
    neighbours: Index,
    floors: NDArray[np.float32],
) -> None:
    """Prune each column to its best K, and raise its floor to the K-th best of these and of its own row."""
    columns = np.uint64(floors.size)
    # A row's list is at most `columns` long, a column's at most `rows`.
    best = np.empty(rows + columns, np.float32)
    for column in range(columns):
        begin = np.uint64(starts[rows + column])
        size = select_best(keys, begin, np.uint64(counts[rows + column]), neighbours)
        counts[rows + column] = size
        for n in range(size):
            best[n] = value_of(keys[begin + n])
        if first <= low + column < first + rows:
            begin = np.uint64(starts[low + column - first])
            for n in range(np.uint64(counts[low + column - first])):
                best[size] = value_of(keys[begin + n])
                size += ONE
        if size >= neighbours:
            floors[column] = max(floors[column], nth_largest(best, np.int64(size), np.int64(neighbours)))


@compiled(types.uint64(types.uint64, types.uint64, types.uint64, *LISTS), inner=True)
def finish(
    first: Index,
    rows: Index,
    low: Index,
    starts: NDArray[np.int64],
    counts: NDArray[np.uint32],
    keys: NDArray[np.uint64],
    neighbours: Index,
    floors: NDArray[np.float32],
) -> Index:
    """Compact all entries above the floors, list after list. Returns their number."""
    _raise_floors(first, rows, low, starts, counts, keys, neighbours, floors)
    filled, columns = ZERO, np.uint64(floors.size)
    for owner in range(rows + columns):
        begin, kept, floor = np.uint64(starts[owner]), filled, NONE
        if owner >= rows:
            floor = floors[owner - rows]
        elif low <= first + owner < low + columns:
            floor = floors[first + owner - low]
        for at in range(begin, begin + np.uint64(counts[owner])):
            if value_of(keys[at]) >= floor:
                keys[filled] = keys[at]
                filled += ONE
        counts[owner] = filled - kept
    return filled
