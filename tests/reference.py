"""The reference: the system's arithmetic in plain numpy, in one process, without the kernels' code.

Results of any chunking, block size, worker count or fault must equal these bit by bit. So must models of cosine,
Jaccard and Dice: their sums are exact or in user order, and the rest are single IEEE 754 operations. Similarities with
powers, logarithms or user factors are summed in float64 here and compared closely.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


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
    similarity: str = "cosine",
    **parameters: Any,
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]]:
    """The model: row_ptr, row_items (ascending in each row) and row_values of each item's best neighbours."""
    items: list[NDArray[np.uint32]] = []
    values: list[NDArray[np.float32]] = []
    by_item, by_user = (item_ptr, item_users, item_weights), (user_ptr, user_items, user_weights)
    for similarities in reference_similarities(*by_item, *by_user, similarity=similarity, **parameters):
        row = similarities.astype(np.float32)
        others = np.flatnonzero(row > 0)
        # Stable: the smaller index first at a tie.
        best = np.sort(others[np.argsort(-row[others], kind="stable")[:neighbours]])
        items.append(best.astype(np.uint32))
        values.append(row[best])
    row_ptr = np.cumsum([0, *map(len, items)], dtype=np.int64)
    return row_ptr, np.concatenate([np.empty(0, np.uint32), *items]), np.concatenate([np.empty(0, np.float32), *values])


def reference_similarities(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32] | None,
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32] | None,
    *,
    similarity: str,
    shrink: float = 0.0,
    power: float = 1.0,
    **parameters: float,
) -> Iterator[Floats]:
    """Each item's similarities to all items, float64[I]; 0 to itself and to items without a common user."""
    n_users, n_items = len(user_ptr) - 1, len(item_ptr) - 1
    users, items = np.repeat(np.arange(n_users), np.diff(user_ptr)), np.repeat(np.arange(n_items), np.diff(item_ptr))
    of_user = np.ones(len(user_items)) if user_weights is None else user_weights.astype(np.float64)
    of_item = np.ones(len(item_users)) if item_weights is None else item_weights.astype(np.float64)
    user_sums = np.bincount(users, of_user, n_users).astype(np.float64)
    item_sums = np.bincount(items, of_item, n_items).astype(np.float64)
    if similarity == "rp3beta":
        # A walk from an item to its users to their items, damped by popularity.
        of_item = (of_item / item_sums[items]) ** parameters["alpha"]
        steps = (of_user / user_sums[users]) ** parameters["alpha"]
        of_user = steps / item_sums[user_items] ** parameters["beta"]
    else:
        lengths = np.diff(user_ptr).astype(np.float64)
        of_item = _weights(similarity, of_item, item_users, items, lengths, item_sums, parameters)
        of_user = _weights(similarity, of_user, users, user_items, lengths, item_sums, parameters)
    squares = np.array([_in_order(of_item[item_ptr[i] : item_ptr[i + 1]] ** 2) for i in range(n_items)])
    for i in range(n_items):
        dots = np.zeros(n_items)
        for at in range(item_ptr[i], item_ptr[i + 1]):  # users ascending
            history = slice(user_ptr[item_users[at]], user_ptr[item_users[at] + 1])
            dots[user_items[history]] += of_item[at] * of_user[history]
        dots[i] = 0.0
        row, others = np.zeros(n_items), np.flatnonzero(dots)
        found = _formula(similarity, dots[others], squares[i], squares[others], shrink, n_users, parameters)
        row[others] = found**power
        yield row


def _weights(
    similarity: str,
    weights: Floats,
    users: NDArray[Any],
    items: NDArray[Any],
    lengths: Floats,
    item_sums: Floats,
    parameters: Mapping[str, float],
) -> Floats:
    """The weights of interactions in a dot product."""
    found: Floats = weights / lengths[users] ** (parameters.get("user_norm", 0.0) / 2)
    if similarity == "llr":
        found = np.ones(len(weights))
    elif similarity in ("tfidf", "bm25"):
        scarcity = np.log(float(len(item_sums))) - np.log(1.0 + lengths[users])
        found = np.sqrt(weights) * scarcity
        if similarity == "bm25":
            k1, b = parameters["k1"], parameters["b"]
            norm = 1 - b + b * item_sums[items] / item_sums.mean()
            found = weights * (k1 + 1) / (k1 * norm + weights) * scarcity
    return found


