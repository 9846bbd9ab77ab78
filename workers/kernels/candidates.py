"""Candidates laid out for scoring: a range of a model's items, those that stand in most rows first.

Nine tenths of what is added up falls on a few thousand candidates. Their sums then lie side by side, and those of the
others are looked at only where something was added.
"""

from typing import Any, NamedTuple

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
    WRITE_UINT16,
    WRITE_UINT32,
    Ranks,
    compiled,
    empty_ranks,
)

# After so many entries or columns it is looked at the stop flag: some milliseconds.
AT_ONCE = 1000


class Candidates(NamedTuple):
    """A range of C of a model's I items; rank 0 is the one that stands in most rows, ties go by the smaller index.

    `order` uint32[C] has the item at each rank and `ranks` int64[I] the rank of each item, -1 for one outside the
    range. Row i, of what the history item i is similar to, has `row_ranks` (uint16 where they fit, else uint32;
    ascending) and `row_values` float32 from `row_ptr` int64[I + 1] on. The column of a rank has the items in whose rows
    it stands, `column_items` uint32 and `column_values` float32 from `column_ptr` int64[C + 1] on: the highest value
    first, the smaller index first at a tie.
    """

    order: NDArray[np.uint32]
    ranks: NDArray[np.int64]
    row_ptr: NDArray[np.int64]
    row_ranks: Ranks
    row_values: NDArray[np.float32]
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
    stands = np.zeros(item_count, np.int64)
    begins, ends = np.empty(item_count, np.int64), np.empty(item_count, np.int64)
    _find(row_ptr, row_items, first, last, begins, ends, stands)
    order = (first + np.argsort(-stands[first:last], kind="stable")).astype(np.uint32)
    ranks = np.full(item_count, -1, np.int64)
    ranks[order] = np.arange(order.size)
    new_ptr, column_ptr = _pointers(ends - begins), _pointers(stands[order])
    entries = int(new_ptr[-1])
    new_ranks, new_values = empty_ranks(order.size, entries), np.empty(entries, np.float32)
    column_items, column_values = np.empty(entries, np.uint32), np.empty(entries, np.float32)
    found = _gather(begins, ends, row_items, row_values, ranks, new_ptr)
    if not _fill_columns(*found, _falling(found[2].view(np.uint32)), column_ptr, column_items, column_values, stop):
        return None
    if not _fill_rows(column_ptr, column_items, column_values, new_ptr, new_ranks, new_values, stop):
        return None
    return Candidates(order, ranks, new_ptr, new_ranks, new_values, column_ptr, column_items, column_values)


def _pointers(counts: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64)))


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


@compiled(
    types.Tuple((WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32))(
        READ_INT64, READ_INT64, READ_UINT32, READ_FLOAT32, READ_INT64, READ_INT64
    )
)
def _gather(
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    ranks: NDArray[np.int64],
    ptr: NDArray[np.int64],
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]:
    """The entries of the range, row after row: the item of the row, the rank of the candidate, the value."""
    entries = ptr[-1]
    items, found, values = np.empty(entries, np.uint32), np.empty(entries, np.uint32), np.empty(entries, np.float32)
    for i in range(begins.size):
        for n in range(ends[i] - begins[i]):
            at = begins[i] + n
            items[ptr[i] + n], found[ptr[i] + n], values[ptr[i] + n] = i, ranks[row_items[at]], row_values[at]
    return items, found, values


@compiled(WRITE_UINT32(READ_UINT32))
def _falling(bits: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The order of numbers above zero, given by their bits, from the largest on; stable, uint32[n].

    A radix sort: the bits of such numbers, read as integers, are in the order of the numbers.
    """
    order, other = np.empty(bits.size, np.uint32), np.empty(bits.size, np.uint32)
    for n in range(bits.size):
        order[n] = n
    for shift in range(np.uint32(0), np.uint32(32), np.uint32(11)):
        ends = np.zeros(2048, np.int64)
        for n in range(bits.size):
            ends[2047 - ((bits[n] >> shift) & 2047)] += 1
        total = 0
        for digit in range(2048):
            total, ends[digit] = total + ends[digit], total
        for n in range(bits.size):
            digit = 2047 - ((bits[order[n]] >> shift) & 2047)
            other[ends[digit]] = order[n]
            ends[digit] += 1
        order, other = other, order
    return order


@compiled(
    types.boolean(
        *(READ_UINT32, READ_UINT32, READ_FLOAT32, READ_UINT32),
        *(READ_INT64, WRITE_UINT32, WRITE_FLOAT32, READ_UINT8),
    )
)
def _fill_columns(
    items: NDArray[np.uint32],
    ranks: NDArray[np.uint32],
    values: NDArray[np.float32],
    order: NDArray[np.uint32],
    column_ptr: NDArray[np.int64],
    column_items: NDArray[np.uint32],
    column_values: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> bool:
    """Write entries into the columns of their ranks, in the order that is given; False if stopped."""
    filled = column_ptr.copy()
    for n in range(order.size):
        if n % AT_ONCE == 0 and stop[0]:
            return False
        entry = order[n]
        to = filled[ranks[entry]]
        column_items[to], column_values[to] = items[entry], values[entry]
        filled[ranks[entry]] = to + 1
    return True


def _filling(ranks: Any) -> Any:
    columns = (READ_INT64, READ_UINT32, READ_FLOAT32)
    return types.boolean(*columns, READ_INT64, ranks, WRITE_FLOAT32, READ_UINT8)


@compiled(_filling(WRITE_UINT16), later=[_filling(WRITE_UINT32)])
def _fill_rows(
    column_ptr: NDArray[np.int64],
    column_items: NDArray[np.uint32],
    column_values: NDArray[np.float32],
    row_ptr: NDArray[np.int64],
    row_ranks: Ranks,
    row_values: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> bool:
    """Write the rows, whose ranks ascend as the columns do; False if stopped."""
    filled = row_ptr.copy()
    for rank in range(column_ptr.size - 1):
        if rank % AT_ONCE == 0 and stop[0]:
            return False
        for at in range(column_ptr[rank], column_ptr[rank + 1]):
            i = column_items[at]
            row_ranks[filled[i]], row_values[filled[i]] = rank, column_values[at]
            filled[i] += 1
    return True
