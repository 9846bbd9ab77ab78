"""What the answers are: the arithmetic that the system promises, written plainly over numpy in one process.

It shares no code with the kernels. Results of any chunking, block size, number of workers or fault are compared with
these bit by bit.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray


class Entry(NamedTuple):
    """One place of a list: the item, its score (a float32) and the history item that is its reason."""

    item: int
    score: np.float32
    reason: int


def reference_rows(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32] | None,
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32] | None,
    *,
    neighbours: int,
    shrink: float = 0.0,
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]]:
    """The cosine model: row_ptr, row_items (ascending in each row) and row_values of each item's best neighbours."""
    n_items = len(item_ptr) - 1
    of_user = np.ones(len(user_items)) if user_weights is None else user_weights.astype(np.float64)
    of_item = np.ones(len(item_users)) if item_weights is None else item_weights.astype(np.float64)
    squares = [_in_order(of_item[item_ptr[i] : item_ptr[i + 1]] ** 2) for i in range(n_items)]
    norms = np.array(squares)
    items: list[NDArray[np.uint32]] = []
    values: list[NDArray[np.float32]] = []
    for i in range(n_items):
        dots = np.zeros(n_items)
        for at in range(item_ptr[i], item_ptr[i + 1]):  # users ascending
            history = slice(user_ptr[item_users[at]], user_ptr[item_users[at] + 1])
            dots[user_items[history]] += of_item[at] * of_user[history]
        dots[i] = 0.0
        others = np.flatnonzero(dots)
        row = (dots[others] / (np.sqrt(norms[i] * norms[others]) + shrink)).astype(np.float32)
        others, row = others[row > 0], row[row > 0]
        best = np.sort(np.argsort(-row, kind="stable")[:neighbours])  # stable: the smaller index first at a tie
        items.append(others[best].astype(np.uint32))
        values.append(row[best])
    row_ptr = np.cumsum([0, *map(len, items)], dtype=np.int64)
    return row_ptr, np.concatenate(items), np.concatenate(values)


def reference_lists(
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32] | None,
    *,
    length: int,
    exclude_history: bool = True,
) -> list[list[Entry]]:
    """Every user's list, best first."""
    n_items = len(row_ptr) - 1
    lists = []
    for user in range(len(user_ptr) - 1):
        span = slice(user_ptr[user], user_ptr[user + 1])
        history = user_items[span]
        weights = np.ones(len(history)) if user_weights is None else user_weights[span].astype(np.float64)
        sums, largest = np.zeros(n_items), np.zeros(n_items)
        reasons = np.zeros(n_items, np.int64)
        for i, weight in zip(history, weights, strict=True):  # items ascending
            row = row_items[row_ptr[i] : row_ptr[i + 1]]
            shares = weight * row_values[row_ptr[i] : row_ptr[i + 1]].astype(np.float64)
            sums[row] += shares
            larger = shares > largest[row]  # not where equal: the smaller index stays the reason
            largest[row[larger]] = shares[larger]
            reasons[row[larger]] = i
        if exclude_history:
            sums[history] = 0.0
        scores = (sums / max(_in_order(weights), np.finfo(np.float64).tiny)).astype(np.float32)
        best = [item for item in np.argsort(-scores, kind="stable")[:length].tolist() if scores[item] > 0]
        lists.append([Entry(item, scores[item], int(reasons[item])) for item in best])
    return lists


def _in_order(numbers: NDArray[np.float64]) -> float:
    """The sum from the first to the last; numpy's own adds in pairs."""
    total = 0.0
    for number in numbers.tolist():
        total += number
    return total
