"""The similarities: a formula over a sum for each pair of items and a term for each item.

The sum is over the users of both items. A formula turns a row of sums `dots` into similarities, in float64: `x` is the
term of the row's item, `ys` are those of the columns. It must be symmetric; only terms may differ for rows and columns.
To add one: a formula, its entry in `WEIGHTINGS`, its name in `reckoner.shared.store.model_config`, and a test.
"""

from collections.abc import Callable, Mapping
from math import fsum, sqrt
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.logarithm import log, logs, power, powers
from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_FLOAT64,
    READ_INT64,
    WRITE_FLOAT32,
    WRITE_FLOAT64,
    compiled,
)

Formula = Callable[[NDArray[np.float64], int, float, NDArray[np.float64], int, float, float, NDArray[np.float64]], None]
Floats = NDArray[np.float64]

# The largest value of a model. Unbounded similarities may exceed it, above all to a high power.
MOST = float(np.finfo(np.float32).max)

FORMULA = types.void(
    READ_FLOAT64, types.uint64, types.float64, READ_FLOAT64, types.uint64, types.float64, types.float64, WRITE_FLOAT64
)


@compiled(FORMULA, argument=True)
def cosine(dots: Floats, n: int, x: float, ys: Floats, at: int, shrink: float, users: float, values: Floats) -> None:
    """dot / (sqrt(x * y) + shrink), where x and y are the items' squared norms.

    Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", ACM TOIS 22(1), 2004; the shrink term as in
    Ferrari Dacrema et al., "A Troubling Analysis of Reproducibility and Progress in Recommender Systems Research", ACM
    TOIS 39(2), 2021. The root is of the product, which is an exact integer for weights of 1.
    """
    for k in range(n):
        values[k] = dots[k] / (sqrt(x * ys[at + k]) + shrink)


@compiled(FORMULA, argument=True)
def jaccard(dots: Floats, n: int, x: float, ys: Floats, at: int, shrink: float, users: float, values: Floats) -> None:
    """dot / (x + y - dot + shrink): the users of both out of the users of either; with weights, Tanimoto's form.

    Jaccard, "The Distribution of the Flora in the Alpine Zone", New Phytologist 11(2), 1912.
    """
    for k in range(n):
        values[k] = dots[k] / (x + ys[at + k] - dots[k] + shrink)


@compiled(FORMULA, argument=True)
def dice(dots: Floats, n: int, x: float, ys: Floats, at: int, shrink: float, users: float, values: Floats) -> None:
    """2 dot / (x + y + shrink).

    Dice, "Measures of the Amount of Ecologic Association Between Species", Ecology 26(3), 1945.
    """
    for k in range(n):
        values[k] = 2.0 * dots[k] / (x + ys[at + k] + shrink)


@compiled(FORMULA, argument=True)
def quotient(dots: Floats, n: int, x: float, ys: Floats, at: int, shrink: float, users: float, values: Floats) -> None:
    """dot / (x * y + shrink)."""
    for k in range(n):
        values[k] = dots[k] / (x * ys[at + k] + shrink)


@compiled(FORMULA, argument=True)
def product(dots: Floats, n: int, x: float, ys: Floats, at: int, shrink: float, users: float, values: Floats) -> None:
    """dot * x * y."""
    for k in range(n):
        values[k] = dots[k] * (x * ys[at + k])


@compiled(types.float64(types.float64))
def _times_log(x: float) -> float:
    return x * log(x) if x > 0.0 else 0.0


@compiled(FORMULA, argument=True)
def likelihood_ratio(
    dots: Floats, n: int, x: float, ys: Floats, at: int, shrink: float, users: float, values: Floats
) -> None:
    """Twice the log-likelihood ratio of the 2 by 2 table of users with both, one, the other and neither item.

    0 if the items occur together no more often than by chance. Dunning, "Accurate Methods for the Statistics of
    Surprise and Coincidence", Computational Linguistics 19(1), 1993, as a difference of entropies.
    """
    all_users, row = _times_log(users), _times_log(x) + _times_log(users - x)
    for k in range(n):
        both, y = dots[k], ys[at + k]
        values[k] = 0.0
        if both * users > x * y:
            column = _times_log(y) + _times_log(users - y)
            same, other = (
                _times_log(both) + _times_log(users - x - y + both),
                _times_log(x - both) + _times_log(y - both),
            )
            values[k] = max(2.0 * ((same + other + all_users) - (row + column)), 0.0)


