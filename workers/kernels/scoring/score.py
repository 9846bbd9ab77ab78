"""Scores candidates for users: for each history item it adds the item's row of similarities, times a weight, to sums.

It then removes what is left out or hidden, finds a floor that enough candidates reach, ranks only those above it, and
finds the reason of each in its column. Sums of the popular candidates, the head, lie in the L1 cache: see `candidates`.

A history with few additions is scored otherwise, with the same result: see `few`.
"""

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
    WRITE_UINT32,
    Index,
    compiled,
)
from reckoner.workers.kernels.processor import add_four, at_least, keep_larger, prefetch, trailing_zeros
from reckoner.workers.kernels.ranking import keep_best, key_of, value_of
from reckoner.workers.kernels.scoring import candidates as layout
from reckoner.workers.kernels.scoring import scratch as buffers
from reckoner.workers.kernels.scoring.candidates import Candidates
from reckoner.workers.kernels.scoring.few import add_few, has_few, reasons_of_few, take_best_of_few
from reckoner.workers.kernels.scoring.merge import Partial
from reckoner.workers.kernels.scoring.scratch import CANDIDATES, FEW_WORDS, HISTORIES, SCRATCH, Scratch, new_scratch

# The speed of a slow processor, without the call and its output. A fast one is more than twice as fast.
ADDITIONS_PER_MS = 1_000_000
# The maxima of the head's stripes are found with vectors of `AT_A_TIME`.
HEAD, STRIPES, AT_A_TIME = np.uint64(layout.HEAD), np.uint64(buffers.STRIPES), np.uint64(8)
BITS, HALVINGS = np.uint64(64), 8
GROUP_WORDS = np.uint64(layout.GROUP_WORDS)
ZERO, ONE, TWO = np.uint64(0), np.uint64(1), np.uint64(2)
LOWER_HALF = np.uint64(0xFFFFFFFF)
# Rows are prefetched some items ahead, with the cache lines of 100 entries; their bounds further ahead. So are columns.
AHEAD, FAR_AHEAD = np.uint64(4), np.uint64(10)
LINES, WORDS_A_LINE = 12, np.uint64(8)
# A sum smaller by this factor, or by this step among denormals, is smaller after rounding to float32 too.
SURELY_BELOW, STEP = 1.0 - 2.0**-22, 2.0**-149
# The smallest float64 above zero.
ABOVE_ZERO = 2.0**-1074


class LeftOut(NamedTuple):
    """What is left out of each user's list, in CSR: int64[users + 1] pointers into uint32 items, in any order."""

    ptr: NDArray[np.int64]
    items: NDArray[np.uint32]


NOTHING = LeftOut(np.empty(0, np.int64), np.empty(0, np.uint32))
NONE_HIDDEN = np.empty(0, np.uint8)


def score_users(
    candidates: Candidates,
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32] | None,
    length: int,
    *,
    left: LeftOut | None,
    hidden: NDArray[np.uint8] | None = None,
    with_reasons: bool = True,
    scratch: Scratch | None = None,
    few_words: int = FEW_WORDS,
    stop: NDArray[np.uint8],
) -> Partial | None:
    """Each user's best `length` candidates.

    score(u, j) = sum_i w_ui * S_ij / sum_i w_ui over the history (Deshpande and Karypis 2004, section 4, as a weighted
    mean), summed in float64 in index order, divided in float64, rounded once to float32 and ranked on that: the higher
    first, then the smaller index; only scores above zero. The reason is the history item with the largest w_ui * S_ij
    in float64, then the smaller index. A candidate's score depends on no other candidate or user.

    The histories are CSR: user_ptr int64[users + 1] may be a slice of a snapshot's, user_items uint32 is ascending
    within a user, user_weights float32 (None: all 1) must be finite and above zero, which is not checked. A list holds
    nothing of `left`, often the history itself, and no item that is not 0 in `hidden`, uint8[I]; the others have the
    same scores and reasons. Without reasons, all are 0. `scratch` has room for the candidates, and no other call uses
    it now; None: new buffers. Histories whose rows fill at most `few_words` words, at most FEW_WORDS, have few
    additions. None if another thread set `stop`, uint8[1]. Raises ValueError for a length below 1, and for a mask of
    another number of items.
    """
    if length < 1:
        raise ValueError(f"a list cannot hold {length} items")
    if hidden is not None and hidden.size != candidates.ranks.size:
        raise ValueError(f"a mask of {hidden.size} items is not one of {candidates.ranks.size}")
    counts = np.zeros(user_ptr.size - 1, np.uint32)
    items = np.empty(counts.size * min(length, candidates.order.size), np.uint32)
    scores = np.empty(items.size, np.float32)
    reasons = np.zeros(items.size, np.uint32)
    scratch = scratch or new_scratch(candidates)
    filled = _score(
        *(candidates, candidates.words.view(np.float32), scratch, min(few_words, FEW_WORDS)),
        *(user_ptr, user_items, np.empty(0, np.float32) if user_weights is None else user_weights),
        *(NOTHING if left is None else left),
        *(NONE_HIDDEN if hidden is None else hidden, min(length, candidates.order.size), with_reasons),
        *(counts, items, scores, reasons, stop),
    )
    if filled < 0:
        scratch.sums.fill(0.0)
        scratch.had.fill(0.0)
        return None
    # Copies free the unused rest of the arrays.
    return Partial(counts, items[:filled].copy(), scores[:filled].copy(), reasons[:filled].copy())


