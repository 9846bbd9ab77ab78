"""Entries of sparse rows for popular items, whose lists they may join: the best of each item are kept."""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_UINT32,
    WRITE_UINT64,
    Index,
    compiled,
)
from reckoner.workers.kernels.ranking import key_of, value_of
from reckoner.workers.kernels.selection import nth_largest, select_best

ZERO, ONE, NONE = np.uint64(0), np.uint64(1), np.float32(0.0)


class Offers(NamedTuple):
    """Entries for popular items, by rank, and room to sort them. `floors` has the least value of each list."""

    ranks: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    sorting: NDArray[np.uint64]
    floors: NDArray[np.float32]


OFFERS = types.NamedTuple([WRITE_UINT32, WRITE_UINT64, WRITE_UINT64, WRITE_FLOAT32], Offers)


@compiled(
    types.uint64(
        READ_UINT32, READ_UINT32, types.uint64, types.uint64, READ_FLOAT32, types.uint32, OFFERS, types.uint64
    ),
    inner=True,
)
def offer(
    rank_of: NDArray[np.uint32],
    met: NDArray[np.uint32],
    at: Index,
    n: Index,
    values: NDArray[np.float32],
    item: int,
    offers: Offers,
    offered: Index,
) -> Index:
    """Offer a row's item to the popular ones among n met items from `at` on. Returns the number of offers."""
    ranks, keys, floors, popular = offers.ranks, offers.keys, offers.floors, np.uint64(offers.floors.size)
    for k in range(n):
        rank = np.uint64(rank_of[np.uint64(met[at + k])])
        if rank < popular and values[k] > NONE and values[k] >= floors[rank]:
            ranks[offered], keys[offered] = rank, key_of(values[k], item)
            offered += ONE
    return offered


@compiled(types.uint64(OFFERS, types.uint64, types.uint64), inner=True, allocates=True)
def prune(offers: Offers, offered: Index, neighbours: Index) -> Index:
    """Sort offers by rank, keep the best K of each, and raise the floors. Returns the number of offers left."""
    popular = np.uint64(offers.floors.size)
    ends, best = np.zeros(popular + ONE, np.uint64), np.empty(neighbours, np.float32)
    ranks, keys, by_rank, floors = offers
    for n in range(offered):
        ends[np.uint64(ranks[n]) + ONE] += ONE
    for rank in range(popular):
        ends[rank + ONE] += ends[rank]
    for n in range(offered):
        rank = np.uint64(ranks[n])
        by_rank[ends[rank]] = keys[n]
        ends[rank] += ONE
    left, begin = ZERO, ZERO
    for rank in range(popular):
        end = ends[rank]
        size = select_best(by_rank, begin, end - begin, neighbours)
        if size == neighbours:
            for n in range(size):
                best[n] = value_of(by_rank[begin + n])
            floors[rank] = max(floors[rank], nth_largest(best, np.int64(size), np.int64(neighbours)))
        for n in range(begin, begin + size):
            if value_of(by_rank[n]) >= floors[rank]:
                ranks[left], keys[left] = rank, by_rank[n]
                left += ONE
        begin = end
    return left
