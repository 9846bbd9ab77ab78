"""Candidates laid out for scoring: a range of a model's items, those that stand in most rows first.

Nearly all of what is added up falls on the first few candidates, the head. Their sums lie side by side in the
processor's first cache; those of the others, the tail, are looked at only where something was added.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT8,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_INT64,
    WRITE_UINT32,
    WRITE_UINT64,
    compiled,
)

HEAD = 2048
# Four entries of the head are a group of three words: four ranks of 16 bits in the first one, and the values.
GROUP, GROUP_WORDS, RANK_BITS = 4, 3, np.uint64(16)
# After so many rows it is looked at the stop flag: some milliseconds.
AT_ONCE = 1000
# Columns of no more entries are sorted by insertion; longer ones by their bits, so many at a time.
FEW = 48
DIGIT_BITS, DIGITS = np.uint64(8), 256
HALF, WORD = np.uint64(32), np.uint64(64)
# The entries of a range: where they begin and end in each row, the model's items and values, and the ranks of items.
ENTRIES = (READ_INT64, READ_INT64, READ_UINT32, READ_FLOAT32, READ_INT64)
BIT_ENTRIES = (READ_INT64, READ_INT64, READ_UINT32, READ_UINT32, READ_INT64)


class Candidates(NamedTuple):
    """A range of C of a model's I items; rank 0 is the one that stands in most rows, ties go by the smaller index.

    `order` uint32[C] has the item at each rank and `ranks` int64[I] the rank of each item, -1 for one outside the
    range. Row i, of what the history item i is similar to, lies in `words`, uint64: at bounds[2i] begin the groups of
    the head, each of which is four ranks and, as float32, their values, the last one made up with values of 0; at
    bounds[2i + 1] the tail, each entry a rank in the lower half of a word and its value in the upper one, up to
    bounds[2i + 2]; `bounds` is int64[2I + 1]. So a row is read in one go, and it is short: from where it lies to the
    processor is most of its way. The column of a rank has the items in whose rows it stands, `column_items` uint32 and
    `column_values` float32 from `column_ptr` int64[C + 1] on: the highest value first, the smaller index first at a
    tie.
    """

    order: NDArray[np.uint32]
    ranks: NDArray[np.int64]
    bounds: NDArray[np.int64]
    words: NDArray[np.uint64]
    column_ptr: NDArray[np.int64]
    column_items: NDArray[np.uint32]
    column_values: NDArray[np.float32]


def lay_out(
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    first: int,
    last: int,
    *,
    stop: NDArray[np.uint8],
) -> Candidates | None:
    """The candidates first..last-1 of a model, or None if `stop`, uint8[1], was set by another thread.

    The model is CSR: row_ptr int64[I + 1], row_items uint32 ascending within a row, row_values float32 above zero.

    Raises ValueError for a range outside the items.
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
    rows = _rows(*entries, stop)
    columns = _columns(*entries, np.concatenate(([0], np.cumsum(stands[order]))), stop)
    return None if rows is None or columns is None else Candidates(order, ranks, *rows, *columns)


@compiled(types.int64(READ_UINT32, types.int64, types.int64, types.int64))
def _bisect(row_items: NDArray[np.uint32], low: int, high: int, candidate: int) -> int:
    """The first place in low..high whose item is not below the candidate."""
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
    """Put down where in each row the candidates first..last-1 are, and in how many rows each item stands."""
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
    # An entry takes one word at most, but for the last group of each row.
    bounds = np.zeros(2 * begins.size + 1, np.int64)
    words = np.empty(int((ends - begins).sum()) + GROUP_WORDS * begins.size, np.uint64)
    if not _fill_rows(begins, ends, row_items, row_values, ranks, bounds, words, words.view(np.float32), stop):
        return None
    # A copy, so that the unused rest is not kept alive.
    return bounds, words[: bounds[-1]].copy()


@compiled(types.boolean(*ENTRIES, WRITE_INT64, WRITE_UINT64, WRITE_FLOAT32, READ_UINT8))
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
    """Write the rows; `halves` are those of the words. False if stopped."""
    to = 0
    for i in range(begins.size):
        if i % AT_ONCE == 0 and stop[0]:
            return False
        held = 0
        for at in range(begins[i], ends[i]):
            rank = ranks[row_items[at]]
            if rank < HEAD:
                group = to + held // GROUP * GROUP_WORDS
                if held % GROUP == 0:
                    words[group] = words[group + 1] = words[group + 2] = np.uint64(0)
                words[group] |= np.uint64(rank) << (RANK_BITS * np.uint64(held % GROUP))
                halves[2 * (group + 1) + held % GROUP] = row_values[at]
                held += 1
        to += (held + GROUP - 1) // GROUP * GROUP_WORDS
        bounds[2 * i + 1] = to
        for at in range(begins[i], ends[i]):
            rank = ranks[row_items[at]]
            if rank >= HEAD:
                words[to] = np.uint64(rank)
                halves[2 * to + 1] = row_values[at]
                to += 1
        bounds[2 * i + 2] = to
    return True


