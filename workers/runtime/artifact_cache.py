"""Caches the open artifacts of one worker process, and checks whether the store still holds the same version."""

import asyncio
import math
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.threads import Threads

T = TypeVar("T")

# The current generation and the one under construction, each with a model and a snapshot.
OPEN_AT_ONCE = 4
# A check costs a tenth of a click, and clicks come by the thousand a second. Far below `SEEN_WITHIN_S`.
FRESH_S = 0.05


class VersionCheck:
    """Checks whether an open artifact is still the version in the store.

    `opened` is the fingerprint of its files when it was opened; `fingerprint` reads the present one. It is empty for a
    deleted artifact, whose mapped bytes stay valid.
    """

    def __init__(self, opened: str, fingerprint: Callable[[], str]) -> None:
        self.current = True
        """The result of the last check."""
        self.opened = opened
        self._fingerprint = fingerprint
        self._exists = False
        self._checked_at = self._expired_at = -math.inf

    @property
    def is_fresh(self) -> bool:
        """Whether the artifact was found in the store at most `FRESH_S` ago.

        Nothing replaced it since: a publisher waits until every worker has noticed that the artifact is gone.
        """
        recent = time.monotonic() - self._checked_at <= FRESH_S
        return self._exists and recent and self._checked_at > self._expired_at

    def expire(self) -> None:
        """Require a new check, even if one is running now."""
        self._expired_at = time.monotonic()

    def run(self) -> None:
        """Check now. It reads files, so never call it on the event loop."""
        began, found = time.monotonic(), self._fingerprint()
        self.current, self._exists, self._checked_at = found in (self.opened, ""), bool(found), began


class CheckBatch:
    """Version checks that run together."""

    def __init__(self) -> None:
        self.checks = set[VersionCheck]()
        self.over = asyncio.Event()
        self.done = False
        self.error: Exception | None = None
        self.timer: asyncio.TimerHandle | None = None

    def run(self) -> None:
        """Run all checks. Never call it on the event loop."""
        for check in self.checks:
            check.run()


class VersionChecker:
    """Runs version checks in batches beside the event loop. A caller waits at most `patience_s` seconds."""

    def __init__(self, threads: Threads, patience_s: float) -> None:
        self._threads, self._patience_s = threads, patience_s
        self._next: CheckBatch | None = None
        self._running: asyncio.Task[None] | None = None

    async def check(self, checks: Iterable[VersionCheck]) -> None:
        """Run checks now. Callers share the next batch that has not started.

        Raises:
            NotNowError: the store does not answer.
        """
        batch = self._next
        if batch is None:
            batch = self._next = CheckBatch()
            batch.timer = asyncio.get_running_loop().call_later(self._patience_s, self._give_up, batch)
            if self._running is None:
                self._running = asyncio.create_task(self._run())
        batch.checks.update(checks)
        await batch.over.wait()
        if batch.error is not None:
            raise batch.error
        if not batch.done:
            raise NotNowError

    async def _run(self) -> None:
        while self._next is not None:
            batch, self._next = self._next, None
            try:
                await self._threads.probe(batch.run)
                batch.done = True
            except Exception as error:
                batch.error = error
            self._end(batch)
        self._running = None

    def _give_up(self, batch: CheckBatch) -> None:
        if self._next is batch:
            self._next = None
        self._end(batch)

    def _end(self, batch: CheckBatch) -> None:
        batch.over.set()
        if batch.timer is not None:
            batch.timer.cancel()


class ArtifactCache(Generic[T]):
    """An LRU cache of immutable objects, at most `OPEN_AT_ONCE`."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, tuple[T, VersionCheck | None]] = OrderedDict()

    def get(self, name: str) -> tuple[T, VersionCheck | None] | tuple[None, None]:
        """A cached object and its version check; a pair of None on a miss."""
        if name not in self._kept:
            return None, None
        self._kept.move_to_end(name)
        return self._kept[name]

    def put(self, name: str, thing: T, check: VersionCheck | None = None) -> T:
        """Cache an object, and evict the least recently used one if the cache is full."""
        self._kept[name] = thing, check
        if len(self._kept) > OPEN_AT_ONCE:
            self._kept.popitem(last=False)
        return thing

    def __contains__(self, name: object) -> bool:
        return name in self._kept

    def expire(self, name: str) -> None:
        """Require a new version check before the object is used again."""
        _, check = self._kept.get(name, (None, None))
        if check is not None:
            check.expire()
