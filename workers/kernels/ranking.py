"""The one total order of candidates: the higher float32 first, the smaller index first where they are equal."""

from collections.abc import Callable

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.compiled import WRITE_FLOAT32, WRITE_UINT32, compiled

KeepBest = Callable[[NDArray[np.float32], NDArray[np.uint32], int, int], int]

KEEP_BEST = types.int64(WRITE_FLOAT32, WRITE_UINT32, types.int64, types.int64)


@compiled(types.boolean(WRITE_FLOAT32, WRITE_UINT32, types.int64, types.int64))
def _ranks_below(values: NDArray[np.float32], items: NDArray[np.uint32], a: int, b: int) -> bool:
    """Whether the entry at `a` comes after the one at `b`."""
    return bool(values[a] < values[b] or (values[a] == values[b] and items[a] > items[b]))


@compiled(types.void(WRITE_FLOAT32, WRITE_UINT32, types.int64, types.int64))
def _swap(values: NDArray[np.float32], items: NDArray[np.uint32], a: int, b: int) -> None:
    values[a], values[b] = values[b], values[a]
    items[a], items[b] = items[b], items[a]


@compiled(types.void(WRITE_FLOAT32, WRITE_UINT32, types.int64, types.int64))
def _sift_down(values: NDArray[np.float32], items: NDArray[np.uint32], at: int, size: int) -> None:
    """Let the entry at `at` sink in the heap of the first `size` entries, whose root is the lowest ranked."""
    while 2 * at + 1 < size:
        lowest = 2 * at + 1
        if lowest + 1 < size and _ranks_below(values, items, lowest + 1, lowest):
            lowest += 1
        if not _ranks_below(values, items, lowest, at):
            return
        _swap(values, items, at, lowest)
        at = lowest


@compiled(KEEP_BEST)
def keep_best(values: NDArray[np.float32], items: NDArray[np.uint32], size: int, length: int) -> int:
    """Bring the best `length` of the first `size` entries to the front, best first, and return how many they are.

    `values` (float32) and `items` (uint32, distinct) are reordered together, in place. The order is total, so what
    comes out does not depend on how the entries stood before.
    """
    kept = min(size, length)
    for at in range(kept // 2 - 1, -1, -1):
        _sift_down(values, items, at, kept)
    for entry in range(kept, size):
        if _ranks_below(values, items, 0, entry):
            _swap(values, items, 0, entry)
            _sift_down(values, items, 0, kept)
    for last in range(kept - 1, 0, -1):
        _swap(values, items, 0, last)
        _sift_down(values, items, 0, last)
    return kept
