"""Example users of an evaluation: what they had, what they had next, and what each model lists for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reckoner.producer.evaluation.comparing import Row
from reckoner.producer.evaluation.metrics import FIRST
from reckoner.producer.evaluation.splits import NEW, Split
from reckoner.shared.store.snapshots import Snapshot

USERS = 10
SEED = 7


class Place(NamedTuple):
    """An item of a list, and whether it is among the user's test interactions."""

    item: str
    is_hit: bool


@dataclass(frozen=True, slots=True)
class Example:
    """A tested user. Items are titles, or ids where there is none."""

    user: str
    history: list[str]
    """The last items of the training part by time, the newest first; without times the first by id."""
    history_size: int
    test: list[str]
    test_size: int
    lists: dict[str, list[Place]]
    """The first ten places by each model, by its name."""


def examples_of(split: Split, rows: Sequence[Row], snapshot: Snapshot) -> list[Example]:
    """Ten tested users, drawn with a fixed seed, by the order of their ids; `snapshot` is the one that was split."""
    n = split.test.users.size
    drawn = np.random.PCG64(SEED).random_raw(n)
    chosen = np.sort(np.argsort(drawn, kind="stable")[:USERS])
    return [_example(split, rows, snapshot, at) for at in chosen.tolist()]


def _example(split: Split, rows: Sequence[Row], snapshot: Snapshot, at: int) -> Example:
    training, user = split.training, int(split.test.users[at])
    first, last = np.searchsorted(training.users, np.array([user, user + 1], np.uint32)).tolist()
    history = training.items[first:last]
    if training.times is not None:
        history = history[np.argsort(-training.times[first:last], kind="stable")]
    test = split.test.items[split.test.ptr[at] : split.test.ptr[at + 1]]
    known = test[test != NEW]

    def labels(items: NDArray[np.uint32]) -> list[str]:
        return [label_of(snapshot, training.item_ids[item]) for item in items[:FIRST].tolist()]

    lists = dict[str, list[Place]]()
    for row in rows:
        start = int(row.lists.counts[:at].sum(dtype=np.int64))
        items = row.lists.items[start : start + min(int(row.lists.counts[at]), FIRST)]
        hits = np.isin(items, known).tolist()
        lists[row.name] = [Place(*place) for place in zip(labels(items), hits, strict=True)]
    return Example(training.user_ids[user], labels(history), history.size, labels(known), test.size, lists)


def label_of(snapshot: Snapshot, item_id: str) -> str:
    """The title of an item, or its id."""
    index = snapshot.items.find(item_id)
    return (snapshot.title(index) if index is not None else None) or item_id
