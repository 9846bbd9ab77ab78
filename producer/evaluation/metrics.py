"""The metrics of lists: per user, so that models can be compared in pairs, and over all lists."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from reckoner.producer.evaluation.splits import HeldOut, Interactions
from reckoner.shared.serving.evaluations import MAIN_METRIC
from reckoner.shared.store.evaluation_parts import Lists

# The length of the lists, and of their first part that most metrics look at.
LENGTH, FIRST = 20, 10

NDCG, RECALL, HIT, MRR = MAIN_METRIC, f"recall@{LENGTH}", f"hit@{FIRST}", f"mrr@{LENGTH}"
PER_USER: Final[Mapping[str, str]] = MappingProxyType(
    {
        NDCG: "how high the first ten places are hit, 1 if all hits come first",
        RECALL: "the share of the test interactions that the list of 20 finds",
        HIT: "the share of users with a hit among the first ten places",
        MRR: "one divided by the place of the first hit",
    }
)
OF_LISTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "coverage": "the share of the catalogue that is shown to somebody among the first ten places",
        "gini": "how unequal items are shown: 0 all alike, 1 one item only",
        "popularity_rank": "the mean rank of a shown item by its users, 1 for the most popular",
        "novelty": "the mean of the bits that an item's share of users tells, more for rare items",
        "short": "the share of lists with fewer than ten items",
    }
)


def per_user(lists: Lists, test: HeldOut, n_items: int) -> dict[str, NDArray[np.float64]]:
    """The metrics of each tested user's list, float64[users], by name.

    nDCG (Järvelin and Kekäläinen, ACM TOIS 2002) with gains of 1 and discounts of 1 / log2(place + 1), divided by that
    of the best list; recall is divided by all the user's test interactions. Sums are in the order of the places.
    """
    hits = _hits(_matrix(lists), test, n_items)
    wanted = np.diff(test.ptr)
    discounts = [1 / math.log2(place + 2) for place in range(FIRST)]
    best = np.concatenate(([0.0], np.cumsum(discounts)))
    gained = np.zeros(wanted.size)
    for place, discount in enumerate(discounts):
        gained += hits[:, place] * discount
    first = np.where(hits.any(axis=1), hits.argmax(axis=1) + 1.0, np.inf)
    return {
        NDCG: gained / best[np.minimum(wanted, FIRST)],
        RECALL: np.count_nonzero(hits, axis=1) / wanted,
        HIT: hits[:, :FIRST].any(axis=1).astype(np.float64),
        MRR: 1 / first,
    }


def of_lists(lists: Lists, training: Interactions) -> dict[str, float]:
    """The metrics of all lists together, by name.

    Gini: of the numbers of times that items are shown (Fleder and Hosanagar, 2009). Novelty: mean self-information
    -log2(users of the item / users) (Zhou et al., PNAS 2010).
    """
    shown = _matrix(lists)[:, :FIRST]
    popularity = np.bincount(training.items, minlength=len(training.item_ids))
    exposure = np.bincount(shown[shown >= 0], minlength=popularity.size)
    places = max(int(exposure.sum()), 1)
    ranks = np.empty(popularity.size, np.int64)
    ranks[popular_order(training)] = np.arange(1, popularity.size + 1)
    bits = (count * -math.log2(users / len(training.user_ids)) for count, users in _pairs(exposure, popularity))
    return {
        "coverage": int((exposure > 0).sum()) / popularity.size,
        "gini": gini(exposure),
        "popularity_rank": int((exposure * ranks).sum()) / places,
        "novelty": math.fsum(bits) / places,
        "short": int((lists.counts < FIRST).sum()) / max(lists.counts.size, 1),
    }


def gini(counts: NDArray[np.int64]) -> float:
    """The Gini coefficient of counts, 0 for equal ones, also if all are 0."""
    ordered, n = np.sort(counts), counts.size
    total = int(ordered.sum())
    weighted = int((np.arange(1, n + 1) * ordered).sum())
    return (2 * weighted - (n + 1) * total) / (n * total) if total else 0.0


def popular_order(training: Interactions) -> NDArray[np.intp]:
    """The items with the most users first, then the smaller index."""
    return np.argsort(-np.bincount(training.items, minlength=len(training.item_ids)), kind="stable")


def popular_lists(training: Interactions, users: NDArray[np.uint32]) -> Lists:
    """The most popular items for each of some users, without the user's history."""
    order = popular_order(training)
    ranks = np.empty(order.size, np.int64)
    ranks[order] = np.arange(order.size)
    ptr = np.searchsorted(training.users, np.arange(len(training.user_ids) + 1, dtype=np.uint32))
    lists = list[NDArray[np.intp]]()
    for user in users.tolist():
        had = ranks[training.items[ptr[user] : ptr[user + 1]]]
        left = np.ones(min(LENGTH + had.size, order.size), bool)
        left[had[had < left.size]] = False
        lists.append(order[np.flatnonzero(left)[:LENGTH]])
    counts = np.array([found.size for found in lists], np.uint32)
    return Lists(counts, np.concatenate([np.empty(0, np.uint32), *lists]).astype(np.uint32))


def most_popular(training: Interactions, n_users: int) -> Lists:
    """The most popular items, the same list for each of so many users without a history."""
    popular = popular_order(training)[:LENGTH].astype(np.uint32)
    return Lists(np.full(n_users, popular.size, np.uint32), np.tile(popular, n_users))


def _matrix(lists: Lists) -> NDArray[np.int64]:
    """The lists as rows of LENGTH places, int64, -1 where a list is shorter."""
    counts = lists.counts.astype(np.int64)
    rows = np.full((counts.size, LENGTH), -1, np.int64)
    places = np.arange(lists.items.size) - np.repeat(np.cumsum(counts) - counts, counts)
    rows[np.repeat(np.arange(counts.size), counts), places] = lists.items
    return rows


def _hits(rows: NDArray[np.int64], test: HeldOut, n_items: int) -> NDArray[np.bool_]:
    """Whether each place holds an item of the user's test interactions."""
    # New items come after all others, and no list has them.
    width = n_items + 1
    held = np.repeat(np.arange(test.users.size), np.diff(test.ptr)) * width + np.minimum(test.items, n_items)
    asked = np.arange(test.users.size)[:, None] * width + np.maximum(rows, 0)
    at = np.minimum(np.searchsorted(held, asked), max(held.size - 1, 0))
    hits: NDArray[np.bool_] = (held[at] == asked) & (rows >= 0)
    return hits


def _pairs(exposure: NDArray[np.int64], popularity: NDArray[np.int64]) -> list[tuple[int, int]]:
    """How often each shown item is shown, and its users."""
    shown = np.flatnonzero(exposure)
    return list(zip(exposure[shown].tolist(), popularity[shown].tolist(), strict=True))
