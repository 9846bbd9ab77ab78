"""The workers' heartbeats: what each says of itself, and who has been heard of within a lease."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reckoner.shared.errors import WireError
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.wire.shapes import BEAT, Beat

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

# How long a worker may be silent whose beat cannot be read.
DEFAULT_TIMEOUT_MS = 5_000
# What a worker has said is kept for so much longer than it may be silent.
KEPT_MS = 10_000


@dataclass(frozen=True)
class LiveWorker:
    """A worker that beats, or did so lately: its last beat, and what it said then, None when that cannot be read."""

    worker: str
    last_beat_ms: int
    """When, by the server's clock."""
    age_ms: int
    """How long ago that was."""
    beat: Beat | None

    @property
    def timeout_ms(self) -> int:
        """How long it may be silent: as long as its leases last."""
        return self.beat.lease_ms if self.beat else DEFAULT_TIMEOUT_MS

    @property
    def silent(self) -> bool:
        """Whether it has not been heard of within its lease: it is dead, stands still, or does not reach Redis."""
        return self.age_ms > self.timeout_ms

    @property
    def skew_ms(self) -> int:
        """How far the clock of the worker's host is before the server's, and the way of the beat on top; 0 when it
        cannot be told.
        """
        return self.beat.beat_ms - self.last_beat_ms if self.beat else 0

    @property
    def up_ms(self) -> int | None:
        """How long the worker has been up, None when it cannot be told."""
        return self._lasting(self.beat.started_ms) if self.beat else None

    @property
    def running_ms(self) -> dict[str, int]:
        """The jobs that it runs, and for how long."""
        return {job.job: self._lasting(job.since_ms) for job in self.beat.jobs} if self.beat else {}

    def _lasting(self, since_ms: int) -> int:
        # Both moments are by the worker's clock, so it does not matter whether that is right.
        return max(0, self.beat.beat_ms - since_ms) + self.age_ms if self.beat else 0


class Heartbeats:
    """The heartbeats under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self._keys = keys

    async def write(self, beat: Beat) -> None:
        """Write a worker's beat."""
        names = [self._keys.workers, self._keys.beat(beat.worker), self._keys.refused, self._keys.dead]
        await call(self._redis, "beat", names, [beat.worker, BEAT.encode(beat), beat.lease_ms + KEPT_MS])

    async def remove(self, worker: str) -> None:
        """Take a worker away that has ended in good order."""
        await ask(self._redis, "ZREM", self._keys.workers, worker)
        await ask(self._redis, "DEL", self._keys.beat(worker))

    async def recent(self, since_ms: int = 0) -> list[LiveWorker]:
        """The workers that have been heard of since a moment by the server's clock, by name; those that have fallen
        silent are among them for another ten seconds.
        """
        seconds, microseconds = await ask(self._redis, "TIME")
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        # A beat of the future is none.
        latest_ms = now_ms + KEPT_MS
        answer = await ask(self._redis, "ZRANGEBYSCORE", self._keys.workers, since_ms, latest_ms, "WITHSCORES")
        scores = {
            name.decode(errors="replace"): int(float(score))
            for name, score in zip(answer[::2], answer[1::2], strict=True)
        }
        if not scores:
            return []
        names = sorted(scores)
        beats = await ask(self._redis, "MGET", *map(self._keys.beat, names))
        found = [
            LiveWorker(name, scores[name], max(0, now_ms - scores[name]), _decode(data))
            for name, data in zip(names, beats, strict=True)
        ]
        return [heard for heard in found if heard.age_ms <= heard.timeout_ms + KEPT_MS]

    async def alive(self, since_ms: int = 0) -> list[LiveWorker]:
        """Those of them that have been heard of within their lease."""
        return [heard for heard in await self.recent(since_ms) if not heard.silent]


def _decode(data: bytes | None) -> Beat | None:
    try:
        return None if data is None else BEAT.decode(data)
    except WireError:
        # A worker of another release: it beats, and that is what can be known of it.
        return None
