"""Time limits of many calls, with one timer for all: a timer for each would cost a third of reading a list."""

import asyncio
import math
from time import monotonic
from typing import Any

from msgspec import Struct


class Deadline(Struct, eq=False):
    """The time limit of one call; like `asyncio.timeout`, it tells its own cancellation of the task from others'."""

    task: "asyncio.Task[Any]"
    moment: float
    cancelling: int
    """The task's cancellations before."""
    late: bool = False

    def ended(self) -> bool:
        """Take the cancellation back; returns whether there was one, and no other beside it."""
        late, self.late = self.late, False
        return late and self.task.uncancel() <= self.cancelling


class Deadlines:
    """The time limits of the calls in one event loop."""

    def __init__(self) -> None:
        self._open: set[Deadline] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._due = math.inf

    def start(self, timeout: float) -> Deadline:
        """Cancel the current task in `timeout` seconds, unless `stop` is called before."""
        task = asyncio.current_task()
        assert task is not None
        deadline = Deadline(task, monotonic() + timeout, task.cancelling())
        self._open.add(deadline)
        if deadline.moment < self._due:
            self._watch(deadline.moment)
        return deadline

    def stop(self, deadline: Deadline) -> None:
        """Forget a deadline. The timer stays, since the next call needs it."""
        self._open.discard(deadline)
        if deadline.late:
            deadline.ended()

    def _watch(self, moment: float) -> None:
        self.close()
        delay = max(moment - monotonic(), 0.0)
        self._due, self._timer = moment, asyncio.get_running_loop().call_later(delay, self._end_late)

    def _end_late(self) -> None:
        """Cancel the tasks whose time is over."""
        self._due, self._timer, now = math.inf, None, max(monotonic(), self._due)
        for deadline in [each for each in self._open if each.moment <= now]:
            self._open.discard(deadline)
            deadline.late = True
            deadline.task.cancel()
        if self._open:
            self._watch(min(each.moment for each in self._open))

    def close(self) -> None:
        """Cancel the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._due, self._timer = math.inf, None
