"""Results as a long-lived client reads them: it keeps pointer and titles, so that a hit is one round trip."""

import asyncio
import math
from collections.abc import Collection, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING

from reckoner.shared.errors import GenerationUnknownError
from reckoner.shared.ids import require_id
from reckoner.shared.list_names import POPULAR
from reckoner.shared.serving.generations import as_id, pointer_target
from reckoner.shared.serving.results import NOTHING, Fallback, Reading, Results

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys
    from reckoner.shared.serving.stored_values import Read
    from reckoner.shared.wire.shapes import Record

# How long a pointer is kept: a flip or a rollback is seen this much later at most.
KEPT_S = 1.0
# Some three megabytes.
MAX_TITLES = 20_000


class CachingResults(Results):
    """Keeps the current pointer for a second, its generation's record, and titles of that generation's snapshot.

    Records and titles never change. That an item has no title is kept as long as the pointer.
    """

    def __init__(self, redis: "Redis", keys: "Keys", read: "Read", chain: Sequence[str] = (POPULAR,)) -> None:
        super().__init__(redis, keys, read, chain)
        self._kept_fallbacks: tuple[str, Sequence[Fallback]] | None = None
        self._record: Record | None = None
        self._asked = -math.inf
        self._titles: dict[str, str | None] = {}
        self._some_have_none = False
        self._tagging: tuple[str, bytes] | None = None
        self._tags: dict[str, frozenset[str]] = {}

    async def current(self, *, anew: bool = False) -> "Record":
        """The record of the current generation; its pointer is read `anew`, or a second old at most.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        if anew:
            self.forget_pointer()
        return (await self.read_current([]))[0]

    async def record(self, generation: str | None = None) -> "Record":
        """The record of a generation, by default of the current one.

        Raises:
            NothingFittedError: no model was fitted yet, or the record is missing.
            GenerationUnknownError: there is no such generation.
            UsageError: the generation's id is invalid (`require_id`).
        """
        if generation is None:
            return await self.current()
        found = await self.generations.record(require_id("generation", generation))
        if found is None:
            raise GenerationUnknownError
        return found

    @property
    def kept_record(self) -> "Record | None":
        """The record that was current when the pointer was last read."""
        return self._record

    def forget_pointer(self) -> None:
        """Read the pointer again at the next call."""
        self._asked = -math.inf

    async def read_current(self, users: Sequence[str], n: int | None = None) -> "tuple[Record, Reading]":
        """The record of the current generation, and users' results in it; see `current` and `read_shown`."""
        record, asked = self._record, monotonic()
        if record is not None and asked < self._asked + KEPT_S:
            return record, await self.read_shown(record.generation, users, n)
        current = self.keys.current
        pointer, results = await asyncio.gather(
            self._values.get(current), self.read_shown(record.generation, users, n) if record else _nothing()
        )
        generation = as_id(pointer or b"")
        if generation and (record is None or record.generation != generation):
            record, results = await asyncio.gather(
                self.generations.record(generation), self.read_shown(generation, users, n)
            )
        record = pointer_target(current, pointer or b"", record).require()
        self._keep(record, asked)
        return record, results

    def _keep(self, record: "Record", asked: float) -> None:
        if asked < self._asked:
            # Another call has seen a later pointer meanwhile.
            return
        if self._record is None or self._record.snapshot != record.snapshot:
            self._titles = {}
        elif self._some_have_none:
            self._titles = {item: title for item, title in self._titles.items() if title is not None}
        self._record, self._asked, self._some_have_none, self._kept_fallbacks = record, asked, False, None

    async def fallbacks(self, record: "Record", chain: Sequence[str]) -> Sequence[Fallback]:
        """The lists of the chain that a generation has; those of the last snapshot are kept as the pointer is."""
        if self._kept_fallbacks is None or self._kept_fallbacks[0] != record.snapshot:
            self._kept_fallbacks = record.snapshot, await super().fallbacks(record, chain)
        return self._kept_fallbacks[1]

    def kept_titles(self, snapshot: str) -> Mapping[str, str | None]:
        """Titles of a snapshot that need not be read; None for an item without one."""
        return self._titles if self._record is not None and self._record.snapshot == snapshot else {}

    def kept_tags(self, snapshot: str, tagging: bytes) -> Mapping[str, Collection[str]]:
        """The tags of items that need not be read, if `tagging` is the version of the live tags now."""
        return self._tags if self._tagging == (snapshot, tagging) else {}

    async def read_tags(self, snapshot: str, tagging: bytes, items: Sequence[str]) -> Mapping[str, Collection[str]]:
        """The tags of items, which are kept; `tagging` is the version of the live tags, read before."""
        kept = self.kept_tags(snapshot, tagging)
        missing = [item for item in dict.fromkeys(items) if item not in kept]
        read = await self.tags.read(snapshot, missing)
        found = {item: frozenset(tags) for item, (tags, _) in zip(missing, read, strict=True)}
        found |= {item: frozenset(kept[item]) for item in items if item in kept}
        if self._tagging != (snapshot, tagging) or len(self._tags) + len(missing) > MAX_TITLES:
            self._tagging, self._tags = (snapshot, tagging), {}
        self._tags |= dict(list(found.items())[:MAX_TITLES])
        return found

    async def titles(self, snapshot: str, items: Sequence[str]) -> dict[str, str]:
        """The titles of items, if the data have any."""
        kept = self.kept_titles(snapshot)
        missing = [item for item in items if item not in kept]
        found = dict.fromkeys(missing) | await super().titles(snapshot, missing)
        if self.kept_titles(snapshot) is self._titles:
            if len(self._titles) + len(found) > MAX_TITLES:
                self._titles = {}
            self._titles |= dict(list(found.items())[:MAX_TITLES])
            self._some_have_none |= None in found.values()
        known = {item: kept[item] for item in items if item in kept} | found
        return {item: title for item, title in known.items() if title is not None}


async def _nothing() -> "Reading":
    return Reading([], [], NOTHING)
