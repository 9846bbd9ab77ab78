"""Ctrl-C and its like as an exception at chosen points, so that what was started is stopped in good order."""

import asyncio
import signal
from collections.abc import Callable, Coroutine
from types import FrameType, TracebackType
from typing import Any, Self, TypeVar

T = TypeVar("T")

# A terminal that is closed sends SIGHUP, which `nohup` has made ignored.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """A signal has asked to stop; `exit_code` is the one that shells use for it."""

    def __init__(self, signum: int) -> None:
        super().__init__(f"stopped by {signal.Signals(signum).name}")
        self.exit_code = 128 + signum


class Interruption:
    """Notes signals while it is entered; nothing happens until `check` or `run` acts upon them."""

    def __init__(self) -> None:
        self._signum: int | None = None
        self._wake: Callable[[], object] | None = None
        self.again: Callable[[], object] = lambda: None
        """What is done at every signal but the first, where who asked once does not want to wait."""
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for signum in SIGNALS:
            if signum != signal.SIGHUP or signal.getsignal(signum) != signal.SIG_IGN:
                self._before[signum] = signal.signal(signum, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for signum, handler in self._before.items():
            signal.signal(signum, handler)

    def _note(self, signum: int, frame: FrameType | None) -> None:
        if self._signum is not None:
            self.again()
        self._signum = self._signum or signum
        if self._wake is not None:
            self._wake()

    def check(self) -> None:
        """Act upon a signal that has come.

        Raises:
            Interrupted: one has.
        """
        if self._signum is not None:
            raise Interrupted(self._signum)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in an event loop; a signal cancels it.

        Raises:
            Interrupted: a signal has come.
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
