"""Scores candidates for a block of users: adds up, leaves out what was had, keeps the best, says why; in one pass."""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.candidates import Candidates
from workers.kernels.compiled import (
    READ_FLOAT32,
    READ_FLOAT64,
    READ_INT64,
    READ_UINT8,
    READ_UINT16,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_FLOAT64,
    WRITE_INT64,
    WRITE_UINT8,
    WRITE_UINT32,
    Index,
    Ranks,
    compiled,
)
from workers.kernels.merge import Partial
from workers.kernels.processor import prefetch
from workers.kernels.ranking import keep_best, nth_largest

# How many additions are done in a millisecond, measured with the data of the demonstration; the call and what it writes
# are paid beside that.
ADDITIONS_PER_MS = 600_000
# Sums are looked at in blocks: all those of the head, and of the tail those to which something was added.
BLOCK, BLOCK_SHIFT = np.uint64(64), np.uint64(6)
HEAD = np.uint64(2048)
# Rows lie far from each other: they are fetched some items ahead, as many lines of the cache as 100 entries fill.
AHEAD = np.uint64(3)
RANK_LINES, RANKS_A_LINE = 3, np.uint64(32)
VALUE_LINES, VALUES_A_LINE = 7, np.uint64(16)
# A score that is this much smaller, or by the smallest step where float32 has fewer digits, is so after rounding too.
SURELY_BELOW, STEP = 1.0 - 2.0**-22, 2.0**-149


def score_users(
    candidates: Candidates,
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32] | None,
    length: int,
    *,
    exclude_history: bool = True,
    with_reasons: bool = True,
    stop: NDArray[np.uint8],
) -> Partial | None:
    """Each user's best `length` of the candidates, or None if `stop` was set.

    The histories are CSR: user_ptr int64[users + 1] points into user_items (uint32, ascending within a user) and
    user_weights (float32 above zero; None: all 1), and may be a slice of a snapshot's with the whole of the other two.
    `stop` is uint8[1]; another thread sets it.

    score(u, j) = sum_i w_ui * S_ij / sum_i w_ui over the history (Deshpande and Karypis 2004, section 4, as a weighted
    mean), summed in float64 in index order, divided in float64, rounded once to float32 and ranked on that: the higher
    first, then the smaller index; only scores above zero. The reason is the history item with the largest
    w_ui * S_ij in float64, the smaller index where they are equal. What a candidate gets does not depend on the other
    ones or on the other users. `exclude_history` leaves out what the user has had. Without reasons, all are 0.

    Raises ValueError for a length below 1.
    """
    if length < 1:
        raise ValueError(f"a list cannot hold {length} items")
    counts = np.zeros(user_ptr.size - 1, np.uint32)
    items = np.empty(counts.size * min(length, candidates.order.size), np.uint32)
    scores = np.empty(items.size, np.float32)
    reasons = np.zeros(items.size, np.uint32)
    filled = _score(
        *candidates,
        *(user_ptr, user_items, np.empty(0, np.float32) if user_weights is None else user_weights),
        *(min(length, candidates.order.size), exclude_history, with_reasons),
        *(counts, items, scores, reasons, stop),
    )
    if filled < 0:
        return None
    # Copies, so that the unused rest of the arrays is not kept alive.
    return Partial(counts, items[:filled].copy(), scores[:filled].copy(), reasons[:filled].copy())


def _bisecting(ranks: Any) -> Any:
    return types.uint64(ranks, types.uint64, types.uint64)


@compiled(_bisecting(READ_UINT16), later=[_bisecting(READ_UINT32)])
def _tail(row_ranks: Ranks, low: Index, high: Index) -> Index:
    """The first place of a row, low..high, that is not in the head."""
    while low < high:
        middle = (low + high) >> np.uint64(1)
        if np.uint64(row_ranks[middle]) < HEAD:
            low = middle + np.uint64(1)
        else:
            high = middle
    return low


def _adding(ranks: Any) -> Any:
    row = (ranks, READ_FLOAT32, types.uint64, types.uint64, types.uint64)
    return types.void(*row, types.float64, WRITE_FLOAT64, WRITE_UINT8)


@compiled(_adding(READ_UINT16), later=[_adding(READ_UINT32)])
def _add_row(
    row_ranks: Ranks,
    row_values: NDArray[np.float32],
    begin: Index,
    tail: Index,
    end: Index,
    weight: float,
    sums: NDArray[np.float64],
    touched: NDArray[np.uint8],
) -> None:
    """Add a row's values times a weight to the sums of its candidates, and mark the blocks of those behind the head."""
    if weight == 1.0:
        for at in range(begin, tail):
            sums[np.uint64(row_ranks[at])] += np.float64(row_values[at])
    else:
        for at in range(begin, tail):
            # Two float32 multiply exactly in float64: fused with the addition or not, the sum is the same.
            sums[np.uint64(row_ranks[at])] += weight * np.float64(row_values[at])
    for at in range(tail, end):
        rank = np.uint64(row_ranks[at])
        sums[rank] += weight * np.float64(row_values[at])
        touched[rank >> BLOCK_SHIFT] = 1