@compiled(
    types.Tuple((types.float64, types.float64, types.uint64))(
        *(CANDIDATES, READ_FLOAT32, SCRATCH, *HISTORIES, types.uint64, types.uint64, READ_UINT8)
    ),
    inner=True,
)
def _add_history(
    candidates: Candidates,
    halves: NDArray[np.float32],
    scratch: Scratch,
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    begin: Index,
    end: Index,
    stop: NDArray[np.uint8],
) -> tuple[float, float, Index]:
    """Sum one user's shares by candidate, and note the history and the met ranks of the tail.

    `halves` float32 are the halves of the candidates' words. Returns the sum of weights (-1 if stopped), the largest
    weight, and the number of met ranks.
    """
    bounds, words = candidates.bounds, candidates.words
    sums, met, had = scratch.sums, scratch.met, scratch.had
    total, heaviest, count = 0.0, 0.0, ZERO
    for at in range(begin, end):
        if stop[0]:
            return -1.0, 0.0, count
        if at + FAR_AHEAD < end:
            prefetch(bounds, TWO * np.uint64(user_items[at + FAR_AHEAD]))
        if at + AHEAD < end:
            later = np.uint64(bounds[TWO * np.uint64(user_items[at + AHEAD])])
            for line in range(LINES):
                prefetch(words, later + np.uint64(line) * WORDS_A_LINE)
        item = np.uint64(user_items[at])
        weight = np.float64(user_weights[at]) if user_weights.size > 0 else 1.0
        total += weight
        heaviest = max(heaviest, weight)
        had[item] = np.float32(weight)
        head, tail = np.uint64(bounds[TWO * item]), np.uint64(bounds[TWO * item + ONE])
        # A product of two float32 is exact in float64, so a fused multiply-add gives the same sum.
        for k in range(head, tail, GROUP_WORDS):
            add_four(sums, words[k], weight, halves, TWO * (k + ONE))
        for k in range(tail, np.uint64(bounds[TWO * item + TWO])):
            rank = words[k] & LOWER_HALF
            met[count] = rank
            count += np.uint64(sums[rank] == 0.0)
            sums[rank] += weight * np.float64(halves[TWO * k + ONE])
    return total, heaviest, count


@compiled(types.float64(SCRATCH, types.uint64), inner=True)
def _find_floor(scratch: Scratch, length: Index) -> float:
    """A sum that at least `length` candidates of the head reach, close to the largest such sum.

    A bisection over the maxima of stripes; stripe k has every STRIPES-th candidate from the k-th on.
    """
    sums, maxima = scratch.sums, scratch.maxima
    for k in range(STRIPES):
        maxima[k] = sums[k]
    for row in range(STRIPES, HEAD, STRIPES):
        for k in range(ZERO, STRIPES, AT_A_TIME):
            keep_larger(maxima, k, sums, row + k)
    low, high = 0.0, 0.0
    for k in range(STRIPES):
        high = max(high, maxima[k])
    for _ in range(HALVINGS):
        middle, found = 0.5 * (low + high), ZERO
        for k in range(STRIPES):
            found += np.uint64(maxima[k] >= middle)
        if found >= length:
            low = middle
        else:
            high = middle
    return low


