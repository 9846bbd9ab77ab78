"""Estimates the cost of a model's rows, and decides which items are counted as bits.

A row costs one addition for each pair of its item with a more popular one. For popular items it is cheaper to store the
users as bits and count those of whole words.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import binding
from numba import config
from numpy.typing import NDArray

from reckoner.shared.store.balance import balance
from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.ranked import Ranked, popularity_order
from reckoner.workers.kernels.building.similarity import Weighting, weigh

# Costs in additions, of about 0.4 ns each on a fast processor. They do not affect the result.
# For each pair of items, and in addition for each pair with a common user.
PER_PAIR, PER_MET = 3.0, 4.5
# For each word of bits, by the best instruction of the processor.
PER_WORD_BY_FEATURE = {"avx512vpopcntdq": 0.11, "avx2": 0.45, "popcnt": 0.7}
PER_WORD_OTHERWISE = 1.4
# The memory of an item that is counted as bits: its words, and a count for each of the rows that are counted together.
BYTES_PER_WORD, BYTES_PER_COUNT, ROWS_AT_ONCE = 8, 4, 64
# For setting one bit.
PER_BIT = 2.0
# The number of interactions from which the cost of all is estimated.
SAMPLE = 400_000


class Cost(NamedTuple):
    """The cost of rows, by rank.

    `additions` float64[I]: the number of counted pairs with more popular items. `holders` int64[I]: the number of the
    item's users. `users`: the number of all users. `are_counted`: whether each user counts 1, or has a weight.
    """

    additions: NDArray[np.float64]
    holders: NDArray[np.int64]
    users: int
    are_counted: bool


def cost_of(ranked: Ranked, weighting: Weighting) -> Cost:
    """The exact cost of laid out interactions."""
    counted = not (weighting.user_factors.size or weighting.item_weights.size)
    holders = np.diff(ranked.item_ptr)[ranked.order]
    return Cost(ranked.additions.astype(np.float64), holders, ranked.user_ptr.size - 1, counted)


def are_counted(config: ModelConfig, are_weighted: bool) -> bool:
    """Whether a similarity counts each user as 1. One sample interaction tells."""
    weights, ptr = np.full(1, 2, np.float32) if are_weighted else None, np.arange(2)
    weighting = weigh(config, ptr, np.zeros(1, np.uint32), weights, ptr)
    return not (weighting.user_factors.size or weighting.item_weights.size)


def estimated_cost(
    item_ptr: NDArray[np.int64], user_ptr: NDArray[np.int64], user_items: NDArray[np.uint32], are_counted: bool
) -> Cost:
    """The approximate cost of a snapshot, from every n-th user with all items."""
    item_count, user_count = item_ptr.size - 1, user_ptr.size - 1
    users = np.arange(0, user_count, max(1, user_items.size // SAMPLE))
    lengths = np.diff(user_ptr)[users]
    begins = np.cumsum(lengths) - lengths
    numbers = np.arange(lengths.sum())
    order, rank_of = popularity_order(item_ptr), np.empty(item_count, np.int64)
    rank_of[order] = np.arange(item_count)
    firsts = np.repeat(np.arange(users.size) * item_count, lengths)
    ranks = np.sort(firsts + rank_of[user_items[numbers + np.repeat(user_ptr[users] - begins, lengths)]]) - firsts
    places = numbers - np.repeat(begins, lengths)
    additions = np.bincount(ranks, places.astype(np.float64), minlength=item_count)
    # Scale to the exact total: a few users may contribute most of it.
    all_lengths = np.diff(user_ptr)
    scale = int((all_lengths * (all_lengths - 1) // 2).sum()) / max(float(additions.sum()), 1.0)
    holders = np.diff(item_ptr)[order]
    return Cost(np.multiply(additions, scale, dtype=np.float64), holders, user_count, are_counted)


def bit_ranks(cost: Cost, bit_bytes: int, first: int = 0, last: int | None = None) -> int:
    """How many of the most popular items to count as bits, within `bit_bytes` of memory. 0 if users have weights.

    If only the rows first..last-1 are built, their gain must pay for the bits of all more popular items.
    """
    if not cost.are_counted:
        return 0
    gain = cost.additions - _as_bits(cost)
    gain[:first] = 0
    gains = np.cumsum(gain - cost.holders * PER_BIT)
    room = bit_bytes // (bit_words(cost.users) * BYTES_PER_WORD + ROWS_AT_ONCE * BYTES_PER_COUNT)
    return int(np.argmax(np.concatenate((np.zeros(1), gains[:last][:room]))))


def row_work(cost: Cost, bit_bytes: int) -> NDArray[np.int64]:
    """The cost of each rank's row in additions, int64[I], without setting bits. `bit_bytes` as in `bit_ranks`."""
    ranks = np.arange(cost.additions.size)
    counting = np.where(ranks < bit_ranks(cost, bit_bytes), _as_bits(cost), cost.additions)
    # The expected number if additions fell on pairs at random.
    met = ranks * -np.expm1(-cost.additions / np.maximum(ranks, 1))
    work: NDArray[np.int64] = (counting + ranks * PER_PAIR + met * PER_MET).astype(np.int64)
    return work


def plan_rows(cost: Cost, least: int, most: int, additions: int, tile_bytes: int) -> NDArray[np.int64]:
    """The bounds of `least` to `most` row ranges of about `additions` each, int64[ranges + 1].

    Later ranges are smaller, so that all workers finish at about the same time.
    """
    work = row_work(cost, tile_bytes)
    return balance(work, min(max(least, -(-int(work.sum()) // additions)), most), taper=True)


def _as_bits(cost: Cost) -> NDArray[np.float64]:
    """The cost of each rank's row if counted as bits, float64[I]."""
    return np.arange(cost.additions.size, dtype=np.float64) * (bit_words(cost.users) * _per_word())


def bit_words(users: int) -> int:
    """The number of words with a bit for each user."""
    return (users + 63) // 64


def _per_word() -> float:
    features = binding.get_host_cpu_features() if vars(config)["CPU_NAME"] is None else {}
    return next((cost for name, cost in PER_WORD_BY_FEATURE.items() if features.get(name)), PER_WORD_OTHERWISE)
