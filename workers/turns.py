"""Who runs beside whom in one worker: a job that may have killed a worker runs alone.

A job on its second try is a suspect: its first may have ended with its worker. While a suspect waits for the jobs
beside it and while it runs, its worker claims nothing, and what it had claimed already goes back to the queue with its
try given back, so that a job that kills does not use up its neighbours' tries.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

# How long a worker that was told to claim nothing more may still be starting jobs that it has claimed.
SETTLE_S = 0.1
# One computes while the bytes of another are on their way; more would only share the processor and all be late.
KERNELS_AT_ONCE = 2

Away = Callable[[], AbstractAsyncContextManager[None]]


class NotNowError(Exception):
    """The job has to go back to the queue: a suspect runs alone here, or what is ahead of this one takes too long."""


class Turns:
    """The turns in one worker process; `claiming` tells it whether it may claim jobs, `patience_s` bounds a wait."""

    def __init__(self, claiming: Callable[[bool], None], patience_s: float) -> None:
        self._claiming = claiming
        self._patience_s = patience_s
        self._running = 0
        self._suspect = False
        self._closed = False
        self._left = asyncio.Event()
        self._kernels = asyncio.Semaphore(KERNELS_AT_ONCE)

    def close(self) -> None:
        """Claim nothing any more; turns can still be had by what was claimed."""
        self._closed = True
        self._claiming(False)

    @asynccontextmanager
    async def turn(self, suspect: bool, kernel: bool = False, away: Away = nullcontext) -> AsyncIterator[None]:
        """Hold a turn, which a suspect has alone, and of which few at once can be for a kernel.

        While a suspect waits for the jobs beside it, any of which may end the worker, it is within `away`.

        Raises:
            NotNowError: there is none to be had now.
        """
        if self._suspect:
            raise NotNowError
        async with self._alone(away) if suspect else self._beside(), self._kernel() if kernel else nullcontext():
            yield

    @asynccontextmanager
    async def _kernel(self) -> AsyncIterator[None]:
        """Wait here for the kernels that are ahead: in a queue of threads it would be a job's deadline that waits."""
        try:
            async with asyncio.timeout(self._patience_s):
                await self._kernels.acquire()
        except TimeoutError as error:
            raise NotNowError from error
        try:
            yield
        finally:
            self._kernels.release()

    @asynccontextmanager
    async def _beside(self) -> AsyncIterator[None]:
        self._running += 1
        try:
            yield
        finally:
            self._running -= 1
            self._left.set()

    @asynccontextmanager
    async def _alone(self, away: Away) -> AsyncIterator[None]:
        self._suspect = True
        self._claiming(False)
        try:
            async with away() if self._running else nullcontext():
                await asyncio.sleep(min(SETTLE_S, self._patience_s))
                await self._until_nobody_runs()
            yield
        finally:
            self._suspect = False
            self._claiming(not self._closed)

    async def _until_nobody_runs(self) -> None:
        try:
            async with asyncio.timeout(self._patience_s):
                while self._running:
                    self._left.clear()
                    await self._left.wait()
        except TimeoutError as error:
            raise NotNowError from error