@compiled(types.boolean(CANDIDATES, READ_UINT8, types.uint64), inner=True)
def _is_shown(candidates: Candidates, hidden: NDArray[np.uint8], rank: Index) -> bool:
    """Whether a candidate may be in lists."""
    return hidden.size == 0 or hidden[candidates.order[rank]] == 0


@compiled(
    types.uint64(CANDIDATES, SCRATCH, READ_UINT8, types.boolean, types.float64, types.uint64, types.uint64), inner=True
)
def _take_best(
    candidates: Candidates,
    scratch: Scratch,
    hidden: NDArray[np.uint8],
    most_hidden: bool,
    total: float,
    count: Index,
    length: Index,
) -> int:
    """Gather one user's best candidates, best first, and zero all sums. Returns their number.

    Of the head, the hidden candidates have sums of 0 already. `hidden` is uint8[I], or empty; with `most_hidden` it is
    looked at first.
    """
    order, sums, met = candidates.order, scratch.sums, scratch.met
    keys, size = scratch.keys, ZERO
    least = np.float32(_find_floor(scratch, length) / total)
    floor = max((np.float64(least) * SURELY_BELOW - STEP) * total, ABOVE_ZERO)
    for begin in range(ZERO, HEAD, BITS):
        found = at_least(sums, begin, floor)
        while found != ZERO:
            rank = begin + trailing_zeros(found)
            found &= found - ONE
            score = np.float32(sums[rank] / total)
            keys[size] = key_of(score, order[rank])
            size += np.uint64(score > np.float32(0.0))
    for rank in range(HEAD):
        sums[rank] = 0.0
    for n in range(count):
        rank = np.uint64(met[n])
        if most_hidden:
            ranked = _is_shown(candidates, hidden, rank) and sums[rank] >= floor
        else:
            ranked = sums[rank] >= floor and _is_shown(candidates, hidden, rank)
        if ranked:
            score = np.float32(sums[rank] / total)
            keys[size] = key_of(score, order[rank])
            size += np.uint64(score > np.float32(0.0))
        sums[rank] = 0.0
    return keep_best(keys, size, length)


@compiled(types.uint32(CANDIDATES, READ_FLOAT32, types.uint64, types.float64), inner=True)
def _reason(candidates: Candidates, had: NDArray[np.float32], item: Index, heaviest: float) -> int:
    """The history item with the largest share. `had` float32[I] has the weights, `heaviest` is the largest one."""
    rank = np.uint64(candidates.ranks[item])
    largest, reason, last = 0.0, np.uint32(0), ~ZERO
    for at in range(np.uint64(candidates.column_ptr[rank]), np.uint64(candidates.column_ptr[rank + ONE])):
        key = candidates.columns[at]
        # Values are descending, so not even the heaviest item can exceed the largest share now.
        if key > last:
            break
        share, source = np.float64(had[key & LOWER_HALF]) * np.float64(value_of(key)), key & LOWER_HALF
        if share > largest or (share == largest and share > 0.0 and source < reason):
            largest, reason = share, np.uint32(source)
            # Rounding is monotonic: a value that could give this share is not below the rounded quotient.
            last = key_of(np.float32(largest / heaviest), LOWER_HALF)
    return reason


@compiled(types.void(CANDIDATES, READ_FLOAT32, READ_UINT32, types.float64, WRITE_UINT32), inner=True)
def _reasons(
    candidates: Candidates,
    had: NDArray[np.float32],
    items: NDArray[np.uint32],
    heaviest: float,
    reasons: NDArray[np.uint32],
) -> None:
    """Write the reason of each item; see `_reason`."""
    for n in range(items.size):
        if n + 2 < items.size:
            later = np.uint64(candidates.column_ptr[candidates.ranks[items[n + 2]]])
            for line in range(LINES):
                prefetch(candidates.columns, later + np.uint64(line) * WORDS_A_LINE)
        reasons[n] = _reason(candidates, had, np.uint64(items[n]), heaviest)


