"""Decides what happens to a job that raised: pure functions."""

import random
from typing import TYPE_CHECKING

from arq.worker import Function, Retry, RetryJob

from reckoner.workers.engine.claims import How

if TYPE_CHECKING:
    from arq.cron import CronJob

FIRST_BACKOFF_MS = 500
LONGEST_BACKOFF_MS = 30_000


class NotNowError(Exception):
    """The job returns to its place in the queue, or comes back after a pause. It does not count as a try."""

    def __init__(self, pause_ms: int = 0) -> None:
        super().__init__()
        self.pause_ms = pause_ms


def backoff_ms(tries: int) -> int:
    """The pause after a number of tries: doubled each time, with 50 % jitter."""
    longest = min(FIRST_BACKOFF_MS * 2 ** min(tries - 1, 30), LONGEST_BACKOFF_MS)
    return int(longest * random.uniform(0.5, 1.5))


class JobTimeoutError(Exception):
    """The job ran longer than its timeout."""


def after_error(error: Exception, tries: int, max_tries: int, retries: bool = True) -> tuple[How, int]:
    """How to settle a job that raised, and its pause in milliseconds.

    Args:
        error: What it raised.
        tries: The number of this try, from 1.
        max_tries: How often it may be tried.
        retries: Whether exceptions are retried at all. `NotNowError` always is.
    """
    if isinstance(error, NotNowError):
        return ("later", error.pause_ms) if error.pause_ms else ("back", 0)
    # It would time out again.
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
