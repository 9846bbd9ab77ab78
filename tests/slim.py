"""The model kind `slim` in plain numpy, one target at a time: bit for bit what kernels build, and an exact solution."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from reckoner.shared.store.model_config import ModelConfig
from tests.interactions import Interactions

Floats = NDArray[np.float64]
SWEEPS = 100


class Options(NamedTuple):
    """The options of a fit, with their defaults."""

    candidates: int = 200
    neighbours: int = 100
    user_norm: float = 0.5
    l1: float = 1.0
    l2: float = 20.0
    l2_share: float = 1.0
    tolerance: float = 1e-2


DEFAULTS = Options()


def options_of(config: ModelConfig) -> Options:
    """The options of a configuration."""
    return Options(
        int(config.parameter("candidates")),
        config.neighbours,
        *(config.parameter(name) for name in ("user_norm", "l1", "l2", "l2_share")),
    )


class Slim(NamedTuple):
    """The sums of all pairs in users, float64[I, I] by rank, exact; and the item of each rank."""

    sums: Floats
    order: NDArray[np.int64]


class Target(NamedTuple):
    """What a target is fitted to: its candidates by rank, their sums, those with the target, and their penalties."""

    candidates: NDArray[np.int64]
    sums: Floats
    dots: Floats
    penalty: Floats


def slim_of(data: Interactions, user_norm: float = 0.5) -> Slim:
    """The sums of the data: a user counts a whole number of 1,024ths."""
    lengths = np.diff(data.user_ptr)
    has = np.zeros((data.n_users, data.n_items))
    has[np.repeat(np.arange(data.n_users), lengths), data.user_items] = 1.0
    mean = lengths.sum() / max(np.count_nonzero(lengths), 1)
    counts = np.rint(np.minimum((mean / np.maximum(lengths, 1)) ** user_norm, 4096) * 1024) / 1024
    order = np.lexsort((np.arange(data.n_items), -has.sum(0)))
    has = has[:, order]
    return Slim(has.T @ (has * counts[:, None]), order)


def target_of(slim: Slim, target: int, options: Options = DEFAULTS) -> Target:
    """The problem of the target of a rank."""
    own, dots = np.diag(slim.sums), slim.sums[target].copy()
    dots[target] = 0.0
    penalty = options.l2 + options.l2_share * own
    with np.errstate(invalid="ignore"):
        worth = np.where(dots > 0, dots * dots / (own + penalty), 0.0)
    best = np.argsort(-worth, kind="stable")[: options.candidates]
    chosen = np.sort(best[dots[best] > 0])
    return Target(chosen, slim.sums[np.ix_(chosen, chosen)], dots[chosen], penalty[chosen])


def exact(of: Target, l1: float, neighbours: int) -> Floats:
    """The values of a target's candidates, by an active-set method (Lawson and Hanson, 1974)."""
    values = _solved(of.sums, of.dots, of.penalty, l1)
    if np.count_nonzero(values) > neighbours:
        kept = np.sort(np.argsort(-values, kind="stable")[:neighbours])
        found = _solved(of.sums[np.ix_(kept, kept)], of.dots[kept], of.penalty[kept], l1)
        values = np.zeros_like(values)
        values[kept] = found
    return values


def _solved(sums: Floats, dots: Floats, penalty: Floats, l1: float) -> Floats:
    if not dots.size:
        return np.empty(0)
    root = np.linalg.cholesky(sums + np.diag(penalty)).T
    found: Floats = nnls(root, np.linalg.solve(root.T, dots - l1))[0]
    return found


def descended(of: Target, least: float, l1: float, neighbours: int) -> Floats:
    """The same by the kernels' steps, in their order."""
    values, residual = np.zeros(of.dots.size), of.dots.copy()

    def step(k: int) -> float:
        own = of.sums[k, k]
        over = residual[k] + own * values[k] - l1
        value = over / (own + of.penalty[k]) if over > 0 else 0.0
        change = value - values[k]
        values[k] = value
        residual[:] = residual - change * of.sums[k]
        return float(change * change * (own + of.penalty[k]))

    def settle(sweeps: int) -> int:
        live = np.flatnonzero(values > 0)
        while sweeps:
            sweeps -= 1
            if max((step(k) for k in live.tolist()), default=0.0) < least:
                break
        return sweeps

    sweeps = SWEEPS
    while sweeps:
        sweeps -= 1
        if max((step(k) for k in range(values.size)), default=0.0) < least:
            break
        sweeps = settle(sweeps)
    if np.count_nonzero(values) > neighbours:
        for k in np.argsort(-values, kind="stable")[neighbours:].tolist():
            if values[k] > 0:
                residual[:] = residual + values[k] * of.sums[k]
                values[k] = 0.0
        settle(SWEEPS)
    own = np.diag(of.sums)
    values[values * values * (own + of.penalty) < least / 2] = 0.0
    return values


def reference_slim(
    data: Interactions, options: Options = DEFAULTS
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]]:
    """The model: row_ptr, row_items (ascending in each row) and row_values, as kernels build it."""
    slim = slim_of(data, options.user_norm)
    model = np.zeros((data.n_items, data.n_items), np.float32)
    for target, item in enumerate(slim.order):
        of = target_of(slim, target, options)
        # In users instead of the kernels' units; quotients are the same.
        least = options.tolerance * options.tolerance * slim.sums[target, target]
        model[slim.order[of.candidates], item] = descended(of, least, options.l1, options.neighbours)
    rows, items = np.nonzero(model)
    row_ptr = np.searchsorted(rows, np.arange(data.n_items + 1)).astype(np.int64)
    return row_ptr, items.astype(np.uint32), model[rows, items]
