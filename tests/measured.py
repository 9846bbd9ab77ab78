"""What `/metrics` shows: samples of a scrape, and a small fleet whose metrics can be moved."""

from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
from prometheus_client.parser import text_string_to_metric_families as parse_text

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.flows.nights import NightOptions, Nights
from reckoner.shared.metrics.table import Metric
from reckoner.shared.redis.keys import paused_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.history import Entry, History
from reckoner.shared.wire.shapes import HOLDING, Beat, Holding
from reckoner.workers.engine.claims import Claims
from reckoner.workers.engine.running import JobEnd
from reckoner.workers.night.driver import NightDriver
from tests.world import Generation, Hand, World

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


async def scrape(http: httpx.AsyncClient) -> Samples:
    """All samples, by name and labels."""
    answer = await http.get("/metrics")
    assert answer.status_code == 200, answer.text
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in parse_text(answer.text)
        for sample in family.samples
    }


def of(samples: Samples, metric: Metric, *labels: str) -> float | None:
    """A sample, or a histogram's count."""
    name = f"{metric.name}_count" if metric.kind == "histogram" else metric.name
    return samples.get((name, tuple(sorted(zip(metric.labels, labels, strict=True)))))


@dataclass
class Fleet:
    """A worker by hand and a client, under one prefix."""

    hand: Hand
    world: World
    reckoner: OpenReckoner
    http: httpx.AsyncClient

    async def adopt(self) -> Generation:
        """Make a generation live."""
        return await self.hand.adopt(self.world)

    async def beat(self, **changes: Any) -> None:
        """A heartbeat of another worker."""
        fields: dict[str, Any] = {"worker": "w", "memory_bytes": 7, "jobs": [], "lease_ms": 60_000} | changes
        beat = Beat(1, host="h", pid=1, version="1", started_ms=1, beat_ms=1, **fields)
        await Heartbeats(self.hand.redis, self.hand.runtime.keys).write(beat)

    async def remember(self, **fields: Any) -> None:
        """An entry of the history."""
        entry = Entry(id="n", kind="night", outcome="live", started_ms=1_000, ended_ms=5_000)
        await History(self.hand.redis, self.hand.runtime.keys).remember(msgspec.structs.replace(entry, **fields))

    async def user_done(self) -> None:
        """A job of the click lane is done."""
        await self.adopt()
        await self.reckoner.enqueue("Ada", lane="click")
        await self.hand.deliver_all()

    async def ended(self, outcome: Any = "done") -> None:
        """A task has ended, and a lease has lapsed."""
        engine: Any = self.hand.worker
        engine._observe(JobEnd(0, "chunk", outcome, 0.2, 0.02))
        engine._on_lapse(3)

    async def night_ended(self) -> None:
        """A night has failed at once."""
        redis, keys = self.hand.redis, self.hand.runtime.keys
        night_id, _ = await Nights(redis, keys).begin("2026-11-30", "command", NightOptions())
        await ask(redis, "HSET", keys.night_state(night_id), "started", "planted")
        await NightDriver(self.hand.runtime).drive()

    async def stage_ended(self) -> None:
        """A night has skipped its import."""
        redis, keys = self.hand.redis, self.hand.runtime.keys
        await Nights(redis, keys).begin("2026-11-30", "command", NightOptions(imports=False, fits=False))
        await NightDriver(self.hand.runtime).drive()

    async def night_begins(self) -> None:
        """A night is under way."""
        await Nights(self.hand.redis, self.hand.runtime.keys).begin("2026-11-30", "command", NightOptions())

    async def hold(self) -> None:
        """A run has computed all lists of the live generation."""
        generation = await self.adopt()
        until_ms = await self.hand.runtime.now_ms() + 3_600_000
        await ask(
            self.hand.redis, "HSET", self.hand.runtime.keys.held, generation.id, HOLDING.encode(Holding(6, 2, until_ms))
        )

    async def gate(self) -> None:
        """The gate has compared the live generation."""
        generation = await self.adopt()
        figures = {"churn": 0.25, "coverage": 17, "concentration": 0.5}
        await self.remember(kind="run", outcome="passed", generation=generation.id, figures={"figures": figures})

    async def run_begins(self) -> None:
        """A run of three blocks."""
        await self.adopt()
        await self.reckoner.operator.start_run(2, 1)

    async def record(self) -> None:
        """An event is recorded."""
        await self.adopt()
        await self.reckoner.record("Ada", "item 01")

    async def stale(self) -> None:
        """A user's list is to be computed again."""
        await ask(self.hand.redis, "ZADD", self.hand.runtime.keys.stale, 0, "Ada")

    async def hide(self) -> None:
        """An item is hidden."""
        await self.reckoner.catalogue.hide(["item 01"])

    async def fail(self) -> None:
        """A job fails, with a dead letter."""
        await self.adopt()
        enqueued = await self.reckoner.enqueue("Ada")
        flow = await self.hand.runtime.flows.load(enqueued.job or "")
        assert flow is not None
        assert await self.hand.runtime.flows.fail(flow, "failed by the test", lease=None)

    async def refuse(self) -> None:
        """Bytes are refused."""
        key = f"{self.hand.runtime.keys.prefix}:a key"
        await ask(self.hand.redis, "SET", key, b"x")
        assert await self.hand.runtime.flows.refusals.string("job", "j", key, b"x", "why")

    async def read(self) -> None:
        """Somebody reads a list over HTTP."""
        await self.adopt()
        assert (await self.http.get("/v1/users/nobody/recommendations?timeout=0")).status_code == 200

    async def wait_for_worker(self) -> None:
        """A job waits."""
        await self.adopt()
        await self.reckoner.enqueue("Ada")

    async def claim(self) -> None:
        """A job runs."""
        await self.wait_for_worker()
        claims = Claims(self.hand.redis, self.hand.worker.keys, 5.0)  # type: ignore[attr-defined]
        await claims.claim("t", 4, [4, 4], alone=True)

    async def old_job(self) -> None:
        """A job has waited for long."""
        await ask(self.hand.redis, "ZADD", self.hand.runtime.keys.batch, 1_000, "split:0123456789abcdef")

    async def count_events(self) -> None:
        """Events are sent over HTTP, one of them twice."""
        await self.adopt()
        events = [{"user": "Ada", "item": f"item 0{number}", "id": f"id {number}"} for number in (1, 2, 2)]
        assert (await self.http.post("/v1/events", json={"events": events})).status_code == 200

    async def generation(self) -> None:
        """A generation goes live."""
        await self.adopt()

    async def stage(self) -> None:
        """A night whose fit has taken a second and a half."""
        stage: Any = {"name": "fit", "started_ms": 1_000, "ended_ms": 2_500, "outcome": "done", "message": ""}
        await self.remember(stages=[stage])

    async def pause(self) -> None:
        """The batch lane was paused some time ago."""
        await ask(self.hand.redis, "SET", paused_key(self.hand.runtime.keys.batch), 1_000)

    async def fill(self) -> None:
        """Redis gets more to hold."""
        await ask(self.hand.redis, "SET", f"{self.hand.runtime.keys.prefix}:filling", b"x" * 2**20, "EX", 60)
