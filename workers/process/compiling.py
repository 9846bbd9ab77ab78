"""Tells that kernels are being compiled, which takes long and is done once."""

import os

import structlog
from numba.core import event

from reckoner.shared.startup import EventSender

log = structlog.get_logger()


class Compiling(event.Listener):
    """Is told by numba of each kernel that it did not find compiled, from the first import of kernels on."""

    def __init__(self, sender: EventSender) -> None:
        self._sender = sender
        self._begun = 0

    def watch(self) -> None:
        """Begin."""
        event.register("numba:compile", self)  # type: ignore[no-untyped-call]

    def on_start(self, event: event.Event) -> None:
        """One begins to be compiled."""
        self._begun += 1
        if self._begun == 1:
            log.info("began to compile kernels, once")
        self._sender.send("compiling", os.getpid(), self._begun)

    def on_end(self, event: event.Event) -> None:
        """One has been compiled."""