def _formula(
    similarity: str,
    dots: Floats,
    x: float,
    y: Floats,
    shrink: float,
    n_users: int,
    parameters: Mapping[str, float],
) -> Floats:
    """Similarities from dot products and the items' squares x and y."""
    found = dots
    if similarity in ("cosine", "tfidf"):
        found = dots / (np.sqrt(x * y) + shrink)
    elif similarity == "jaccard":
        found = dots / (x + y - dots + shrink)
    elif similarity == "dice":
        found = 2 * dots / (x + y + shrink)
    elif similarity == "asymmetric":
        found = dots / (x ** parameters["alpha"] * y ** (1 - parameters["alpha"]) + shrink)
    elif similarity == "llr":
        found = _likelihood_ratio(dots, x, y, n_users)
    return found


def _likelihood_ratio(both: Floats, x: float, y: Floats, n_users: int) -> Floats:
    """2 sum k ln(k N / (row total * column total)) over the four cells; 0 if both occur no more than by chance."""
    found = np.zeros(len(both))
    for row, column, cell in (
        (x, y, both),
        (x, n_users - y, x - both),
        (n_users - x, y, y - both),
        (n_users - x, n_users - y, n_users - x - y + both),
    ):
        there = np.flatnonzero(cell)
        expected = (row * column)[there] / n_users
        found[there] += 2 * cell[there] * np.log(cell[there] / expected)
    found[both * n_users <= x * y] = 0.0
    return found.clip(0)


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
    left: tuple[NDArray[np.int64], NDArray[np.uint32]] | None = None,
    hidden: NDArray[np.uint8] | None = None,
) -> list[list[Entry]]:
    """Every user's list, best first; `left`, in CSR, takes the place of the history, `hidden` is not 0 for items."""
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
        if left is not None:
            sums[left[1][left[0][user] : left[0][user + 1]]] = 0.0
        elif exclude_history:
            sums[history] = 0.0
        if hidden is not None:
            sums[hidden != 0] = 0.0
        scores = (sums / max(_in_order(weights), np.finfo(np.float64).tiny)).astype(np.float32)
        best = [item for item in np.argsort(-scores, kind="stable")[:length].tolist() if scores[item] > 0]
        lists.append([Entry(item, scores[item], int(reasons[item])) for item in best])
    return lists


def reference_diverse(
    entries: Sequence[Entry],
    row_ptr: NDArray[np.int64],
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    diversity: float,
) -> list[Entry]:
    """A list in the order of maximal marginal relevance, by the model's rows."""
    said = {
        (int(item), int(row_items[at])): float(row_values[at])
        for item, *_ in entries
        for at in range(row_ptr[item], row_ptr[item + 1])
    }
    pairs = [(a.item, b.item) for a in entries for b in entries if a.item != b.item]
    similar = {(a, b): max(said.get((a, b), 0.0), said.get((b, a), 0.0)) for a, b in pairs}
    most_similar, best = max(similar.values(), default=0.0), max((float(e.score) for e in entries), default=1.0)
    rest, chosen = sorted(entries, key=lambda entry: entry.item), list[Entry]()

    def value(entry: Entry) -> float:
        nearest = max((similar[entry.item, other.item] for other in chosen), default=0.0)
        alike = (diversity / most_similar) * nearest if most_similar else 0.0
        return (1.0 - diversity) * (float(entry.score) / best) - alike

    while rest:
        chosen.append(max(rest, key=value))  # the first of equal ones
        rest.remove(chosen[-1])
    return chosen


def reference_weights(
    user_ptr: NDArray[np.int64],
    user_times: NDArray[np.int64],
    user_weights: NDArray[np.float32] | None,
    recency: float,
) -> NDArray[np.float32]:
    """The weights of histories by recency: an item's weight times (1 + the user's later items)^-recency."""
    weights = np.ones(len(user_times)) if user_weights is None else user_weights.astype(np.float64)
    for first, last in pairwise(user_ptr.tolist()):
        times = user_times[first:last].tolist()
        later = [sum(other > time for other in times) for time in times]
        weights[first:last] *= [(1.0 + n) ** -recency for n in later]
    # A weight never vanishes.
    return np.maximum(weights.astype(np.float32), np.finfo(np.float32).smallest_subnormal)


def _in_order(numbers: NDArray[np.float64]) -> float:
    """The sum in order; numpy's own adds in pairs."""
    total = 0.0
    for number in numbers.tolist():
        total += number
    return total
