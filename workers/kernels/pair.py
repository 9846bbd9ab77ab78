"""Compares two items, as the build of a model does and whether or not a model would keep them."""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.compiled import READ_FLOAT32, READ_UINT8, READ_UINT32, compiled
from workers.kernels.similarity import SIMILARITIES


class Comparison(NamedTuple):
    """How similar two items are, and how many users each has, and both."""

    similarity: np.float32
    users: int
    other_users: int
    shared_users: int


def compare(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32] | None,
    item: int,
    other: int,
    *,
    similarity: str,
    shrink: float,
    stop: NDArray[np.uint8],
) -> Comparison | None:
    """Compare two items of the interactions by item: item_ptr int64[I + 1], item_users uint32 ascending within an item.

    item_weights is float32 above zero; None means that all are 1. The similarity is bit for bit the value that
    `build_rows` has for the pair: dot product and squares are summed in float64 in user index order, the formula runs
    in float64 and is rounded once to float32. It is 0 for items that share no user. An item compared with itself is put
    into the formula as any other, which gives a cosine of 1 where there is no shrink.

    Returns None if `stop`, uint8[1], was set.
    """
    mine, others = slice(item_ptr[item], item_ptr[item + 1]), slice(item_ptr[other], item_ptr[other + 1])
    weights = np.empty(0, np.float32) if item_weights is None else item_weights
    users, other_users = item_users[mine], item_users[others]
    sums = np.zeros(3, np.float64)
    shared = _compare(users, weights[mine], other_users, weights[others], sums, stop)
    if shared < 0:
        return None
    value = np.float32(SIMILARITIES[similarity](sums[0], sums[1], sums[2], shrink) if shared else 0.0)
    return Comparison(value, users.size, other_users.size, shared)


@compiled(types.int64(READ_UINT32, READ_FLOAT32, READ_UINT32, READ_FLOAT32, types.float64[::1], READ_UINT8))
def _compare(
    users: NDArray[np.uint32],
    weights: NDArray[np.float32],
    other_users: NDArray[np.uint32],
    other_weights: NDArray[np.float32],
    sums: NDArray[np.float64],
    stop: NDArray[np.uint8],
) -> int:
    """Put down the dot product and the two sums of squares, and return how many users both have, -1 if stopped."""
    weighted = weights.size + other_weights.size > 0
    shared = at = other_at = 0
    while at < users.size or other_at < other_users.size:
        if stop[0]:
            return -1
        is_mine = other_at == other_users.size or (at < users.size and users[at] <= other_users[other_at])
        is_other = at == users.size or (other_at < other_users.size and other_users[other_at] <= users[at])
        weight = np.float64(weights[at]) if weighted and is_mine else 1.0
        other_weight = np.float64(other_weights[other_at]) if weighted and is_other else 1.0
        if is_mine and is_other:
            shared += 1
            sums[0] += weight * other_weight
        if is_mine:
            sums[1] += weight * weight
            at += 1
        if is_other:
            sums[2] += other_weight * other_weight
            other_at += 1
    return shared
