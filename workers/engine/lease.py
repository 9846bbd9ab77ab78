"""The lease of a claimed job."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Lease:
    """The lease under which a worker runs a job."""

    job_id: str
    queue: str
    token: str
    """The fencing token of the claim."""
    score: int
    """The job's place in the queue."""
    on_closing: Callable[[], bool]
    """Called when a script that ends the job is sent: its slot is almost free. Returns whether a claim follows."""
    lapses_at: float = math.inf
    """When it lapses, by `time.monotonic`."""
    prefetched: dict[bytes, bytes] | None = None
    """The hash that the job reads first, as it was at the claim; None or empty if the job has to read it."""
    closing: bool = False
    """Whether a script that ends the job was sent. Such a lease needs no renewal."""
    closed: bool = False
    """Whether a script has ended the job."""

    _was_late: bool = False

    @property
    def lapsed(self) -> bool:
        """Whether a renewal was ever late: another worker may hold the job now."""
        return self._was_late or time.monotonic() >= self.lapses_at

    def extend(self, lapses_at: float) -> None:
        """Note a renewal until `lapses_at`."""
        self._was_late = self.lapsed
        self.lapses_at = lapses_at