@compiled(types.float64(types.float64, types.float64))
def raised(similarity: float, exponent: float) -> float:
    """A similarity to a power, at most the largest float32; 0 if it is not above zero.

    Case amplification: Breese, Heckerman and Kadie, "Empirical Analysis of Predictive Algorithms for Collaborative
    Filtering", UAI 1998, section 2.2.3.
    """
    return min(power(similarity, exponent), MOST) if similarity > 0.0 else 0.0


@compiled(types.boolean(WRITE_FLOAT64, types.uint64, types.float64, WRITE_FLOAT32, types.uint64), inner=True)
def round_similarities(similar: Floats, n: int, exponent: float, values: NDArray[np.float32], at: int) -> bool:
    """Raise n similarities to a power and round them to float32 values from `at` on. False if none is above zero."""
    if exponent != 1.0:
        for k in range(n):
            similar[k] = raised(similar[k], exponent)
    found = False
    for k in range(n):
        values[at + k] = np.float32(min(similar[k], MOST))
        found |= values[at + k] > np.float32(0.0)
    return found


class Weighting(NamedTuple):
    """The input of a similarity, for I items and U users.

    A pair's sum is over its common users, in float64 and in user order. Each user adds its `user_factors` float32[U],
    or the product of its two `item_weights` float32[nnz], or 1 if both are empty. Weights are parallel to item_users.
    `row_terms` and `column_terms` are float64[I].
    """

    formula: Formula
    user_factors: NDArray[np.float32]
    item_weights: NDArray[np.float32]
    row_terms: Floats
    column_terms: Floats
    shrink: float
    power: float
    users: float


class Columns(NamedTuple):
    """A snapshot's interactions by item; `weights` float32[nnz] is None if all are 1."""

    ptr: NDArray[np.int64]
    users: NDArray[np.uint32]
    weights: NDArray[np.float32] | None
    lengths: Floats
    """The number of items of each user, float64[U]."""

    @property
    def counts(self) -> Floats:
        """The number of users of each item, float64[I]."""
        return np.diff(self.ptr).astype(np.float64)

    @property
    def sums(self) -> Floats:
        """The sum of each item's weights, float64[I]."""
        return self.counts if self.weights is None else _sums(self.ptr, self.weights)

    @property
    def user_sums(self) -> Floats:
        """The sum of each user's weights, float64[U]."""
        if self.weights is None:
            return self.lengths
        # Without interactions bincount returns integers.
        return np.bincount(self.users, self.weights, minlength=self.lengths.size).astype(np.float64, copy=False)

    @property
    def scarcity(self) -> Floats:
        """The squared inverse document frequency of each user, float64[U]: (ln(I) - ln(1 + n))^2 for n of I items.

        As in the library implicit, for both TF-IDF and BM25; items are the documents.
        """
        found: Floats = np.square(logs(np.maximum(self.counts.size, 1.0)[None]) - logs(1.0 + self.lengths))
        return found


class Weights(NamedTuple):
    """The weights of a similarity: a pair's sum is over `user` times both `entries`; None means 1."""

    user: Floats | None
    entries: Floats | NDArray[np.float32] | None
    terms: tuple[Floats, Floats] | None = None
    """The items' terms as rows and as columns; None for the items' squared norms."""


def _plain(columns: Columns, config: ModelConfig) -> Weights:
    norm = config.parameter("user_norm")
    return Weights(powers(columns.lengths, -norm) if norm else None, columns.weights)


def _asymmetric(columns: Columns, config: ModelConfig) -> Weights:
    """x^alpha of the row and y^(1 - alpha) of the column.

    Aiolli, "Efficient Top-N Recommendation for Very Large Scale Binary Rated Datasets", RecSys 2013, section 4.1.
    """
    user, entries, _ = _plain(columns, config)
    squares, alpha = _squares(columns, user, entries), config.parameter("alpha")
    return Weights(user, entries, (powers(squares, alpha), powers(squares, 1.0 - alpha)))


def _tfidf(columns: Columns, _config: ModelConfig) -> Weights:
    """The root of a weight times the user's scarcity, as in implicit's `tfidf_weight`."""
    return Weights(columns.scarcity, None if columns.weights is None else np.sqrt(columns.weights))


