"""Reports the compilation of kernels, which is slow and happens once per cache."""

import os

import structlog
from numba.core import event

from reckoner.shared.startup import EventSender

log = structlog.get_logger()


class CompileListener(event.Listener):
    """Sends an event for each kernel that numba did not find in its cache."""

    def __init__(self, events: EventSender) -> None:
        self._events = events
        self._begun = 0

    def register(self) -> None:
        """Start listening."""
        event.register("numba:compile", self)  # type: ignore[no-untyped-call]

    def on_start(self, event: event.Event) -> None:
        """Report one compilation; numba calls this."""
        self._begun += 1
        if self._begun == 1:
            log.info("kernel compilation started")
        self._events.send("compiling", os.getpid(), self._begun)

    def on_end(self, event: event.Event) -> None:
        """Do nothing; numba requires the method."""
