"""Finds the items that may explain a target: those with the largest g^2 / (n + L), g being the sum with the target."""

from typing import Any, NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import READ_FLOAT64, WRITE_FLOAT64, WRITE_UINT32, Index, compiled
from reckoner.workers.kernels.regression.sums import RARE, SHARED, Shared, row_begin
from reckoner.workers.kernels.selection import nth_largest

ZERO, ONE = np.uint64(0), np.uint64(1)


class Nearest(NamedTuple):
    """Buffers for I items and M candidates, all overwritten but the zeroed ones.

    `sums` float64[I]: of the target with each rank, zeroed. `met` uint32[I]: the ranks with a sum. `worth` and
    `sorting` float64[I]. `chosen` uint32[M]: the ranks of the candidates, ascending. `places` uint32[I], zeroed.
    """

    sums: NDArray[np.float64]
    met: NDArray[np.uint32]
    worth: NDArray[np.float64]
    sorting: NDArray[np.float64]
    chosen: NDArray[np.uint32]
    places: NDArray[np.uint32]


NEAREST = types.NamedTuple(
    [WRITE_FLOAT64, WRITE_UINT32, WRITE_FLOAT64, WRITE_FLOAT64, WRITE_UINT32, WRITE_UINT32], Nearest
)


def new_nearest(items: int, candidates: int) -> Nearest:
    """Buffers for so many items and candidates."""
    return Nearest(
        np.zeros(items),
        np.empty(items, np.uint32),
        np.empty(items),
        np.empty(items),
        np.empty(candidates, np.uint32),
        np.zeros(items, np.uint32),
    )


def _meeting(shared: Any) -> Any:
    return types.uint64(shared, types.uint64, NEAREST)


@compiled(_meeting(SHARED), later=map(_meeting, RARE), inner=True)
def meet(of: Shared, target: Index, nearest: Nearest) -> Index:
    """Find the target's sums with all other ranks. Returns the number of those with one."""
    sums, met, size, low = nearest.sums, nearest.met, ZERO, ZERO
    if target < np.uint64(of.popular):
        low, at = np.uint64(of.popular), row_begin(target)
        for other in range(low):
            if other != target:
                sums[other] = np.float64(of.table[at])
                met[size] = other
                size += np.uint64(sums[other] > 0.0)
            # The target's row, and then its column.
            at += ONE if other < target else other
    if low < np.uint64(of.order.size):
        item = np.uint64(of.order[target])
        for at in range(np.uint64(of.item_ptr[item]), np.uint64(of.item_ptr[item + ONE])):
            user = np.uint64(of.item_users[at])
            counted, n, least = (
                np.float64(of.units[user]),
                np.uint64(of.user_ptr[user + ONE]),
                np.uint64(of.user_ptr[user]),
            )
            while n > least and np.uint64(of.user_ranks[n - ONE]) >= low:
                n -= ONE
                rank = np.uint64(of.user_ranks[n])
                met[size] = rank
                size += np.uint64((sums[rank] == 0.0) & (counted > 0.0) & (rank != target))
                sums[rank] += counted
        sums[target] = 0.0
    return size


@compiled(types.void(WRITE_UINT32, types.uint64), inner=True)
def _sort(ranks: NDArray[np.uint32], size: Index) -> None:
    """Sort ranks by insertion: most are in order already."""
    for n in range(ONE, size):
        rank, to = ranks[n], n
        while to > ZERO and ranks[to - ONE] > rank:
            ranks[to] = ranks[to - ONE]
            to -= ONE
        ranks[to] = rank


@compiled(types.uint64(NEAREST, types.uint64, types.float64), inner=True)
def _take_best(nearest: Nearest, size: Index, cut: float) -> Index:
    """Choose the met ranks worth more than `cut`, and the smallest ones worth as much. Returns their number."""
    met, worth, chosen, found, ties = nearest.met, nearest.worth, nearest.chosen, ZERO, ZERO
    most = np.uint64(chosen.size)
    for n in range(size):
        if worth[n] > cut:
            chosen[found] = met[n]
            found += ONE
    for n in range(size):
        if worth[n] == cut:
            rank, to = met[n], found + ties
            if to < most:
                ties += ONE
            elif rank < chosen[most - ONE]:
                to -= ONE
            else:
                continue
            while to > found and chosen[to - ONE] > rank:
                chosen[to] = chosen[to - ONE]
                to -= ONE
            chosen[to] = rank
    return found + ties


@compiled(types.uint64(NEAREST, types.uint64, READ_FLOAT64, types.float64, types.float64, types.float64), inner=True)
def choose(nearest: Nearest, size: Index, own: NDArray[np.float64], l1: float, l2: float, l2_share: float) -> Index:
    """Choose the candidates among `size` met ranks, ascending, without those whose value is zero for certain.

    That is where g <= l1: since no sum is below zero, the values of others only lower the residual. Returns their
    number.
    """
    met, sums, worth, chosen, found = nearest.met, nearest.sums, nearest.worth, nearest.chosen, ZERO
    if size > np.uint64(chosen.size):
        for n in range(size):
            rank = np.uint64(met[n])
            worth[n] = sums[rank] * sums[rank] / (own[rank] + (l2 + l2_share * own[rank]))
            nearest.sorting[n] = worth[n]
        cut = nth_largest(nearest.sorting, np.int64(size), np.int64(chosen.size))
        size = _take_best(nearest, size, cut)
    else:
        for n in range(size):
            chosen[n] = met[n]
    for n in range(size):
        rank = np.uint64(chosen[n])
        chosen[found] = rank
        found += np.uint64(sums[rank] > l1)
    _sort(chosen, found)
    return found
