"""The data of the kernels' benchmark: a snapshot of synthetic interactions, a model, and the correct answers."""

from collections.abc import Iterator, Mapping
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reckoner.producer.trial.synthesis import Block, Size, synthesise
from reckoner.shared.store.location import open_store
from reckoner.shared.store.snapshots import KIND, write_snapshot
from tests.benchmarks.night_data import Tails
from tests.benchmarks.sampled_regressions import anything, true_ease, true_slim
from tests.benchmarks.sampled_truth import Truth, true_bm25, true_cosine, true_scores
from tests.benchmarks.timed_call import LENGTH, NEIGHBOURS, Arrays, read

What: TypeAlias = Literal["cosine", "bm25", "slim", "ease", "any", "scores", "scores of all"]
"""The neighbours of items by either, the values of targets by two regressions or by another, and users' lists without
what they have had, or with it among the others."""

SEED = 1


@dataclass(frozen=True)
class RandomPairs:
    """Interactions of users and items drawn at random: items share few users."""

    users: int
    items: int
    interactions: int

    def blocks(self) -> Iterator[Block]:
        """The interactions; a pair may be there twice."""
        rng = np.random.default_rng(SEED)
        users, items = (1 + rng.integers(0, count, self.interactions) for count in (self.users, self.items))
        yield Block(users, items, np.zeros(self.interactions, np.int64))


class Data:
    """The interactions of a size, each user `copies` times, as the only snapshot of a store."""

    def __init__(self, home: Path, size: Size | Tails | RandomPairs, copies: int = 1) -> None:
        self.store_url = (home / "store").as_uri()
        self.model = home / "model"
        self._truths: dict[What, Truth] = {}
        store = open_store(self.store_url)
        with store.scratch() as directory:
            self.snapshot_id = _write(directory, size, copies)
            store.publish(KIND, self.snapshot_id, directory)
        store.set_current_snapshot(self.snapshot_id)
        self.snapshot = store.fetch(KIND, self.snapshot_id)

    @cached_property
    def arrays(self) -> Arrays:
        """The snapshot's, and the model's."""
        return read(self.snapshot, self.model if self.model.exists() else None)

    def keep_model(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Make this the model that all sides score with."""
        self.model.mkdir()
        for name, array in arrays.items():
            np.save(self.model / f"{name}.npy", array)
        self.__dict__.pop("arrays", None)

    def with_other_model(self, name: str) -> "Data":
        """The same interactions, for another model."""
        other = copy(self)
        other.model, other._truths = self.model.with_name(name), {}
        other.__dict__.pop("arrays", None)
        return other

    def truth(self, of: What) -> Truth:
        """The correct answers, computed at the first call."""
        if of not in self._truths:
            self._truths[of] = self._compute(of)
        return self._truths[of]

    def _compute(self, of: What) -> Truth:
        if of == "cosine":
            return true_cosine(self.arrays, NEIGHBOURS)
        if of == "slim":
            return true_slim(self.arrays, NEIGHBOURS)
        if of == "ease":
            return true_ease(self.arrays, NEIGHBOURS)
        if of == "any":
            return anything(self.arrays)
        if of == "bm25":
            return true_bm25(self.arrays, NEIGHBOURS)
        return true_scores(self.arrays, LENGTH, exclude_history=of == "scores")


def _write(directory: Path, size: Size | Tails | RandomPairs, copies: int) -> str:
    found = synthesise(size, SEED) if isinstance(size, Size) else size.blocks()
    blocks = [(block.users.astype(np.uint32), block.items.astype(np.uint32)) for block in found]
    users, items = (np.concatenate(arrays) - 1 for arrays in zip(*blocks, strict=True))
    if not isinstance(size, Size):
        pairs = np.unique(users.astype(np.int64) * size.items + items)
        users, items = (pairs // size.items).astype(np.uint32), (pairs % size.items).astype(np.uint32)
    return write_snapshot(
        directory,
        user_ids=list(_ids(size.users * copies)),
        item_ids=list(_ids(size.items)),
        users=np.concatenate([users + copy * size.users for copy in range(copies)]),
        items=np.tile(items, copies),
    )


def _ids(count: int) -> Iterator[str]:
    """Numbers whose order is that of their bytes."""
    return (f"{number:09d}" for number in range(count))
