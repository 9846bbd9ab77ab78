"""Signals such as Ctrl-C as an exception at chosen points, so that a command can shut down in order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType
from typing import Any, Self, TypeVar

T = TypeVar("T")

# A closing terminal sends SIGHUP; under `nohup` it is ignored.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal asked to stop; `exit_code` is the shell's code for it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


class Interruption:
    """Records signals while entered; `check` and `run` raise them."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._wake: Callable[[], object] | None = None
        self.on_repeat: Callable[[], object] = lambda: None
        """Called at every signal after the first."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for signum in SIGNALS:
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(self, *raised: object) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:
            self.on_repeat()
        self._signum = self._signum or signum
        if self._wake is not None:
            self._wake()

    def check(self) -> None:
        """Raise a recorded signal.

        Raises:
            Interrupted: a signal was received.
        """
        if self._signum is not None:
            raise Interrupted(self._signum)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in an event loop; a signal cancels it.

        Raises:
            Interrupted: a signal was received.
        """

        async def cancellable() -> T:
            loop, task = asyncio.get_running_loop(), asyncio.ensure_future(work)
            self._wake = lambda: loop.call_soon_threadsafe(task.cancel)
            if self._signum is not None:
                task.cancel()
            try:
                return await task
            finally:
                self._wake = None

        try:
            return asyncio.run(cancellable())
        except asyncio.CancelledError:
            self.check()
            raise
