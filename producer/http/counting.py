"""What a process of `serve` counts: requests, lists and events."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from redis.exceptions import RedisError

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import ReckonerError
from reckoner.shared.metrics.counters import Counters
from reckoner.shared.metrics.table import EVENTS, LISTS_READ, OTHER, REQUEST_TIME, REQUESTS, REQUESTS_ANSWERED
from reckoner.shared.periodic import run_periodically

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner
    from reckoner.producer.client.recording import Recorded

PAUSE_S = 1.0


class Counting:
    """What this process of `serve` counts, and adds up in Redis once a second with the counts of all others."""

    def __init__(self) -> None:
        self._counters = Counters()

    def request(self, kind: str, status: int, seconds: float) -> None:
        """Count an answered request; see `request_kind`."""
        self._counters.count(REQUESTS_ANSWERED, kind, _outcome(status))
        self._counters.observe(REQUEST_TIME, kind, seconds=seconds)

    def lists(self, sources: Iterable[str]) -> None:
        """Count lists that were read, by their source."""
        for source in sources:
            # A named list of a tag, as `trending:shoes`.
            self._counters.count(LISTS_READ, source.partition(":")[0])

    def events(self, recorded: Iterable["Recorded"]) -> None:
        """Count what became of events."""
        for event in recorded:
            self._counters.count(EVENTS, event.status)

    @asynccontextmanager
    async def running(self, reckoner: "OpenReckoner") -> AsyncIterator[None]:
        """Add up the counts once a second while the context is open, and at its end; the last need Redis then."""
        adding = asyncio.create_task(run_periodically("adding of counts", PAUSE_S, lambda: self.add(reckoner)))
        try:
            yield
        finally:
            await cancel_and_wait(adding)
            with suppress(RedisError, ReckonerError):
                await self.add(reckoner)

    async def add(self, reckoner: "OpenReckoner") -> None:
        """Add up the counts since the last call.

        Raises:
            redis.exceptions.RedisError: Redis failed. The next call adds them.
        """
        await self._counters.add(reckoner.redis, reckoner.keys)


def request_kind(path: str) -> str:
    """The kind of a route by its path, as in `/v1/users/{user}/history`: its last segment that is a kind."""
    segments = path.split("/")[1:]
    known = [segment for segment in segments if segment in REQUESTS]
    return known[-1] if known else OTHER if segments[0] == "v1" or "." in path else "page"


def _outcome(status: int) -> str:
    if status in (503, 504):
        return "unavailable"
    return "ok" if status < 400 else "refused" if status < 500 else "failed"
