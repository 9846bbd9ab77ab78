"""Watches the store: while it is unavailable, this worker claims no jobs and its heartbeat says why."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import NamedTuple, TypeVar

import structlog

from reckoner.shared.errors import ForeignStoreError, RedisUnavailableError, StoreError
from reckoner.shared.periodic import run_periodically
from reckoner.shared.store.ownership import SERVER_MARK, StoreRunner
from reckoner.shared.store.protocol import Store
from reckoner.workers.runtime.threads import StoreThreads, Threads

R = TypeVar("R")

log = structlog.get_logger()

PROBE_EACH_S = 2.0
# A mount that hangs blocks its reader for ever; a slow one answers within this time.
TIMEOUT_S = 5.0
NO_ANSWER = f"The store has not answered for {TIMEOUT_S:g} s."


class _Seen(NamedTuple):
    """What a probe saw: the owner's mark, and the current snapshot as in `StoreWatch.snapshot`."""

    mark: bytes | None
    snapshot: str | None


class StoreWatch:
    """Probes the store of one worker process."""

    def __init__(self, store: Store, threads: Threads, own: Callable[[StoreRunner], Awaitable[None]]) -> None:
        self.trouble = ""
        """Why the store is unavailable, a sentence; empty while it is available."""
        self.snapshot: str | None = None
        """What the store names as its current snapshot, empty for none; None if unknown."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when `trouble` changes."""
        self._store = store
        self._threads = threads
        self.own = own
        """Checks that the store belongs to this worker's prefix and Redis; see `shared.store.ownership`."""
        self._mark: bytes | None = None
        """The owner's mark at the last successful probe."""
        self._probing: asyncio.Future[_Seen] | None = None
        self._probing_since = self._back_at = -math.inf

    async def run(self) -> None:
        """Probe once a second, for ever."""
        await run_periodically("store probe", PROBE_EACH_S, self.probe)

    async def probe(self) -> bool:
        """Probe the store now. Returns whether it is available."""
        mark: bytes | None = None
        try:
            mark, self.snapshot = await self._shared_probe()
            if mark is None or mark != self._mark:
                # The empty mount point of a missing mount has no mark.
                await self.own(lambda work: with_timeout(self._threads.probe(work)))
                self._mark = mark
        except RedisUnavailableError:
            # Without Redis the owner is unknown, but nothing is claimed either.
            return mark is not None
        except (StoreError, ForeignStoreError) as error:
            self.snapshot = None
            self._note(str(error))
            return False
        self._note("")
        return True

    async def was_away(self, since_s: float) -> bool:
        """Whether the store is unavailable, or came back after `since_s` on the event loop's clock."""
        return not await self.probe() or self._back_at >= since_s

    async def _shared_probe(self) -> "_Seen":
        # One probe at a time, so that a hanging store blocks one thread only.
        now_s = asyncio.get_running_loop().time()
        if self._probing is None:
            self._probing, self._probing_since = asyncio.ensure_future(self._threads.probe(self._probe)), now_s
        probing = self._probing
        try:
            return await with_timeout(probing, self._probing_since + TIMEOUT_S - now_s)
        finally:
            if probing.done() and self._probing is probing:
                self._probing = None

    def _probe(self) -> "_Seen":
        self._store.check_available()
        snapshot = None
        with suppress(StoreError):
            # Jobs need it only in the night.
            snapshot = self._store.current_snapshot() or ""
        return _Seen(self._store.mark(SERVER_MARK), snapshot)

    def _note(self, trouble: str) -> None:
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if trouble:
            log.warning("store became unavailable", reason=trouble)
        else:
            log.info("store came back")
            self._back_at = asyncio.get_running_loop().time()
        self.on_change()


async def in_own_thread(work: Callable[[], R]) -> R:
    """Use the store in a new thread, before the worker's own threads exist.

    Raises:
        StoreError: the store does not answer, or the work raised it.
    """
    thread = StoreThreads(1, "store")
    running = asyncio.get_running_loop().run_in_executor(thread, work)
    thread.shutdown(wait=False)
    return await with_timeout(running)


async def with_timeout(answer: Awaitable[R], timeout_s: float | None = None) -> R:
    """Wait for the store's answer.

    Raises:
        StoreError: it does not come in time.
    """
    coming = asyncio.ensure_future(answer)
    await asyncio.wait([coming], timeout=TIMEOUT_S if timeout_s is None else max(timeout_s, 0.0))
    if not coming.done():
        raise StoreError(NO_ANSWER)
    return coming.result()
