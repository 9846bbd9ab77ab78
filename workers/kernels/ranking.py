"""The total order of candidates: the higher float32 first, then the smaller item index.

An entry is one uint64 key: the inverted bits of its value in the upper half, its item in the lower half. The bits of
non-negative floats sort like the floats, so the best entry has the smallest key.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import WRITE_INT64, WRITE_UINT64, Index, compiled

# A radix sort takes this many bits per pass.
DIGIT_BITS, DIGITS = np.uint64(8), 256
HALF, ONE, TWO = np.uint64(32), np.uint64(1), np.uint64(2)
# At most this many entries are sorted by insertion.
FEW = np.uint64(32)


@compiled(types.uint64(types.float32, types.uint32))
def key_of(value: np.float32, item: int) -> Index:
    """The key of an entry with a non-negative value."""
    return np.uint64(~np.float32(value).view(np.uint32)) << HALF | np.uint64(item)


@compiled(types.float32(types.uint64))
def value_of(key: Index) -> np.float32:
    """The value of a key."""
    return np.uint32(~(key >> HALF)).view(np.float32)


def entries_of(keys: NDArray[np.uint64]) -> tuple[NDArray[np.uint32], NDArray[np.float32]]:
    """The items and values of keys, as new arrays."""
    halves = keys.view(np.uint32)
    return halves[::2].copy(), (~halves[1::2]).view(np.float32)


@compiled(types.void(WRITE_UINT64, types.uint64, types.uint64))
def sort_few(keys: NDArray[np.uint64], begin: Index, end: Index) -> None:
    """Sort keys[begin:end] by insertion."""
    for at in range(begin + ONE, end):
        key, to = keys[at], np.uint64(at)
        while to > begin and keys[to - ONE] > key:
            keys[to] = keys[to - ONE]
            to -= ONE
        keys[to] = key


@compiled(types.void(WRITE_UINT64, types.uint64, types.uint64), inner=True)
def _sift_down(keys: NDArray[np.uint64], at: Index, size: Index) -> None:
    """Sift the key at `at` down in a max-heap of `size` keys (Knuth, vol. 3, 5.2.3)."""
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
    """Move the best `length` of `size` keys to the front, best first. Returns how many these are. `length` is not 0."""
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


@compiled(types.void(WRITE_UINT64, types.uint64, types.uint64, types.uint64, types.uint64, WRITE_UINT64, WRITE_INT64))
def sort_by_digits(
    keys: NDArray[np.uint64],
    begin: Index,
    end: Index,
    low: Index,
    high: Index,
    scratch: NDArray[np.uint64],
    counts: NDArray[np.int64],
) -> None:
    """Sort keys[begin:end] by their bits low..high-1 with a stable radix sort (Knuth, vol. 3, 5.2.5).

    `scratch` has room for these keys, and `counts` for DIGITS.
    """
    for shift in range(low, high, DIGIT_BITS):
        for digit in range(DIGITS):
            counts[digit] = 0
        for at in range(begin, end):
            counts[keys[at] >> shift & np.uint64(DIGITS - 1)] += 1
        total = 0
        for digit in range(DIGITS):
            total, counts[digit] = total + counts[digit], total
        for at in range(begin, end):
            digit = keys[at] >> shift & np.uint64(DIGITS - 1)
            scratch[counts[digit]] = keys[at]
            counts[digit] += 1
        for n in range(end - begin):
            keys[begin + n] = scratch[n]
