"""Who runs beside whom in one worker: a job that may have killed a worker runs alone.

A job on its second try is a suspect: the first may have ended with its worker. While it runs, the jobs beside it wait
and give their own try back, so that a job that kills does not use up its neighbours' tries.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

# How long a worker that was told to claim nothing more may still be starting jobs that it has claimed.
SETTLE_S = 0.1


class Turns:
    """Turns in one worker's process; `claiming` is told to stop and to go on claiming jobs."""

    def __init__(self, claiming: Callable[[bool], None]) -> None:
        self._claiming = claiming
        self._running = 0
        self._suspects = 0
        self._alone = asyncio.Lock()
        self._changed = asyncio.Condition()

    @asynccontextmanager
    async def turn(
        self, suspect: bool, give_back: Callable[[], Awaitable[None]], take: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[None]:
        """Wait for one's turn and hold it; whoever waits calls `give_back`, and `take` when the turn comes."""
        if suspect:
            async with self._suspected(give_back, take):
                yield
            return
        if self._suspects:
            await give_back()
            async with self._changed:
                await self._changed.wait_for(lambda: not self._suspects)
                self._running += 1
            try:
                await take()
                yield
            finally:
                await self._left()
            return
        self._running += 1
        try:
            yield
        finally:
            await self._left()

    async def _left(self) -> None:
        async with self._changed:
            self._running -= 1
            self._changed.notify_all()

    @asynccontextmanager
    async def _suspected(
        self, give_back: Callable[[], Awaitable[None]], take: Callable[[], Awaitable[None]]
    ) -> AsyncIterator[None]:
        self._suspects += 1
        self._claiming(False)
        try:
            if self._alone.locked():
                await give_back()
                await self._alone.acquire()
                await take()
            else:
                await self._alone.acquire()
            try:
                await asyncio.sleep(SETTLE_S)
                async with self._changed:
                    await self._changed.wait_for(lambda: not self._running)
                yield
            finally:
                self._alone.release()
        finally:
            async with self._changed:
                self._suspects -= 1
                if not self._suspects:
                    self._claiming(True)
                self._changed.notify_all()
