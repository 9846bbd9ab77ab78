"""Sorts whole numbers, stably and in linear passes over memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 32
# The numbers that are counted at a time.
AT_ONCE = 1 << 20


def count_each(numbers: NDArray[np.integer[Any]], below: int) -> NDArray[np.int64]:
    """How often each number from 0 to `below` - 1 is there, int64[below]."""
    counts, at_once = np.zeros(below, dtype=np.int64), max(AT_ONCE, below)
    # Of other integers than int64, numpy counts a copy.
    for start in range(0, len(numbers), at_once):
        counts += np.bincount(numbers[start : start + at_once], minlength=below)
    return counts


def stable_order(numbers: NDArray[np.unsignedinteger[Any]], below: int) -> NDArray[np.int64]:
    """The indices int64[n] that sort n < 2^32 numbers from 0 to `below` - 1; equal numbers keep their order.

    Each number is packed with its index into 64 bits, and the packed numbers are sorted: numpy does so with vector
    instructions, some ten times faster than its stable argsort.
    """
    bits = max(len(numbers) - 1, 0).bit_length()
    if max(below - 1, 0).bit_length() + bits > 2 * HALF:
        order = stable_order(numbers & np.uint64((1 << HALF) - 1), 1 << HALF)
        return order[stable_order(numbers[order] >> np.uint64(HALF), ((below - 1) >> HALF) + 1)]
    packed = numbers.astype(np.uint64)
    packed <<= np.uint64(bits)
    packed |= np.arange(len(numbers), dtype=np.uint64)
    packed.sort()
    packed &= np.uint64((1 << bits) - 1)
    return packed.view(np.int64)
