"""Lays interactions out for sparse rows, of items that are not popular."""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.building.ranked import building_order
from reckoner.workers.kernels.compiled import READ_FLOAT32, READ_INT64, READ_UINT32, compiled


class Sparse(NamedTuple):
    """The I items and U users of a snapshot, for rows of items that are not popular.

    `item_ptr` int64[I + 1], `item_users` uint32[nnz], `item_weights` float32[nnz]: the users of each item, ascending.
    `user_ptr` int64[U + 1], `user_items` uint32[nnz], `user_weights` float32[nnz]: the items of each user, ascending.
    Weights are empty if all are 1.
    `order` uint32[I]: the `popular` items, the most popular first, then the others by index.
    `rank_of` uint32[I]: the place of each popular item in `order`, I for others; empty if there are none.
    """

    item_ptr: NDArray[np.int64]
    item_users: NDArray[np.uint32]
    item_weights: NDArray[np.float32]
    user_ptr: NDArray[np.int64]
    user_items: NDArray[np.uint32]
    user_weights: NDArray[np.float32]
    order: NDArray[np.uint32]
    rank_of: NDArray[np.uint32]


def lay_out_sparse(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    popular: NDArray[np.uint32],
) -> Sparse:
    """Lay out a snapshot for sparse rows of all items but the `popular` ones, most popular first. Weights may be empty.

    Arrays are those of `Sparse`.
    """
    items, order = item_ptr.size - 1, building_order(popular, item_ptr.size - 1)
    rank_of = np.full(items if popular.size else 0, items, np.uint32)
    rank_of[popular] = np.arange(popular.size)
    weights = _by_user(item_ptr, item_users, item_weights, user_ptr) if popular.size < items else item_weights
    return Sparse(item_ptr, item_users, item_weights, user_ptr, user_items, weights, order, rank_of)


@compiled(types.float32[::1](READ_INT64, READ_UINT32, READ_FLOAT32, READ_INT64), allocates=True)
def _by_user(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
) -> NDArray[np.float32]:
    """The weights by user, and by item for each user."""
    weights, filled = np.empty(item_weights.size, np.float32), np.zeros(user_ptr.size - 1, np.uint32)
    if item_weights.size > 0:
        for at in range(item_users.size):
            user = np.uint64(item_users[at])
            weights[np.uint64(user_ptr[user]) + np.uint64(filled[user])] = item_weights[at]
            filled[user] += 1
    return weights


SPARSE = types.NamedTuple(
    [READ_INT64, READ_UINT32, READ_FLOAT32, READ_INT64, READ_UINT32, READ_FLOAT32, READ_UINT32, READ_UINT32], Sparse
)
