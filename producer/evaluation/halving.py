"""Successive halving: all trials are judged by a few users, the best third by more, and so on.

Jamieson and Talwalkar, AISTATS 2016. The budget is the number of users whose lists are made. A model is fitted once,
whatever the budget, since a fit on fewer interactions would be another problem with other best parameters.
"""

import math
from collections.abc import Mapping, Sequence
from itertools import groupby, repeat
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reckoner.producer.evaluation.bootstrap import Interval, intervals

# A round keeps one in so many trials, and the next one judges by so many times as many users.
FACTOR = 3
# With fewer users, nearly everything is within noise.
LEAST_USERS = 200
# More users tell little more: their intervals are narrower than what another month changes.
MOST_USERS = 10_000
# A gain that is worth another round, as a share of the best mean.
WORTH = 0.02


class Standing(NamedTuple):
    """How a trial stands: its mean over its users, and the difference to the best trial on the same users."""

    trial: int
    users: int
    mean: Interval
    beside_best: Interval | None
    """None for the best trial itself."""


def rounds(trials: int, users: int) -> list[int]:
    """By how many users the trials of each round are judged, ascending; the last round has at least two trials."""
    sizes = [users]
    while math.ceil(trials / FACTOR ** len(sizes)) >= 2 and sizes[0] // FACTOR >= LEAST_USERS:
        sizes.insert(0, sizes[0] // FACTOR)
    return sizes


def order_of_users(users: int, sizes: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    """The places of the users that each round adds, drawn with a seed, ascending in each round."""
    # By the raw numbers, which no release of numpy changes.
    drawn = np.argsort(np.random.PCG64(seed).random_raw(users), kind="stable")[: sizes[-1]]
    return [np.sort(part) for part in np.split(drawn, sizes[:-1])]


def standings(values: Mapping[int, NDArray[np.float64]]) -> list[Standing]:
    """Rank trials by their values, float64[users] from 0 to 1, of the same users in the same order: best first.

    Trials of more users come first, then higher means, then smaller numbers.
    """
    order = sorted(values, key=lambda trial: (-values[trial].size, -math.fsum(values[trial]), trial))
    best, ranked = values[order[0]], list[Standing]()
    for users, trials in groupby(order, key=lambda trial: values[trial].size):
        group = list(trials)
        own = [values[trial] for trial in group]
        found = intervals([*own, *(each - best[:users] for each in own)])
        ranked += map(Standing, group, repeat(users), found[: len(group)], found[len(group) :])
    return [ranked[0]._replace(beside_best=None), *ranked[1:]]


def survivors(ranked: Sequence[Standing]) -> Sequence[Standing]:
    """The best third of the trials of a round, rounded up."""
    return ranked[: math.ceil(len(ranked) / FACTOR)]


def nothing_to_gain(ranked: Sequence[Standing]) -> bool:
    """Whether all trials are within noise of the best, the first one, and none can be better by more than 2 %."""
    most = WORTH * ranked[0].mean.mean
    others = (standing.beside_best for standing in ranked[1:])
    return all(other is not None and other.is_noise and other.high <= most for other in others)
