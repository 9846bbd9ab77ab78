"""The history: the last nights, runs, fits, imports, promotions and rollbacks, in Redis and in the store."""

from typing import TYPE_CHECKING, Any, Literal

import msgspec

from reckoner.shared.errors import WireError
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.wire.codecs import Codec

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

MOST = 400

Kind = Literal["night", "run", "fit", "import", "promote", "rollback"]


class Entry(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One night, run, fit, import, promotion or rollback."""

    format: Literal[1] = 1
    id: str
    kind: Kind
    outcome: str
    started_ms: int
    ended_ms: int
    starter: str = ""
    """What started it: `settings` or `command`; the id of a night."""
    date: str = ""
    """The date of a night."""
    snapshot: str = ""
    model: str = ""
    generation: str = ""
    reasons: list[str] = []
    stages: list[dict[str, Any]] = []
    """The stages of a night, as in its state."""
    figures: dict[str, Any] = {}
    """The manifest of a run, or the report of an import."""
    releases: list[str] = []
    """The releases of the workers that were alive."""
    acknowledged: bool = False

    @property
    def took_s(self) -> float:
        """Its duration in seconds."""
        return (self.ended_ms - self.started_ms) / 1000


ENTRY: Codec[Entry] = Codec(Entry, "json")


def entry_file(entry: Entry) -> str:
    """The name of an entry's file in the store; names sort by when they started."""
    return f"{entry.started_ms:015d}-{entry.id}"


class History:
    """The history under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self.keys = keys

    async def remember(self, entry: Entry) -> None:
        """Add an entry, or replace the one of the same id."""
        names = [self.keys.history, self.keys.history_order]
        await call(self._redis, "remember", names, [entry.id, entry.started_ms, ENTRY.encode(entry), MOST])

    async def newest(self, count: int = MOST) -> list[Entry]:
        """The newest entries, newest first; unreadable ones are left out."""
        ids = await ask(self._redis, "ZREVRANGE", self.keys.history_order, 0, count - 1)
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
