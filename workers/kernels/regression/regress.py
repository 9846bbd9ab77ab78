"""The kind `slim`: what a user has of the nearest items explains each target, by a local non-negative regression.

For target j over its candidates C: minimise over b >= 0 b'(G_CC + diag L)b / 2 - (g_j - l1)'b, and S(a, j) = b_a.
G_ab is the sum of f_u over the users of both, L_a = l2 + l2_share G_aa. As fsSLIM: Ning and Karypis, "SLIM: Sparse
Linear Methods for Top-N Recommender Systems", ICDM 2011; with a penalty as in Steck, "Embarrassingly Shallow
Autoencoders for Sparse Data", WWW 2019.
"""

from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.building.build import Tile
from reckoner.workers.kernels.compiled import READ_UINT8, WRITE_FLOAT32, WRITE_UINT32, Index, compiled
from reckoner.workers.kernels.regression.descent import PROBLEM, Problem, descend, new_problem, remove, settle, support
from reckoner.workers.kernels.regression.nearest import NEAREST, Nearest, choose, meet, new_nearest
from reckoner.workers.kernels.regression.sums import RARE, SHARED, UNITS, Shared, row_begin
from reckoner.workers.kernels.selection import nth_largest

ZERO, ONE = np.uint64(0), np.uint64(1)
# At most so many sweeps, before and after values are dropped.
SWEEPS = 100
# A value that gains less than this share of what ends the descent is not kept: there are many, and scoring reads each.
LEAST = 0.5


def regress(
    shared: Shared,
    first: int,
    last: int,
    *,
    candidates: int,
    neighbours: int,
    l1: float,
    l2: float,
    l2_share: float,
    tolerance: float = 1e-2,
    stop: NDArray[np.uint8],
) -> Tile | None:
    """The values of the targets of the ranks first..last-1: a list for each target, by rank, of at most `neighbours`.

    Of the `candidates` items with the largest g^2 / (G_aa + L_a), ties to the more popular, those with the largest
    values stay, and are fitted again without the others. The descent ends when no step gains tolerance^2 G_jj / 2, or
    after 100 sweeps. None if `stop`, uint8[1], was set.
    """
    # A problem takes the square of its candidates.
    candidates = min(candidates, shared.order.size)
    counts, entries = np.zeros(last - first, np.uint32), (last - first) * min(neighbours, candidates)
    items, values = np.empty(entries, np.uint32), np.empty(entries, np.float32)
    buffers = new_nearest(shared.order.size, candidates), new_problem(candidates)
    penalties = l1 * UNITS, l2 * UNITS, float(l2_share)
    filled = _regress(
        shared, first, last, neighbours, *penalties, tolerance * tolerance, *buffers, counts, items, values, stop
    )
    if filled < 0:
        return None
    return Tile(shared.order[first:last].copy(), counts, items[:filled].copy(), values[:filled].copy())


def _pairing(shared: Any) -> Any:
    return types.void(shared, types.uint64, NEAREST, PROBLEM)


@compiled(_pairing(SHARED), later=map(_pairing, RARE), inner=True)
def _pair(of: Shared, size: Index, nearest: Nearest, problem: Problem) -> None:
    """Put the candidates' sums with each other into the problem."""
    sums, width, chosen, places = problem.sums, np.uint64(problem.penalty.size), nearest.chosen, nearest.places
    for k in range(size):
        rank, row = np.uint64(chosen[k]), k * width
        begin, item = row_begin(rank), np.uint64(of.order[rank])
        if rank < np.uint64(of.popular):
            for x in range(k):
                sums[row + x] = np.float64(of.table[begin + np.uint64(chosen[x])])
        else:
            for x in range(k):
                sums[row + x] = 0.0
            for at in range(np.uint64(of.item_ptr[item]), np.uint64(of.item_ptr[item + ONE])):
                user = np.uint64(of.item_users[at])
                counted, first = np.float64(of.units[user]), np.uint64(of.user_ptr[user])
                for n in range(first, first + np.uint64(of.places[at])):
                    place = np.uint64(places[np.uint64(of.user_ranks[n])])
                    if place > ZERO:
                        sums[row + place - ONE] += counted
        places[rank] = k + ONE
        sums[row + k] = of.own[rank]
        for x in range(k):
            sums[x * width + k] = sums[row + x]
    for k in range(size):
        places[np.uint64(chosen[k])] = 0


@compiled(types.void(PROBLEM, types.uint64, types.uint64, NEAREST), inner=True)
def _drop(problem: Problem, size: Index, most: Index, nearest: Nearest) -> None:
    """Drop all values but the `most` largest; of equal ones the more popular stay."""
    values, ties = problem.values, most
    for k in range(size):
        nearest.sorting[k] = values[k]
    cut = nth_largest(nearest.sorting, np.int64(size), np.int64(most))
    for k in range(size):
        ties -= np.uint64(values[k] > cut)
    for k in range(size):
        if values[k] == cut and ties > ZERO:
            ties -= ONE
        elif 0.0 < values[k] <= cut:
            remove(problem, size, k)


def _regressing(shared: Any) -> Any:
    return types.int64(
        *(shared, types.uint64, types.uint64, types.uint64),
        *(types.float64, types.float64, types.float64, types.float64),
        *(NEAREST, PROBLEM, WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, READ_UINT8),
    )


@compiled(_regressing(SHARED), later=map(_regressing, RARE))
def _regress(
    of: Shared,
    first: Index,
    last: Index,
    neighbours: Index,
    l1: float,
    l2: float,
    l2_share: float,
    least: float,
    nearest: Nearest,
    problem: Problem,
    counts: NDArray[np.uint32],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> Any:
    """Fill the targets' lists. Returns the number of entries, -1 if stopped."""
    filled, width = ZERO, np.uint64(problem.penalty.size)
    for target in range(first, last):
        if stop[0]:
            return -1
        met = meet(of, target, nearest)
        size = choose(nearest, met, of.own, l1, l2, l2_share)
        _pair(of, size, nearest, problem)
        for k in range(size):
            rank = np.uint64(nearest.chosen[k])
            problem.residual[k], problem.values[k] = nearest.sums[rank], 0.0
            problem.penalty[k] = l2 + l2_share * of.own[rank]
        for n in range(met):
            nearest.sums[np.uint64(nearest.met[n])] = 0.0
        settled = least * of.own[target]
        descend(problem, size, l1, settled, np.uint64(SWEEPS))
        if support(problem, size) > neighbours:
            _drop(problem, size, neighbours, nearest)
            settle(problem, size, l1, settled, np.uint64(SWEEPS))
        begin = filled
        for k in range(size):
            value = problem.values[k]
            is_kept = value * value * (problem.sums[k * width + k] + problem.penalty[k]) >= LEAST * settled
            if is_kept and np.float32(value) > np.float32(0.0):
                items[filled], values[filled] = of.order[np.uint64(nearest.chosen[k])], value
                filled += ONE
        counts[target - first] = filled - begin
    return np.int64(filled)
