"""The similarities of two items: what each user counts, what each item brings along, and the formula over both.

All stand on one sum for each pair of items, over the users who have had both. A formula turns a row of such sums into
similarities, in float64; `x` is what the item of the row brings along and `ys` what the others do, and what comes out
must stay the same when the two are swapped. (An asymmetric similarity brings along other terms as a row than as a
column.) To add one: a formula, or one that is there; its weights and terms in `WEIGHTINGS`; its name and parameters in
`reckoner.shared.store.model_config`; and a test.
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
from reckoner.workers.kernels.compiled import READ_FLOAT32, READ_FLOAT64, READ_INT64, WRITE_FLOAT64, compiled

Formula = Callable[[NDArray[np.float64], int, float, NDArray[np.float64], int, float, float, NDArray[np.float64]], None]
Floats = NDArray[np.float64]

# What a model can hold: a similarity that is not bounded by 1 may be more, above all to a high power.
MOST = float(np.finfo(np.float32).max)

FORMULA = types.void(
    READ_FLOAT64, types.uint64, types.float64, READ_FLOAT64, types.uint64, types.float64, types.float64, WRITE_FLOAT64
)


@compiled(FORMULA, argument=True)
def cosine(dots: Floats, n: int, x: float, ys: Floats, at: int, shrink: float, users: float, values: Floats) -> None:
    """dot / (sqrt(x * y) + shrink), where x and y are the items' dot products with themselves.

    Deshpande and Karypis, "Item-Based Top-N Recommendation Algorithms", ACM TOIS 22(1), 2004; the shrink term as in
    Ferrari Dacrema et al., "A Troubling Analysis of Reproducibility and Progress in Recommender Systems Research", ACM
    TOIS 39(2), 2021. One root of a product: with weights of 1 the product is an exact integer.
    """
    for k in range(n):
        values[k] = dots[k] / (sqrt(x * ys[at + k]) + shrink)


@compiled(FORMULA, argument=True)
def jaccard(dots: Floats, n: int, x: float, ys: Floats, at: int, shrink: float, users: float, values: Floats) -> None:
    """dot / (x + y - dot + shrink): users of both out of users of either; for weights, Tanimoto's form of it.

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
    """Twice the log-likelihood ratio of the 2 by 2 table of users with both, one, the other and neither.

    0 where the two are met together no more often than by chance. Dunning, "Accurate Methods for the Statistics of
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
    """A similarity to a power, at most the largest float32; 0 where it is not above zero.

    Breese, Heckerman and Kadie, "Empirical Analysis of Predictive Algorithms for Collaborative Filtering", UAI 1998,
    section 2.2.3, call it case amplification.
    """
    return min(power(similarity, exponent), MOST) if similarity > 0.0 else 0.0


class Weighting(NamedTuple):
    """What a similarity is computed with, for I items and U users.

    The sum of a pair is over the users of both, in user order. Each adds 1 where `user_factors` and `item_weights` are
    empty; its `user_factors` float32[U]; or the product of its two `item_weights` float32[nnz], which stand beside a
    snapshot's item_users. That is summed in float64. `row_terms` and `column_terms` are float64[I].
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
    """A snapshot's interactions by item; `weights` float32[nnz] is None where all are 1."""

    ptr: NDArray[np.int64]
    users: NDArray[np.uint32]
    weights: NDArray[np.float32] | None
    lengths: Floats
    """How many items each user has, float64[U]."""

    @property
    def counts(self) -> Floats:
        """How many users each item has, float64[I]."""
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
        # Of no interactions these would be integers.
        return np.bincount(self.users, self.weights, minlength=self.lengths.size).astype(np.float64, copy=False)

    @property
    def scarcity(self) -> Floats:
        """What a user counts who has n of the I items, squared: the smaller n, the more; float64[U].

        ln(I) - ln(1 + n), as the library implicit has it for both TF-IDF and BM25, where items are the documents.
        """
        found: Floats = np.square(logs(np.maximum(self.counts.size, 1.0)[None]) - logs(1.0 + self.lengths))
        return found


class Weights(NamedTuple):
    """How a similarity weighs: the sum of a pair is that of `user` times both of `entries`, and None means 1."""

    user: Floats | None
    entries: Floats | NDArray[np.float32] | None
    terms: tuple[Floats, Floats] | None = None
    """The items' terms as rows and as columns; where there are none these are the items' sums with themselves."""


def _as_they_are(columns: Columns, config: ModelConfig) -> Weights:
    norm = config.user_norm
    return Weights(powers(columns.lengths, -norm) if norm else None, columns.weights)


def _asymmetric(columns: Columns, config: ModelConfig) -> Weights:
    """x^alpha of the row and y^(1 - alpha) of the column.

    Aiolli, "Efficient Top-N Recommendation for Very Large Scale Binary Rated Datasets", RecSys 2013, section 4.1.
    """
    user, entries, _ = _as_they_are(columns, config)
    squares, alpha = _squares(columns, user, entries), config.parameter("alpha")
    return Weights(user, entries, (powers(squares, alpha), powers(squares, 1.0 - alpha)))


def _tfidf(columns: Columns, _config: ModelConfig) -> Weights:
    """The root of a weight times the scarcity of the user, as implicit's `tfidf_weight`."""
    return Weights(columns.scarcity, None if columns.weights is None else np.sqrt(columns.weights))


def _bm25(columns: Columns, config: ModelConfig) -> Weights:
    """w (K1 + 1) / (K1 (1 - B + B length / mean length) + w) times the scarcity of the user.

    As implicit's `bm25_weight`, after Robertson and Zaragoza, "The Probabilistic Relevance Framework: BM25 and
    Beyond", Foundations and Trends in Information Retrieval 3(4), 2009. An item's length is the sum of its weights.
    """
    k1, b, sums = config.parameter("k1"), config.parameter("b"), columns.sums
    # Summed exactly, as the order in which numpy adds is its own.
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
    """A walk from the row's item over its users to other items, whose popularity divides.

    (sum over u of (w_ui / W_i)^alpha (w_uj / W_u)^alpha) / W_j^beta: Christoffel, Paudel, Newell and Bernstein,
    "Blockbusters and Wallflowers: Accurate, Diverse, and Scalable Recommendations with Random Walks", RecSys 2015.
    """
    alpha, beta, sums = config.parameter("alpha"), config.parameter("beta"), columns.sums
    entries = None if columns.weights is None else powers(columns.weights.astype(np.float64), alpha)
    return Weights(powers(columns.user_sums, -alpha), entries, (powers(sums, -alpha), powers(sums, -beta)))


WEIGHTINGS: Mapping[str, tuple[Formula, Callable[[Columns, ModelConfig], Weights]]] = MappingProxyType(
    {
        "cosine": (cosine, _as_they_are),
        "jaccard": (jaccard, _as_they_are),
        "dice": (dice, _as_they_are),
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
    """The weighting of a snapshot's interactions for the similarity of a configuration.

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
    """The factors of users, or the weights of interactions with the roots of these in them, float32; else empty."""
    none = np.empty(0, np.float32)
    if entries is None:
        return none if user is None else user.astype(np.float32), none
    return none, (entries if user is None else entries * np.sqrt(user)[columns.users]).astype(np.float32, copy=False)


def _squares(columns: Columns, user: Floats | None, entries: Floats | NDArray[np.float32] | None) -> Floats:
    """The items' sums with themselves, float64[I], in float64 and in user order."""
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
