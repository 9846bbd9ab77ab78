"""Builds tiles of a model: the exact K best neighbours of each item over a rectangle of item pairs.

A tile pairs its rows, the ranks first..last-1, with more popular items, its columns. So each pair is counted once, and
may be kept for its row and for its column; `join` merges the tiles. For each row a tile sums over users (`counting`),
turns the sums into similarities (`similarity`) and keeps the best (`keep`).
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.building import work
from reckoner.workers.kernels.building.counting import (
    add_factors,
    add_products,
    count_bits,
    count_users,
    move_sums,
    set_bits,
)
from reckoner.workers.kernels.building.keep import (
    BLOCK,
    GROUP,
    SPARE,
    finish,
    keep_columns,
    keep_row,
    least_of,
    put_maxima,
)
from reckoner.workers.kernels.building.ranked import Ranked
from reckoner.workers.kernels.building.similarity import FORMULA, Formula, Weighting, round_similarities
from reckoner.workers.kernels.building.work import bit_ranks, bit_words, cost_of
from reckoner.workers.kernels.compiled import (
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
    WRITE_UINT64,
    Index,
    Ranks,
    compiled,
)
from reckoner.workers.kernels.ranking import entries_of

ZERO, ONE, TWO, FOUR = (np.uint64(number) for number in (0, 1, 2, 4))
# This many rows are counted as bits together; a few rows of zeros pad the last ones.
ROWS_AT_ONCE, ZEROS = np.uint64(work.ROWS_AT_ONCE), np.uint64(4)
MOST_16_BITS = 65_535


class Tile(NamedTuple):
    """Lists of similar items, concatenated, each unordered.

    `owners` uint32[n]: the item of each list. `counts` uint32[n]: its length. `items` uint32 and `values` float32 above
    zero: the entries.
    """

    owners: NDArray[np.uint32]
    counts: NDArray[np.uint32]
    items: NDArray[np.uint32]
    values: NDArray[np.float32]


def build_tile(
    ranked: Ranked,
    weighting: Weighting,
    floors: NDArray[np.float32],
    first: Index,
    last: Index,
    low: Index,
    high: Index,
    *,
    neighbours: int,
    bit_bytes: int,
    stop: NDArray[np.uint8],
) -> Tile | None:
    """The best `neighbours` of each item over the pairs of ranks first..last-1 with smaller ranks in low..high-1.

    The formula runs in float64 and is rounded once to float32, on which entries are ranked: the highest above zero,
    then the smaller index. Entries that cannot be among an item's best over all tiles may be missing.

    `floors` float32[I] is a lower bound of each rank's best K over all tiles, 0 if unknown; the tile raises it. Items
    counted as bits take at most `bit_bytes`, which does not affect the result. None if another thread set `stop`,
    uint8[1]. Raises ValueError for ranks outside the items, or fewer than 1 neighbours.
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
    counts, keys = np.zeros(starts.size - 1, np.uint32), np.empty(starts[-1], np.uint64)
    column_floors = floors[low:high].copy()
    order, rows, columns = ranked.order, weighting.row_terms, weighting.column_terms
    bit_rows = bit_ranks(cost_of(ranked, weighting), bit_bytes, first, last)
    words = bit_words(ranked.user_ptr.size - 1)
    bits = np.zeros((bit_rows + ZEROS) * words if bit_rows else 0, np.uint64)
    filled = _build(
        *ranked[:8],
        *(weighting.formula, weighting.user_factors, rows[order], columns[order], rows is not columns),
        *(weighting.shrink, weighting.power, weighting.users),
        *(first, last, low, high, bit_rows, neighbours, bits),
        *(starts, counts, keys, column_floors, stop),
    )
    if filled < 0:
        return None
    np.maximum(floors[low:high], column_floors, out=floors[low:high])
    owners = np.concatenate((order[first:last], order[low:high]))
    return Tile(owners, counts, *entries_of(keys[:filled]))


class Sums(NamedTuple):
    """The sums of one row over the columns. A row uses one array and leaves it zeroed.

    `narrow`: counts of up to 65,535 users. `wide`: larger counts. `weighed`: sums of factors or products.
    `bit_counts`: counts of ROWS_AT_ONCE rows from bits; overwritten, not zeroed.
    """

    narrow: NDArray[np.uint16]
    wide: NDArray[np.uint32]
    weighed: NDArray[np.float64]
    bit_counts: NDArray[np.uint32]


SUMS = types.NamedTuple([WRITE_UINT16, WRITE_UINT32, WRITE_FLOAT64, WRITE_UINT32], Sums)
BITS, NARROW, WIDE, WEIGHED = range(4)


