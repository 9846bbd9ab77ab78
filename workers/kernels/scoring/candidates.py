"""Lays a range of a model's items out for scoring: candidates are ranked by the number of rows that contain them.

Nearly all additions fall on the first few candidates, the head, whose sums stay in the L1 cache. Sums of the others,
the tail, are read only where something was added.
"""

from concurrent.futures import Executor
from functools import partial
from typing import NamedTuple

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
    WRITE_UINT64,
    compiled,
)
from reckoner.workers.kernels.ranking import DIGITS, FEW, HALF, key_of, sort_by_digits, sort_few

HEAD = 2048
# Four entries of the head form a group of three words: four ranks of 16 bits, then four float32 values.
GROUP, GROUP_WORDS, RANK_BITS = 4, 3, np.uint64(16)
# The stop flag is checked after this many rows, a few milliseconds.
AT_ONCE = 1000
WORD = np.uint64(64)
# A range's entries: their begin and end in each row, the model's items and values, and the ranks of items.
ENTRIES = (READ_INT64, READ_INT64, READ_UINT32, READ_FLOAT32, READ_INT64)


class Candidates(NamedTuple):
    """A range of C of a model's I items. Rank 0 is the item in the most rows, then the smaller index.

    `order` uint32[C]: the item of each rank. `ranks` int64[I]: the rank of each item, -1 outside the range.
    `words` uint64: the rows, packed, since scoring is bound by memory. Row i, the neighbours of history item i:
    groups of the head from bounds[2i] on (the last one padded with values of 0), then the tail from bounds[2i + 1] to
    bounds[2i + 2], each entry a rank in the lower half of a word and its value in the upper half.
    `bounds` is int64[2I + 1].
    `columns` uint64 from `column_ptr` int64[C + 1] on: for each rank the rows that contain it with the values, as keys
    of `ranking`, the highest value first, then the smaller index. All are read-only.
    """

    order: NDArray[np.uint32]
    ranks: NDArray[np.int64]
    bounds: NDArray[np.int64]
    words: NDArray[np.uint64]
    column_ptr: NDArray[np.int64]
    columns: NDArray[np.uint64]


# The types of its arrays.
DTYPES = (np.uint32, np.int64, np.int64, np.uint64, np.int64, np.uint64)


def lay_out(
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    first: int,
    last: int,
    *,
    threads: Executor | None = None,
    stop: NDArray[np.uint8],
) -> Candidates | None:
    """Lay out the candidates first..last-1 of a model. None if another thread set `stop`, uint8[1].

    The model is CSR: row_ptr int64[I + 1], row_items uint32 ascending within a row, row_values float32 above zero. With
    `threads`, rows and columns are made in parallel in two of them. Raises ValueError for a range outside the items.
    """
    item_count = row_ptr.size - 1
    if not 0 <= first <= last <= item_count:
        raise ValueError(f"candidates {first} to {last} are not among {item_count} items")
    begins, ends = np.empty(item_count, np.int64), np.empty(item_count, np.int64)
    stands = np.zeros(item_count, np.int64)
    _find(row_ptr, row_items, first, last, begins, ends, stands)
    order = (first + np.argsort(-stands[first:last], kind="stable")).astype(np.uint32)
    ranks = np.full(item_count, -1, np.int64)
    ranks[order] = np.arange(order.size)
    entries = begins, ends, row_items, row_values, ranks
    parts = partial(_rows, *entries, stop), partial(_columns, *entries, stands[order], stop)
    rows, columns = (map if threads is None else threads.map)(lambda make: make(), parts)
    if rows is None or columns is None:
        return None
    found = Candidates(order, ranks, *rows, *columns)
    for array in found:
        array.flags.writeable = False
    return found


@compiled(types.int64(READ_UINT32, types.int64, types.int64, types.int64), inner=True)
def _bisect(row_items: NDArray[np.uint32], low: int, high: int, candidate: int) -> int:
    """The first place in low..high with an item >= `candidate`."""
    while low < high:
        middle = (low + high) // 2
        if row_items[middle] < candidate:
            low = middle + 1
        else:
            high = middle
    return low


@compiled(types.void(READ_INT64, READ_UINT32, types.int64, types.int64, WRITE_INT64, WRITE_INT64, WRITE_INT64))
def _find(
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    first: int,
    last: int,
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    stands: NDArray[np.int64],
) -> None:
    """Find the span of the candidates first..last-1 in each row, and count the rows that contain each item."""
    for i in range(begins.size):
        begins[i] = _bisect(row_items, row_ptr[i], row_ptr[i + 1], first)
        ends[i] = _bisect(row_items, begins[i], row_ptr[i + 1], last)
        for at in range(begins[i], ends[i]):
            stands[row_items[at]] += 1