@compiled(types.void(SCRATCH, READ_UINT32, types.uint64, types.uint64), inner=True)
def _forget_weights(scratch: Scratch, user_items: NDArray[np.uint32], begin: Index, end: Index) -> None:
    """Zero the weights of the history."""
    for at in range(begin, end):
        scratch.had[user_items[at]] = np.float32(0.0)


@compiled(types.void(CANDIDATES, SCRATCH, READ_UINT32, types.uint64, types.uint64), inner=True)
def _leave_out(
    candidates: Candidates, scratch: Scratch, left_items: NDArray[np.uint32], begin: Index, end: Index
) -> None:
    """Zero the sums of what is left out."""
    for at in range(begin, end):
        rank = candidates.ranks[left_items[at]]
        if rank >= 0:
            scratch.sums[rank] = 0.0


@compiled(types.int64(CANDIDATES, SCRATCH, READ_UINT8), inner=True)
def _note_shown(candidates: Candidates, scratch: Scratch, hidden: NDArray[np.uint8]) -> int:
    """Note which ranks of the head are shown. Returns the number of hidden ones."""
    count = 0
    for rank in range(min(candidates.order.size, layout.HEAD)):
        shown = hidden[candidates.order[rank]] == 0
        scratch.shown[rank] = np.float64(shown)
        count += not shown
    return count


@compiled(types.void(SCRATCH), inner=True)
def _hide_head(scratch: Scratch) -> None:
    """Zero the sums of the hidden ranks of the head, so that the floor is of others."""
    for rank in range(HEAD):
        scratch.sums[rank] *= scratch.shown[rank]


@compiled(
    types.int64(
        *(CANDIDATES, READ_FLOAT32, SCRATCH, types.int64, READ_INT64, *HISTORIES),
        *(READ_INT64, READ_UINT32, READ_UINT8, types.int64, types.boolean),
        *(WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, WRITE_UINT32, READ_UINT8),
    )
)
def _score(
    candidates: Candidates,
    halves: NDArray[np.float32],
    scratch: Scratch,
    few_words: int,
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    left_ptr: NDArray[np.int64],
    left_items: NDArray[np.uint32],
    hidden: NDArray[np.uint8],
    length: int,
    with_reasons: bool,
    counts: NDArray[np.uint32],
    best_items: NDArray[np.uint32],
    best_scores: NDArray[np.float32],
    best_reasons: NDArray[np.uint32],
    stop: NDArray[np.uint8],
) -> int:
    """Fill the users' lists. Returns the number of entries, -1 if stopped."""
    filled, hidden_head = 0, -1
    for user in range(counts.size):
        begin, end = np.uint64(user_ptr[user]), np.uint64(user_ptr[user + 1])
        few = has_few(candidates, user_items, begin, end, few_words)
        history = candidates, halves, scratch, user_items, user_weights, begin, end
        total, heaviest, count = add_few(*history) if few else _add_history(*history, stop)
        if total < 0.0 or stop[0]:
            return -1
        if left_ptr.size > 0:
            _leave_out(candidates, scratch, left_items, np.uint64(left_ptr[user]), np.uint64(left_ptr[user + 1]))
        if hidden.size > 0 and not few:
            # Once a call, and never for a click with few additions, which would take longer.
            hidden_head = _note_shown(candidates, scratch, hidden) if hidden_head < 0 else hidden_head
            _hide_head(scratch)
        sums, rest = (candidates, scratch, hidden), (total, count, np.uint64(length))
        size = take_best_of_few(*sums, *rest) if few else _take_best(*sums, hidden_head > layout.HEAD // 2, *rest)
        for n in range(size):
            best_items[filled + n] = scratch.keys[n] & LOWER_HALF
            best_scores[filled + n] = value_of(scratch.keys[n])
        if with_reasons and few:
            reasons_of_few(candidates, scratch, count, size, best_reasons[filled:])
        elif with_reasons:
            _reasons(candidates, scratch.had, best_items[filled : filled + size], heaviest, best_reasons[filled:])
        if not few:
            _forget_weights(scratch, user_items, begin, end)
        counts[user] = size
        filled += size
    return filled
