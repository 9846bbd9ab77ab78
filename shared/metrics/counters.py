"""The counts of one process, which are regularly added up in Redis with those of all others."""

import secrets
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from reckoner.shared.metrics.table import BUCKETS_S, Metric
from reckoner.shared.redis.scripts import Value, ask, call

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

MICROSECONDS = 1_000_000
SUM = "sum"
# A histogram's buckets, in the fields of Redis.
PARTS = tuple(map(str, range(len(BUCKETS_S) + 1)))


class Counters:
    """Counts in plain integers, until `add` adds them up in Redis.

    A batch of counts that could not be added is sent again under its number, and Redis adds each number once: no count
    is added twice, also if only the answer was lost. A process that dies loses what it has counted since the last call
    of `add`, about a second's. A Redis that restarts may lose a second or two more; then counters fall, which
    Prometheus takes for a restart.
    """

    def __init__(self) -> None:
        self._process = secrets.token_hex(8)
        self._number = 0
        self._batch: dict[str, int] = {}
        # What came after the batch.
        self._new = defaultdict[str, int](int)
        # The fields of metrics with labels that are allowed; what is not may have any number of values.
        self._fields: dict[tuple[str, tuple[str, ...]], tuple[str, ...]] = {}

    def count(self, metric: Metric, *labels: str, by: float = 1) -> None:
        """Count something; `by` is in seconds for a metric of seconds."""
        [field] = self._fields.get((metric.name, labels)) or self._note(metric, labels)
        self._new[field] += round(by * MICROSECONDS) if metric.is_time else int(by)

    def observe(self, metric: Metric, *labels: str, seconds: float) -> None:
        """Add a value to a histogram."""
        fields = self._fields.get((metric.name, labels)) or self._note(metric, labels)
        self._new[fields[bisect_left(BUCKETS_S, seconds)]] += 1
        self._new[fields[-1]] += round(seconds * MICROSECONDS) if seconds > 0 else 0

    def _note(self, metric: Metric, labels: tuple[str, ...]) -> tuple[str, ...]:
        """The fields of a metric with labels, noted for the next time if they are allowed."""
        allowed = metric.allowed(labels)
        parts = (*PARTS, SUM) if metric.kind == "histogram" else ("",)
        fields = tuple(field_of(metric, allowed, part) for part in parts)
        if allowed == labels:
            self._fields[metric.name, labels] = fields
        return fields

    async def add(self, redis: "Redis", keys: "Keys") -> None:
        """Add up in Redis what was counted since the last call.

        Raises:
            redis.exceptions.RedisError: Redis failed. The next call adds it.
        """
        for _ in range(2):
            # The second time for what was counted since the batch that had failed.
            if not self._batch:
                if not self._new:
                    return
                self._batch, self._new, self._number = self._new, defaultdict(int), self._number + 1
            arguments: list[Value] = [self._number]
            for field, amount in self._batch.items():
                arguments += [field, amount]
            await call(redis, "count", [keys.counts, keys.counted(self._process)], arguments)
            self._batch = {}


class Counts:
    """What all processes have counted together."""

    def __init__(self, fields: Mapping[bytes, bytes]) -> None:
        self._fields = fields

    def total(self, metric: Metric, *labels: str) -> float:
        """The value of a counter, 0 if it was never counted."""
        amount = self._number(field_of(metric, labels))
        return amount / MICROSECONDS if metric.is_time else amount

    def buckets(self, metric: Metric, *labels: str) -> list[int]:
        """The number of a histogram's values in each bucket; the last has those above all bounds."""
        return [self._number(field_of(metric, labels, part)) for part in PARTS]

    def sum_s(self, metric: Metric, *labels: str) -> float:
        """The sum of a histogram's values, in seconds."""
        return self._number(field_of(metric, labels, SUM)) / MICROSECONDS

    def _number(self, field: str) -> int:
        value = self._fields.get(field.encode(), b"")
        # Anything else was planted.
        return int(value) if value.isdigit() and len(value) < 20 else 0


async def read_counts(redis: "Redis", keys: "Keys") -> Counts:
    """Read what all processes have counted."""
    fields: Any = await ask(redis, "HGETALL", keys.counts)
    return Counts(fields)


def field_of(metric: Metric, labels: tuple[str, ...], part: str = "") -> str:
    """The field of a count in Redis. Seconds are counted in microseconds, as integers add up exactly."""
    return "|".join((metric.name, *labels, part) if part else (metric.name, *labels))
