"""Sorts whole numbers, stably and in linear passes over memory."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

HALF = 32


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
