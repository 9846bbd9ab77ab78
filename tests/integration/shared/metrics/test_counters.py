"""Counts of many processes add up in Redis, each exactly once."""

from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Redis

from reckoner.shared.metrics.counters import Counters, read_counts
from reckoner.shared.metrics.table import BUCKETS_S, JOB_WORK, NIGHTS_ENDED, TASK_RUN, TASKS_ENDED
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask


@pytest.fixture
def keys(prefix: str) -> Keys:
    return Keys(prefix)


async def test_counts_of_processes_add_up(redis: Redis, keys: Keys) -> None:
    """Counters, times, and histograms with their buckets and sums."""
    for counters in (Counters(), Counters()):
        counters.count(TASKS_ENDED, "click", "chunk", "done")
        counters.count(TASKS_ENDED, "click", "chunk", "done", by=2)
        counters.count(JOB_WORK, "user", by=0.25)
        for seconds in (0.0, 0.001, 0.3, 7_200.0):
            counters.observe(TASK_RUN, "batch", "reduce", seconds=seconds)
        await counters.add(redis, keys)
        # Nothing is left to add.
        await counters.add(redis, keys)
    counts = await read_counts(redis, keys)
    assert counts.total(TASKS_ENDED, "click", "chunk", "done") == 6
    assert counts.total(TASKS_ENDED, "batch", "chunk", "done") == 0
    assert counts.total(JOB_WORK, "user") == 0.5
    buckets = [0] * (len(BUCKETS_S) + 1)
    # A bound belongs to its bucket, as in Prometheus.
    buckets[0], buckets[BUCKETS_S.index(0.5)], buckets[-1] = 4, 2, 2
    assert counts.buckets(TASK_RUN, "batch", "reduce") == buckets
    assert counts.sum_s(TASK_RUN, "batch", "reduce") == pytest.approx(14_400.602)


class Failing:
    """A connection whose next commands fail, before or after the server has run them."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self.fails: list[str] = []

    async def execute_command(self, *command: Any) -> Any:
        """Run a command, and fail if it is its turn."""
        when = self.fails.pop(0) if self.fails else ""
        if when == "before":
            raise exceptions.ConnectionError("the command is lost")
        answer = await ask(self._redis, *command)
        if when == "after":
            raise exceptions.ConnectionError("the answer is lost")
        return answer


@pytest.mark.parametrize("fails", [["before"], ["after"], ["after", "before", "after", "after"]], ids="-".join)
async def test_a_batch_that_failed_is_added_with_the_next_and_never_twice(
    redis: Redis, keys: Keys, fails: list[str]
) -> None:
    """Whether the command was lost, or only its answer."""
    counters, failing, counted = Counters(), Failing(redis), 0
    await ask(redis, "SCRIPT", "LOAD", "return 1")
    counters.count(NIGHTS_ENDED, "live")
    await counters.add(redis, keys)
    for _ in range(2):
        failing.fails = fails.copy()
        while failing.fails:
            counters.count(NIGHTS_ENDED, "failed")
            counted += 1
            with pytest.raises(exceptions.ConnectionError):
                await counters.add(failing, keys)  # type: ignore[arg-type]
        await counters.add(failing, keys)  # type: ignore[arg-type]
        assert (await read_counts(redis, keys)).total(NIGHTS_ENDED, "failed") == counted
    assert (await read_counts(redis, keys)).total(NIGHTS_ENDED, "live") == 1


async def test_planted_counts_are_no_numbers_and_no_series(redis: Redis, keys: Keys) -> None:
    """A planted value counts as nothing and is overwritten; so is one beyond 64 bits."""
    field = f"{NIGHTS_ENDED.name}|live"
    for planted in ("nan", "1e9", "-5", "9" * 40, b"\xff", ""):
        await ask(redis, "HSET", keys.counts, field, planted, b"\xff\x00", 1)
        assert (await read_counts(redis, keys)).total(NIGHTS_ENDED, "live") == 0
    await ask(redis, "HSET", keys.counts, field, 2**63 - 1)
    counters = Counters()
    counters.count(NIGHTS_ENDED, "live")
    await counters.add(redis, keys)
    assert (await read_counts(redis, keys)).total(NIGHTS_ENDED, "live") == 1


async def test_the_number_of_counts_is_bounded(redis: Redis, keys: Keys) -> None:
    """Whatever the names of functions are, in Redis and in the process."""
    counters = Counters()
    for number in range(200):
        counters.count(TASKS_ENDED, "click", f"planted {number}", "done")
        counters.observe(TASK_RUN, "click", f"planted {number}", seconds=0.2)
    assert len(counters._fields) == 0
    await counters.add(redis, keys)
    assert await ask(redis, "HLEN", keys.counts) == 3
    assert (await read_counts(redis, keys)).total(TASKS_ENDED, "click", "other", "done") == 200
