"""Non-negative least squares with penalties, by cyclic coordinate descent in a fixed order.

minimise over b >= 0: b'(A + diag(penalty))b / 2 - (g - l1)'b. Friedman, Hastie and Tibshirani, "Regularization Paths
for Generalized Linear Models via Coordinate Descent", Journal of Statistical Software 33(1), 2010, section 2.2.
No step adds up over candidates, so the bytes are the same with and without vector instructions.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import WRITE_FLOAT64, WRITE_UINT32, Index, compiled

ZERO, ONE = np.uint64(0), np.uint64(1)


class Problem(NamedTuple):
    """The buffers of a problem with at most M candidates.

    `sums` float64[M * M]: A, in rows of M. `penalty`, `residual` (g - A b) and `values` (b) float64[M]. `live`
    uint32[M]: the places of the values that are swept.
    """

    sums: NDArray[np.float64]
    penalty: NDArray[np.float64]
    residual: NDArray[np.float64]
    values: NDArray[np.float64]
    live: NDArray[np.uint32]


PROBLEM = types.NamedTuple([WRITE_FLOAT64, WRITE_FLOAT64, WRITE_FLOAT64, WRITE_FLOAT64, WRITE_UINT32], Problem)


def new_problem(candidates: int) -> Problem:
    """Buffers for so many candidates."""
    return Problem(
        np.empty(candidates * candidates),
        np.empty(candidates),
        np.empty(candidates),
        np.empty(candidates),
        np.empty(candidates, np.uint32),
    )


@compiled(types.float64(PROBLEM, types.uint64, types.float64, types.uint64), inner=True)
def _step(problem: Problem, size: Index, l1: float, k: Index) -> Any:
    """Give candidate k its best value while all others stay. Returns the gain, twice."""
    row = k * np.uint64(problem.penalty.size)
    own, old, residual = problem.sums[row + k], problem.values[k], problem.residual
    curve, over = own + problem.penalty[k], residual[k] + own * old - l1
    value = over / curve if over > 0.0 else 0.0
    change = value - old
    if change == 0.0:
        return 0.0
    problem.values[k] = value
    for x in range(size):
        residual[x] -= change * problem.sums[row + x]
    return change * change * curve


@compiled(types.uint64(PROBLEM, types.uint64), inner=True)
def support(problem: Problem, size: Index) -> Index:
    """List the places of values above zero. Returns their number."""
    found = ZERO
    for k in range(size):
        problem.live[found] = k
        found += np.uint64(problem.values[k] > 0.0)
    return found


@compiled(types.uint64(PROBLEM, types.uint64, types.float64, types.float64, types.uint64), inner=True)
def settle(problem: Problem, size: Index, l1: float, least: float, sweeps: Index) -> Index:
    """Sweep only values above zero until no step gains `least`. Returns how many of the `sweeps` are left."""
    count = support(problem, size)
    while sweeps > ZERO:
        sweeps, most = sweeps - ONE, 0.0
        for n in range(count):
            most = max(most, _step(problem, size, l1, np.uint64(problem.live[n])))
        if most < least:
            break
    return sweeps


@compiled(types.void(PROBLEM, types.uint64, types.float64, types.float64, types.uint64), inner=True)
def descend(problem: Problem, size: Index, l1: float, least: float, sweeps: Index) -> None:
    """Improve the values of `size` candidates until no step of a sweep over all gains `least`; at most `sweeps`.

    After a sweep over all, those above zero are settled first: most stay at zero.
    """
    while sweeps > ZERO:
        sweeps, most = sweeps - ONE, 0.0
        for k in range(size):
            most = max(most, _step(problem, size, l1, k))
        if most < least:
            return
        sweeps = settle(problem, size, l1, least, sweeps)


@compiled(types.void(PROBLEM, types.uint64, types.uint64), inner=True)
def remove(problem: Problem, size: Index, k: Index) -> None:
    """Put a value to zero."""
    row, value = k * np.uint64(problem.penalty.size), problem.values[k]
    problem.values[k] = 0.0
    for x in range(size):
        problem.residual[x] += value * problem.sums[row + x]
