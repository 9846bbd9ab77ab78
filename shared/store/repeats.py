"""Merges repeated rows of a user and an item."""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.sorting import stable_order

Repeats: TypeAlias = Literal["last", "sum", "max"]


@dataclass(frozen=True, slots=True)
class Rows:
    """n rows in the order of the file.

    `users` and `items` are uint32[n]; `weights` float32[n] or float64[n], None if each is 1; `times` int64[n] or None;
    `roles` uint8[n], the bits of their roles, or None.
    """

    users: NDArray[np.uint32]
    items: NDArray[np.uint32]
    weights: NDArray[np.floating[Any]] | None
    times: NDArray[np.int64] | None
    roles: NDArray[np.uint8] | None = None

    def __len__(self) -> int:
        return len(self.users)

    def take(self, rows: NDArray[np.int64] | slice) -> "Rows":
        """Some of the rows."""
        weights = None if self.weights is None else self.weights[rows]
        times = None if self.times is None else self.times[rows]
        return Rows(
            self.users[rows], self.items[rows], weights, times, None if self.roles is None else self.roles[rows]
        )


def merge_repeats(rows: Rows, rule: Repeats) -> Rows:
    """One row for each pair of user and item, in the order of the pairs.

    `last` keeps the row with the latest time; at a tie, the last in the file. `sum` adds the weights and `max` takes
    the greatest, both in float64; both keep the latest time. Roles are joined.
    """
    if len(rows) == 0:
        return rows
    first, width = rows.users.min(), int(rows.items.max()) + 1
    pairs = (rows.users - first).astype(np.uint64)
    pairs *= np.uint64(width)
    pairs += rows.items
    order = stable_order(pairs, (int(rows.users.max() - first) + 1) * width)
    pairs = pairs[order]
    is_first = np.concatenate(([True], pairs[1:] != pairs[:-1]))
    firsts = np.flatnonzero(is_first)
    if len(firsts) == len(rows):
        return rows.take(order)
    if rows.times is not None:
        _order_by_time(order, is_first, rows.times)
    lasts = np.append(firsts[1:], len(rows)) - 1
    merged = rows.take(order[lasts])
    if rows.roles is not None:
        merged = replace(merged, roles=np.bitwise_or.reduceat(rows.roles[order], firsts))
    if rule == "last":
        return merged
    if rows.weights is None:
        weights = None if rule == "max" else (lasts - firsts + 1).astype(np.float64)
    else:
        joined = np.add if rule == "sum" else np.maximum
        weights = joined.reduceat(rows.weights[order].astype(np.float64), firsts)
    return replace(merged, weights=weights)


def _order_by_time(order: NDArray[np.int64], is_first: NDArray[np.bool_], times: NDArray[np.int64]) -> None:
    """Order the rows of each pair by time, where they are not; ties keep the order of the file."""
    ordered = times[order]
    late = np.flatnonzero(~is_first[1:] & (ordered[1:] < ordered[:-1])) + 1
    if len(late) == 0:
        return
    pair_of = np.cumsum(is_first) - 1
    mixed = np.zeros(pair_of[-1] + 1, dtype=np.bool_)
    mixed[pair_of[late]] = True
    rows = np.flatnonzero(mixed[pair_of])
    order[rows] = order[rows[np.lexsort((ordered[rows], pair_of[rows]))]]