def _columns(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    ranks: NDArray[np.int64],
    column_ptr: NDArray[np.int64],
    stop: NDArray[np.uint8],
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]] | None:
    """The pointers, items and values of the columns; None if stopped."""
    keys, longest = np.empty(column_ptr[-1], np.uint64), int(np.diff(column_ptr).max(initial=0))
    if not _fill_columns(
        begins, ends, row_items, row_values.view(np.uint32), ranks, column_ptr[:-1].copy(), keys, stop
    ):
        return None
    items, values = np.empty(keys.size, np.uint32), np.empty(keys.size, np.float32)
    scratch, counts = np.empty(longest, np.uint64), np.empty(DIGITS, np.int64)
    if not _sort_columns(column_ptr, keys, scratch, counts, items, values.view(np.uint32), stop):
        return None
    return column_ptr, items, values


@compiled(types.boolean(*BIT_ENTRIES, WRITE_INT64, WRITE_UINT64, READ_UINT8))
def _fill_columns(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_bits: NDArray[np.uint32],
    ranks: NDArray[np.int64],
    filled: NDArray[np.int64],
    keys: NDArray[np.uint64],
    stop: NDArray[np.uint8],
) -> bool:
    """Write a key for each entry into the column of its rank, from `filled` on; False if stopped.

    The bits of numbers above zero are in the order of the numbers: the smaller the key, the higher the value.
    """
    for i in range(begins.size):
        if i % AT_ONCE == 0 and stop[0]:
            return False
        for at in range(begins[i], ends[i]):
            rank = ranks[row_items[at]]
            keys[filled[rank]] = np.uint64(~row_bits[at]) << HALF | np.uint64(i)
            filled[rank] += 1
    return True


@compiled(types.void(WRITE_UINT64, types.int64, types.int64))
def _sort_by_insertion(keys: NDArray[np.uint64], begin: int, end: int) -> None:
    for at in range(begin + 1, end):
        key, to = keys[at], at
        while to > begin and keys[to - 1] > key:
            keys[to] = keys[to - 1]
            to -= 1
        keys[to] = key


@compiled(types.void(WRITE_UINT64, types.int64, types.int64, WRITE_UINT64, WRITE_INT64))
def _sort_by_digits(
    keys: NDArray[np.uint64], begin: int, end: int, scratch: NDArray[np.uint64], counts: NDArray[np.int64]
) -> None:
    """Sort keys whose lower halves ascend already: a radix sort of the upper ones (Knuth, vol. 3, 5.2.5)."""
    for shift in range(HALF, WORD, DIGIT_BITS):
        for digit in range(DIGITS):
            counts[digit] = 0
        for at in range(begin, end):
            counts[keys[at] >> shift & np.uint64(DIGITS - 1)] += 1
        total = 0
        for digit in range(DIGITS):
            total, counts[digit] = total + counts[digit], total
        for at in range(begin, end):
            digit = keys[at] >> shift & np.uint64(DIGITS - 1)
            scratch[counts[digit]] = keys[at]
            counts[digit] += 1
        for n in range(end - begin):
            keys[begin + n] = scratch[n]


@compiled(types.boolean(READ_INT64, WRITE_UINT64, WRITE_UINT64, WRITE_INT64, WRITE_UINT32, WRITE_UINT32, READ_UINT8))
def _sort_columns(
    column_ptr: NDArray[np.int64],
    keys: NDArray[np.uint64],
    scratch: NDArray[np.uint64],
    counts: NDArray[np.int64],
    items: NDArray[np.uint32],
    bits: NDArray[np.uint32],
    stop: NDArray[np.uint8],
) -> bool:
    """Sort each column by its keys, and write its items and the bits of its values; False if stopped."""
    for rank in range(column_ptr.size - 1):
        if stop[0]:
            return False
        begin, end = column_ptr[rank], column_ptr[rank + 1]
        if end - begin > FEW:
            _sort_by_digits(keys, begin, end, scratch, counts)
        else:
            _sort_by_insertion(keys, begin, end)
        for at in range(begin, end):
            items[at], bits[at] = keys[at], ~(keys[at] >> HALF)
    return True
