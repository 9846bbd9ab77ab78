"""Schedules kernels: a task waits here for a thread of its lane, and its deadline is paused while it waits."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

from reckoner.shared.wire.shapes import Lane
from reckoner.workers.engine.outcomes import NotNowError

# A block works on the event loop in steps of about a millisecond, and lets clicks run this long before each.
CLICKS_PASS_S = 0.02
# The work queued for each thread: enough to last until more is claimed, at least one kernel.
AHEAD_S = 0.02
# The mean time of a kernel is taken over about this many, and is a millisecond at least.
REMEMBERED, SHORTEST_S = 8, 0.001


class Scheduler:
    """Lets as many tasks of a lane compute at once as it has threads. A task waits at most `patience_s` seconds."""

    def __init__(self, at_once: Mapping[Lane, int], patience_s: float) -> None:
        self.patience_s = patience_s
        self.on_room: Callable[[], None] = lambda: None
        """Called when a full lane has room again."""
        self._threads = {lane: asyncio.Semaphore(count) for lane, count in at_once.items()}
        self._at_once = at_once
        self._mean_s = dict.fromkeys(at_once, AHEAD_S)
        # The tasks that compute, wait, or were announced.
        self._ahead: dict[Lane, set[asyncio.Task[Any] | None]] = {lane: set() for lane in at_once}
        self._deadlines: dict[asyncio.Task[object] | None, asyncio.Timeout] = {}
        self._clicks = 0
        self._no_click = asyncio.Event()

    @asynccontextmanager
    async def deadline(self, seconds: float) -> AsyncIterator[asyncio.Timeout]:
        """Limit this task's time. Waiting for a turn does not count.

        Raises:
            TimeoutError: the task took longer and was cancelled.
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
        """Wait for a thread of the lane and hold it.

        Raises:
            NotNowError: the wait took too long. Another worker may be free.
        """
        loop, took_s = asyncio.get_running_loop(), None
        self._ahead[lane].add(asyncio.current_task())
        try:
            await self._wait(lane)
            since = loop.time()
            try:
                yield
            finally:
                self._threads[lane].release()
                took_s = loop.time() - since
        finally:
            self._leave(lane, took_s)

    @contextmanager
    def announced(self, lane: Lane) -> Iterator[None]:
        """Take up room for this task before it asks for its turn."""
        self._ahead[lane].add(asyncio.current_task())
        try:
            yield
        finally:
            self._leave(lane)

    def skip(self, lane: Lane) -> None:
        """Give up this task's room: its kernel is so short that it needs no turn."""
        self._leave(lane, 0.0)

    def room(self, lane: Lane) -> int:
        """How many more tasks to claim. More would wait here while another worker may be free."""
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
        """Count a click's task as running."""
        self._clicks += 1
        self._no_click.clear()
        try:
            yield
        finally:
            self._clicks -= 1
            if not self._clicks:
                self._no_click.set()

    async def yield_to_clicks(self) -> None:
        """Wait while clicks run here, for `CLICKS_PASS_S` at most."""
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
                await self._threads[lane].acquire()
        except TimeoutError as error:
            raise NotNowError from error
        finally:
            if deadline and due is not None:
                deadline.reschedule(due + asyncio.get_running_loop().time() - since)