@compiled(types.int64(READ_INT64, types.uint64))
def _largest(bits: NDArray[np.int64], begin: Index) -> int:
    """The largest sum of a block, all by their bits: of numbers not below zero these are in the same order.

    Of integers a processor can find the largest of many at once; of floats it may not, since one might be none.
    """
    found = np.int64(0)
    for k in range(begin, begin + BLOCK):
        found = max(found, bits[k])
    return found


@compiled(types.uint32(READ_INT64, READ_UINT32, READ_FLOAT32, types.int64, READ_FLOAT32, types.float64))
def _reason(
    column_ptr: NDArray[np.int64],
    column_items: NDArray[np.uint32],
    column_values: NDArray[np.float32],
    rank: int,
    had: NDArray[np.float32],
    heaviest: float,
) -> int:
    """The item of a history with the largest share: `had` float32[I] has the weights, of which none is above one."""
    largest, reason = 0.0, np.uint32(0)
    for at in range(column_ptr[rank], column_ptr[rank + 1]):
        value = np.float64(column_values[at])
        # Values fall from here on: not even the heaviest item could reach the largest share any more.
        if heaviest * value < largest:
            break
        item = column_items[at]
        share = np.float64(had[item]) * value
        if share > largest or (share == largest and share > 0.0 and item < reason):
            largest, reason = share, item
    return reason


def _fetching(ranks: Any) -> Any:
    return types.void(ranks, READ_FLOAT32, types.uint64)


@compiled(_fetching(READ_UINT16), later=[_fetching(READ_UINT32)])
def _fetch_row(row_ranks: Ranks, row_values: NDArray[np.float32], begin: Index) -> None:
    """Have the beginning of a row brought into the cache, line by line."""
    for line in range(RANK_LINES):
        prefetch(row_ranks, begin + np.uint64(line) * RANKS_A_LINE)
    for line in range(VALUE_LINES):
        prefetch(row_values, begin + np.uint64(line) * VALUES_A_LINE)


def _history(ranks: Any) -> Any:
    histories = (READ_UINT32, READ_FLOAT32, types.int64, types.int64)
    sums = (WRITE_FLOAT64, WRITE_UINT8, WRITE_FLOAT32)
    return types.UniTuple(types.float64, 2)(READ_INT64, ranks, READ_FLOAT32, *histories, *sums, READ_UINT8)


