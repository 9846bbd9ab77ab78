"""What workers tell the process that starts them, through a pipe, until it has heard enough."""

import contextlib
import os
from typing import Literal

import msgspec

What = Literal["started", "compiling", "ended"]


class StartupEvent(msgspec.Struct, frozen=True):
    """One thing that has happened to a worker process.

    It was started; or it has begun to compile its kernel of that `number`, counted from 1; or it has ended, and
    `number` is its exit code.
    """

    what: What
    pid: int
    number: int = 0


class EventSender:
    """The end of the pipe that workers and their supervisor write to; without a descriptor nothing is told."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor

    def send(self, what: What, pid: int, number: int = 0) -> None:
        """Tell it, whether or not somebody still listens."""
        if self.descriptor is not None:
            # A short write to a pipe is never mixed with those of other processes.
            with contextlib.suppress(BrokenPipeError):
                os.write(self.descriptor, msgspec.json.encode(StartupEvent(what, pid, number)) + b"\n")


class EventReceiver:
    """The other end: what was told, in its order."""

    def __init__(self) -> None:
        self._end, self.sender_end = os.pipe()
        """The descriptor that is for the tellers."""
        os.set_blocking(self._end, False)
        self._begun = b""
        self._open = True

    def close_sender_end(self) -> None:
        """Close the tellers' end here, now that they hold it."""
        os.close(self.sender_end)

    def receive(self) -> list[StartupEvent]:
        """What was told since the last time."""
        with contextlib.suppress(BlockingIOError):
            while told := os.read(self._end, 1 << 16):
                self._begun += told
        *lines, self._begun = self._begun.split(b"\n")
        return [msgspec.json.decode(line, type=StartupEvent) for line in lines]

    def close(self) -> None:
        """Listen no more; a second call does nothing."""
        if self._open:
            self._open = False
            os.close(self._end)
