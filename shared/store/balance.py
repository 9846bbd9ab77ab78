"""Cuts work into contiguous ranges of about equal or of falling size."""

import numpy as np
from numpy.typing import NDArray

# The exponent of tapering: the first range gets about 1.25 times the average work, the last one the least.
TAPER = 1.25


def balance(work: NDArray[np.int64], parts: int, *, taper: bool = False) -> NDArray[np.int64]:
    """Cut positions 0..n-1 into ranges of about equal work, or with `taper` of falling work.

    `work` is int64[n], none negative. Returns the bounds of min(parts, n) ranges, int64, from 0 to n: range k is
    [bounds[k], bounds[k + 1]), and none is empty.

    Raises:
        ValueError: `parts` is below 1.
    """
    if parts < 1:
        raise ValueError(f"cannot cut into {parts} parts")
    parts = min(parts, work.size)
    steps = np.arange(parts + 1, dtype=np.int64)
    done = np.concatenate(([0], np.cumsum(work, dtype=np.int64)))
    shares = steps / max(parts, 1)
    if taper:
        shares = 1 - (1 - shares) ** TAPER
    bounds: NDArray[np.int64] = np.searchsorted(done, done[-1] * shares).astype(np.int64)
    # No range is empty: bounds ascend, and leave one position for each range after them.
    bounds = np.maximum.accumulate(bounds - steps) + steps
    bounds = np.minimum(bounds, work.size - parts + steps)
    bounds[-1] = work.size
    return bounds
