"""Whose turn it is to compute: a job waits here for the kernels ahead of it, while its deadline does not run."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from shared.wire import Lane
from workers.engine.outcomes import NotNowError


class Turns:
    """The turns in one worker process: of each lane so many at once; `patience_s` bounds a wait."""

    def __init__(self, at_once: Mapping[Lane, int], patience_s: float) -> None:
        self._lines = {lane: asyncio.Semaphore(count) for lane, count in at_once.items()}
        self._patience_s = patience_s

    @asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncIterator[None]:
        """Hold a turn.

        Raises:
            NotNowError: what is ahead takes too long; another worker may be free.
        """
        try:
            async with asyncio.timeout(self._patience_s):
                await self._lines[lane].acquire()
        except TimeoutError as error:
            raise NotNowError from error
        try:
            yield
        finally:
            self._lines[lane].release()
