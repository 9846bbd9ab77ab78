"""Compares two items, as the build of a model does and whether or not a model would keep them."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

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
) -> Comparison:
    """Compare two items of the interactions by item: item_ptr int64[I + 1], item_users uint32 ascending within an item.

    item_weights is float32 above zero; None means that all are 1. The similarity is bit for bit the value that
    `build_rows` has for the pair: dot product and squares are summed in float64 in user index order, the formula runs
    in float64 and is rounded once to float32. It is 0 for items that share no user. An item compared with itself is put
    into the formula as any other, which gives a cosine of 1 where there is no shrink.
    """
    mine, others = slice(item_ptr[item], item_ptr[item + 1]), slice(item_ptr[other], item_ptr[other + 1])
    users, other_users = item_users[mine], item_users[others]
    _, at, other_at = np.intersect1d(users, other_users, assume_unique=True, return_indices=True)
    value = np.float32(0)
    if at.size:
        if item_weights is None:
            dot, square, other_square = float(at.size), float(users.size), float(other_users.size)
        else:
            weights, other_weights = item_weights[mine].astype(np.float64), item_weights[others].astype(np.float64)
            dot = _in_order(weights[at] * other_weights[other_at])
            square, other_square = _in_order(weights * weights), _in_order(other_weights * other_weights)
        value = np.float32(SIMILARITIES[similarity](dot, square, other_square, shrink))
    return Comparison(value, users.size, other_users.size, at.size)


def _in_order(numbers: NDArray[np.float64]) -> float:
    """The sum from the first to the last; numpy's own adds in pairs."""
    return float(np.cumsum(numbers)[-1])
