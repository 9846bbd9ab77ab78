"""The inner loops of every build: sums over the users that an item shares with more popular items.

For each user of the item, its more popular items are the beginning of the user's row, and each adds to its counter:
1, a factor of the user, or a product of weights. Popular items are counted as bits instead: AND, then popcount.
"""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT8,
    READ_UINT16,
    READ_UINT32,
    READ_UINT64,
    WRITE_FLOAT64,
    WRITE_UINT16,
    WRITE_UINT32,
    WRITE_UINT64,
    Index,
    Ranks,
    compiled,
)
from reckoner.workers.kernels.processor import popcount, prefetch

# Rows are prefetched this many users ahead, by cache lines.
AHEAD, LINE_BYTES = np.uint64(12), np.uint64(64)
WORD_SHIFT, WORD_MASK = np.uint64(6), np.uint64(63)
ZERO, ONE, TWO, THREE, FOUR = (np.uint64(number) for number in range(5))
# The stop flag is checked after this many users of an item, a few milliseconds.
USERS_AT_ONCE = np.uint64(4096)
# Blocks of bits that stay in the L2 cache.
WORDS_AT_ONCE, COLUMNS_AT_ONCE = np.uint64(512), np.uint64(64)

NARROW, WIDE = READ_UINT16, READ_UINT32


def _bisecting(ranks: Any) -> Any:
    return types.uint64(ranks, types.uint64, types.uint64, types.uint64)


@compiled(_bisecting(NARROW), later=[_bisecting(WIDE)], inner=True)
def _bisect(user_ranks: Ranks, low: Index, high: Index, wanted: Index) -> int:
    """The first place in low..high with a rank >= `wanted`."""
    while low < high:
        middle = (low + high) >> ONE
        if np.uint64(user_ranks[middle]) < wanted:
            low = middle + ONE
        else:
            high = middle
    return low


def _spanning(ranks: Any) -> Any:
    pair = types.UniTuple(types.uint64, 2)
    return pair(READ_UINT32, ranks, READ_INT64, ranks, types.uint64, types.uint64, types.uint64)


@compiled(_spanning(NARROW), later=[_spanning(WIDE)], inner=True)
def _span(
    item_users: NDArray[np.uint32],
    places: Ranks,
    user_ptr: NDArray[np.int64],
    user_ranks: Ranks,
    at: Index,
    low: Index,
    cut: Index,
) -> tuple[Index, Index]:
    """The span of more popular items in the row of the user at `at`, of ranks low..cut-1; a cut of 0 is no limit."""
    begin = np.uint64(user_ptr[np.uint64(item_users[at])])
    end = begin + np.uint64(places[at])
    if low > np.uint64(0):
        begin = _bisect(user_ranks, begin, end, low)
    if cut > np.uint64(0):
        end = _bisect(user_ranks, begin, end, cut)
    return begin, end


def _fetching(ranks: Any) -> Any:
    return types.void(READ_UINT32, ranks, READ_INT64, ranks, types.uint64, types.uint64)


