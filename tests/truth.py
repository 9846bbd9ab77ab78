"""The correct answers for one model of a snapshot, computed without the kernels."""

import json
from collections.abc import Sequence

import numpy as np

from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import Options
from tests.interactions import Interactions
from tests.plain_model import PlainUser, Rows, plain_list
from tests.reference import Entry, reference_lists, reference_rows, reference_weights
from tests.slim import options_of, reference_slim


class Truth:
    """The model of a snapshot, and lists of this length and this recency."""

    def __init__(self, snapshot: Snapshot, config: ModelConfig, length: int, recency: float = 0.0) -> None:
        self._length = length
        self._users = [snapshot.users[user] for user in range(snapshot.n_users)]
        self.items = [snapshot.items[item] for item in range(snapshot.n_items)]
        self._by_user = (snapshot.user_ptr, snapshot.user_items, snapshot.user_weights)
        by_item = (snapshot.item_ptr, snapshot.item_users, snapshot.item_weights)
        if config.similarity == "slim":
            self._rows = reference_slim(Interactions(*self._by_user, *by_item), options_of(config))
        else:
            self._rows = reference_rows(*by_item, *self._by_user, **config.facts())
        if recency and snapshot.user_times is not None:
            weights = reference_weights(snapshot.user_ptr, snapshot.user_times, snapshot.user_weights, recency)
            self._by_user = (snapshot.user_ptr, snapshot.user_items, weights)

    def lists(self, generation: str) -> dict[str, bytes]:
        """The cached bytes of all users."""
        lists = reference_lists(*self._rows, *self._by_user, length=self._length)
        return {
            user: _as_json({"format": 2, "items": self._places(entries)})
            for user, entries in zip(self._users, lists, strict=True)
        }

    def list_of(self, user: PlainUser) -> bytes:
        """The cached bytes of a user, by what counts now."""
        indices = {item: number for number, item in enumerate(self.items)}
        return plain_list(user, Rows(*self._rows), Options(self._length), indices, set())

    def basket(self, generation: str, items: Sequence[str]) -> bytes:
        """A basket's cached bytes; its items are distinct and sorted by their bytes."""
        known = np.array([self.items.index(item) for item in items if item in self.items], np.uint32)
        [entries] = reference_lists(*self._rows, np.array([0, known.size]), known, None, length=self._length)
        unknown = [item for item in items if item not in self.items]
        return _as_json({"format": 2, "items": self._places(entries), "unknown": unknown})

    def neighbours(self, item: str) -> list[tuple[str, float]]:
        """An item's neighbours, the most similar first, then the smaller index."""
        row_ptr, row_items, row_values = self._rows
        row = slice(row_ptr[self.items.index(item)], row_ptr[self.items.index(item) + 1])
        best = np.argsort(-row_values[row], kind="stable")
        return [(self.items[row_items[row][at]], float(str(row_values[row][at]))) for at in best]

    def _places(self, entries: Sequence[Entry]) -> list[list[object]]:
        return [[self.items[e.item], float(str(e.score)), self.items[e.reason]] for e in entries]


def _as_json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
