"""What the rows of a model cost to build, and which of them are counted as bits."""

from typing import NamedTuple

import numpy as np
from llvmlite import binding
from numba import config
from numpy.typing import NDArray

from reckoner.shared.store.balance import balance
from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.ranked import Ranked, popularity_order
from reckoner.workers.kernels.building.similarity import Weighting, weigh

# In additions to a counter, each of which takes some 0.4 ns on a quick processor: what a pair of items costs, and what
# one does of which somebody has both, as its sum is turned into a similarity.
PER_PAIR, PER_MET = 3.0, 4.5
# And to count one word of bits, with instructions that count those of a whole vector, with ones that help to, with one
# for a word, or with none. What it is has no say in the result.
PER_WORD_BY_FEATURE = {"avx512vpopcntdq": 0.11, "avx2": 0.45, "popcnt": 0.7}
PER_WORD_OTHERWISE = 1.4
# What an item that is counted as bits takes: its words, and a count of each of so many rows at a time.
BYTES_PER_WORD, BYTES_PER_COUNT, ROWS_AT_ONCE = 8, 4, 64
# To set one bit.
PER_BIT = 2.0
# Of so many interactions it is told about how many additions all of them take.
SAMPLE = 400_000


class Cost(NamedTuple):
    """What tells how long rows take: `additions` float64[I], for each rank how many pairs with more popular items are
    counted; `holders` int64[I], how many users have it; how many `users` there are; and whether they are counted, or
    weigh.
    """

    additions: NDArray[np.float64]
    holders: NDArray[np.int64]
    users: int
    are_counted: bool


def cost_of(ranked: Ranked, weighting: Weighting) -> Cost:
    """That of interactions that are laid out."""
    counted = not (weighting.user_factors.size or weighting.item_weights.size)
    holders = np.diff(ranked.item_ptr)[ranked.order]
    return Cost(ranked.additions.astype(np.float64), holders, ranked.user_ptr.size - 1, counted)


def are_counted(config: ModelConfig, are_weighted: bool) -> bool:
    """Whether a similarity counts users, each as one; which one interaction shows."""
    weights, ptr = np.full(1, 2, np.float32) if are_weighted else None, np.arange(2)
    weighting = weigh(config, ptr, np.zeros(1, np.uint32), weights, ptr)
    return not (weighting.user_factors.size or weighting.item_weights.size)


def estimated_cost(
    item_ptr: NDArray[np.int64], user_ptr: NDArray[np.int64], user_items: NDArray[np.uint32], are_counted: bool
) -> Cost:
    """About that of a snapshot, of which some users are looked at: each n-th, with all of their items."""
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
    # How many they are for all users is known; a few users may bring most of them.
    all_lengths = np.diff(user_ptr)
    scale = int((all_lengths * (all_lengths - 1) // 2).sum()) / max(float(additions.sum()), 1.0)
    holders = np.diff(item_ptr)[order]
    return Cost(np.multiply(additions, scale, dtype=np.float64), holders, user_count, are_counted)


def bit_ranks(cost: Cost, bit_bytes: int, first: int = 0, last: int | None = None) -> int:
    """How many of the most popular items are worth counting as bits, a word for 64 users, and have room in `bit_bytes`.

    Where only the rows first..last-1 are built, those have to be worth the bits of all that are more popular, too. None
    where users weigh.
    """
    if not cost.are_counted:
        return 0
    gain = cost.additions - _as_bits(cost)
    gain[:first] = 0
    gains = np.cumsum(gain - cost.holders * PER_BIT)
    room = bit_bytes // (bit_words(cost.users) * BYTES_PER_WORD + ROWS_AT_ONCE * BYTES_PER_COUNT)
    return int(np.argmax(np.concatenate((np.zeros(1), gains[:last][:room]))))


def row_work(cost: Cost, bit_bytes: int) -> NDArray[np.int64]:
    """What each rank's row costs to build, in additions, int64[I]; `bit_bytes` as for `bit_ranks`.

    What it takes to set bits, which each task does anew or not at all, is left out.
    """
    ranks = np.arange(cost.additions.size)
    counting = np.where(ranks < bit_ranks(cost, bit_bytes), _as_bits(cost), cost.additions)
    # As many as if additions fell on pairs by chance.
    met = ranks * -np.expm1(-cost.additions / np.maximum(ranks, 1))
    work: NDArray[np.int64] = (counting + ranks * PER_PAIR + met * PER_MET).astype(np.int64)
    return work


def plan_rows(cost: Cost, least: int, most: int, additions: int, tile_bytes: int) -> NDArray[np.int64]:
    """The bounds of `least` to `most` ranges of rows, int64[ranges + 1], of about so many additions each.

    They become smaller, so that workers who take one after the other end at about the same time.
    """
    work = row_work(cost, tile_bytes)
    return balance(work, min(max(least, -(-int(work.sum()) // additions)), most), taper=True)


def _as_bits(cost: Cost) -> NDArray[np.float64]:
    """What each rank's row costs as bits, float64[I]."""
    return np.arange(cost.additions.size, dtype=np.float64) * (bit_words(cost.users) * _per_word())


def bit_words(users: int) -> int:
    """How many words a bit for each user takes."""
    return (users + 63) // 64


def _per_word() -> float:
    features = binding.get_host_cpu_features() if vars(config)["CPU_NAME"] is None else {}
    return next((cost for name, cost in PER_WORD_BY_FEATURE.items() if features.get(name)), PER_WORD_OTHERWISE)
