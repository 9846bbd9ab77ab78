"""Successive halving: a third stays in each round, and rounds end when nothing is left to gain."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from reckoner.producer.evaluation.halving import (
    LEAST_USERS,
    nothing_to_gain,
    order_of_users,
    rounds,
    standings,
    survivors,
)


@pytest.mark.parametrize(
    ("trials", "users", "sizes"),
    [
        (30, 10_000, [370, 1111, 3333, 10_000]),
        (30, 671, [223, 671]),
        (30, 599, [599]),
        (9, 10_000, [3333, 10_000]),
        (3, 10_000, [10_000]),
        (1, 10_000, [10_000]),
        (30, 1, [1]),
    ],
)
def test_rounds_have_enough_users_and_end_with_a_choice(trials: int, users: int, sizes: list[int]) -> None:
    """Each has three times the users of the one before; the last one has at least two trials, if there are two."""
    assert rounds(trials, users) == sizes
    assert sizes[0] >= min(LEAST_USERS, users)


@given(st.integers(1, 300), st.integers(1, 100), st.integers(0, 2**31))
def test_each_user_comes_in_one_round(users: int, first: int, seed: int) -> None:
    """Equal seeds draw the same users; of more users than are asked for, each has a chance."""
    sizes = sorted({min(first, users), (first + users + 1) // 2 if first < users else users})
    parts = order_of_users(users, sizes, seed)
    assert np.cumsum([part.size for part in parts]).tolist() == sizes
    drawn = np.concatenate(parts)
    assert np.unique(drawn).size == drawn.size == sizes[-1]
    assert drawn.min() >= 0
    assert drawn.max() < users
    assert all(np.array_equal(*pair) for pair in zip(parts, order_of_users(users, sizes, seed), strict=True))


def test_another_seed_draws_other_users() -> None:
    [one], [other] = (order_of_users(1000, [50], seed) for seed in (0, 1))
    assert not np.array_equal(one, other)


def numbered(*values: NDArray[np.float64]) -> dict[int, NDArray[np.float64]]:
    return dict(enumerate(values))


def values_of(means: list[float], users: int = 400) -> dict[int, NDArray[np.float64]]:
    """Values with these means, which move together."""
    noise = np.random.default_rng(1).random(users) * 0.2
    return numbered(*(noise - noise.mean() + mean for mean in means))


def test_the_best_come_first_and_those_of_more_users_before_others() -> None:
    """A trial that has left is compared with the best on its own users, whatever its mean."""
    values = values_of([0.3, 0.5, 0.2, 0.5, 0.9])
    values[4] = values[4][:50]
    found = standings(values)
    assert [standing.trial for standing in found] == [1, 3, 0, 2, 4]
    assert [standing.users for standing in found] == [400, 400, 400, 400, 50]
    beside = [standing.beside_best for standing in found]
    assert beside[0] is None
    assert [round(each.mean, 6) for each in beside[1:] if each] == [0, -0.2, -0.3, 0.4]
    assert [round(standing.mean.mean, 6) for standing in found[:4]] == [0.5, 0.5, 0.3, 0.2]


@settings(max_examples=20, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_a_third_stays_and_with_it_the_best(means: list[float]) -> None:
    """Nobody who stays is worse than anybody who goes."""
    ranked = standings(numbered(*(np.full(3, mean) for mean in means)))
    kept = survivors(ranked)
    assert len(kept) == -(-len(means) // 3)
    assert kept[0].trial == means.index(max(means))
    least = min(means[standing.trial] for standing in kept)
    assert all(means[standing.trial] <= least for standing in ranked[len(kept) :])


def test_nothing_is_left_to_gain_if_all_are_within_noise_and_alike() -> None:
    """Not if one is worse beyond noise, nor if few users leave room for a gain."""
    noise = np.random.default_rng(2).normal(size=(3, 400))
    alike = [0.5 + 0.001 * row for row in noise]
    assert nothing_to_gain(standings(numbered(*alike)))
    assert not nothing_to_gain(standings(numbered(*alike, alike[0] - 0.1)))
    assert not nothing_to_gain(standings(numbered(*(0.5 + 0.2 * row for row in noise))))