@compiled(types.int64(SUMS, types.boolean, types.uint64), inner=True)
def _kind(sums: Sums, is_bits: bool, users: Index) -> int:
    """Which of the sums to use for a row whose item has this many users."""
    if sums.weighed.size > 0:
        return WEIGHED
    if is_bits:
        return BITS
    return WIDE if users > MOST_16_BITS else NARROW


@compiled(types.boolean(SUMS, types.int64, types.uint64, types.uint64, WRITE_FLOAT64), inner=True)
def _take(sums: Sums, kind: int, at: Index, n: Index, dots: NDArray[np.float64]) -> bool:
    """Move n sums from `at` on into `dots`. False if all were zero."""
    if kind == BITS:
        return move_sums(sums.bit_counts, at, n, dots)
    if kind == NARROW:
        return move_sums(sums.narrow, at, n, dots)
    return move_sums(sums.wide, at, n, dots) if kind == WIDE else move_sums(sums.weighed, at, n, dots)


def _summing(ranks: Any) -> Any:
    row = (READ_UINT32, ranks, types.uint64, types.uint64, READ_INT64, ranks, types.uint64, types.uint64)
    return types.boolean(SUMS, types.int64, *row, READ_FLOAT32, READ_FLOAT32, READ_FLOAT32, READ_UINT8)


@compiled(_summing(READ_UINT16), later=[_summing(READ_UINT32)], inner=True)
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
    """Sum over the users at begin..end-1, unless the row is counted as bits. False if stopped."""
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
        *(types.uint64, types.uint64, types.uint64, types.uint64, types.uint64, types.uint64),
        *(WRITE_UINT64, READ_INT64, WRITE_UINT32, WRITE_UINT64, WRITE_FLOAT32, READ_UINT8),
    )


@compiled(types.uint64(types.uint64, types.uint64), inner=True)
def _multiple(number: Index, of: Index) -> Index:
    """Round a number up to a multiple."""
    return (number + of - ONE) // of * of


@compiled(_building(READ_UINT16), later=[_building(READ_UINT32)], allocates=True)
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
    neighbours: Index,
    bits: NDArray[np.uint64],
    starts: NDArray[np.int64],
    counts: NDArray[np.uint32],
    keys: NDArray[np.uint64],
    floors: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> int:
    """Fill the lists of rows and columns, which begin at `starts`. Returns the number of entries, -1 if stopped.

    `bits` is zeroed: a row of words for each of the first `bit_ranks` ranks, and the padding.
    """
    width, rows = high - low, last - first
    counted = width if user_factors.size == 0 and item_weights.size == 0 else ZERO
    sums = Sums(
        np.zeros(counted, np.uint16),
        np.zeros(counted, np.uint32),
        np.zeros(width - counted, np.float64),
        np.zeros((bit_ranks + ZEROS) * ROWS_AT_ONCE, np.uint32),
    )
    words, bit_width = np.uint64(bits.size) // (bit_ranks + ZEROS), ZERO
    set_bits(order, item_ptr, item_users, bit_ranks, words, bits)
    dots, similar, block = np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float32)
    row_values = np.empty(width + BLOCK, np.float32)
    maxima, gathered = np.empty((width + BLOCK) // GROUP, np.float32), np.empty(width + BLOCK, np.uint64)
    for row in range(first, last):
        top, turn = max(min(high, row), low), (row - first) % ROWS_AT_ONCE
        if row < bit_ranks and turn == ZERO:
            together = min(ROWS_AT_ONCE, _multiple(bit_ranks - row, FOUR))
            bit_width = _multiple(max(min(high, row + together - ONE), low) - low, TWO)
            if not count_bits(bits, words, row, together, low, bit_width, sums.bit_counts, stop):
                return -1
        begin, end = np.uint64(item_ptr[np.uint64(order[row])]), np.uint64(item_ptr[np.uint64(order[row]) + ONE])
        # A row without columns sums nothing. Its cut of 0 would mean no limit.
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
                found = round_similarities(similar, n, exponent, row_values, at)
            put_maxima(row_values, at, n if found else ZERO, maxima)
            # A similarity may round to zero in one direction only.
            if found or (met and is_asymmetric):
                if is_asymmetric:
                    formula(dots, n, column_terms[row], row_terms, low + at, shrink, users, similar)
                round_similarities(similar, n, exponent if is_asymmetric else 1.0, block, ZERO)
                keep_columns(block, n, at, order[row], rows, starts, counts, keys, neighbours, floors)
        groups, list_begin = blocks * (BLOCK // GROUP), np.uint64(starts[row - first])
        kept = keep_row(row_values, maxima, groups, order, low, neighbours, gathered, keys, list_begin)
        counts[row - first] = kept
        if kept == neighbours and low <= row < high:
            # Entries of this item as a column compete with the K of its row.
            floors[row - low] = max(floors[row - low], least_of(keys, list_begin, kept))
    return np.int64(finish(first, rows, low, starts, counts, keys, neighbours, floors))
