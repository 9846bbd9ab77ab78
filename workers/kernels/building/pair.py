"""Compares two items: merges their sorted users, sums, and applies the formula, bit for bit as a build does."""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.similarity import raised, weigh
from reckoner.workers.kernels.compiled import READ_FLOAT32, READ_UINT8, READ_UINT32, WRITE_FLOAT64, compiled


class Comparison(NamedTuple):
    """The similarity of two items, and how many users each and both have."""

    similarity: np.float32
    users: int
    other_users: int
    shared_users: int


def compare(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32] | None,
    user_ptr: NDArray[np.int64],
    item: int,
    other: int,
    config: ModelConfig,
    *,
    stop: NDArray[np.uint8],
) -> Comparison | None:
    """Compare two items of a snapshot, or an item with itself: row `item` and column `other` of a model.

    item_ptr int64[I + 1], item_users uint32[nnz] ascending within an item, item_weights float32[nnz] above zero (None:
    all 1), user_ptr int64[U + 1]. The similarity is 0 without common users. None if `stop`, uint8[1], was set.
    """
    weighting = weigh(config, item_ptr, item_users, item_weights, user_ptr)
    mine, others = slice(item_ptr[item], item_ptr[item + 1]), slice(item_ptr[other], item_ptr[other + 1])
    users, other_users = item_users[mine], item_users[others]
    found = np.zeros(2, np.float64)
    weights = weighting.item_weights
    if not _compare(users, weights[mine], other_users, weights[others], weighting.user_factors, found, stop):
        return None
    similar = np.zeros(1, np.float64)
    if found[0]:
        x, y, beside = weighting.row_terms[item], weighting.column_terms[other : other + 1], found[1:]
        weighting.formula(beside, 1, x, y, 0, weighting.shrink, weighting.users, similar)
    value = np.float32(raised(similar[0], weighting.power))
    return Comparison(value, users.size, other_users.size, int(found[0]))


@compiled(
    types.boolean(*(READ_UINT32, READ_FLOAT32, READ_UINT32, READ_FLOAT32, READ_FLOAT32), *(WRITE_FLOAT64, READ_UINT8))
)
def _compare(
    users: NDArray[np.uint32],
    weights: NDArray[np.float32],
    other_users: NDArray[np.uint32],
    other_weights: NDArray[np.float32],
    user_factors: NDArray[np.float32],
    found: NDArray[np.float64],
    stop: NDArray[np.uint8],
) -> bool:
    """Write the number of common users and the sum over them, as the build sums, into `found`. False if stopped."""
    at = other_at = 0
    while at < users.size and other_at < other_users.size:
        if stop[0]:
            return False
        if users[at] < other_users[other_at]:
            at += 1
        elif users[at] > other_users[other_at]:
            other_at += 1
        else:
            found[0] += 1.0
            if user_factors.size > 0:
                found[1] += np.float64(user_factors[users[at]])
            elif weights.size > 0:
                found[1] += np.float64(weights[at]) * np.float64(other_weights[other_at])
            else:
                found[1] += 1.0
            at, other_at = at + 1, other_at + 1
    return True
