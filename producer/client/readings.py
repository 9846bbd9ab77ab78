"""The values of the metrics that are read from Redis when they are asked for."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import TypeAlias

from reckoner.producer.client.measuring import Measured
from reckoner.producer.client.status import Status
from reckoner.shared.flows.flow_state import UNFINISHED
from reckoner.shared.flows.nights import STAGES
from reckoner.shared.metrics import table
from reckoner.shared.metrics.table import Metric
from reckoner.shared.serving.history import Entry

# The values of some metrics, by metric and labels. What is unknown has none.
Readings: TypeAlias = Mapping[tuple[Metric, tuple[str, ...]], float]
Found: TypeAlias = Iterable[tuple[Metric, tuple[str, ...], float | None]]

GOOD = ("live", "unchanged")


def readings(measured: Measured) -> Readings:
    """The values of all metrics that are not counted, by the state of the fleet."""
    parts: tuple[Callable[[Measured], Found], ...] = (_totals, _workers, _lanes, _runs, _nights, _generation, _redis)
    return {
        (metric, labels): float(value)
        for part in parts
        for metric, labels, value in part(measured)
        if value is not None
    }


def _totals(measured: Measured) -> Found:
    yield table.EVENTS_RECORDED, (), measured.events_recorded
    yield table.DEAD_LETTERS_ADDED, (), measured.letters
    refused = Counter[str]()
    for kind, count in measured.status.refused.items():
        refused[table.REFUSALS.allowed((kind,))[0]] += count
    for kind, count in refused.items():
        yield table.REFUSALS, (kind,), count


def _workers(measured: Measured) -> Found:
    status = measured.status
    beats = [worker.beat for worker in status.workers if worker.beat is not None]
    yield table.WORKERS, ("alive",), len(status.workers)
    yield table.WORKERS, ("silent",), len(status.silent)
    yield table.WORKERS, ("draining",), sum(beat.draining for beat in beats)
    yield table.WORKERS, ("without store",), sum(bool(beat.trouble) for beat in beats)
    yield table.WORKER_MEMORY, (), sum(beat.memory_bytes for beat in beats)


def _lanes(measured: Measured) -> Found:
    for lane, queue in measured.status.queues.items():
        yield table.WAITING, (lane,), queue.waiting
        yield table.RUNNING, (lane,), queue.running
        yield table.OLDEST_WAIT, (lane,), (queue.oldest_ms or 0) / 1000
        yield table.PAUSED, (lane,), (queue.paused_ms or 0) / 1000
        yield table.BACKLOG, (lane,), measured.backlog.seconds(lane)
        yield table.WORK_LEFT, (lane,), measured.backlog.work_s[lane]


def _runs(measured: Measured) -> Found:
    for state in UNFINISHED:
        yield table.JOBS_UNFINISHED, (state,), measured.status.flows.get(state, 0)
    yield table.RUN_USERS_LEFT, (), sum(run.run.users - run.users_done for run in measured.status.runs)


def _nights(measured: Measured) -> Found:
    status = measured.status
    yield table.NIGHT_RUNS, (), status.night is not None
    nights = [entry for entry in measured.entries if entry.kind == "night"]
    if not nights:
        return
    for (outcome,) in table.NIGHT_VERDICT.combinations:
        yield table.NIGHT_VERDICT, (outcome,), nights[0].outcome == outcome
    for stage in nights[0].stages:
        if stage["ended_ms"] is not None and stage["name"] in STAGES:
            yield table.NIGHT_STAGE, (stage["name"],), max(0, stage["ended_ms"] - stage["started_ms"]) / 1000
    yield table.NIGHT_AGE, ("last",), _since_s(nights[0].ended_ms, status)
    good = next((night for night in nights if night.outcome in GOOD), None)
    # Without a good one, it has been missing since the first night that is known.
    yield table.NIGHT_AGE, ("good",), _since_s((good or nights[-1]).ended_ms, status)


def _generation(measured: Measured) -> Found:
    status = measured.status
    if status.generation is None:
        return
    record, held = status.records.get(status.generation), status.holdings.get(status.generation)
    if record is not None:
        yield table.GENERATION_AGE, (), _since_s(record.made_ms, status)
        yield table.GENERATION_USERS, (), record.users
    if held is not None:
        yield table.GENERATION_EMPTY, (), held.empty
        yield table.LISTS_EXPIRE, (), (held.until_ms - status.now_ms) / 1000
    figures = _figures(measured.entries, status.generation)
    for metric, name in ((table.CHURN, "churn"), (table.COVERAGE, "coverage"), (table.CONCENTRATION, "concentration")):
        value = figures.get(name)
        yield metric, (), value if isinstance(value, int | float) else None


def _figures(entries: Iterable[Entry], generation: str) -> Mapping[str, object]:
    """What the gate saw of a generation when it was last computed."""
    for entry in entries:
        if entry.generation == generation and isinstance(figures := entry.figures.get("figures"), dict):
            return figures
    return {}


def _redis(measured: Measured) -> Found:
    status = measured.status
    yield table.REDIS_MEMORY, (), status.redis_memory_bytes
    yield table.REDIS_MEMORY_MAX, (), status.redis_memory_max_bytes
    yield table.EVENTS_KEPT, (), status.events
    yield table.HIDDEN, (), status.hidden_items
    yield table.STALE, (), status.stale_lists
    yield table.DEAD_LETTERS, (), status.dead


def _since_s(moment_ms: int, status: Status) -> float:
    return max(0, status.now_ms - moment_ms) / 1000