def _bm25(columns: Columns, config: ModelConfig) -> Weights:
    """w (K1 + 1) / (K1 (1 - B + B length / mean length) + w) times the user's scarcity.

    As in implicit's `bm25_weight`, after Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
    Beyond", Foundations and Trends in Information Retrieval 3(4), 2009. An item's length is the sum of its weights.
    """
    k1, b, sums = config.parameter("k1"), config.parameter("b"), columns.sums
    # An exact sum, since numpy's order of additions may change.
    mean = max(fsum(sums.tolist()) / max(sums.size, 1), np.finfo(np.float64).tiny)
    norms = k1 * (1.0 - b + b * sums / mean)
    if columns.weights is None:
        saturated = (k1 + 1.0) / (norms + 1.0)
        return Weights(columns.scarcity, None, (saturated, saturated))
    weights = columns.weights.astype(np.float64)
    ones = np.ones(sums.size)
    entries = weights * (k1 + 1.0) / (np.repeat(norms, np.diff(columns.ptr)) + weights)
    return Weights(columns.scarcity, entries, (ones, ones))


def _counted(columns: Columns, _config: ModelConfig) -> Weights:
    return Weights(None, None, (columns.counts, columns.counts))


def _walked(columns: Columns, config: ModelConfig) -> Weights:
    """A random walk from the row's item over its users to other items, divided by their popularity.

    (sum over u of (w_ui / W_i)^alpha (w_uj / W_u)^alpha) / W_j^beta: Christoffel, Paudel, Newell and Bernstein,
    "Blockbusters and Wallflowers: Accurate, Diverse, and Scalable Recommendations with Random Walks", RecSys 2015.
    """
    alpha, beta, sums = config.parameter("alpha"), config.parameter("beta"), columns.sums
    entries = None if columns.weights is None else powers(columns.weights.astype(np.float64), alpha)
    return Weights(powers(columns.user_sums, -alpha), entries, (powers(sums, -alpha), powers(sums, -beta)))


WEIGHTINGS: Mapping[str, tuple[Formula, Callable[[Columns, ModelConfig], Weights]]] = MappingProxyType(
    {
        "cosine": (cosine, _plain),
        "jaccard": (jaccard, _plain),
        "dice": (dice, _plain),
        "asymmetric": (quotient, _asymmetric),
        "bm25": (product, _bm25),
        "tfidf": (cosine, _tfidf),
        "llr": (likelihood_ratio, _counted),
        "rp3beta": (product, _walked),
    }
)


def weigh(
    config: ModelConfig,
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32] | None,
    user_ptr: NDArray[np.int64],
) -> Weighting:
    """The weighting of a snapshot for a configuration's similarity.

    item_ptr int64[I + 1], item_users uint32[nnz] ascending within an item, item_weights float32[nnz] above zero (None:
    all 1), user_ptr int64[U + 1].
    """
    columns = Columns(item_ptr, item_users, item_weights, np.diff(user_ptr).astype(np.float64))
    formula, weights_of = WEIGHTINGS[config.similarity]
    weights = weights_of(columns, config)
    factors, entries = _rounded(columns, weights.user, weights.entries)
    squares = _squares(columns, weights.user, weights.entries)
    rows, others = weights.terms or (squares, squares)
    return Weighting(formula, factors, entries, rows, others, config.shrink, config.power, float(columns.lengths.size))


def _rounded(
    columns: Columns, user: Floats | None, entries: Floats | NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """The factors of users, or weights that include the roots of these factors, float32. The other one is empty."""
    none = np.empty(0, np.float32)
    if entries is None:
        return none if user is None else user.astype(np.float32), none
    return none, (entries if user is None else entries * np.sqrt(user)[columns.users]).astype(np.float32, copy=False)


def _squares(columns: Columns, user: Floats | None, entries: Floats | NDArray[np.float32] | None) -> Floats:
    """The items' squared norms, float64[I], summed in float64 and in user order."""
    factors, weights = _rounded(columns, user, entries)
    if weights.size:
        return _sums_of_squares(columns.ptr, weights)
    return _sums(columns.ptr, factors[columns.users]) if factors.size else columns.counts


@compiled(types.float64[::1](READ_INT64, READ_FLOAT32), allocates=True)
def _sums(ptr: NDArray[np.int64], weights: NDArray[np.float32]) -> Floats:
    """Each item's sum of weights, in float64 and in user order."""
    found = np.zeros(ptr.size - 1, np.float64)
    for item in range(found.size):
        for at in range(ptr[item], ptr[item + 1]):
            found[item] += np.float64(weights[at])
    return found


@compiled(types.float64[::1](READ_INT64, READ_FLOAT32), allocates=True)
def _sums_of_squares(ptr: NDArray[np.int64], weights: NDArray[np.float32]) -> Floats:
    """Each item's sum of squared weights, in float64 and in user order."""
    found = np.zeros(ptr.size - 1, np.float64)
    for item in range(found.size):
        for at in range(ptr[item], ptr[item + 1]):
            found[item] += np.float64(weights[at]) * np.float64(weights[at])
    return found