@compiled(_fetching(NARROW), later=[_fetching(WIDE)], inner=True)
def _fetch(
    item_users: NDArray[np.uint32],
    places: Ranks,
    user_ptr: NDArray[np.int64],
    user_ranks: Ranks,
    at: Index,
    low: Index,
) -> None:
    """Prefetch what `_span` will read. With a `low` it starts with a bisection, so only the row's start is fetched."""
    begin = np.uint64(user_ptr[np.uint64(item_users[at])])
    end = begin + (ONE if low > ZERO else np.uint64(places[at]))
    for line in range(begin, end, LINE_BYTES // np.uint64(user_ranks.itemsize)):
        prefetch(user_ranks, line)


def _summing(ranks: Any, *sums: Any) -> Any:
    spans = (READ_UINT32, ranks, types.uint64, types.uint64, READ_INT64, ranks, types.uint64, types.uint64)
    return types.boolean(*spans, *sums, READ_UINT8)


@compiled(
    *(_summing(NARROW, counts) for counts in (WRITE_UINT16, WRITE_UINT32)),
    later=[_summing(WIDE, counts) for counts in (WRITE_UINT16, WRITE_UINT32)],
    inner=True,
)
def count_users(
    item_users: NDArray[np.uint32],
    places: Ranks,
    first: Index,
    last: Index,
    user_ptr: NDArray[np.int64],
    user_ranks: Ranks,
    low: Index,
    cut: Index,
    counts: NDArray[np.uint32],
    stop: NDArray[np.uint8],
) -> bool:
    """Count for each more popular item how many of the users at first..last-1 have it. False if stopped."""
    for start in range(first, last, USERS_AT_ONCE):
        if stop[0]:
            return False
        for at in range(start, min(start + USERS_AT_ONCE, last)):
            if at + AHEAD < last:
                _fetch(item_users, places, user_ptr, user_ranks, at + AHEAD, low)
            begin, end = _span(item_users, places, user_ptr, user_ranks, at, low, cut)
            for n in range(begin, end):
                counts[np.uint64(user_ranks[n]) - low] += 1
    return True


@compiled(
    _summing(NARROW, READ_FLOAT32, WRITE_FLOAT64), later=[_summing(WIDE, READ_FLOAT32, WRITE_FLOAT64)], inner=True
)
def add_factors(
    item_users: NDArray[np.uint32],
    places: Ranks,
    first: Index,
    last: Index,
    user_ptr: NDArray[np.int64],
    user_ranks: Ranks,
    low: Index,
    cut: Index,
    user_factors: NDArray[np.float32],
    sums: NDArray[np.float64],
    stop: NDArray[np.uint8],
) -> bool:
    """Like `count_users`, but each user adds its factor, in float64 and in user order."""
    for start in range(first, last, USERS_AT_ONCE):
        if stop[0]:
            return False
        for at in range(start, min(start + USERS_AT_ONCE, last)):
            if at + AHEAD < last:
                _fetch(item_users, places, user_ptr, user_ranks, at + AHEAD, low)
            factor = np.float64(user_factors[np.uint64(item_users[at])])
            begin, end = _span(item_users, places, user_ptr, user_ranks, at, low, cut)
            for n in range(begin, end):
                sums[np.uint64(user_ranks[n]) - low] += factor
    return True


@compiled(
    _summing(NARROW, READ_FLOAT32, READ_FLOAT32, WRITE_FLOAT64),
    later=[_summing(WIDE, READ_FLOAT32, READ_FLOAT32, WRITE_FLOAT64)],
    inner=True,
)
def add_products(
    item_users: NDArray[np.uint32],
    places: Ranks,
    first: Index,
    last: Index,
    user_ptr: NDArray[np.int64],
    user_ranks: Ranks,
    low: Index,
    cut: Index,
    item_weights: NDArray[np.float32],
    user_weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    stop: NDArray[np.uint8],
) -> bool:
    """Like `count_users`, but each user adds the product of both weights, in float64 and in user order."""
    for start in range(first, last, USERS_AT_ONCE):
        if stop[0]:
            return False
        for at in range(start, min(start + USERS_AT_ONCE, last)):
            if at + AHEAD < last:
                _fetch(item_users, places, user_ptr, user_ranks, at + AHEAD, low)
            weight = np.float64(item_weights[at])
            begin, end = _span(item_users, places, user_ptr, user_ranks, at, low, cut)
            for n in range(begin, end):
                # A product of two float32 is exact in float64, so a fused multiply-add gives the same sum.
                sums[np.uint64(user_ranks[n]) - low] += weight * np.float64(user_weights[n])
    return True


@compiled(types.void(READ_UINT32, READ_INT64, READ_UINT32, types.uint64, types.uint64, WRITE_UINT64), inner=True)
def set_bits(
    order: NDArray[np.uint32],
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    ranks: Index,
    words: Index,
    bits: NDArray[np.uint64],
) -> None:
    """Write the users of the first `ranks` ranks as rows of `words` uint64, with one bit per user."""
    for rank in range(ranks):
        item = np.uint64(order[rank])
        for at in range(np.uint64(item_ptr[item]), np.uint64(item_ptr[item + ONE])):
            user = np.uint64(item_users[at])
            bits[rank * words + (user >> WORD_SHIFT)] |= ONE << (user & WORD_MASK)


@compiled(
    types.boolean(
        *(READ_UINT64, types.uint64, types.uint64, types.uint64, types.uint64, types.uint64),
        *(WRITE_UINT32, READ_UINT8),
    ),
    inner=True,
)
def count_bits(
    bits: NDArray[np.uint64],
    words: Index,
    row: Index,
    rows: Index,
    low: Index,
    width: Index,
    counts: NDArray[np.uint32],
    stop: NDArray[np.uint8],
) -> bool:
    """Count the common users of `rows` rows from `row` on and `width` columns from `low` on, uint32[rows * width].

    False if stopped. Four rows and two columns at a time reuse each word in registers, so `rows` is a multiple of 4 and
    `width` of 2. Blocks of words and columns stay in the L2 cache.
    """
    for at in range(rows * width):
        counts[at] = 0
    for start in range(ZERO, words, WORDS_AT_ONCE):
        end = min(start + WORDS_AT_ONCE, words)
        for left in range(ZERO, width, COLUMNS_AT_ONCE):
            if stop[0]:
                return False
            for four in range(ZERO, rows, FOUR):
                r0 = (row + four) * words
                r1, r2, r3 = r0 + words, r0 + TWO * words, r0 + THREE * words
                for column in range(left, min(left + COLUMNS_AT_ONCE, width), TWO):
                    c0 = (low + column) * words
                    c1 = c0 + words
                    n00 = n01 = n10 = n11 = n20 = n21 = n30 = n31 = ZERO
                    for word in range(start, end):
                        b0, b1 = bits[c0 + word], bits[c1 + word]
                        n00 += popcount(bits[r0 + word] & b0)
                        n01 += popcount(bits[r0 + word] & b1)
                        n10 += popcount(bits[r1 + word] & b0)
                        n11 += popcount(bits[r1 + word] & b1)
                        n20 += popcount(bits[r2 + word] & b0)
                        n21 += popcount(bits[r2 + word] & b1)
                        n30 += popcount(bits[r3 + word] & b0)
                        n31 += popcount(bits[r3 + word] & b1)
                    at = four * width + column
                    counts[at], counts[at + ONE] = counts[at] + n00, counts[at + ONE] + n01
                    at += width
                    counts[at], counts[at + ONE] = counts[at] + n10, counts[at + ONE] + n11
                    at += width
                    counts[at], counts[at + ONE] = counts[at] + n20, counts[at + ONE] + n21
                    at += width
                    counts[at], counts[at + ONE] = counts[at] + n30, counts[at + ONE] + n31
    return True


@compiled(
    *(
        types.boolean(sums, types.uint64, types.uint64, WRITE_FLOAT64)
        for sums in (WRITE_UINT16, WRITE_UINT32, WRITE_FLOAT64)
    ),
    inner=True,
)
def move_sums(sums: NDArray[np.float32], at: Index, n: Index, dots: NDArray[np.float64]) -> bool:
    """Move n sums from `at` on into `dots`, leaving zeros. False if all were zero."""
    found = False
    for k in range(n):
        found |= sums[at + k] != 0
    if found:
        for k in range(n):
            dots[k] = sums[at + k]
            sums[at + k] = 0
    return found
