"""Quickselect: moves the best k of many to the front, in no order, in linear time.

C. A. R. Hoare, "Algorithm 65: Find", Communications of the ACM 4(7), 1961.
"""

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import WRITE_FLOAT32, WRITE_FLOAT64, WRITE_UINT64, Index, compiled

ONE, TWO = np.uint64(1), np.uint64(2)


@compiled(types.uint64(WRITE_UINT64, types.uint64, types.uint64, types.uint64))
def select_best(keys: NDArray[np.uint64], begin: Index, size: Index, length: Index) -> Index:
    """Move the best `length` of `size` keys from `begin` on to their front. Returns how many these are."""
    if size <= length:
        return size
    low, high, wanted = begin, begin + size, begin + length - ONE
    while low + ONE < high:
        key = keys[(low + high - ONE) // TWO]
        up, down = low, high
        while up < down:
            while keys[up] < key:
                up += ONE
            while keys[down - ONE] > key:
                down -= ONE
            if up < down:
                keys[up], keys[down - ONE] = keys[down - ONE], keys[up]
                up, down = up + ONE, down - ONE
        if wanted < down:
            high = down
        elif wanted >= up:
            low = up
        else:
            break
    return length


@compiled(*(types.float64(values, types.int64, types.int64) for values in (WRITE_FLOAT32, WRITE_FLOAT64)))
def nth_largest(values: NDArray[np.float32] | NDArray[np.float64], size: Index, n: Index) -> float:
    """The n-th largest of `size` numbers, from 1. It reorders them."""
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