@compiled(_history(READ_UINT16), later=[_history(READ_UINT32)])
def _add_history(
    row_ptr: NDArray[np.int64],
    row_ranks: Ranks,
    row_values: NDArray[np.float32],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    begin: Index,
    end: Index,
    sums: NDArray[np.float64],
    touched: NDArray[np.uint8],
    had: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> tuple[float, float]:
    """Add up one user's shares by candidate, and put down what was had; the sum of the weights, and the largest.

    The sum is -1 if stopped.
    """
    total, heaviest = 0.0, 0.0
    for at in range(np.uint64(begin), np.uint64(end)):
        if stop[0]:
            return -1.0, 0.0
        item = np.uint64(user_items[at])
        weight = np.float64(user_weights[at]) if user_weights.size > 0 else 1.0
        total += weight
        heaviest = max(heaviest, weight)
        row_begin, row_end = np.uint64(row_ptr[item]), np.uint64(row_ptr[item + np.uint64(1)])
        if at + AHEAD < np.uint64(end):
            _fetch_row(row_ranks, row_values, np.uint64(row_ptr[np.uint64(user_items[at + AHEAD])]))
        tail = _tail(row_ranks, row_begin, row_end)
        _add_row(row_ranks, row_values, row_begin, tail, row_end, weight, sums, touched)
        had[item] = np.float32(weight)
    return total, heaviest


@compiled(types.int64(READ_INT64, WRITE_UINT8, WRITE_UINT32, WRITE_INT64))
def _look(
    sums: NDArray[np.int64],
    touched: NDArray[np.uint8],
    visited: NDArray[np.uint32],
    maxima: NDArray[np.int64],
) -> int:
    """Put down which blocks have sums, and the largest of each, and return how many they are; none is touched then."""
    count = 0
    for block in range(np.uint64(touched.size)):
        # What is behind the head and was not touched is 0 throughout.
        if block < HEAD >> BLOCK_SHIFT or touched[block]:
            touched[block] = 0
            visited[count], maxima[count] = block, _largest(sums, block * BLOCK)
            count += 1
    return count


@compiled(
    types.int64(
        *(READ_UINT32, WRITE_FLOAT64, types.float64, types.int64),
        *(READ_UINT32, READ_FLOAT64, WRITE_FLOAT64, types.int64),
        *(WRITE_UINT32, WRITE_FLOAT32),
    )
)
def _take_best(
    order: NDArray[np.uint32],
    sums: NDArray[np.float64],
    total: float,
    length: int,
    visited: NDArray[np.uint32],
    maxima: NDArray[np.float64],
    scratch: NDArray[np.float64],
    count: int,
    best_items: NDArray[np.uint32],
    best_scores: NDArray[np.float32],
) -> int:
    """Gather one user's best, best first, and return how many they are; all sums are 0 then.

    At least `length` candidates have no less than the length-th of the blocks' largest: below that none is looked at.
    """
    least = np.float32(0.0)
    if count >= length:
        for n in range(count):
            scratch[n] = maxima[n]
        least = np.float32(nth_largest(scratch, count, length) / total)
    floor = (np.float64(least) * SURELY_BELOW - STEP) * total
    size = 0
    for n in range(count):
        base = np.uint64(visited[n]) * BLOCK
        if maxima[n] > 0.0 and maxima[n] >= floor:
            for k in range(base, base + BLOCK):
                if sums[k] > 0.0 and sums[k] >= floor:
                    best_items[size], best_scores[size] = order[k], np.float32(sums[k] / total)
                    size += best_scores[size] > np.float32(0.0)
        for k in range(base, base + BLOCK):
            sums[k] = 0.0
    return keep_best(best_scores, best_items, 0, size, length)


def _scoring(ranks: Any) -> Any:
    return types.int64(
        *(READ_UINT32, READ_INT64, READ_INT64, ranks, READ_FLOAT32),
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(types.int64, types.boolean, types.boolean),
        *(WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, WRITE_UINT32, READ_UINT8),
    )


@compiled(_scoring(READ_UINT16), later=[_scoring(READ_UINT32)])
def _score(
    order: NDArray[np.uint32],
    ranks: NDArray[np.int64],
    row_ptr: NDArray[np.int64],
    row_ranks: Ranks,
    row_values: NDArray[np.float32],
    column_ptr: NDArray[np.int64],
    column_items: NDArray[np.uint32],
    column_values: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    length: int,
    exclude_history: bool,
    with_reasons: bool,
    counts: NDArray[np.uint32],
    best_items: NDArray[np.uint32],
    best_scores: NDArray[np.float32],
    best_reasons: NDArray[np.uint32],
    stop: NDArray[np.uint8],
) -> int:
    """Fill the users' lists and return the number of entries, or -1 if stopped."""
    blocks = (np.uint64(order.size) + BLOCK - np.uint64(1)) >> BLOCK_SHIFT
    sums, touched = np.zeros(blocks * BLOCK, np.float64), np.zeros(blocks, np.uint8)
    visited, maxima, scratch = np.empty(blocks, np.uint32), np.empty(blocks, np.float64), np.empty(blocks, np.float64)
    gathered_items, gathered = np.empty(blocks * BLOCK, np.uint32), np.empty(blocks * BLOCK, np.float32)
    had = np.zeros(ranks.size, np.float32)
    filled = 0
    for user in range(counts.size):
        begin, end = user_ptr[user], user_ptr[user + 1]
        history = (user_items, user_weights, begin, end)
        total, heaviest = _add_history(row_ptr, row_ranks, row_values, *history, sums, touched, had, stop)
        if total < 0.0:
            return -1
        if exclude_history:
            for at in range(begin, end):
                if ranks[user_items[at]] >= 0:
                    sums[ranks[user_items[at]]] = 0.0
        count = _look(sums.view(np.int64), touched, visited, maxima.view(np.int64))
        size = _take_best(order, sums, total, length, visited, maxima, scratch, count, gathered_items, gathered)
        for n in range(size):
            best_items[filled + n], best_scores[filled + n] = gathered_items[n], gathered[n]
        if with_reasons:
            for n in range(filled, filled + size):
                rank = ranks[best_items[n]]
                best_reasons[n] = _reason(column_ptr, column_items, column_values, rank, had, heaviest)
        for at in range(begin, end):
            had[user_items[at]] = np.float32(0.0)
        counts[user] = size
        filled += size
    return filled
