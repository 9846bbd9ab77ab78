"""Builds a model: the exact K most similar items of each item in a range of rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT8,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_UINT32,
    compiled,
)
from workers.kernels.ranking import KEEP_BEST, KeepBest, keep_best
from workers.kernels.similarity import FORMULA, SIMILARITIES, Formula
from workers.kernels.work import row_work


class Rows(NamedTuple):
    """Consecutive rows of a model: each row's items ascending, all values above zero."""

    counts: NDArray[np.uint32]
    items: NDArray[np.uint32]
    values: NDArray[np.float32]


class Matrix(NamedTuple):
    """A whole model in CSR: row_ptr int64[I + 1], row_items uint32 ascending in each row, row_values float32."""

    row_ptr: NDArray[np.int64]
    row_items: NDArray[np.uint32]
    row_values: NDArray[np.float32]


def build_rows(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32] | None,
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32] | None,
    first: int,
    last: int,
    *,
    similarity: str,
    neighbours: int,
    shrink: float,
    stop: NDArray[np.uint8],
) -> Rows | None:
    """The rows first..last-1 of the model, or None if `stop` was set before they were done.

    The interactions come twice: by item (item_ptr int64[I + 1], item_users uint32 ascending within an item,
    item_weights float32) and by user (user_ptr int64[U + 1], user_items uint32 ascending within a user, user_weights
    float32). Weights are above zero; None, for both, means that all are 1. `stop` is uint8[1]; another thread sets it.

    Dot products and squares are summed in float64 in user index order, which for weights of 1 is exact counting. The
    formula runs in float64 and is rounded once to float32. A row is judged on that: the `neighbours` highest above
    zero, the smaller index first where they are equal, without the item itself.

    Raises ValueError for a range outside the items, fewer than 1 neighbours, or a similarity that is not known.
    """
    item_count = item_ptr.size - 1
    if not 0 <= first <= last <= item_count:
        raise ValueError(f"rows {first} to {last} are not among {item_count} items")
    if neighbours < 1:
        raise ValueError(f"a row cannot hold {neighbours} neighbours")
    if similarity not in SIMILARITIES:
        raise ValueError(f"there is no similarity {similarity}; there are: {', '.join(SIMILARITIES)}")
    most = np.minimum(row_work(item_ptr, item_users, user_ptr)[first:last], min(neighbours, item_count))
    counts = np.zeros(last - first, np.uint32)
    items = np.empty(int(most.sum()), np.uint32)
    values = np.empty(items.size, np.float32)
    all_one = np.empty(0, np.float32)
    filled = _build(
        item_ptr,
        item_users,
        all_one if item_weights is None else item_weights,
        user_ptr,
        user_items,
        all_one if user_weights is None else user_weights,
        first,
        last,
        SIMILARITIES[similarity],
        float(shrink),
        keep_best,
        neighbours,
        counts,
        items,
        values,
        stop,
    )
    if filled < 0:
        return None
    items, values = items[:filled], values[:filled]
    by_candidate = np.lexsort((items, np.repeat(np.arange(counts.size), counts)))
    return Rows(counts, items[by_candidate], values[by_candidate])


def join_rows(parts: Sequence[Rows]) -> Matrix:
    """The whole model out of its parts, which are given in the order of their rows."""
    counts = np.concatenate([np.empty(0, np.uint32), *(part.counts for part in parts)])
    return Matrix(
        np.concatenate(([0], np.cumsum(counts, dtype=np.int64))),
        np.concatenate([np.empty(0, np.uint32), *(part.items for part in parts)]),
        np.concatenate([np.empty(0, np.float32), *(part.values for part in parts)]),
    )


@compiled(types.float64[::1](READ_INT64, READ_FLOAT32))
def _squares(item_ptr: NDArray[np.int64], item_weights: NDArray[np.float32]) -> NDArray[np.float64]:
    """Each item's sum of squared weights, in user index order."""
    weighted = item_weights.size > 0
    squares = np.zeros(item_ptr.size - 1, np.float64)
    for item in range(squares.size):
        for at in range(item_ptr[item], item_ptr[item + 1]):
            weight = np.float64(item_weights[at]) if weighted else 1.0
            squares[item] += weight * weight
    return squares


@compiled(
    types.int64(
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(types.int64, types.float64[::1], WRITE_UINT32, READ_UINT8),
    )
)
def _count(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    i: int,
    dots: NDArray[np.float64],
    touched: NDArray[np.uint32],
    stop: NDArray[np.uint8],
) -> int:
    """Add up i's dot products with all items, list those that are not zero, and return their number, -1 if stopped."""
    weighted = user_weights.size > 0
    met = 0
    for at in range(item_ptr[i], item_ptr[i + 1]):
        if stop[0]:
            return -1
        user = item_users[at]
        weight = np.float64(item_weights[at]) if weighted else 1.0
        for n in range(user_ptr[user], user_ptr[user + 1]):
            j = user_items[n]
            if dots[j] == 0.0:
                touched[met] = j
                met += 1
            # Two float32 multiply exactly in float64: fused with the addition or not, the sum is the same.
            dots[j] += weight * (np.float64(user_weights[n]) if weighted else 1.0)
    return met


@compiled(
    types.int64(
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(READ_INT64, READ_UINT32, READ_FLOAT32),
        *(types.int64, types.int64),
        *(types.FunctionType(FORMULA), types.float64),
        *(types.FunctionType(KEEP_BEST), types.int64),
        *(WRITE_UINT32, WRITE_UINT32, WRITE_FLOAT32, READ_UINT8),
    )
)
def _build(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    first: int,
    last: int,
    formula: Formula,
    shrink: float,
    keep_best: KeepBest,
    neighbours: int,
    counts: NDArray[np.uint32],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    stop: NDArray[np.uint8],
) -> int:
    """Fill the rows, each in rank order, and return the number of entries, or -1 if stopped."""
    squares = _squares(item_ptr, item_weights)
    dots = np.zeros(squares.size, np.float64)
    candidates = np.empty(squares.size, np.uint32)
    values = np.empty(squares.size, np.float32)
    filled = 0
    for i in range(first, last):
        met = _count(item_ptr, item_users, item_weights, user_ptr, user_items, user_weights, i, dots, candidates, stop)
        if met < 0:
            return -1
        size = 0
        for n in range(met):
            j = candidates[n]
            value = np.float32(formula(dots[j], squares[i], squares[j], shrink))
            dots[j] = 0.0
            if j != i and value > 0.0:
                candidates[size] = j
                values[size] = value
                size += 1
        kept = keep_best(values, candidates, size, neighbours)
        counts[i - first] = kept
        for n in range(kept):
            row_items[filled] = candidates[n]
            row_values[filled] = values[n]
            filled += 1
    return filled
