"""A worker's hold on a job that it has claimed."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Lease:
    """A worker's hold on a job that it has claimed."""

    job_id: str
    queue: str
    token: str
    score: int
    on_closing: Callable[[], bool]
    """Is called when a script is sent that ends the job: its slot is as good as free. Whether a claim follows."""
    lapses_at: float = math.inf
    """When it lapses unless it is renewed, by `time.monotonic`."""
    closing: bool = False
    """Whether such a script is under way or has ended the job: from then on the lease need not be held."""
    closed: bool = False
    """Whether one has ended the job."""

    _was_late: bool = False

    @property
    def lapsed(self) -> bool:
        """Whether it was once not renewed in time: this process stood still, or could not reach Redis, and another
        worker may hold the job.
        """
        return self._was_late or time.monotonic() >= self.lapses_at

    def extend(self, lapses_at: float) -> None:
        """Note that it was renewed, and lapses at this moment unless it is renewed again."""
        self._was_late = self.lapsed
        self.lapses_at = lapses_at
