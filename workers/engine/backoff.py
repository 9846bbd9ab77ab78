"""RedisBackoff with Redis itself: how long a worker of the engine pauses, and for how long it has been going on."""

import math
import random
import time

import structlog

from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.refusals import is_wrong_type

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
# After so long without trouble the next is a new one.
CALM_S = 2 * LONGEST_PAUSE_S

log = structlog.get_logger()


class RedisBackoff:
    """The troubles of one worker: it pauses at each, longer each time while they follow each other."""

    def __init__(self) -> None:
        self._backoff_s = 0.0
        self._pause_until = -math.inf
        self._well_at = time.monotonic()

    @property
    def pause_s(self) -> float:
        """How long to pause from now, in seconds; 0 or less for not at all."""
        return self._pause_until - time.monotonic()

    @property
    def lasts_s(self) -> float:
        """For how long Redis has not done all that it was asked, in seconds."""
        return time.monotonic() - self._well_at

    def is_over(self) -> None:
        """Note that Redis has done all that it was asked."""
        self._well_at = time.monotonic()

    def back_off(self, error: Exception) -> None:
        """Pause from now, if that is not so already: Redis is in trouble. An `error` that says otherwise is raised."""
        if not is_transient_redis_error(error) and not is_wrong_type(error):
            raise error
        if (calm_s := -self.pause_s) < 0:
            return
        # A claim that a full Redis lets pass is no sign that it takes what a job has to write.
        if calm_s > CALM_S:
            self._backoff_s = 0.0
            log.warning("worker paused", error=type(error).__name__)
        self._backoff_s = min(max(self._backoff_s * 2, FIRST_PAUSE_S), LONGEST_PAUSE_S)
        self._pause_until = time.monotonic() + self._backoff_s * random.uniform(0.5, 1.5)
