"""What the engine asks of Redis about jobs: to claim them, to renew the leases, to settle what has ended."""

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
    """Where a worker finds its jobs: the arq queues that are its lanes, the first one first, and what lies beside them.

    Raises:
        ValueError: there is no lane, or not of each whether it is shared.
    """

    lanes: tuple[str, ...]
    shared: tuple[bool, ...]
    """Of which lanes a worker takes no more than its part of what is due: of those whose jobs take long."""
    workers: str
    """The sorted set of the workers that beat, who share it."""
    mail: str
    """The list in which this worker is told something."""
    refused: str = ""
    """Where refused bytes are counted, and dead letters kept; empty for nowhere."""
    dead: str = ""

    def __post_init__(self) -> None:
        if not self.lanes or len(self.lanes) != len(self.shared):
            raise ValueError("an engine needs a lane, and to know of each whether it is shared")


class Claimed(NamedTuple):
    """A job as it was claimed."""

    lane: int
    job_id: bytes
    score: int
    deaths: int
    """How many of its starts had no end: its worker died, or stood still past its lease."""
    body: bytes | None


class Claim(NamedTuple):
    """What a claim has brought."""

    jobs: list[Claimed]
    next_ms: int | None
    """In how many milliseconds something that is known of now can be claimed; None when nothing is known."""
    lapsed: int
    suspect: int | None
    """The lane in which a job that may have ended its worker waits for a worker that runs nothing."""


class Settled(NamedTuple):
    """How a job has ended, as the script `settle` takes it."""

    job_id: str | bytes
    token: str
    how: How
    amount: int = 0
    data: bytes = b""
    """The result of a job that has ended, or the body of one that is tried again; empty to keep none, or the same."""
    reason: str = ""
    """Why it becomes a dead letter; empty when it does not."""


class Claims:
    """The claims of one worker."""

    def __init__(self, redis: Redis, keys: EngineKeys, lease_s: float) -> None:
        self._redis = redis
        self._keys = keys
        self._lease_ms = int(lease_s * 1000)

    async def claim(self, token: str, room: int, lanes: Sequence[int], alone: bool) -> Claim:
        """Claim up to `room` jobs under `token`, of each lane up to so many; see the script."""
        arguments: list[Value] = [token, self._lease_ms, room, int(alone)]
        for most, shared in zip(lanes, self._keys.shared, strict=True):
            arguments += [most, int(shared)]
        next_ms, lapsed, suspect, *flat = await call(
            self._redis, "claim", [self._keys.workers, *self._keys.lanes], arguments
        )
        jobs = [
            Claimed(flat[at] - 1, flat[at + 1], int(flat[at + 2]), flat[at + 3], flat[at + 4])
            for at in range(0, len(flat), 5)
        ]
        return Claim(jobs, int(next_ms) if next_ms else None, lapsed, int(suspect) - 1 if suspect else None)

    async def renew(self, queue: str, leases: Sequence[Lease]) -> list[int]:
        """Renew leases of one queue; returns which of them are lost, from 0."""
        arguments: list[Value] = [self._lease_ms]
        for lease in leases:
            arguments += [lease.job_id, lease.token]
        lapses_at = self.lapses_at()
        lost: list[int] = await call(self._redis, "renew", [queue], arguments)
        for lease in leases:
            lease.extend(lapses_at)
        return [number - 1 for number in lost]

    def lapses_at(self) -> float:
        """When a lease lapses that is asked for now, by `time.monotonic`."""
        return time.monotonic() + self._lease_ms / 1000

    async def settle(self, queue: str, ended: Sequence[Settled]) -> int:
        """Settle jobs of one queue; returns how many were still under their claims. It is safe to do again."""
        names = [queue, self._keys.refused or queue, self._keys.dead or queue]
        return int(await call(self._redis, "settle", names, [field for job in ended for field in job]))

    async def release(self, tokens: Sequence[str]) -> int:
        """Give back what was claimed under these tokens, whatever it was; returns how much that is."""
        return int(await call(self._redis, "release", self._keys.lanes, [self._lease_ms, *tokens]))

    async def release_unheld(self) -> int:
        """Let go of what nobody holds in the lanes, as no script leaves it behind; returns how much that is."""
        count = 0
        for queue in self._keys.lanes:
            looked_at: bytes | str = "0"
            while looked_at:
                found, looked_at = await call(self._redis, "unheld", [queue], [looked_at])
                count += found
        return count

    async def say(self, word: str) -> None:
        """Tell this worker something, whatever it waits for."""
        await call(self._redis, "tell", [self._keys.mail], [word])


def decode_mail(answer: Any) -> tuple[bytes, bytes] | None:
    """The list that a blocking pop has answered from, and what it held; None when it held nothing in time."""
    return (answer[0], answer[1]) if answer else None
