"""Scores the candidates of one similarity chunk, or of several neighbouring ones, for a block of users."""

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT8,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_UINT32,
    compiled,
)
from workers.kernels.merge import Partial
from workers.kernels.ranking import KEEP_BEST, KeepBest, keep_best


def score_users(
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32] | None,
    first_candidate: int,
    last_candidate: int,
    length: int,
    *,
    exclude_history: bool = True,
    stop: NDArray[np.uint8],
) -> Partial | None:
    """Each user's best `length` of the candidates first_candidate..last_candidate-1, or None if `stop` was set.

    The model is CSR: row_ptr int64[I + 1], row_items uint32 ascending within a row, row_values float32 above zero. So
    are the histories: user_ptr int64[users + 1] points into user_items (uint32, ascending within a user) and
    user_weights (float32 above zero; None: all 1), and may be a slice of a snapshot's with the whole of the other two.
    `stop` is uint8[1]; another thread sets it.

    score(u, j) = sum_i w_ui * S_ij / sum_i w_ui over the history (Deshpande and Karypis 2004, section 4, as a weighted
    mean), summed in float64 in index order, divided in float64, rounded once to float32 and ranked on that: the higher
    first, then the smaller index; only scores above zero. The reason is the history item with the largest
    w_ui * S_ij in float64, the smaller index where they are equal. What a candidate gets does not depend on the range
    or on the other users. `exclude_history` leaves out what the user has had.

    Raises ValueError for a range outside the items or a length below 1.
    """
    item_count = row_ptr.size - 1
    if not 0 <= first_candidate <= last_candidate <= item_count:
        raise ValueError(f"candidates {first_candidate} to {last_candidate} are not among {item_count} items")
    if length < 1:
        raise ValueError(f"a list cannot hold {length} items")
    counts = np.zeros(user_ptr.size - 1, np.uint32)
    items = np.empty(counts.size * min(length, last_candidate - first_candidate), np.uint32)
    scores = np.empty(items.size, np.float32)
    reasons = np.empty(items.size, np.uint32)
    filled = _score(
        row_ptr,
        row_items,
        row_values,
        user_ptr,
        user_items,
        np.empty(0, np.float32) if user_weights is None else user_weights,
        first_candidate,
        last_candidate,
        keep_best,
        length,
        exclude_history,
        counts,
        items,
        scores,
        reasons,
        stop,
    )
    if filled < 0:
        return None
    # Copies, so that the unused rest of the arrays is not kept alive.
    return Partial(counts, items[:filled].copy(), scores[:filled].copy(), reasons[:filled].copy())


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


@compiled(types.float64(READ_FLOAT32, types.int64, types.int64))
def _total(user_weights: NDArray[np.float32], begin: int, end: int) -> float:
    """The sum of a history's weights, in index order."""
    total = 0.0
    for at in range(begin, end):
        total += np.float64(user_weights[at]) if user_weights.size > 0 else 1.0
    return total


@compiled(
    types.int64(
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(READ_UINT32, READ_FLOAT32, types.int64, types.int64),
        *(types.int64, types.int64),
        *(types.float64[::1], types.float64[::1], WRITE_UINT32, WRITE_UINT32, READ_UINT8),
    )
)
def _add_up(
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    begin: int,
    end: int,
    first: int,
    last: int,
    sums: NDArray[np.float64],
    largest: NDArray[np.float64],
    reasons: NDArray[np.uint32],
    touched: NDArray[np.uint32],
    stop: NDArray[np.uint8],
) -> int:
    """Add up one user's shares by candidate, list who got any, and return their number, or -1 if stopped."""
    met = 0
    for at in range(begin, end):
        if stop[0]:
            return -1
        i = user_items[at]
        weight = np.float64(user_weights[at]) if user_weights.size > 0 else 1.0
        for n in range(_bisect(row_items, row_ptr[i], row_ptr[i + 1], first), row_ptr[i + 1]):
            if row_items[n] >= last:
                break
            candidate = row_items[n] - first
            # Two float32 multiply exactly in float64: fused with the addition or not, the sum is the same.
            share = weight * np.float64(row_values[n])
            if sums[candidate] == 0.0:
                touched[met] = row_items[n]
                met += 1
            sums[candidate] += share
            if share > largest[candidate]:
                largest[candidate] = share
                reasons[candidate] = i
    return met


@compiled(
    types.int64(
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(types.int64, types.int64),
        *(types.FunctionType(KEEP_BEST), types.int64, types.boolean),
        *(WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, WRITE_UINT32, READ_UINT8),
    )
)
def _score(
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    first: int,
    last: int,
    keep_best: KeepBest,
    length: int,
    exclude_history: bool,
    counts: NDArray[np.uint32],
    best_items: NDArray[np.uint32],
    best_scores: NDArray[np.float32],
    best_reasons: NDArray[np.uint32],
    stop: NDArray[np.uint8],
) -> int:
    """Fill the users' lists and return the number of entries, or -1 if stopped."""
    sums = np.zeros(last - first, np.float64)
    largest = np.zeros(last - first, np.float64)
    reasons = np.empty(last - first, np.uint32)
    candidates = np.empty(last - first, np.uint32)
    scores = np.empty(last - first, np.float32)
    filled = 0
    for user in range(counts.size):
        begin, end = user_ptr[user], user_ptr[user + 1]
        met = _add_up(
            *(row_ptr, row_items, row_values, user_items, user_weights, begin, end, first, last),
            *(sums, largest, reasons, candidates, stop),
        )
        if met < 0:
            return -1
        if exclude_history:
            for at in range(begin, end):
                if first <= user_items[at] < last:
                    sums[user_items[at] - first] = 0.0
        total = _total(user_weights, begin, end)
        size = 0
        for n in range(met):
            item = candidates[n]
            score = np.float32(sums[item - first] / total)
            sums[item - first] = 0.0
            largest[item - first] = 0.0
            if score > 0.0:
                candidates[size] = item
                scores[size] = score
                size += 1
        kept = keep_best(scores, candidates, size, length)
        counts[user] = kept
        for n in range(kept):
            best_items[filled] = candidates[n]
            best_scores[filled] = scores[n]
            best_reasons[filled] = reasons[candidates[n] - first]
            filled += 1
    return filled
