"""The history: the last nights, runs, fits, imports, evaluations, promotions and rollbacks, in Redis and the store."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NotRequired, TypedDict

import msgspec

from reckoner.shared.errors import WireError
from reckoner.shared.redis.scripts import Value, ask, call
from reckoner.shared.wire.codecs import Codec
from reckoner.shared.wire.shapes import Count

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

# So many imports are kept, so many evaluations, and so many others: the frequent do not drop the last nights.
MOST_OF_EACH = 400
MOST = 3 * MOST_OF_EACH

Kind = Literal["night", "run", "fit", "import", "evaluation", "promote", "rollback"]


class EntryStage(TypedDict):
    """A stage of a night that has ended; see `Stage`."""

    name: str
    started_ms: Count
    ended_ms: Count | None
    outcome: str | None
    message: str
    progress: NotRequired[Count]
    job: NotRequired[str]
    snapshot: NotRequired[str]
    generation: NotRequired[str]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One night, run, fit, import, evaluation, promotion or rollback."""

    format: Literal[1] = 1
    id: str
    kind: Kind
    outcome: str
    started_ms: Count
    ended_ms: Count
    starter: str = ""
    """What started it: `settings`, `command`, or the id of a night."""
    date: str = ""
    """The date of a night."""
    snapshot: str = ""
    model: str = ""
    generation: str = ""
    reasons: list[str] = []
    stages: list[EntryStage] = []
    """The stages of a night."""
    figures: dict[str, Any] = {}
    """The manifest of a run, the report of an import, or an `Evaluation`."""
    releases: list[str] = []
    """The releases of the workers that were alive."""
    acknowledged: bool = False

    @property
    def took_s(self) -> float:
        """Its duration in seconds."""
        return (self.ended_ms - self.started_ms) / 1000


ENTRY: Codec[Entry] = Codec(Entry, "json")


def entry_file(entry: Entry) -> str:
    """The name of an entry's file in the store; names sort by when they started, by folders with their own bounds."""
    folder = {"import": "imports", "evaluation": "evaluations"}.get(entry.kind, "nights")
    return f"{folder}/{entry.started_ms:015d}-{entry.id}"


class History:
    """The history under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self.keys = keys

    async def remember(self, entry: Entry) -> None:
        """Add an entry, or replace the one of the same id."""
        apart = {"import": self.keys.history_imports, "evaluation": self.keys.history_evaluations}
        order = apart.get(entry.kind, self.keys.history_order)
        arguments: list[Value] = [entry.id, entry.started_ms, ENTRY.encode(entry), MOST_OF_EACH]
        await call(self._redis, "remember", [self.keys.history, order], arguments)

    async def evaluations(self) -> list[Entry]:
        """All evaluations, newest first; unreadable ones are left out."""
        return await self._newest([self.keys.history_evaluations], MOST_OF_EACH)

    async def nights(self, count: int) -> list[Entry]:
        """The newest nights, runs, fits, promotions and rollbacks, newest first; unreadable ones are left out."""
        return await self._newest([self.keys.history_order], count)

    async def newest(self, count: int = MOST) -> list[Entry]:
        """The newest entries, newest first; unreadable ones are left out."""
        return await self._newest(self.keys.history_orders, count)

    async def _newest(self, orders: Sequence[str], count: int) -> list[Entry]:
        newest = list[tuple[float, bytes]]()
        for order in orders:
            found = await ask(self._redis, "ZREVRANGE", order, 0, count - 1, "WITHSCORES")
            newest += [(float(started), entry_id) for entry_id, started in zip(found[::2], found[1::2], strict=True)]
        ids = [entry_id for _, entry_id in sorted(newest, reverse=True)[:count]]
        values = await ask(self._redis, "HMGET", self.keys.history, *ids) if ids else []
        return [entry for value in values if (entry := _decode(value)) is not None]

    async def find(self, entry_id: str) -> Entry | None:
        """An entry by its id, None if there is none."""
        return _decode(await ask(self._redis, "HGET", self.keys.history, entry_id))


def _decode(data: bytes | None) -> Entry | None:
    try:
        return ENTRY.decode(data) if data else None
    except WireError:
        return None