def _rows(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    ranks: NDArray[np.int64],
    stop: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.uint64]] | None:
    """The bounds and words of the rows; None if stopped."""
    bounds = np.zeros(2 * begins.size + 1, np.int64)
    _bound_rows(begins, ends, row_items, ranks, bounds)
    words = np.empty(bounds[-1], np.uint64)
    if not _fill_rows(begins, ends, row_items, row_values, ranks, bounds, words, words.view(np.float32), stop):
        return None
    return bounds, words


@compiled(types.void(READ_INT64, READ_INT64, READ_UINT32, READ_INT64, WRITE_INT64))
def _bound_rows(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    ranks: NDArray[np.int64],
    bounds: NDArray[np.int64],
) -> None:
    """Compute the bounds of the rows' groups and tails."""
    for i in range(begins.size):
        held = 0
        for at in range(begins[i], ends[i]):
            held += ranks[row_items[at]] < HEAD
        bounds[2 * i + 1] = bounds[2 * i] + (held + GROUP - 1) // GROUP * GROUP_WORDS
        bounds[2 * i + 2] = bounds[2 * i + 1] + ends[i] - begins[i] - held


@compiled(types.boolean(*ENTRIES, READ_INT64, WRITE_UINT64, WRITE_FLOAT32, READ_UINT8))
def _fill_rows(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    ranks: NDArray[np.int64],
    bounds: NDArray[np.int64],
    words: NDArray[np.uint64],
    halves: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> bool:
    """Write the rows within their bounds; `halves` is a float32 view of the words. False if stopped."""
    for i in range(begins.size):
        if i % AT_ONCE == 0 and stop[0]:
            return False
        held, to = 0, bounds[2 * i + 1]
        for at in range(begins[i], ends[i]):
            rank = ranks[row_items[at]]
            if rank < HEAD:
                group = bounds[2 * i] + held // GROUP * GROUP_WORDS
                if held % GROUP == 0:
                    words[group] = words[group + 1] = words[group + 2] = np.uint64(0)
                words[group] |= np.uint64(rank) << (RANK_BITS * np.uint64(held % GROUP))
                halves[2 * (group + 1) + held % GROUP] = row_values[at]
                held += 1
            else:
                words[to] = np.uint64(rank)
                halves[2 * to + 1] = row_values[at]
                to += 1
    return True


def _columns(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    ranks: NDArray[np.int64],
    stands: NDArray[np.int64],
    stop: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.uint64]] | None:
    """The pointers and keys of the columns; `stands` has their lengths. None if stopped."""
    column_ptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(stands)))
    keys, longest = np.empty(column_ptr[-1], np.uint64), int(stands.max(initial=0))
    if not _fill_columns(begins, ends, row_items, row_values, ranks, column_ptr[:-1].copy(), keys, stop):
        return None
    scratch, counts = np.empty(longest, np.uint64), np.empty(DIGITS, np.int64)
    return (column_ptr, keys) if _sort_columns(column_ptr, keys, scratch, counts, stop) else None


@compiled(types.boolean(*ENTRIES, WRITE_INT64, WRITE_UINT64, READ_UINT8))
def _fill_columns(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    ranks: NDArray[np.int64],
    filled: NDArray[np.int64],
    keys: NDArray[np.uint64],
    stop: NDArray[np.uint8],
) -> bool:
    """Write the key of each entry into the column of its rank, from `filled` on. False if stopped."""
    for i in range(begins.size):
        if i % AT_ONCE == 0 and stop[0]:
            return False
        for at in range(begins[i], ends[i]):
            rank = ranks[row_items[at]]
            keys[filled[rank]] = key_of(row_values[at], np.uint32(i))
            filled[rank] += 1
    return True


@compiled(types.boolean(READ_INT64, WRITE_UINT64, WRITE_UINT64, WRITE_INT64, READ_UINT8))
def _sort_columns(
    column_ptr: NDArray[np.int64],
    keys: NDArray[np.uint64],
    scratch: NDArray[np.uint64],
    counts: NDArray[np.int64],
    stop: NDArray[np.uint8],
) -> bool:
    """Sort the keys of each column by value; their items are ascending already. False if stopped."""
    for rank in range(column_ptr.size - 1):
        if stop[0]:
            return False
        begin, end = column_ptr[rank], column_ptr[rank + 1]
        if end - begin > FEW:
            sort_by_digits(keys, begin, end, HALF, WORD, scratch, counts)
        else:
            sort_few(keys, begin, end)
    return True
