"""Estimates the cost of regressions, and decides how many items have their sums in a table."""

import math

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.balance import balance
from reckoner.workers.kernels.building.work import PER_USER, RowPlan, estimated_cost

# Costs in additions, of about 0.4 ns each on a fast processor. They do not affect the result.
# Of a target: for each addition, for each item with a common user, and for each pair of candidates.
PER_ADDITION, PER_COMMON, PER_PAIR = 3.0, 12.0, 10.0
# A sum of the table is read as fast as so many additions are made.
PER_READ = 4.0
BYTES_PER_SUM = 4


def plan_targets(
    item_ptr: NDArray[np.int64],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    candidates: int,
    least: int,
    most: int,
    additions: int,
    table_bytes: int,
) -> RowPlan:
    """Cut the targets, by rank, into ranges of about `additions` each, with a table of at most `table_bytes`.

    There are `least` to `most` ranges. Later ones are smaller, so that all workers finish at about the same time.
    """
    cost = estimated_cost(item_ptr, user_ptr, user_items, are_counted=True)
    items = max(cost.order.size, 1)
    # A row of the table pays if its item, once a candidate, takes more additions than its sums take reads.
    paying = int(np.count_nonzero(cost.dense.additions > candidates / 2 * PER_READ))
    popular = min(paying, (1 + math.isqrt(1 + 8 * (table_bytes // BYTES_PER_SUM))) // 2)
    # The expected number of items with a common user if additions fell on items at random.
    met = items * -np.expm1(cost.pairs / -items)
    meeting = np.where(np.arange(cost.order.size) < popular, popular * PER_READ, cost.pairs * PER_ADDITION)
    work = cost.dense.holders * PER_USER + meeting + met * PER_COMMON + np.minimum(met, candidates) ** 2 * PER_PAIR
    tasks = min(max(least, -(-int(work.sum()) // additions)), most)
    return RowPlan(popular, balance(work.astype(np.int64), tasks, taper=True).tolist())
