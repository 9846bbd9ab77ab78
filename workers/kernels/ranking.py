"""The one total order of candidates: the higher float32 first, the smaller index first where they are equal.

An entry is a key, uint64: the upper half has the bits of its value, inverted, and the lower half its item. The bits of
numbers that are not negative are in the order of the numbers, so the best entry has the smallest key. Where a build
gathers entries they lie in two arrays, `values` float32 and `items` uint32, from `base` on.
"""

from typing import TypeAlias

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.compiled import (
    WRITE_FLOAT32,
    WRITE_FLOAT64,
    WRITE_UINT32,
    WRITE_UINT64,
    Index,
    compiled,
)

Values: TypeAlias = NDArray[np.float32]
Items: TypeAlias = NDArray[np.uint32]
ENTRIES = (WRITE_FLOAT32, WRITE_UINT32)
HALF, ONE, TWO = np.uint64(32), np.uint64(1), np.uint64(2)
# So many entries, and no more, are sorted by insertion.
FEW = np.uint64(32)


@compiled(types.uint64(types.float32, types.uint32))
def key_of(value: np.float32, item: int) -> Index:
    """The key of an entry whose value is not below zero."""
    return np.uint64(~np.float32(value).view(np.uint32)) << HALF | np.uint64(item)


@compiled(types.float32(types.uint64))
def value_of(key: Index) -> np.float32:
    """The value of a key's entry."""
    return np.uint32(~(key >> HALF)).view(np.float32)


@compiled(types.void(WRITE_UINT64, types.uint64, types.uint64))
def sort_few(keys: NDArray[np.uint64], begin: Index, end: Index) -> None:
    """Sort the keys from `begin` to before `end`, by insertion."""
    for at in range(begin + ONE, end):
        key, to = keys[at], np.uint64(at)
        while to > begin and keys[to - ONE] > key:
            keys[to] = keys[to - ONE]
            to -= ONE
        keys[to] = key


@compiled(types.void(WRITE_UINT64, types.uint64, types.uint64))
def _sift_down(keys: NDArray[np.uint64], at: Index, size: Index) -> None:
    """Let the key at `at` sink in a heap of `size`, which has the largest one at its root (Knuth, vol. 3, 5.2.3)."""
    key = keys[at]
    while TWO * at + ONE < size:
        largest = TWO * at + ONE
        if largest + ONE < size and keys[largest + ONE] > keys[largest]:
            largest += ONE
        if keys[largest] <= key:
            break
        keys[at] = keys[largest]
        at = largest
    keys[at] = key


@compiled(types.uint64(WRITE_UINT64, types.uint64, types.uint64))
def keep_best(keys: NDArray[np.uint64], size: Index, length: Index) -> Index:
    """Bring the best `length`, which is not 0, of `size` keys to the front, best first; return how many they are."""
    if size <= FEW:
        sort_few(keys, np.uint64(0), size)
        return min(size, length)
    kept = min(size, length)
    for n in range(kept // TWO):
        _sift_down(keys, kept // TWO - ONE - n, kept)
    for at in range(kept, size):
        if keys[at] < keys[0]:
            keys[at], keys[0] = keys[0], keys[at]
            _sift_down(keys, np.uint64(0), kept)
    for n in range(kept - ONE):
        last = kept - ONE - n
        keys[0], keys[last] = keys[last], keys[0]
        _sift_down(keys, np.uint64(0), last)
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
                values[up], values[down] = values[down], values[up]
                items[up], items[down] = items[down], items[up]
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
