"""Synthetic interactions have the requested size and the intended properties."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest

from reckoner.producer.trial import synthesis
from reckoner.producer.trial.synthesis import LIKE, Block, Size, synthesise

# (users, items, interactions): single ones, the least and the most that there can be, and histories of nearly all.
EXTREMES = [
    *((1, 1, 1), (3, 2, 6), (2, 3, 3), (20, 3, 59), (5, 5, 25)),
    *((50, 2000, 2000), (2000, 50, 2000), (1, 500, 500), (500, 1, 500), (2, 500, 999)),
    *((300, 300, 45_000), (300, 300, 90_000), (300, 300, 89_999)),
]


def made(size: Size, seed: int = 1) -> Block:
    return Block(*map(np.concatenate, zip(*synthesise(size, seed), strict=True)))


def digest(block: Block) -> str:
    return hashlib.sha256(b"".join(array.astype("<i8").tobytes() for array in block)).hexdigest()


@pytest.fixture(scope="module")
def movielens() -> Block:
    """The size of MovieLens 1M."""
    return made(LIKE["ml-1m"])


@pytest.mark.parametrize(("users", "items", "interactions"), EXTREMES)
def test_synthetic_data_have_exactly_the_given_size(users: int, items: int, interactions: int) -> None:
    """All users and items, numbered from 1, and the given number of distinct pairs."""
    block = made(Size(users=users, items=items, interactions=interactions))
    assert [array.size for array in block] == [interactions] * 3
    assert np.array_equal(np.unique(block.users), np.arange(1, users + 1))
    assert np.array_equal(np.unique(block.items), np.arange(1, items + 1))
    assert np.unique(block.users * (items + 1) + block.items).size == interactions


@pytest.mark.parametrize(
    ("users", "items", "interactions", "why"),
    [
        (3, 4, 13, "13 interactions are too many: 3 users and 4 items have 12 pairs"),
        (3, 4, 3, "3 interactions are too few: every user and every item needs one, so 4"),
        (5, 4, 4, "4 interactions are too few: every user and every item needs one, so 5"),
        (0, 4, 0, "users and items must be from 1 to 100,000,000"),
        (4, 200_000_000, 200_000_000, "users and items must be from 1 to 100,000,000"),
    ],
)
def test_what_cannot_be_made_is_refused(users: int, items: int, interactions: int, why: str) -> None:
    """With the reason."""
    with pytest.raises(ValueError) as refused:
        Size(users=users, items=items, interactions=interactions)
    assert str(refused.value) == why


def test_the_same_seed_gives_the_same_bytes(movielens: Block) -> None:
    """The same on every machine and numpy; changed data would make benchmarks incomparable."""
    size = Size(users=300, items=200, interactions=6_000)
    assert digest(made(size, seed=1)) == "8de2603323bf75786201b8c1b0f057597075a8bf1e35ec068cd417dc645d2438"
    assert digest(made(size, seed=2)) == "239690866dfd4e2f09a5671ae4a44b45e0e44ee6e83957c485d74d7ec11c5cca"
    assert digest(movielens) == "e6a64cb63f614c96e08eef2aeebec7e34c7e0e435e29cf782c05b95daa6f15ad"


def test_blocks_hold_whole_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Users ascend, in several blocks; a long history may be a block of its own."""
    monkeypatch.setattr(synthesis, "BLOCK", 100)
    blocks = list(synthesise(Size(users=300, items=200, interactions=6_000), 1))
    assert len(blocks) > 50
    users = np.concatenate([block.users for block in blocks])
    assert np.array_equal(users, np.sort(users))
    assert all(before.users[-1] < after.users[0] for before, after in pairwise(blocks))
    assert max(block.users.size for block in blocks if np.unique(block.users).size > 1) <= 100


def test_the_times_of_a_user_rise(movielens: Block) -> None:
    """Times ascend for each user, and items are shuffled."""
    same_user = np.diff(movielens.users) == 0
    assert np.all(np.diff(movielens.times)[same_user] > 0)
    assert 0.45 < np.mean(np.diff(movielens.items)[same_user] > 0) < 0.55


def test_histories_have_a_heavy_tail(movielens: Block) -> None:
    """At least twenty items each; half have far fewer than the mean, and a few have a large share."""
    lengths = np.bincount(movielens.users)[1:]
    assert lengths.min() >= 20
    assert np.median(lengths) < 0.6 * lengths.mean()
    assert 10 * lengths.mean() < lengths.max() <= LIKE["ml-1m"].items * 5 / 8


def test_popularity_has_a_heavy_tail(movielens: Block) -> None:
    """A hundredth of the items has over a tenth of the interactions, and half of the items less than a twentieth."""
    counts = np.sort(np.bincount(movielens.items)[1:])[::-1]
    assert counts[: counts.size // 100].sum() > 0.1 * counts.sum()
    assert counts[counts.size // 2 :].sum() < 0.05 * counts.sum()


def test_popular_items_have_any_number(movielens: Block) -> None:
    """Popularity does not depend on an item's number or place in the file."""
    counts = np.bincount(movielens.items)[1:]
    popular = np.flatnonzero(counts >= np.sort(counts)[-400])
    assert 0.4 < popular.mean() / counts.size < 0.6


def test_users_have_tastes(movielens: Block) -> None:
    """Users of an item have other items of its taste far more often than equally popular items."""
    size = LIKE["ml-1m"]
    counts = np.bincount(movielens.items, minlength=size.items + 1)
    chosen = np.argsort(-counts, kind="stable")[400:500]
    had = np.zeros((size.users, chosen.size))
    for column, item in enumerate(chosen):
        had[movielens.users[movielens.items == item] - 1, column] = 1
    together = (had.T @ had) / np.outer(counts[chosen], counts[chosen])
    median, high = np.quantile(together[np.triu_indices(chosen.size, 1)], (0.5, 0.9))
    assert high > 1.3 * median
