"""The workers' heartbeats: the state of each worker, and which of them are alive."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reckoner.shared.errors import WireError
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.wire.shapes import BEAT, Beat

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

# The timeout of a worker whose heartbeat is unreadable.
DEFAULT_TIMEOUT_MS = 5_000
# A heartbeat is kept so much longer than its timeout.
KEPT_MS = 10_000


@dataclass(frozen=True)
class LiveWorker:
    """A worker with a recent heartbeat; `beat` is None if unreadable."""

    worker: str
    last_beat_ms: int
    """The time of the last heartbeat by the server's clock."""
    age_ms: int
    beat: Beat | None

    @property
    def timeout_ms(self) -> int:
        """The timeout of its heartbeat: the length of its leases."""
        return self.beat.lease_ms if self.beat else DEFAULT_TIMEOUT_MS

    @property
    def silent(self) -> bool:
        """Whether its heartbeat is overdue: it is dead, stalled, or cannot reach Redis."""
        return self.age_ms > self.timeout_ms

    @property
    def skew_ms(self) -> int:
        """The worker's clock minus the server's, with the network delay; 0 if unknown."""
        return self.beat.beat_ms - self.last_beat_ms if self.beat else 0

    @property
    def up_ms(self) -> int | None:
        """The uptime of the worker, None if unknown."""
        return self._lasting(self.beat.started_ms) if self.beat else None

    @property
    def running_ms(self) -> dict[str, int]:
        """Its running jobs and their durations."""
        return {job.job: self._lasting(job.since_ms) for job in self.beat.jobs} if self.beat else {}

    def _lasting(self, since_ms: int) -> int:
        # Both times are by the worker's clock, so its skew cancels out.
        return max(0, self.beat.beat_ms - since_ms) + self.age_ms if self.beat else 0


class Heartbeats:
    """The heartbeats under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self._keys = keys

    async def write(self, beat: Beat) -> None:
        """Write a worker's heartbeat."""
        names = [self._keys.workers, self._keys.beat(beat.worker), self._keys.refused, self._keys.dead]
        await call(self._redis, "beat", names, [beat.worker, BEAT.encode(beat), beat.lease_ms + KEPT_MS])

    async def remove(self, worker: str) -> None:
        """Remove a worker that exits normally."""
        await ask(self._redis, "ZREM", self._keys.workers, worker)
        await ask(self._redis, "DEL", self._keys.beat(worker))

    async def recent(self, since_ms: int = 0) -> list[LiveWorker]:
        """The workers with a heartbeat since `since_ms` (server's clock), by name; silent ones for ten seconds more."""
        seconds, microseconds = await ask(self._redis, "TIME")
        now_ms = int(seconds) * 1000 + int(microseconds) // 1000
        # A score in the future is invalid.
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
        return [worker for worker in found if worker.age_ms <= worker.timeout_ms + KEPT_MS]

    async def alive(self, since_ms: int = 0) -> list[LiveWorker]:
        """The same without silent workers."""
        return [worker for worker in await self.recent(since_ms) if not worker.silent]


def _decode(data: bytes | None) -> Beat | None:
    try:
        return None if data is None else BEAT.decode(data)
    except WireError:
        # It is a worker of another release.
        return None
