"""Claims jobs, renews their leases and settles them, through Lua scripts."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from redis.asyncio import Redis

from reckoner.shared.redis.scripts import Value, call
from reckoner.workers.engine.lease import Lease

How = Literal["done", "kept", "back", "later"]


@dataclass(frozen=True)
class EngineKeys:
    """The Redis keys of a worker.

    Raises:
        ValueError: there is no lane, or `lanes` and `shared` have different lengths.
    """

    lanes: tuple[str, ...]
    """Its arq queues, the most urgent first."""
    shared: tuple[bool, ...]
    """For each lane whether a worker claims only its fair share of due jobs: true for lanes with long jobs."""
    workers: str
    """The sorted set of live workers, who share them."""
    mail: str
    """The list of messages for this worker."""
    refused: str = ""
    """Where refused bytes are counted; empty for nowhere."""
    dead: str = ""
    """Where dead letters are kept; empty for nowhere."""
    flow_stem: str = ""
    """The prefix of flow keys: a claim reads what a flow's split and reduce need first. Empty without flows."""

    def __post_init__(self) -> None:
        if not self.lanes or len(self.lanes) != len(self.shared):
            raise ValueError("an engine needs at least one lane, and `shared` must say for each lane if it is shared")


class Claimed(NamedTuple):
    """A claimed job."""

    lane: int
    job_id: bytes
    score: int
    deaths: int
    """How many earlier starts ended with a dead worker or a lapsed lease."""
    body: bytes | None
    prefetched: list[bytes] | None = None
    """Fields and values, in turn, of the hash that it reads first; None if it reads by itself."""


class Claim(NamedTuple):
    """The result of a claim."""

    jobs: list[Claimed]
    next_ms: int | None
    """When the next known job is due, in milliseconds from now; None if there is none."""
    lapsed: int
    """How many leases have lapsed."""
    suspect: int | None
    """The lane of a suspect job, which may have killed its worker and waits for an idle one; None if there is none."""


class Settled(NamedTuple):
    """How to settle a job; the arguments of the script `settle`."""

    job_id: str | bytes
    token: str
    how: How
    amount: int = 0
    data: bytes = b""
    """The result of an ended job (empty: keep none), or the new body of a retried job (empty: unchanged)."""
    reason: str = ""
    """Why it becomes a dead letter; empty if it does not."""


class Claims:
    """The claims of one worker."""

    def __init__(self, redis: Redis, keys: EngineKeys, lease_s: float) -> None:
        self._redis = redis
        self._keys = keys
        self._lease_ms = int(lease_s * 1000)

    async def claim(self, token: str, room: int, lanes: Sequence[int], alone: bool) -> Claim:
        """Claim up to `room` jobs under `token`, from each lane up to its number in `lanes`; see the script."""
        arguments: list[Value] = [token, self._lease_ms, room, int(alone), self._keys.flow_stem]
        for most, shared in zip(lanes, self._keys.shared, strict=True):
            arguments += [most, int(shared)]
        next_ms, lapsed, suspect, *flat = await call(
            self._redis, "claim", [self._keys.workers, *self._keys.lanes], arguments
        )
        jobs = [
            Claimed(flat[at] - 1, flat[at + 1], int(flat[at + 2]), *flat[at + 3 : at + 6])
            for at in range(0, len(flat), 6)
        ]
        return Claim(jobs, int(next_ms) if next_ms else None, lapsed, int(suspect) - 1 if suspect else None)

    async def renew(self, queue: str, leases: Sequence[Lease]) -> list[int]:
        """Renew leases of one queue. Returns the indices of lost leases."""
        arguments: list[Value] = [self._lease_ms]
        for lease in leases:
            arguments += [lease.job_id, lease.token]
        lapses_at = self.lapses_at()
        lost: list[int] = await call(self._redis, "renew", [queue], arguments)
        for lease in leases:
            lease.extend(lapses_at)
        return [number - 1 for number in lost]

    def lapses_at(self) -> float:
        """When a lease that is taken now would lapse, by `time.monotonic`."""
        return time.monotonic() + self._lease_ms / 1000

    async def settle(self, queue: str, ended: Sequence[Settled]) -> int:
        """Settle jobs of one queue. Returns how many were still held. It is idempotent."""
        names = [queue, self._keys.refused or queue, self._keys.dead or queue]
        return int(await call(self._redis, "settle", names, [field for job in ended for field in job]))

    async def release(self, tokens: Sequence[str]) -> int:
        """Give back all jobs claimed under these tokens. Returns their number."""
        return int(await call(self._redis, "release", self._keys.lanes, [self._lease_ms, 0, *tokens]))

    async def release_unheld(self) -> int:
        """Release claimed jobs that have no lease. Returns their number."""
        count = 0
        for queue in self._keys.lanes:
            cursor: bytes | str = "0"
            while cursor:
                found, cursor = await call(self._redis, "unheld", [queue], [cursor])
                count += found
        return count

    async def send(self, word: str) -> None:
        """Send this worker a message, which ends its blocking wait."""
        await call(self._redis, "tell", [self._keys.mail], [word])


def decode_mail(answer: Any) -> tuple[bytes, bytes] | None:
    """Decode the answer of a blocking pop: the list and its element, None after a timeout."""
    return (answer[0], answer[1]) if answer else None
