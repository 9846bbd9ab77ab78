"""Intervals by a bootstrap over users: how much a mean would move if other users had come."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

SEED = 7
MOST_RESAMPLES, LEAST_RESAMPLES = 1000, 200
# The draws in total that are affordable: some seconds. Many users need fewer resamples.
DRAWS = 200_000_000
# The resamples that are drawn at a time.
AT_ONCE = 16


class Interval(NamedTuple):
    """A mean, and the bounds of its 95 % interval."""

    mean: float
    low: float
    high: float

    @property
    def is_noise(self) -> bool:
        """Whether 0 is inside: as a difference it is within noise."""
        return self.low <= 0 <= self.high


def intervals(columns: Sequence[NDArray[np.float64]], seed: int = SEED) -> list[Interval]:
    """The mean of each column, float64[users] with values from -1 to 1, with its 95 % interval.

    The percentile bootstrap (Efron, 1979): users are drawn with replacement, the same for all columns, so that a column
    of differences is compared in pairs. Values are rounded to multiples of 2^-k, so that all sums are exact, and
    equal in any order.
    """
    n = columns[0].size
    if not n:
        return [Interval(0.0, 0.0, 0.0)] * len(columns)
    scale = 2.0 ** (52 - n.bit_length())
    values = np.stack([np.rint(column * scale) for column in columns], axis=1)
    resamples = max(LEAST_RESAMPLES, min(MOST_RESAMPLES, DRAWS // n))
    means = np.sort(_sums(values, resamples, seed), axis=0) / (scale * n)
    low, high = means[int(0.025 * resamples)], means[resamples - 1 - int(0.025 * resamples)]
    total = np.ones(n) @ values / (scale * n)
    return [Interval(*row) for row in zip(total.tolist(), low.tolist(), high.tolist(), strict=True)]


def _sums(values: NDArray[np.float64], resamples: int, seed: int) -> NDArray[np.float64]:
    """The sums of each column in each resample, float64[resamples, columns]."""
    n, bits = values.shape[0], np.random.PCG64(seed)
    sums = np.empty((resamples, values.shape[1]))
    for start in range(0, resamples, AT_ONCE):
        drawn = [_count(bits, n) for _ in range(min(AT_ONCE, resamples - start))]
        sums[start : start + len(drawn)] = np.stack(drawn) @ values
    return sums


def _count(bits: np.random.PCG64, n: int) -> NDArray[np.float64]:
    """How often each of n users is drawn in n draws, float64[n]."""
    # By the raw numbers, which no release of numpy changes. The bias of at most n / 2^32 is far below the noise.
    halves = bits.random_raw((n + 1) // 2).view(np.uint32)[:n].astype(np.uint64)
    return np.bincount((halves * np.uint64(n) >> np.uint64(32)).astype(np.int64), minlength=n).astype(np.float64)
