"""Whose turn it is to compute: a task waits here for the kernels ahead, and its deadline stands still meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress

from shared.wire import Lane
from workers.engine.outcomes import NotNowError

# What a block does on the event loop it does in pieces of about a millisecond; before each a click may take this long.
CLICKS_PASS_S = 0.02


class Turns:
    """The turns in one worker process: of each lane as many at once as it has threads; `patience_s` bounds a wait."""

    def __init__(self, at_once: Mapping[Lane, int], patience_s: float) -> None:
        self._lines = {lane: asyncio.Semaphore(count) for lane, count in at_once.items()}
        self.patience_s = patience_s
        self._deadlines: dict[asyncio.Task[object] | None, asyncio.Timeout] = {}
        self._clicks = 0
        self._no_click = asyncio.Event()

    @asynccontextmanager
    async def deadline(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Let this task end within so many seconds, in which its waits for a turn do not count.

        Raises:
            TimeoutError: it did not, and was cancelled.
        """
        task = asyncio.current_task()
        async with asyncio.timeout(seconds) as limit:
            self._deadlines[task] = limit
            try:
                yield limit
            finally:
                del self._deadlines[task]

    @asynccontextmanager
    async def turn(self, lane: Lane) -> AsyncIterator[None]:
        """Hold a turn.

        Raises:
            NotNowError: what is ahead takes too long; another worker may be free.
        """
        await self._wait(lane)
        try:
            yield
        finally:
            self._lines[lane].release()

    @contextmanager
    def click(self) -> Iterator[None]:
        """Let it be known that a click's task runs here."""
        self._clicks += 1
        self._no_click.clear()
        try:
            yield
        finally:
            self._clicks -= 1
            if not self._clicks:
                self._no_click.set()

    async def let_clicks_pass(self) -> None:
        """Wait while a click's task runs here, but not for ever, as there may be one click after another."""
        if self._clicks:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLICKS_PASS_S):
                    await self._no_click.wait()

    async def _wait(self, lane: Lane) -> None:
        deadline, since = self._deadlines.get(asyncio.current_task()), asyncio.get_running_loop().time()
        due = deadline.when() if deadline else None
        if deadline:
            deadline.reschedule(None)
        try:
            async with asyncio.timeout(self.patience_s):
                await self._lines[lane].acquire()
        except TimeoutError as error:
            raise NotNowError from error
        finally:
            if deadline and due is not None:
                deadline.reschedule(due + asyncio.get_running_loop().time() - since)
