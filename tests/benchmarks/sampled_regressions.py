"""The correct answers of regressions for a sample of targets, computed one by one in float64, without the kernels."""

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import nnls
from scipy.sparse import csc_array

from tests.benchmarks.sampled_truth import Truth, sampled_items
from tests.benchmarks.timed_call import EASE_L2, Arrays

TARGETS = 100
# Slim's defaults.
CANDIDATES, L1, L2, L2_SHARE = 200, 1.0, 20.0, 1.0
# A descent that stops early leaves values this far off; those below SMALL may be missing.
WITHIN, SMALL = 0.05, 0.02


def true_slim(arrays: Arrays, length: int) -> Truth:
    """The values of slim's targets by an active-set method, within 0.05."""
    lengths = np.diff(arrays.user_ptr)
    counted = np.rint((lengths.sum() / np.count_nonzero(lengths) / np.maximum(lengths, 1)) ** 0.5 * 1024) / 1024
    has = csc_array((np.ones(arrays.item_users.size), arrays.item_users, arrays.item_ptr), shape=arrays.shape)
    weighed = has.multiply(counted[:, None]).tocsc()
    own = np.asarray(weighed.sum(axis=0)).ravel()
    order = np.lexsort((np.arange(own.size), -np.diff(arrays.item_ptr)))
    rows = _targets(arrays)
    values = np.zeros((rows.size, own.size), np.float32)
    for number, target in enumerate(rows.tolist()):
        dots = np.asarray((has.T @ weighed[:, [target]]).todense()).ravel()
        dots[target] = 0.0
        worth = dots * dots / np.maximum(own + L2 + L2_SHARE * own, 1e-9)
        best = order[np.argsort(-worth[order], kind="stable")[:CANDIDATES]]
        chosen = best[dots[best] > 0]
        sums = np.asarray((has[:, chosen].T @ weighed[:, chosen]).todense())
        found = _solved(sums, dots[chosen], L2 + L2_SHARE * own[chosen])
        if np.count_nonzero(found) > length:
            chosen = chosen[np.argsort(-found, kind="stable")[:length]]
            sums = np.asarray((has[:, chosen].T @ weighed[:, chosen]).todense())
            found = _solved(sums, dots[chosen], L2 + L2_SHARE * own[chosen])
        values[number, chosen] = np.where(found > SMALL, found, 0.0)
    return Truth(rows, values, length, absolute=WITHIN)


def true_ease(arrays: Arrays, length: int) -> Truth:
    """EASE's columns (Steck, WWW 2019) above zero, within a thousandth."""
    has = csc_array((np.ones(arrays.item_users.size), arrays.item_users, arrays.item_ptr), shape=arrays.shape)
    factor = cho_factor((has.T @ has).toarray() + EASE_L2 * np.eye(arrays.shape[1]))
    rows = _targets(arrays)
    solved = cho_solve(factor, np.eye(arrays.shape[1])[:, rows])
    values = np.maximum(-solved / solved[rows, np.arange(rows.size)], 0.0).T
    values[np.arange(rows.size), rows] = 0.0
    return Truth(rows, values.astype(np.float32), length, absolute=1e-4, relative=1e-3)


def anything(arrays: Arrays) -> Truth:
    """No answer in particular: of a peer whose penalties are its own, only that it has values."""
    rows = _targets(arrays)
    return Truth(rows, np.zeros((rows.size, arrays.shape[1]), np.float32), 1, absolute=np.inf)


def _targets(arrays: Arrays) -> NDArray[np.int64]:
    return np.sort(np.random.default_rng(1).permutation(sampled_items(arrays))[:TARGETS])


def _solved(sums: NDArray[np.float64], dots: NDArray[np.float64], penalty: NDArray[np.float64]) -> NDArray[np.float64]:
    if not dots.size:
        return np.empty(0)
    root = np.linalg.cholesky(sums + np.diag(penalty)).T
    found: NDArray[np.float64] = nnls(root, np.linalg.solve(root.T, dots - L1))[0]
    return found
