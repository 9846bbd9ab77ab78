"""What becomes of a job that has ended: pure decisions over how it ended."""

import random
from typing import TYPE_CHECKING

from arq.worker import Function, Retry, RetryJob

from reckoner.workers.engine.claims import How

if TYPE_CHECKING:
    from arq.cron import CronJob

FIRST_BACKOFF_MS = 500
LONGEST_BACKOFF_MS = 30_000


class NotNowError(Exception):
    """The job goes back to its place in the queue, or comes again after a pause; this was no try."""

    def __init__(self, pause_ms: int = 0) -> None:
        super().__init__()
        self.pause_ms = pause_ms


def backoff_ms(tries: int) -> int:
    """How long to wait after so many tries: doubled each time, and up to half of it more or less by chance."""
    longest = min(FIRST_BACKOFF_MS * 2 ** min(tries - 1, 30), LONGEST_BACKOFF_MS)
    return int(longest * random.uniform(0.5, 1.5))


class JobTimeoutError(Exception):
    """The job ran longer than it may."""


def after_error(error: Exception, tries: int, max_tries: int, retries: bool = True) -> tuple[How, int]:
    """How a job is settled that has raised in its try number `tries`, and in how many milliseconds it comes again.

    Without `retries` it does so only where this was no try.
    """
    if isinstance(error, NotNowError):
        return ("later", error.pause_ms) if error.pause_ms else ("back", 0)
    # What ran too long would do so again.
    if not retries or isinstance(error, JobTimeoutError):
        return "done", 0
    if isinstance(error, Retry):
        return "later", error.defer_score or 0
    if isinstance(error, RetryJob):
        return "later", 0
    if tries >= max_tries:
        return "done", 0
    return "later", backoff_ms(tries)


def most_tries(function: "Function | CronJob", default: int) -> int:
    """How often a function may be tried."""
    return default if function.max_tries is None else function.max_tries
