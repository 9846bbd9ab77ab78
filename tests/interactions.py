"""Small interaction matrices for tests, in a snapshot's two forms."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

Arrays = tuple[
    NDArray[np.int64],
    NDArray[np.uint32],
    NDArray[np.float32] | None,
    NDArray[np.int64],
    NDArray[np.uint32],
    NDArray[np.float32] | None,
]


@dataclass(frozen=True)
class Interactions:
    """By user and by item, as in a snapshot. Weights of None are all 1."""

    user_ptr: NDArray[np.int64]
    user_items: NDArray[np.uint32]
    user_weights: NDArray[np.float32] | None
    item_ptr: NDArray[np.int64]
    item_users: NDArray[np.uint32]
    item_weights: NDArray[np.float32] | None

    @property
    def n_users(self) -> int:
        return self.user_ptr.size - 1

    @property
    def n_items(self) -> int:
        return self.item_ptr.size - 1

    @property
    def arrays(self) -> Arrays:
        """All six, those by item first."""
        return (
            *(self.item_ptr, self.item_users, self.item_weights),
            *(self.user_ptr, self.user_items, self.user_weights),
        )


def interactions(
    users: NDArray[np.int64],
    items: NDArray[np.int64],
    weights: NDArray[np.float32] | None,
    *,
    n_users: int,
    n_items: int,
) -> Interactions:
    """Both forms of distinct (user, item) pairs in any order."""
    by_user, by_item = np.lexsort((items, users)), np.lexsort((users, items))
    return Interactions(
        user_ptr=np.searchsorted(users[by_user], np.arange(n_users + 1)).astype(np.int64),
        user_items=items[by_user].astype(np.uint32),
        user_weights=None if weights is None else weights[by_user],
        item_ptr=np.searchsorted(items[by_item], np.arange(n_items + 1)).astype(np.int64),
        item_users=users[by_item].astype(np.uint32),
        item_weights=None if weights is None else weights[by_item],
    )


def from_pairs(
    pairs: Mapping[tuple[int, int], float], *, n_users: int, n_items: int, weighted: bool = False
) -> Interactions:
    """From a mapping of (user, item) to weight; weights are used only if `weighted`."""
    users = np.array([user for user, _ in pairs], np.int64)
    items = np.array([item for _, item in pairs], np.int64)
    weights = np.array(list(pairs.values()), np.float32) if weighted else None
    return interactions(users, items, weights, n_users=n_users, n_items=n_items)


def from_columns(had: Sequence[NDArray[np.int64]], *, n_users: int) -> Interactions:
    """From each item's users."""
    users, items = np.concatenate(had), np.repeat(np.arange(len(had)), [mine.size for mine in had])
    return interactions(users, items, None, n_users=n_users, n_items=len(had))


def everything(size: int, *, weighted: bool = False) -> Interactions:
    """As many users as items; every user has every item."""
    ptr = np.arange(0, size * size + 1, size, dtype=np.int64)
    indices = np.tile(np.arange(size, dtype=np.uint32), size)
    weights = np.ones(indices.size, np.float32) if weighted else None
    return Interactions(ptr, indices, weights, ptr, indices, weights)


@st.composite
def small_interactions(draw: st.DrawFn) -> Interactions:
    """Few users and items, so ties, empty histories and items without users are common; weighted or not."""
    n_users, n_items = draw(st.integers(1, 8)), draw(st.integers(1, 10))
    weights = st.sampled_from([0.25, 1.0, 2.0]) | st.floats(2**-10, 2.0**10, width=32)
    pair = st.tuples(st.integers(0, n_users - 1), st.integers(0, n_items - 1))
    pairs = draw(st.dictionaries(pair, weights, max_size=n_users * n_items))
    return from_pairs(pairs, n_users=n_users, n_items=n_items, weighted=draw(st.booleans()))


def random_interactions(seed: int, *, n_users: int, n_items: int, n_pairs: int, weighted: bool = False) -> Interactions:
    """Random pairs with popular items, as in real catalogues."""
    rng = np.random.default_rng(seed)
    users = rng.integers(0, n_users, n_pairs)
    items = (n_items * rng.random(n_pairs) ** 2).astype(np.int64)
    codes = np.unique(users * n_items + items)
    weights = rng.exponential(size=codes.size).astype(np.float32) + np.float32(0.01) if weighted else None
    return interactions(codes // n_items, codes % n_items, weights, n_users=n_users, n_items=n_items)
