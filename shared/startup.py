"""Startup events: workers report to the process that starts them, through a pipe."""

import contextlib
import os
from typing import Literal

import msgspec

What = Literal["started", "compiling", "ended"]


class StartupEvent(msgspec.Struct, frozen=True):
    """An event of a worker process: `number` is the kernel that it compiles, from 1, or its exit code."""

    what: What
    pid: int
    number: int = 0


class EventSender:
    """The writing end of the pipe, for workers and their supervisor; without a descriptor it does nothing."""

    def __init__(self, descriptor: int | None) -> None:
        self.descriptor = descriptor

    def send(self, what: What, pid: int, number: int = 0) -> None:
        """Write an event; a closed pipe is ignored."""
        if self.descriptor is not None:
            # A write of up to PIPE_BUF bytes is atomic.
            with contextlib.suppress(BrokenPipeError):
                os.write(self.descriptor, msgspec.json.encode(StartupEvent(what, pid, number)) + b"\n")


class EventReceiver:
    """The reading end of the pipe."""

    def __init__(self) -> None:
        self._descriptor, self.sender_end = os.pipe()
        """The descriptor for the writing processes."""
        os.set_blocking(self._descriptor, False)
        self._partial = b""
        self._open = True

    def close_sender_end(self) -> None:
        """Close the writing end in this process, once the writers have inherited it."""
        os.close(self.sender_end)

    def receive(self) -> list[StartupEvent]:
        """The events since the last call, in order."""
        with contextlib.suppress(BlockingIOError):
            while data := os.read(self._descriptor, 1 << 16):
                self._partial += data
        *lines, self._partial = self._partial.split(b"\n")
        return [msgspec.json.decode(line, type=StartupEvent) for line in lines]

    def close(self) -> None:
        """Close the reading end; a second call does nothing."""
        if self._open:
            self._open = False
            os.close(self._descriptor)
