"""Builds a model out of tiles: the exact K best of each item over a rectangle of pairs of items.

Ranks are those of `ranked`. A tile is the pairs of some rows, the ranks first..last-1, with more popular items, the
columns. So every pair is part of one tile, and is counted once; it may be one of the best of its row and of its column.
What a model keeps of an item is among the best of all tiles where the item is a row or a column: see `join`.

For each row a tile adds up what users say (`counting`), turns the sums into similarities (`similarity`), and keeps the
best (`_keep_row`, `_keep_columns`).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.compiled import (
    READ_FLOAT32,
    READ_FLOAT64,
    READ_INT64,
    READ_UINT8,
    READ_UINT16,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_FLOAT64,
    WRITE_UINT16,
    WRITE_UINT32,
    Index,
    Ranks,
    compiled,
)
from workers.kernels.counting import add_factors, add_products, count_bits, count_users, set_bits, take
from workers.kernels.ranked import Ranked
from workers.kernels.ranking import nth_largest, select_best
from workers.kernels.similarity import FORMULA, MOST, Formula, Weighting, raised
from workers.kernels.work import bit_ranks

# So many columns are looked at in one go: sums and similarities of that many stay in the first cache.
BLOCK = np.uint64(256)
# Of each group of so many columns the largest value is known before any of them is looked at.
GROUP = np.uint64(16)
ZERO, ONE, NONE = np.uint64(0), np.uint64(1), np.float32(0.0)
ROWS_OF_BITS = np.uint64(4)
MOST_16_BITS = 65_535
# How much is gathered of a column before the best K of it are kept.
SPARE = 2


class Tile(NamedTuple):
    """Lists of similar items.

    `owners` uint32[n] says whose each list is and `counts` uint32[n] how many it holds of `items` uint32 and `values`
    float32 (above zero), which are flat, list after list, each in no order.
    """

    owners: NDArray[np.uint32]
    counts: NDArray[np.uint32]
    items: NDArray[np.uint32]
    values: NDArray[np.float32]


def build_tile(
    ranked: Ranked,
    weighting: Weighting,
    first: Index,
    last: Index,
    low: Index,
    high: Index,
    *,
    neighbours: int,
    bit_bytes: int,
    stop: NDArray[np.uint8],
) -> Tile | None:
    """The best `neighbours` of each item over the pairs of ranks first..last-1 with those of low..high-1 before them.

    Items counted as bits take at most `bit_bytes`, which has no say in the result. None if `stop`, uint8[1], was set
    before they were done; another thread sets it. The formula runs in float64 and is
    rounded once to float32; lists are judged on that: the highest above zero, the smaller index first at a tie. What
    is surely not among an item's best over all tiles may be missing.

    Raises ValueError for ranks outside the items, or fewer than 1 neighbours.
    """
    item_count = ranked.order.size
    if not (0 <= first <= last <= item_count and 0 <= low <= high <= item_count):
        raise ValueError(f"rows {first} to {last} and columns {low} to {high} are not among {item_count} items")
    if neighbours < 1:
        raise ValueError(f"a row cannot hold {neighbours} neighbours")
    high = max(low, min(high, last))
    row_room = np.minimum(np.clip(np.arange(first, last) - low, 0, high - low), neighbours)
    column_room = np.minimum(np.clip(last - 1 - np.arange(low, high), 0, last - first), SPARE * neighbours)
    starts = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.concatenate((row_room, column_room)))))
    counts = np.zeros(starts.size - 1, np.uint32)
    items, values = np.empty(starts[-1], np.uint32), np.empty(starts[-1], np.float32)
    order, rows, columns = ranked.order, weighting.row_terms, weighting.column_terms
    filled = _build(
        *ranked[:8],
        *(weighting.formula, weighting.user_factors, rows[order], columns[order], rows is not columns),
        *(weighting.shrink, weighting.power, weighting.users),
        *(first, last, low, high, min(bit_ranks(ranked, weighting, bit_bytes), last), neighbours),
        *(starts, counts, items, values, stop),
    )
    if filled < 0:
        return None
    owners = np.concatenate((order[first:last], order[low:high]))
    # Copies, so that the unused rest of the arrays is not kept alive.
    return Tile(owners, counts, items[:filled].copy(), values[:filled].copy())


@compiled(types.boolean(WRITE_FLOAT64, types.uint64, types.float64, WRITE_FLOAT32, types.uint64))
def _round(similar: NDArray[np.float64], n: Index, exponent: float, values: NDArray[np.float32], at: Index) -> bool:
    """Round n similarities, raised to a power, to float32 values from `at` on; False if none is above zero."""
    if exponent != 1.0:
        for k in range(n):
            similar[k] = raised(similar[k], exponent)
    found = False
    for k in range(n):
        values[at + k] = np.float32(min(similar[k], MOST))
        found |= values[at + k] > NONE
    return found


@compiled(types.void(WRITE_FLOAT32, types.uint64, types.uint64, WRITE_FLOAT32))
def _put_maxima(values: NDArray[np.float32], at: Index, n: Index, maxima: NDArray[np.float32]) -> None:
    """Put down the largest of each group of a block, of which n values from `at` on are there, and zeros then."""
    for k in range(n, BLOCK):
        values[at + k] = NONE
    for group in range(at // GROUP, (at + BLOCK) // GROUP):
        largest = NONE
        for k in range(GROUP):
            largest = max(largest, values[group * GROUP + k])
        maxima[group] = largest


@compiled(types.float32(READ_FLOAT32, types.int64, types.int64))
def _least(values: NDArray[np.float32], begin: Index, size: int) -> float:
    """The least of some values."""
    least = values[begin]
    for at in range(begin, begin + size):
        least = min(least, values[at])
    return least


@compiled(
    types.void(
        *(READ_FLOAT32, types.uint64, types.uint64, types.uint32, types.int64, types.uint64),
        *(READ_INT64, WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, WRITE_FLOAT32),
    )
)
def _keep_columns(
    block: NDArray[np.float32],
    n: Index,
    at: Index,
    item: int,
    neighbours: int,
    rows: Index,
    starts: NDArray[np.int64],
    counts: NDArray[np.uint32],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
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
            begin, size = starts[rows + at + k], np.int64(counts[rows + at + k])
            values[begin + size], items[begin + size] = block[k], item
            size += 1
            if size == SPARE * neighbours:
                size = select_best(values, items, begin, size, neighbours)
                floors[at + k] = _least(values, begin, size)
            counts[rows + at + k] = size


@compiled(
    types.int64(
        *(READ_FLOAT32, READ_FLOAT32, types.int64, READ_UINT32, types.uint64, types.int64),
        *(WRITE_FLOAT32, WRITE_FLOAT32, WRITE_UINT32, WRITE_FLOAT32, WRITE_UINT32, types.int64),
    )
)
def _keep_row(
    row_values: NDArray[np.float32],
    maxima: NDArray[np.float32],
    groups: int,
    order: NDArray[np.uint32],
    low: Index,
    neighbours: int,
    scratch: NDArray[np.float32],
    gathered: NDArray[np.float32],
    gathered_items: NDArray[np.uint32],
    values: NDArray[np.float32],
    items: NDArray[np.uint32],
    begin: Index,
) -> int:
    """Put a row's best K into its list, which begins at `begin`, and return how many they are.

    At least K values are no less than the K-th of the groups' largest: what is below that needs no look.
    """
    floor = NONE
    if groups >= neighbours:
        for group in range(groups):
            scratch[group] = maxima[group]
        floor = nth_largest(scratch, groups, neighbours)
    size = np.int64(0)
    for group in range(np.uint64(groups)):
        if maxima[group] >= floor and maxima[group] > NONE:
            for k in range(group * GROUP, (group + ONE) * GROUP):
                if row_values[k] >= floor and row_values[k] > NONE:
                    gathered[size], gathered_items[size] = row_values[k], order[low + k]
                    size += 1
    size = select_best(gathered, gathered_items, 0, size, neighbours)
    for n in range(size):
        values[begin + n], items[begin + n] = gathered[n], gathered_items[n]
    return size


@compiled(types.int64(types.int64, READ_INT64, WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, types.int64))
def _finish(
    rows: Index,
    starts: NDArray[np.int64],
    counts: NDArray[np.uint32],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
    neighbours: int,
) -> int:
    """Keep the best of the columns, move all lists together, one after the other, and return how much they hold."""
    filled = 0
    for owner in range(counts.size):
        begin = starts[owner]
        if owner >= rows:
            counts[owner] = select_best(values, items, begin, counts[owner], neighbours)
        for at in range(begin, begin + counts[owner]):
            items[filled], values[filled] = items[at], values[at]
            filled += 1
    return filled


class Sums(NamedTuple):
    """The sums of one row over the columns, of which one array is used, and is all zeros again after each row.

    Counts of 16 bits, counts of 32 bits where more users may be met, sums of factors or products; and the counts of
    four rows at a time that were counted as bits, which are written anew.
    """

    narrow: NDArray[np.uint16]
    wide: NDArray[np.uint32]
    weighed: NDArray[np.float64]
    bit_counts: NDArray[np.uint32]


SUMS = types.NamedTuple([WRITE_UINT16, WRITE_UINT32, WRITE_FLOAT64, WRITE_UINT32], Sums)
BITS, NARROW, WIDE, WEIGHED = range(4)


@compiled(types.int64(SUMS, types.boolean, types.uint64))
def _kind(sums: Sums, is_bits: bool, users: Index) -> int:
    """Which of the sums those of a row are, whose item has so many users."""
    if sums.weighed.size > 0:
        return WEIGHED
    if is_bits:
        return BITS
    return WIDE if users > MOST_16_BITS else NARROW


@compiled(types.boolean(SUMS, types.int64, types.uint64, types.uint64, WRITE_FLOAT64))
def _take(sums: Sums, kind: int, at: Index, n: Index, dots: NDArray[np.float64]) -> bool:
    """Move n sums from `at` on into `dots`; False where there is nothing but zeros."""
    if kind == BITS:
        return take(sums.bit_counts, at, n, dots)
    if kind == NARROW:
        return take(sums.narrow, at, n, dots)
    return take(sums.wide, at, n, dots) if kind == WIDE else take(sums.weighed, at, n, dots)


def _summing(ranks: Any) -> Any:
    row = (READ_UINT32, ranks, types.uint64, types.uint64, READ_INT64, ranks, types.uint64, types.uint64)
    return types.boolean(SUMS, types.int64, *row, READ_FLOAT32, READ_FLOAT32, READ_FLOAT32, READ_UINT8)


@compiled(_summing(READ_UINT16), later=[_summing(READ_UINT32)])
def _add_up(
    sums: Sums,
    kind: int,
    item_users: NDArray[np.uint32],
    places: Ranks,
    begin: Index,
    end: Index,
    user_ptr: NDArray[np.int64],
    user_ranks: Ranks,
    low: Index,
    cut: Index,
    item_weights: NDArray[np.float32],
    user_weights: NDArray[np.float32],
    user_factors: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> bool:
    """Add up what the users at begin..end-1 say of more popular items, unless bits say it; False if stopped."""
    row = (item_users, places, begin, end, user_ptr, user_ranks, low, cut)
    if kind == WEIGHED and user_factors.size > 0:
        return add_factors(*row, user_factors, sums.weighed, stop)
    if kind == WEIGHED:
        return add_products(*row, item_weights, user_weights, sums.weighed, stop)
    if kind == WIDE:
        return count_users(*row, sums.wide, stop)
    return count_users(*row, sums.narrow, stop) if kind == NARROW else not stop[0]


def _building(ranks: Any) -> Any:
    return types.int64(
        *(READ_UINT32, READ_INT64, READ_UINT32, READ_FLOAT32, ranks, READ_INT64, ranks, READ_FLOAT32),
        *(types.FunctionType(FORMULA), READ_FLOAT32, READ_FLOAT64, READ_FLOAT64, types.boolean),
        *(types.float64, types.float64, types.float64),
        *(types.uint64, types.uint64, types.uint64, types.uint64, types.uint64, types.int64),
        *(READ_INT64, WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, READ_UINT8),
    )


@compiled(_building(READ_UINT16), later=[_building(READ_UINT32)])
def _build(
    order: NDArray[np.uint32],
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32],
    places: Ranks,
    user_ptr: NDArray[np.int64],
    user_ranks: Ranks,
    user_weights: NDArray[np.float32],
    formula: Formula,
    user_factors: NDArray[np.float32],
    row_terms: NDArray[np.float64],
    column_terms: NDArray[np.float64],
    is_asymmetric: bool,
    shrink: float,
    exponent: float,
    users: float,
    first: Index,
    last: Index,
    low: Index,
    high: Index,
    bit_ranks: Index,
    neighbours: int,
    starts: NDArray[np.int64],
    counts: NDArray[np.uint32],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> int:
    """Fill the lists of rows and columns, which begin at `starts`, and return how much they hold; -1 if stopped."""
    width, rows = high - low, last - first
    counted = width if user_factors.size == 0 and item_weights.size == 0 else ZERO
    bit_rows = bit_ranks + ROWS_OF_BITS if first < bit_ranks else ZERO
    sums = Sums(
        np.zeros(counted, np.uint16),
        np.zeros(counted, np.uint32),
        np.zeros(width - counted, np.float64),
        np.zeros(bit_rows * ROWS_OF_BITS, np.uint32),
    )
    words, bit_width = np.uint64((user_ptr.size + 62) // 64), ZERO
    bits = np.zeros(bit_rows * words, np.uint64)
    set_bits(order, item_ptr, item_users, min(bit_ranks, bit_rows), words, bits)
    dots, similar, block = np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float32)
    row_values, floors = np.empty(width + BLOCK, np.float32), np.zeros(width, np.float32)
    maxima, scratch = np.empty((width + BLOCK) // GROUP, np.float32), np.empty((width + BLOCK) // GROUP, np.float32)
    gathered, gathered_items = np.empty(width + BLOCK, np.float32), np.empty(width + BLOCK, np.uint32)
    for row in range(first, last):
        top, turn = max(min(high, row), low), (row - first) % ROWS_OF_BITS
        if row < bit_ranks and turn == ZERO:
            bit_width = max(min(high, row + ROWS_OF_BITS - ONE), low) - low
            count_bits(bits, words, row, low, low + bit_width, sums.bit_counts)
        begin, end = np.uint64(item_ptr[np.uint64(order[row])]), np.uint64(item_ptr[np.uint64(order[row]) + ONE])
        # Where the row has no columns nothing is added up; a cut of 0 would mean all of them.
        kind = _kind(sums, row < bit_ranks, end - begin) if top > low else BITS
        spans = (item_users, places, begin, end, user_ptr, user_ranks, low, top if top < row else ZERO)
        if not _add_up(sums, kind, *spans, item_weights, user_weights, user_factors, stop):
            return -1
        blocks = (top - low + BLOCK - ONE) // BLOCK
        for at in range(ZERO, blocks * BLOCK, BLOCK):
            n = min(BLOCK, top - low - at)
            met, found = _take(sums, kind, turn * bit_width + at if kind == BITS else at, n, dots), False
            if met:
                formula(dots, n, row_terms[row], column_terms, low + at, shrink, users, similar)
                found = _round(similar, n, exponent, row_values, at)
            _put_maxima(row_values, at, n if found else ZERO, maxima)
            # What is too small for float32 the one way may be large the other way.
            if found or (met and is_asymmetric):
                if is_asymmetric:
                    formula(dots, n, column_terms[row], row_terms, low + at, shrink, users, similar)
                _round(similar, n, exponent if is_asymmetric else 1.0, block, ZERO)
                _keep_columns(block, n, at, order[row], neighbours, rows, starts, counts, items, values, floors)
        groups, list_begin = np.int64(blocks * (BLOCK // GROUP)), starts[row - first]
        kept = _keep_row(
            *(row_values, maxima, groups, order, low, neighbours, scratch, gathered, gathered_items),
            *(values, items, list_begin),
        )
        counts[row - first] = kept
        if kept == neighbours and low <= row < high:
            # Whatever a less popular item brings to this one as a column has these K to compete with.
            floors[row - low] = _least(values, list_begin, kept)
    return _finish(rows, starts, counts, items, values, neighbours)
