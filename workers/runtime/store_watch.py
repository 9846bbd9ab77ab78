"""Whether this worker sees the store: while it does not, it claims nothing and says so in its heartbeat."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from reckoner.shared.errors import ForeignStoreError, RedisUnavailableError, StoreError
from reckoner.shared.periodic import run_periodically
from reckoner.shared.store.ownership import SERVER_MARK, Aside
from reckoner.shared.store.protocol import Store
from reckoner.workers.runtime.threads import StoreThreads, Threads

R = TypeVar("R")

log = structlog.get_logger()

LOOK_S = 1.0
# A mount that hangs keeps its reader waiting for ever; a slow one answers within so many seconds.
PATIENCE_S = 5.0
NO_ANSWER = f"The store has not answered for {PATIENCE_S:g} s."


class StoreWatch:
    """The look-out of one worker process for its store."""

    def __init__(self, store: Store, threads: Threads, own: Callable[[Aside], Awaitable[None]]) -> None:
        self.trouble = ""
        """Why the store cannot be used, a sentence; empty while it can."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when that has changed."""
        self._store = store
        self._threads = threads
        self.own = own
        """Makes sure that the store is that of this worker's prefix and Redis; see `shared.store.ownership`."""
        self._mark: bytes | None = None
        """Whose the store was when that was looked at last."""
        self._looking: asyncio.Future[bytes | None] | None = None
        self._looking_since = self._back_at = -math.inf

    async def run(self) -> None:
        """Look once a second, for ever."""
        await run_periodically("a look at the store", LOOK_S, self.look)

    async def look(self) -> bool:
        """Look at the store now; returns whether it can be used."""
        mark: bytes | None = None
        try:
            mark = await self._shared_look()
            if mark is None or mark != self._mark:
                # Where its mount is missing there may be a place for it, and nobody's mark.
                await self.own(lambda work: patiently(self._threads.look(work)))
                self._mark = mark
        except RedisUnavailableError:
            # Whose it is will be told when Redis is back; till then nothing is claimed anyway.
            return mark is not None
        except (StoreError, ForeignStoreError) as error:
            self._note(str(error))
            return False
        self._note("")
        return True

    async def was_away(self, since_s: float) -> bool:
        """Whether the store cannot be used now, or was seen to be away since a moment by the event loop's clock."""
        return not await self.look() or self._back_at >= since_s

    async def _shared_look(self) -> bytes | None:
        # One look at a time: one that hangs is not followed by others.
        now_s = asyncio.get_running_loop().time()
        if self._looking is None:
            self._looking, self._looking_since = asyncio.ensure_future(self._threads.look(self._look)), now_s
        looking = self._looking
        try:
            return await patiently(looking, self._looking_since + PATIENCE_S - now_s)
        finally:
            if looking.done() and self._looking is looking:
                self._looking = None

    def _look(self) -> bytes | None:
        self._store.check_available()
        return self._store.mark(SERVER_MARK)

    def _note(self, trouble: str) -> None:
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if trouble:
            log.warning("the store is away: nothing is claimed until it is back", reason=trouble)
        else:
            log.info("the store is back")
            self._back_at = asyncio.get_running_loop().time()
        self.on_change()


async def beside(work: Callable[[], R]) -> R:
    """Read or write the store in a thread of its own, before there are others.

    Raises:
        StoreError: it does not answer, or the work raised this.
    """
    thread = StoreThreads(1, "store")
    running = asyncio.get_running_loop().run_in_executor(thread, work)
    thread.shutdown(wait=False)
    return await patiently(running)


async def patiently(answer: Awaitable[R], patience_s: float | None = None) -> R:
    """What the store answers.

    Raises:
        StoreError: it does not.
    """
    coming = asyncio.ensure_future(answer)
    await asyncio.wait([coming], timeout=PATIENCE_S if patience_s is None else max(patience_s, 0.0))
    if not coming.done():
        raise StoreError(NO_ANSWER)
    return coming.result()
