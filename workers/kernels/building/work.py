"""Estimates the cost of a model's rows, and decides which are dense, and which of these are counted as bits.

A dense row costs one addition for each pair of its item with a more popular one, and a little for each more popular
item. For the most popular items it is cheaper to store the users as bits and count those of whole words. A sparse row
costs more for each pair, of which it meets all, and nothing for others.
"""

from typing import NamedTuple

import numpy as np
from llvmlite import binding
from numba import config
from numpy.typing import NDArray

from reckoner.shared.store.balance import balance
from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.keep import BLOCK
from reckoner.workers.kernels.building.ranked import Ranked, building_order, popularity_order
from reckoner.workers.kernels.building.similarity import Weighting, weigh

# Costs in additions, of about 0.4 ns each on a fast processor. They do not affect the result.
# Of any row: for each user of its item.
PER_USER = 40.0
# Of a dense row: for each pair of items, in addition for each in a block with a common user, and for each with one.
PER_PAIR, PER_BLOCKED, PER_MET = 0.5, 8.0, 4.5
# Of a sparse row: for itself, for each addition, for each item with a common user, and for each that may be kept. If
# there are popular items, each item with a common user costs more.
PER_ROW, PER_ADDITION, PER_COMMON, PER_KEPT, PER_OFFER = 200.0, 3.0, 15.0, 80.0, 20.0
# For each word of bits, by the best instruction of the processor.
PER_WORD_BY_FEATURE = {"avx512vpopcntdq": 0.11, "avx2": 0.45, "popcnt": 0.7}
PER_WORD_OTHERWISE = 1.4
# The memory of an item that is counted as bits: its words, and a count for each of the rows that are counted together.
BYTES_PER_WORD, BYTES_PER_COUNT, ROWS_AT_ONCE = 8, 4, 64
# A sparse row counts at most so many users.
MOST_USERS = 65_535
# For setting one bit.
PER_BIT = 2.0
# The number of interactions from which the cost of all is estimated, and of groups of ranks with a common mean.
SAMPLE, GROUPS = 400_000, 1024


class Cost(NamedTuple):
    """The cost of dense rows, by rank.

    `additions` float64[R]: the number of counted pairs with more popular items. `holders` int64[R]: the number of the
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


def _first(cost: Cost, ranks: int) -> Cost:
    """The cost of the first ranks alone."""
    return cost._replace(additions=cost.additions[:ranks], holders=cost.holders[:ranks])


class Estimate(NamedTuple):
    """The approximate cost of the rows of I items, by rank.

    `order` uint32[I]: the item of each rank. `dense`: the cost of all rows if they are dense. `pairs` float64[I]: the
    number of counted pairs of each item with any other.
    """

    order: NDArray[np.uint32]
    dense: Cost
    pairs: NDArray[np.float64]


def estimated_cost(
    item_ptr: NDArray[np.int64], user_ptr: NDArray[np.int64], user_items: NDArray[np.uint32], are_counted: bool
) -> Estimate:
    """The approximate cost of a snapshot, from every n-th user with all items."""
    item_count, user_count = item_ptr.size - 1, user_ptr.size - 1
    step = max(1, user_items.size // SAMPLE)
    begins, lengths = user_ptr[:-1:step], user_ptr[1::step] - user_ptr[:-1:step]
    # Users with one item have no pairs.
    begins, lengths = begins[lengths > 1], lengths[lengths > 1]
    firsts = np.cumsum(lengths) - lengths
    numbers = np.arange(lengths.sum())
    order, rank_of = popularity_order(item_ptr), np.empty(item_count, np.int64)
    rank_of[order] = np.arange(item_count)
    rows = np.repeat(np.arange(lengths.size) * item_count, lengths)
    ranks = np.sort(rows + rank_of[user_items[numbers + np.repeat(begins - firsts, lengths)]]) - rows
    places = numbers - np.repeat(firsts, lengths)
    additions = _sums(ranks, places, item_count)
    pairs = _sums(ranks, np.repeat(lengths - 1, lengths), item_count)
    # Scale to the exact total: a few users may contribute most of it.
    all_lengths = np.diff(user_ptr)
    scale = (int(all_lengths @ all_lengths) - user_items.size) / 2 / max(float(additions.sum()), 1.0)
    holders = np.diff(item_ptr)[order]
    if step > 1:
        additions, pairs = _smooth(additions, holders), _smooth(pairs, holders)
    dense = Cost(additions * scale, holders, user_count, are_counted)
    return Estimate(order, dense, pairs * scale)


def _sums(ranks: NDArray[np.int64], numbers: NDArray[np.int64], item_count: int) -> NDArray[np.float64]:
    """The sum of each rank's numbers, float64[I]."""
    found: NDArray[np.float64] = np.bincount(ranks, numbers.astype(np.float64), minlength=item_count).astype(np.float64)
    return found


