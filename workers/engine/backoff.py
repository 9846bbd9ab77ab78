"""Pauses a worker with exponential backoff while Redis is in trouble."""

import math
import random
import time

import structlog

from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.refusals import is_wrong_type

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
# After this long without trouble the backoff starts over.
CALM_S = 2 * LONGEST_PAUSE_S

log = structlog.get_logger()


class RedisBackoff:
    """The backoff of one worker."""

    def __init__(self) -> None:
        self._backoff_s = 0.0
        self._pause_until = -math.inf
        self._well_at = time.monotonic()

    @property
    def pause_s(self) -> float:
        """How long to pause from now, in seconds; 0 or less means no pause."""
        return self._pause_until - time.monotonic()

    @property
    def lasts_s(self) -> float:
        """How long Redis has been in trouble, in seconds."""
        return time.monotonic() - self._well_at

    def note_success(self) -> None:
        """Note that all commands succeeded."""
        self._well_at = time.monotonic()

    def back_off(self, error: Exception) -> None:
        """Start a pause unless one is running. An `error` that is not trouble of Redis is raised."""
        if not is_transient_redis_error(error) and not is_wrong_type(error):
            raise error
        if (calm_s := -self.pause_s) < 0:
            return
        # Time decides, not a success: a full Redis lets claims pass but refuses the jobs' writes.
        if calm_s > CALM_S:
            self._backoff_s = 0.0
            log.warning("worker paused", reason="Redis is in trouble", error=type(error).__name__)
        self._backoff_s = min(max(self._backoff_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._pause_until = time.monotonic() + self._backoff_s * random.uniform(0.5, 1.5)
