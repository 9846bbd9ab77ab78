"""The metrics of the fleet in Prometheus' formats, and its backlog as JSON."""

import asyncio
from collections.abc import Iterator
from itertools import accumulate
from time import monotonic
from typing import TYPE_CHECKING

from msgspec import Struct
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString
from starlette.responses import Response

from reckoner.producer.client.measuring import Measured, measure
from reckoner.producer.client.readings import Readings, readings
from reckoner.producer.http.calls import Call
from reckoner.producer.http.routes import Nothing, Route
from reckoner.shared.metrics.counters import Counts
from reckoner.shared.metrics.table import (
    BUCKETS_S,
    COUNTED,
    METRICS,
    Metric,
)

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric as Family

    from reckoner.producer.client.open import OpenReckoner

# Any number of scrapers cost one reading a second.
KEPT_S = 1.0
BOUNDS = (*map(floatToGoString, BUCKETS_S), "+Inf")


class Backlog(Struct, frozen=True):
    """How much work waits, in seconds, without paused lanes."""

    seconds: float
    """What the live workers need for it."""
    work_seconds: float
    """What one worker needs for it: divide it by the time that you allow, and start as many workers."""
    click_seconds: float
    batch_seconds: float
    workers: int
    """The live workers."""


class Measuring:
    """Measures the fleet at most once a second, whoever asks."""

    def __init__(self, reckoner: "OpenReckoner") -> None:
        self._reckoner = reckoner
        self._lock = asyncio.Lock()
        self._kept: Measured | None = None
        self._until_s = 0.0
        # What is kept, encoded, by content type.
        self._encoded: dict[str, bytes] = {}

    async def exposition(self, accept: str = "") -> tuple[bytes, str]:
        """All metrics, in the format that the header `Accept` asks for.

        Returns:
            The body and its content type.

        Raises:
            RedisUnavailableError: Redis does not answer.
        """
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # The header is invalid, which the library does not expect.
            encode, content_type = choose_encoder("")
        measured = await self._measured()
        if content_type not in self._encoded:
            self._encoded[content_type] = encode(Exposition(measured))
        return self._encoded[content_type], content_type

    async def backlog(self) -> Backlog:
        """The work that waits. Raises as `exposition` does."""
        backlog = (await self._measured()).backlog
        return Backlog(
            seconds=backlog.left_s,
            work_seconds=backlog.work_left_s,
            click_seconds=backlog.seconds("click"),
            batch_seconds=backlog.seconds("batch"),
            workers=backlog.workers,
        )

    async def _measured(self) -> Measured:
        async with self._lock:
            if self._kept is None or monotonic() >= self._until_s:
                self._kept = None
                self._kept, self._encoded = await measure(self._reckoner), {}
                self._until_s = monotonic() + KEPT_S
            return self._kept


class Exposition(Collector):
    """The metrics of a state of the fleet. Their values come from the table, so no other series can appear."""

    def __init__(self, measured: Measured) -> None:
        self._counts = measured.counts
        self._readings = readings(measured)

    def collect(self) -> Iterator["Family"]:
        """Yield each metric with its series."""
        for metric in METRICS:
            yield _family(metric, self._counts, self._readings)


def _family(metric: Metric, counts: Counts, read: Readings) -> "Family":
    names = list(metric.labels)
    if metric.kind == "histogram":
        histogram = HistogramMetricFamily(metric.name, metric.what, labels=names)
        for labels in metric.combinations:
            cumulative = [*accumulate(counts.buckets(metric, *labels))]
            if cumulative[-1]:
                buckets = [*zip(BOUNDS, map(float, cumulative), strict=True)]
                histogram.add_metric(labels, buckets, sum_value=counts.sum_s(metric, *labels))
        return histogram
    kind = CounterMetricFamily if metric.kind == "counter" else GaugeMetricFamily
    family: CounterMetricFamily | GaugeMetricFamily = kind(metric.name, metric.what, labels=names)
    for labels in metric.combinations:
        if metric in COUNTED:
            value: float | None = counts.total(metric, *labels)
        else:
            # A counter begins at 0, so that its first increase is seen. A gauge may be unknown.
            value = read.get((metric, labels), 0.0 if metric.kind == "counter" else None)
        if value is not None:
            family.add_metric(labels, value)
    return family


async def metrics(call: Call, _: Nothing) -> Response:
    """All metrics as text."""
    accept = call.headers.get(b"accept", b"").decode("latin-1")
    body, content_type = await _measuring(call).exposition(accept)
    return Response(body, headers={"content-type": content_type, "cache-control": "no-store"})


async def backlog(call: Call, _: Nothing) -> Backlog:
    """The work that waits."""
    return await _measuring(call).backlog()


def _measuring(call: Call) -> Measuring:
    """The one of this process."""
    kept = call.server.extra.setdefault("measuring", Measuring(call.reckoner))
    assert isinstance(kept, Measuring)
    return kept


ROUTES = (
    Route(
        method="GET",
        path="/metrics",
        role="read",
        handle=metrics,
        summary="The metrics of the whole fleet, in the text format of Prometheus or OpenMetrics.",
        counted=False,
        described=False,
    ),
    Route(
        method="GET",
        path="/v1/backlog",
        role="read",
        handle=backlog,
        summary="How much work waits, in seconds, for autoscalers.",
        answer=Backlog,
        counted=False,
    ),
)
