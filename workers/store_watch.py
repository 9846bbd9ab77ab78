"""Whether this worker sees the store: while it does not, it claims nothing and says so in its heartbeat."""

import asyncio
from typing import TYPE_CHECKING

import structlog

from shared.errors import ForeignStoreError, RedisUnavailableError, StoreError
from shared.ownership import SERVER_MARK
from shared.store import Store
from workers.threads import Threads
from workers.upkeep import again_and_again

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

log = structlog.get_logger()

LOOK_S = 1.0
# A mount that hangs keeps its reader waiting for ever; a slow one answers within so many seconds.
PATIENCE_S = 5.0
NO_ANSWER = f"The store has not answered for {PATIENCE_S:g} s."


class StoreWatch:
    """The look-out of one worker process for its store."""

    def __init__(self, store: Store, threads: Threads, own: "Callable[[], Awaitable[None]]") -> None:
        self.trouble = ""
        """Why the store cannot be used, a sentence; empty while it can."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when that has changed."""
        self._store = store
        self._threads = threads
        self.own = own
        """Makes sure that the store is that of this worker's prefix and Redis; see `shared.ownership`."""
        self._mark: bytes | None = None
        """Whose the store was when that was looked at last."""
        self._looking: asyncio.Future[bytes | None] | None = None

    async def run(self) -> None:
        """Look once a second, for ever."""
        await again_and_again("a look at the store", LOOK_S, self.look)

    async def look(self) -> bool:
        """Look at the store now; returns whether it can be used."""
        # One look at a time: one that hangs is not followed by others.
        if self._looking is None:
            self._looking = asyncio.ensure_future(self._threads.look(self._look))
        looking = self._looking
        await asyncio.wait([looking], timeout=PATIENCE_S)
        if not looking.done():
            self._note(NO_ANSWER)
            return False
        self._looking = None
        try:
            mark = looking.result()
            if mark is None or mark != self._mark:
                # Where its mount is missing there may be a place for it, and nobody's mark.
                await self.own()
                self._mark = mark
        except RedisUnavailableError:
            # Whose it is will be told when Redis is back; till then nothing is claimed anyway.
            return mark is not None
        except (StoreError, ForeignStoreError) as error:
            self._note(str(error))
            return False
        self._note("")
        return True

    def _look(self) -> bytes | None:
        self._store.look()
        return self._store.mark(SERVER_MARK)

    def _note(self, trouble: str) -> None:
        if trouble == self.trouble:
            return
        self.trouble = trouble
        if trouble:
            log.warning("the store is away: nothing is claimed until it is back", reason=trouble)
        else:
            log.info("the store is back")
        self.on_change()