def _smooth(sampled: NDArray[np.float64], holders: NDArray[np.int64]) -> NDArray[np.float64]:
    """Replace the numbers of groups of ranks with about as many users by their means: few of these are in a sample."""
    ends = np.cumsum(holders)
    firsts = np.unique(np.searchsorted(ends, ends[-1] * np.arange(GROUPS) // GROUPS, side="right"))
    sizes = np.diff(firsts, append=holders.size)
    return np.repeat(np.add.reduceat(sampled, firsts) / sizes, sizes)


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
    """The cost of each rank's dense row in additions, int64[R], without setting bits. `bit_bytes` as in `bit_ranks`."""
    ranks = np.arange(cost.additions.size)
    counting = np.where(ranks < bit_ranks(cost, bit_bytes), _as_bits(cost), cost.additions)
    # The expected numbers if additions fell on pairs at random.
    each = -cost.additions / np.maximum(ranks, 1)
    met, blocked = -np.expm1(each), -np.expm1(each * float(BLOCK))
    work: NDArray[np.float64] = counting + ranks * (PER_PAIR + blocked * PER_BLOCKED + met * PER_MET)
    return (work + cost.holders * PER_USER).astype(np.int64)


def sparse_work(estimate: Estimate, neighbours: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The cost of each rank's sparse row in additions, and in addition if there are popular items, float64[I]."""
    items = max(estimate.order.size, 1)
    # The expected number of items with a common user if additions fell on items at random.
    met = items * -np.expm1(estimate.pairs / -items)
    work = estimate.pairs * PER_ADDITION + met * PER_COMMON + np.minimum(met, neighbours) * PER_KEPT
    return work + (estimate.dense.holders * PER_USER + PER_ROW), met * PER_OFFER


class RowPlan(NamedTuple):
    """The rows of a fit: of `popular` items, by rank, then of the others, by index; and the `bounds` of its tasks."""

    popular: int
    bounds: list[int]


def _popular(sparse: NDArray[np.float64], offers: NDArray[np.float64], dense: NDArray[np.int64], cost: Cost) -> int:
    """How many of the most popular items have dense rows, so that all rows together cost least."""
    ranks = dense.size
    saved = np.append(0.0, np.cumsum(sparse[:ranks] - dense) - (offers.sum() - np.cumsum(offers[:ranks])))
    # Sparse rows are counted in 16 bits.
    least = int(np.count_nonzero(cost.holders > MOST_USERS)) if cost.are_counted else 0
    return least + int(np.argmax(saved[least:])) if least < saved.size else least


def plan_rows(estimate: Estimate, neighbours: int, least: int, most: int, additions: int, tile_bytes: int) -> RowPlan:
    """Choose the rows that are dense, so that all rows cost least, and cut all into ranges of about `additions` each.

    There are `least` to `most` ranges. Later ones are smaller, so that all workers finish at about the same time.
    """
    sparse, offers = sparse_work(estimate, neighbours)
    # No row beyond the last one that may pay is looked at.
    may_pay = np.flatnonzero(sparse > np.arange(sparse.size) * PER_PAIR)
    dense = row_work(_first(estimate.dense, int(may_pay[-1]) + 1 if may_pay.size else 0), tile_bytes)
    popular = _popular(sparse, offers, dense, estimate.dense)
    if popular > dense.size:
        dense = row_work(_first(estimate.dense, popular), tile_bytes)
    by_item = np.empty_like(sparse)
    by_item[estimate.order] = sparse + offers if popular else sparse
    others = by_item[building_order(estimate.order[:popular], sparse.size)[popular:]]
    work = np.concatenate((dense[:popular], others)).astype(np.int64)
    tasks = min(max(least, -(-int(work.sum()) // additions)), most)
    return RowPlan(popular, balance(work, tasks, taper=True).tolist())


def _as_bits(cost: Cost) -> NDArray[np.float64]:
    """The cost of each rank's row if counted as bits, float64[I]."""
    return np.arange(cost.additions.size, dtype=np.float64) * (bit_words(cost.users) * _per_word())


def bit_words(users: int) -> int:
    """The number of words with a bit for each user."""
    return (users + 63) // 64


def _per_word() -> float:
    features = binding.get_host_cpu_features() if vars(config)["CPU_NAME"] is None else {}
    return next((cost for name, cost in PER_WORD_BY_FEATURE.items() if features.get(name)), PER_WORD_OTHERWISE)
