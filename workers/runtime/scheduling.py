"""Whose turn it is to compute: a task waits here for the kernels ahead, and its deadline stands still meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from reckoner.shared.wire.shapes import Lane
from reckoner.workers.engine.outcomes import NotNowError

# What a block does on the event loop it does in pieces of about a millisecond; before each a click may take this long.
CLICKS_PASS_S = 0.02
# What a thread finds when it gets free takes about so long, and is one kernel at least: enough until more is claimed.
AHEAD_S = 0.02
# How long a kernel takes is a mean over about the last so many, and counts as a millisecond at least.
REMEMBERED, SHORTEST_S = 8, 0.001


class Turns:
    """The turns in one worker process: of each lane as many at once as it has threads; `patience_s` bounds a wait."""

    def __init__(self, at_once: Mapping[Lane, int], patience_s: float) -> None:
        self.patience_s = patience_s
        self.on_room: Callable[[], None] = lambda: None
        """Called when a lane has room that had none."""
        self._lines = {lane: asyncio.Semaphore(count) for lane, count in at_once.items()}
        self._at_once = at_once
        self._mean_s = dict.fromkeys(at_once, AHEAD_S)
        # The tasks that have a turn, wait for one, or will.
        self._ahead: dict[Lane, set[asyncio.Task[Any] | None]] = {lane: set() for lane in at_once}
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
        loop, took_s = asyncio.get_running_loop(), None
        self._ahead[lane].add(asyncio.current_task())
        try:
            await self._wait(lane)
            since = loop.time()
            try:
                yield
            finally:
                self._lines[lane].release()
                took_s = loop.time() - since
        finally:
            self._leave(lane, took_s)

    @contextmanager
    def coming(self, lane: Lane) -> Iterator[None]:
        """Let it be known that this task will ask for a turn, until it has had it."""
        self._ahead[lane].add(asyncio.current_task())
        try:
            yield
        finally:
            self._leave(lane)

    def skip(self, lane: Lane) -> None:
        """Let it be known that this task does without a turn, as what it computes takes next to no time."""
        self._leave(lane, 0.0)

    def room(self, lane: Lane) -> int:
        """For how many more tasks there is a turn soon; more would wait here while another worker may be free."""
        waiting = max(1, int(AHEAD_S / max(self._mean_s[lane], SHORTEST_S)))
        return max(0, self._at_once[lane] * (1 + waiting) - len(self._ahead[lane]))

    def _leave(self, lane: Lane, took_s: float | None = None) -> None:
        had_room = self.room(lane) > 0
        if took_s is not None:
            self._mean_s[lane] += (took_s - self._mean_s[lane]) / REMEMBERED
        self._ahead[lane].discard(asyncio.current_task())
        if not had_room and self.room(lane) > 0:
            self.on_room()

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
