"""Merges repeated rows of a user and an item."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Repeats: TypeAlias = Literal["last", "sum", "max"]


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows in the order of the file: `users` and `items` int64[n], `weights` float64[n], `times` int64[n] or None."""

    users: NDArray[np.int64]
    items: NDArray[np.int64]
    weights: NDArray[np.float64]
    times: NDArray[np.int64] | None

    def __len__(self) -> int:
        return len(self.users)


def merge_repeats(rows: Rows, rule: Repeats) -> Rows:
    """One row for each pair of user and item, in the order of the pairs.

    `last` keeps the row with the latest time; at a tie, the last in the file. `sum` adds the weights and `max` takes
    the greatest, both in float64; both keep the latest time.
    """
    if len(rows) == 0:
        return rows
    by_time = () if rows.times is None else (rows.times,)
    # lexsort is stable: ties keep the order of the file.
    order = np.lexsort((*by_time, rows.items, rows.users))
    users, items, weights = rows.users[order], rows.items[order], rows.weights[order]
    is_first = np.concatenate(([True], (np.diff(users) != 0) | (np.diff(items) != 0)))
    firsts = np.flatnonzero(is_first)
    lasts = np.append(firsts[1:], len(rows)) - 1
    if rule == "last":
        merged = weights[lasts]
    elif rule == "sum":
        merged = np.add.reduceat(weights, firsts)
    else:
        merged = np.maximum.reduceat(weights, firsts)
    return Rows(users[lasts], items[lasts], merged, None if rows.times is None else rows.times[order][lasts])
