"""Lists of items that are the same for all users: by popularity, by trend, and by age, of all items or of some tags.

An order of items comes from one number an item, the largest first, ties by the smaller index. A tag's list has the
first of its items in that order: each pair of a tag and an item is one number, the tag's place times the number of
items plus the item's rank, so that sorting the numbers puts each tag's items side by side.
"""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# The interactions that are looked at together.
AT_ONCE = 1 << 20


def order_of(scores: NDArray[np.int64], kept: NDArray[np.bool_] | None = None) -> NDArray[np.int64]:
    """The items int64[m] in the order of `scores` int64[I], the highest first; only those that are `kept`, bool[I]."""
    order = np.argsort(-scores, kind="stable")
    return order if kept is None else order[kept[order]]


def count_since(since_ms: int, items: NDArray[np.uint32], times: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """How many of the interactions, `items` and `times` int64[nnz] in milliseconds, each item has since then."""
    counts = np.zeros(n_items, np.int64)
    for some in _slices(len(items), n_items):
        counts += np.bincount(items[some][times[some] >= since_ms], minlength=n_items)
    return counts


def first_times(items: NDArray[np.uint32], times: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """The earliest time of each item's interactions, int64[I]; the greatest int64 for an item without one."""
    first = np.full(n_items, np.iinfo(np.int64).max)
    for some in _slices(len(items), n_items):
        np.minimum.at(first, items[some], times[some])
    return first


def largest_tags(pair_tags: NDArray[np.integer], n_tags: int, most: int) -> NDArray[np.int64]:
    """The tags int64[min(n_tags, most)] with the most items, ties by the smaller index; each pair has a tag."""
    counts = np.bincount(pair_tags, minlength=n_tags)
    return np.argsort(-counts, kind="stable")[:most]


def first_of_tags(
    order: NDArray[np.int64],
    pair_tags: NDArray[np.integer],
    pair_items: NDArray[np.integer],
    tags: NDArray[np.int64],
    n_tags: int,
    n_items: int,
    length: int,
) -> list[NDArray[np.int64]]:
    """For each of the `tags` its first `length` items in `order`, int64; the pairs say which items have which tags."""
    rank = np.full(n_items, -1, np.int64)
    rank[order] = np.arange(len(order))
    place = np.full(n_tags, -1, np.int64)
    place[tags] = np.arange(len(tags))
    places, ranks = place[pair_tags], rank[pair_items]
    numbers = (places * n_items + ranks)[(places >= 0) & (ranks >= 0)]
    numbers.sort()
    starts = np.searchsorted(numbers, np.arange(len(tags) + 1) * n_items).tolist()
    return [
        order[numbers[start : min(start + length, end)] - number * n_items]
        for number, (start, end) in enumerate(pairwise(starts))
    ]


def _slices(size: int, least: int) -> list[slice]:
    at_once = max(AT_ONCE, least)
    return [slice(start, start + at_once) for start in range(0, size, at_once)]
