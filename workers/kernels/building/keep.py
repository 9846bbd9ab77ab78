"""Keeps the best of a tile: of each row when it is done, of columns as rows go by, and all lists together at last."""

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

# So many columns are looked at in one go: sums and similarities of that many stay in the first cache.
BLOCK = np.uint64(256)
# Of each group of so many columns the largest value is known before any of them is looked at.
GROUP = np.uint64(16)
ZERO, ONE, NONE = np.uint64(0), np.uint64(1), np.float32(0.0)
# How much is gathered of a column before the best K of it are kept.
SPARE = 2
# How often it is halved to find what K of the groups' largest reach, unless so many of K more do at most.
HALVINGS, MORE = 12, np.uint64(4)


@compiled(types.void(WRITE_FLOAT32, types.uint64, types.uint64, WRITE_FLOAT32), inner=True)
def put_maxima(values: NDArray[np.float32], at: Index, n: Index, maxima: NDArray[np.float32]) -> None:
    """Put down the largest of each group of a block, of which n values from `at` on are there, and zeros then."""
    for k in range(n, BLOCK):
        values[at + k] = NONE
    for group in range(at // GROUP, (at + BLOCK) // GROUP):
        largest = NONE
        for k in range(GROUP):
            largest = max(largest, values[group * GROUP + k])
        maxima[group] = largest


@compiled(types.float32(READ_UINT64, types.uint64, types.uint64), inner=True)
def least_of(keys: NDArray[np.uint64], begin: Index, size: Index) -> float:
    """The least value of some keys."""
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
    """Offer the item of a row to n columns from `at` on, with the values of a block.

    A column gathers what is not below its floor, its K-th best so far, and keeps the best K now and then: that takes
    less than a heap does, of which a line of memory would be fetched for each of its levels.
    """
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
    """What `wanted` of n values reach, and few more do; 0 where they are fewer, or far apart.

    To halve one's way there takes no branch that depends on a value, and so a tenth of the time of a selection.
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
    """Put a row's best K into its list, which begins at `begin`, and return how many they are.

    What is below a value that K of the groups' largest reach needs no look.
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
    """Keep the best K of each column, and raise its floor to the K-th best of those and of its own row's."""
    columns = np.uint64(floors.size)
    # A row has no more places than there are columns, and a column no more than there are rows.
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
    """Move what is not below the floors together, list after list, and return how much that is."""
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
