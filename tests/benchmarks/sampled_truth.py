"""The correct answers of the kernels for a sample of rows: a scipy product over all interactions.

It is computed once in float64, without the kernels, and kept in float32. A side with another answer has no speed.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from tests.benchmarks.frame import WrongAnswerError
from tests.benchmarks.timed_call import Arrays, Lists

SAMPLED = 2_000
# So many of the sampled items are the most popular: their rows are the longest sums.
MAX_POPULAR = 50
# Rows per batch.
SLICE = 100


@dataclass(frozen=True)
class Truth:
    """The value of each item for each of the sampled `rows` int64[n], float32[n, I]; zero where none is allowed.

    A value may be off by `absolute`, and by `relative` times itself.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float32]
    length: int
    absolute: float = 0.0
    relative: float = 0.0

    def judge(self, answer: Lists, *, holds_itself: bool = False) -> None:
        """Check that the answer has the best items of each row with their values.

        `holds_itself`: a row may hold itself in place of one item.

        Raises:
            WrongAnswerError: a row has too few items, wrong items or wrong values.
        """
        if answer.ptr.size != self.rows.size + 1:
            raise WrongAnswerError(f"{answer.ptr.size - 1:,} rows instead of {self.rows.size:,}")
        for number, (row, values) in enumerate(zip(self.rows.tolist(), self.values, strict=True)):
            part = slice(answer.ptr[number], answer.ptr[number + 1])
            items, found = answer.items[part], answer.values[part].astype(np.float64)
            # Peers pad with invalid items or zeros.
            kept = (items >= 0) & (found > 0) & ((items != row) | (not holds_itself))
            self._judge(f"row {row}", items[kept], found[kept], values, self.length - holds_itself)

    def _judge(
        self,
        where: str,
        items: NDArray[np.integer],
        found: NDArray[np.float64],
        values: NDArray[np.float32],
        length: int,
    ) -> None:
        best = -np.sort(-np.partition(values, values.size - length)[-length:]).astype(np.float64)
        best = best[best > 0]
        if np.unique(items).size < items.size or items.size < best.size:
            raise WrongAnswerError(f"{where} has {np.unique(items).size} different items, and not {best.size}")
        off = self._off(found, values[items].astype(np.float64))
        off = max(off, self._off(-np.sort(-found)[: best.size], best))
        if off > 1:
            raise WrongAnswerError(f"{where} is off by {off:.3g} times what is allowed")

    def _off(self, found: NDArray[np.float64], true: NDArray[np.float64]) -> float:
        """The largest difference, as a multiple of the tolerance."""
        allowed = self.absolute + self.relative * np.abs(true)
        return float(np.max(np.abs(found - true) / np.maximum(allowed, np.finfo(np.float64).tiny), initial=0))


def sampled_items(arrays: Arrays) -> NDArray[np.int64]:
    """The most popular items and others, int64[n], ascending."""
    order = np.argsort(-np.diff(arrays.item_ptr), kind="stable")
    rest = np.random.default_rng(1).permutation(order[MAX_POPULAR:])
    return np.sort(np.concatenate((order[:MAX_POPULAR], rest))[:SAMPLED])


def sampled_users(arrays: Arrays) -> NDArray[np.int64]:
    """Some users, int64[n], ascending."""
    users = np.random.default_rng(1).permutation(arrays.shape[0])
    return np.sort(users[:SAMPLED])


def true_cosine(arrays: Arrays, length: int) -> Truth:
    """Cosine of items, without the item itself, within 1e-6."""
    norms = np.sqrt(np.diff(arrays.item_ptr))
    weights = 1 / norms[arrays.user_items]
    return Truth(rows := sampled_items(arrays), _between_items(arrays, weights, rows), length, absolute=1e-6)


def true_bm25(arrays: Arrays, length: int, k1: float = 1.2, b: float = 0.75) -> Truth:
    """Dot products of BM25 weights as implicit has them (`bm25_weight`), without the item itself, within 1e-5 of each.

    An item is the document and a user the term: the weight of user u in item i is (k1 + 1) / (k1 * norm_i + 1) * idf_u
    with norm_i = 1 - b + b * users_i / mean(users_i) and idf_u = log(I) - log(1 + items_u).
    """
    of_items, of_users = np.diff(arrays.item_ptr), np.diff(arrays.user_ptr)
    norms = 1 - b + b * of_items / of_items.mean()
    rarity = np.log(arrays.shape[1]) - np.log1p(of_users)
    weights = ((k1 + 1) / (k1 * norms + 1))[arrays.user_items] * np.repeat(rarity, of_users)
    return Truth(rows := sampled_items(arrays), _between_items(arrays, weights, rows), length, relative=1e-5)


def true_scores(arrays: Arrays, length: int, *, exclude_history: bool) -> Truth:
    """Sums of the similarities to a user's history, within 1e-5 of each."""
    items = arrays.shape[1]
    rows = sampled_users(arrays)
    model = csr_array((arrays.row_values.astype(np.float64), arrays.row_items, arrays.row_ptr), shape=(items, items))
    histories = csr_array((np.ones(arrays.user_items.size), arrays.user_items, arrays.user_ptr), shape=arrays.shape)[
        rows
    ]
    values = np.empty((rows.size, items), np.float32)
    for first in range(0, rows.size, SLICE):
        part = histories[first : first + SLICE]
        values[first : first + SLICE] = (part @ model).toarray()
        if exclude_history:
            values[first : first + SLICE][part.nonzero()] = 0
    return Truth(rows, values, length, relative=1e-5)


def _between_items(arrays: Arrays, weights: NDArray[np.float64], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """The dot products of the weighted matrix's columns: `rows` with all, float32[n, I]."""
    by_user = csr_array((weights, arrays.user_items, arrays.user_ptr), shape=arrays.shape)
    by_item = by_user[:, rows].T.tocsr()
    values = np.empty((rows.size, arrays.shape[1]), np.float32)
    for first in range(0, rows.size, SLICE):
        values[first : first + SLICE] = (by_item[first : first + SLICE] @ by_user).toarray()
    values[np.arange(rows.size), rows] = 0
    return values
