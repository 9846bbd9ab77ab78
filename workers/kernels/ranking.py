"""The one total order of candidates: the higher float32 first, the smaller index first where they are equal.

Entries lie in two arrays, `values` float32 and `items` uint32, from `base` on. A heap has its lowest ranked entry at
its root, which is the one that a better entry replaces (Knuth, "The Art of Computer Programming", vol. 3, 5.2.3).
"""

from typing import TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.compiled import WRITE_FLOAT32, WRITE_FLOAT64, WRITE_UINT32, compiled

Values: TypeAlias = NDArray[np.float32]
Items: TypeAlias = NDArray[np.uint32]
ENTRIES = (WRITE_FLOAT32, WRITE_UINT32)


@compiled(types.boolean(*ENTRIES, types.int64, types.int64))
def _ranks_below(values: Values, items: Items, a: int, b: int) -> bool:
    """Whether the entry at `a` comes after the one at `b`."""
    return bool(values[a] < values[b] or (values[a] == values[b] and items[a] > items[b]))


@compiled(types.void(*ENTRIES, types.int64, types.int64))
def _swap(values: Values, items: Items, a: int, b: int) -> None:
    values[a], values[b] = values[b], values[a]
    items[a], items[b] = items[b], items[a]


@compiled(types.void(*ENTRIES, types.int64, types.int64, types.int64))
def _sift_down(values: Values, items: Items, base: int, at: int, size: int) -> None:
    """Let the entry at `at` sink in the heap of `size` entries."""
    while 2 * at + 1 < size:
        lowest = 2 * at + 1
        if lowest + 1 < size and _ranks_below(values, items, base + lowest + 1, base + lowest):
            lowest += 1
        if not _ranks_below(values, items, base + lowest, base + at):
            return
        _swap(values, items, base + at, base + lowest)
        at = lowest


@compiled(types.void(*ENTRIES, types.int64, types.int64))
def _make_heap(values: Values, items: Items, base: int, size: int) -> None:
    for at in range(size // 2 - 1, -1, -1):
        _sift_down(values, items, base, at, size)


@compiled(types.int64(*ENTRIES, types.int64, types.int64, types.int64))
def keep_best(values: Values, items: Items, base: int, size: int, length: int) -> int:
    """Bring the best `length` of `size` entries to the front, best first, and return how many they are.

    Values and items (distinct) are reordered together, in place. The order is total, so what comes out does not depend
    on how the entries stood before.
    """
    kept = min(size, length)
    _make_heap(values, items, base, kept)
    for entry in range(kept, size):
        if _ranks_below(values, items, base, base + entry):
            _swap(values, items, base, base + entry)
            _sift_down(values, items, base, 0, kept)
    for last in range(kept - 1, 0, -1):
        _swap(values, items, base, base + last)
        _sift_down(values, items, base, 0, last)
    return kept


@compiled(types.int64(*ENTRIES, types.int64, types.int64, types.int64))
def select_best(values: Values, items: Items, base: int, size: int, length: int) -> int:
    """Bring the best `length` of `size` entries to the front, in no order, and return how many they are.

    Hoare, "Algorithm 65: Find", Communications of the ACM 4(7), 1961.
    """
    if size <= length:
        return size
    low, high = base, base + size - 1
    while low < high:
        middle = (low + high) // 2
        value, item = values[middle], items[middle]
        up, down = low, high
        while up <= down:
            while values[up] > value or (values[up] == value and items[up] < item):
                up += 1
            while values[down] < value or (values[down] == value and items[down] > item):
                down -= 1
            if up <= down:
                _swap(values, items, up, down)
                up, down = up + 1, down - 1
        if base + length - 1 <= down:
            high = down
        elif base + length - 1 >= up:
            low = up
        else:
            break
    return length


@compiled(
    types.float32(WRITE_FLOAT32, types.int64, types.int64),
    types.float64(WRITE_FLOAT64, types.int64, types.int64),
)
def nth_largest(values: NDArray[np.float32] | NDArray[np.float64], size: int, n: int) -> float:
    """The n-th largest of `size` numbers, counted from 1; they are reordered. The same algorithm."""
    low, high = 0, size - 1
    while low < high:
        value = values[(low + high) // 2]
        up, down = low, high
        while up <= down:
            while values[up] > value:
                up += 1
            while values[down] < value:
                down -= 1
            if up <= down:
                values[up], values[down] = values[down], values[up]
                up, down = up + 1, down - 1
        if n - 1 <= down:
            high = down
        elif n - 1 >= up:
            low = up
        else:
            break
    return float(values[n - 1])
