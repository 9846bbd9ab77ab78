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
    most = _most_entries(item_ptr, item_users, user_ptr, first, last, min(neighbours, item_count), stop)
    if most < 0:
        return None
    counts = np.zeros(last - first, np.uint32)
    items = np.empty(most, np.uint32)
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
    # Copies, so that the unused rest of the arrays is not kept alive.
    return Rows(counts, items[:filled].copy(), values[:filled].copy())


def join_rows(parts: Sequence[Rows], *, stop: NDArray[np.uint8]) -> Matrix | None:
    """The whole model out of its parts, which are given in the order of their rows, or None if `stop` was set."""
    entries = sum(part.items.size for part in parts)
    row_ptr = np.zeros(1 + sum(part.counts.size for part in parts), np.int64)
    row_items, row_values = np.empty(entries, np.uint32), np.empty(entries, np.float32)
    row = begin = 0
    for part in parts:
        if stop[0]:
            return None
        last, end = row + part.counts.size, begin + part.items.size
        row_ptr[row + 1 : last + 1] = begin + np.cumsum(part.counts, dtype=np.int64)
        row_items[begin:end], row_values[begin:end] = part.items, part.values
        row, begin = last, end
    return Matrix(row_ptr, row_items, row_values)


@compiled(
    types.int64(READ_INT64, READ_UINT32, READ_INT64, types.int64, types.int64, types.int64, READ_UINT8),
)
def _most_entries(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    user_ptr: NDArray[np.int64],
    first: int,
    last: int,
    most: int,
    stop: NDArray[np.uint8],
) -> int:
    """How many entries the rows can have in sum: each what its item's users have had, up to `most`; -1 if stopped."""
    entries = 0
    for i in range(first, last):
        if stop[0]:
            return -1
        met = 0
        for at in range(item_ptr[i], item_ptr[i + 1]):
            user = item_users[at]
            met += user_ptr[user + 1] - user_ptr[user]
            if met >= most:
                break
        entries += min(met, most)
    return entries


@compiled(types.boolean(READ_INT64, READ_FLOAT32, types.float64[::1], READ_UINT8))
def _add_squares(
    item_ptr: NDArray[np.int64],
    item_weights: NDArray[np.float32],
    squares: NDArray[np.float64],
    stop: NDArray[np.uint8],
) -> bool:
    """Put down each item's sum of squared weights, in user index order; False if stopped."""
    for item in range(squares.size):
        if stop[0]:
            return False
        if item_weights.size == 0:
            squares[item] = np.float64(item_ptr[item + 1] - item_ptr[item])
        else:
            square = 0.0
            for at in range(item_ptr[item], item_ptr[item + 1]):
                square += np.float64(item_weights[at]) * np.float64(item_weights[at])
            squares[item] = square
    return True


@compiled(types.void(WRITE_FLOAT32, WRITE_UINT32, types.int64, types.int64))
def _sink(values: NDArray[np.float32], items: NDArray[np.uint32], at: int, size: int) -> None:
    """Let the entry at `at` sink in the heap of the first `size` entries."""
    while 2 * at + 1 < size:
        largest = 2 * at + 1
        if largest + 1 < size and items[largest + 1] > items[largest]:
            largest += 1
        if items[largest] <= items[at]:
            return
        values[at], values[largest] = values[largest], values[at]
        items[at], items[largest] = items[largest], items[at]
        at = largest


@compiled(types.void(WRITE_FLOAT32, WRITE_UINT32, types.int64))
def _sort_by_item(values: NDArray[np.float32], items: NDArray[np.uint32], size: int) -> None:
    """Sort the first `size` entries by item, in place: a heap whose root is the largest."""
    for start in range(size // 2 - 1, -1, -1):
        _sink(values, items, start, size)
    for last in range(size - 1, 0, -1):
        values[0], values[last] = values[last], values[0]
        items[0], items[last] = items[last], items[0]
        _sink(values, items, 0, last)


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
    """Fill the rows, each in item order, and return the number of entries, or -1 if stopped."""
    squares = np.empty(item_ptr.size - 1, np.float64)
    if not _add_squares(item_ptr, item_weights, squares, stop):
        return -1
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
        _sort_by_item(values, candidates, kept)
        counts[i - first] = kept
        for n in range(kept):
            row_items[filled] = candidates[n]
            row_values[filled] = values[n]
            filled += 1
    return filled
