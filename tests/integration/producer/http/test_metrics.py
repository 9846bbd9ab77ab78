"""`/metrics` shows the whole fleet in a bounded number of series, each of which moves, and `/v1/backlog` the work."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from reckoner.producer.client.measuring import UNKNOWN_S
from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.http.app import ROUTES
from reckoner.producer.http.counting import Counting, request_kind
from reckoner.producer.http.metrics import KEPT_S
from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.metrics import table
from reckoner.shared.metrics.counters import Counters
from reckoner.shared.metrics.table import METRICS, MOST_SERIES, OTHER, REQUESTS, Metric
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import Beat
from reckoner.workers.maintenance.heartbeat import Heartbeat
from tests.conftest import StartServer
from tests.integration.producer.http.conftest import TOKENS, Serve
from tests.measured import Fleet, Samples, of, scrape
from tests.world import Generation, Hand, World


async def scrape_anew(serve: Serve) -> Samples:
    """The samples of a process that has kept nothing."""
    async with serve() as http:
        return await scrape(http)


async def test_an_empty_system_has_all_counters_at_zero(serve: Serve) -> None:
    """So that the first increase of each is seen. There are no more series than the table says, and all are of it."""
    samples = await scrape_anew(serve)
    for metric in METRICS:
        values = [of(samples, metric, *labels) for labels in metric.combinations]
        if metric.kind == "counter":
            assert all(value is not None for value in values), metric.name
        elif metric.kind == "histogram":
            assert not any(values)
    assert of(samples, table.BACKLOG, "batch") == 0.0
    assert of(samples, table.GENERATION_AGE) is None


async def test_both_formats_are_valid(serve: Serve, generation: Generation) -> None:
    """Prometheus asks for OpenMetrics; whoever asks for nothing gets the text format. Both have the same values."""
    async with serve() as http:
        await http.get("/v1/users/Ada/recommendations")
        plain = await http.get("/metrics")
        accept = "application/openmetrics-text; version=1.0.0; charset=utf-8"
        opened = await http.get("/metrics", headers={"accept": accept})
    assert plain.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert opened.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert opened.text.endswith("# EOF\n")
    families = list(parse_text(plain.text))
    opened_families: Any = parse_openmetrics(opened.text)  # type: ignore[no-untyped-call]
    found = [{s.name: s.value for f in some for s in f.samples} for some in (families, opened_families)]
    assert found[0] == found[1]
    helps = {family.name: family.documentation for family in families}
    assert all(helps[metric.name.removesuffix("_total")] == metric.what for metric in METRICS)


Move = Callable[[Fleet], Awaitable[None]]

# For each metric what moves it, the labels of a series that moves, and its value afterwards, if it is known.
MOVES: Mapping[Metric, tuple[Move, tuple[str, ...], float | None]] = {
    table.TASKS_ENDED: (Fleet.ended, ("click", "chunk", "done"), 1),
    table.TASK_WAIT: (Fleet.ended, ("click", "chunk"), 1),
    table.TASK_RUN: (Fleet.ended, ("click", "chunk"), 1),
    table.LEASES_LAPSED: (Fleet.ended, (), 3),
    table.JOBS_ENDED: (Fleet.user_done, ("click", "user", "done"), 1),
    table.JOB_TIME: (Fleet.user_done, ("click", "user"), 1),
    table.JOB_WORK: (Fleet.user_done, ("user",), None),
    table.STAGES_ENDED: (Fleet.stage_ended, ("import", "skipped"), 1),
    table.NIGHTS_ENDED: (Fleet.night_ended, ("failed",), 1),
    table.LISTS_READ: (Fleet.read, ("popular",), 1),
    table.EVENTS: (Fleet.count_events, ("recorded",), 2),
    table.REQUESTS_ANSWERED: (Fleet.read, ("recommendations", "ok"), 1),
    table.REQUEST_TIME: (Fleet.read, ("recommendations",), 1),
    table.EVENTS_RECORDED: (Fleet.record, (), 1),
    table.REFUSALS: (Fleet.refuse, ("job",), 1),
    table.DEAD_LETTERS_ADDED: (Fleet.fail, (), 1),
    table.DEAD_LETTERS: (Fleet.fail, (), 1),
    table.WORKERS: (Fleet.beat, ("alive",), 2),
    table.WORKER_MEMORY: (Fleet.beat, (), None),
    table.WAITING: (Fleet.wait_for_worker, ("batch",), 1),
    table.RUNNING: (Fleet.claim, ("batch",), 1),
    table.OLDEST_WAIT: (Fleet.old_job, ("batch",), None),
    table.PAUSED: (Fleet.pause, ("batch",), None),
    table.BACKLOG: (Fleet.wait_for_worker, ("batch",), UNKNOWN_S),
    table.WORK_LEFT: (Fleet.wait_for_worker, ("batch",), UNKNOWN_S),
    table.JOBS_UNFINISHED: (Fleet.wait_for_worker, ("split",), 1),
    table.RUN_USERS_LEFT: (Fleet.run_begins, (), 6),
    table.NIGHT_RUNS: (Fleet.night_begins, (), 1),
    table.NIGHT_VERDICT: (Fleet.remember, ("live",), 1),
    table.NIGHT_STAGE: (Fleet.stage, ("fit",), 1.5),
    table.NIGHT_AGE: (Fleet.remember, ("good",), None),
    table.GENERATION_AGE: (Fleet.generation, (), None),
    table.GENERATION_USERS: (Fleet.generation, (), 6),
    table.GENERATION_EMPTY: (Fleet.hold, (), 2),
    table.LISTS_EXPIRE: (Fleet.hold, (), None),
    table.CHURN: (Fleet.gate, (), 0.25),
    table.COVERAGE: (Fleet.gate, (), 17),
    table.CONCENTRATION: (Fleet.gate, (), 0.5),
    table.REDIS_MEMORY: (Fleet.fill, (), None),
    table.EVENTS_KEPT: (Fleet.record, (), 1),
    table.HIDDEN: (Fleet.hide, (), 1),
    table.STALE: (Fleet.stale, (), 1),
}


def test_each_metric_has_a_test_that_it_moves() -> None:
    """But the memory limit, which belongs to the whole server."""
    assert {*MOVES, table.REDIS_MEMORY_MAX} == set(METRICS)


@pytest.mark.parametrize("metric", MOVES, ids=lambda metric: metric.name)
async def test_a_metric_moves(
    hand: Hand, world: World, reckoner: OpenReckoner, serve: Serve, redis: Any, metric: Metric
) -> None:
    """By what it measures, for every process of `serve`, with the heartbeat of the worker."""
    move, labels, expected = MOVES[metric]
    heartbeat = Heartbeat(hand.runtime)
    await heartbeat.beat()
    before = of(await scrape_anew(serve), metric, *labels)
    async with serve() as http:
        await move(Fleet(hand, world, reckoner, http))
    await heartbeat.beat()
    after = of(await scrape_anew(serve), metric, *labels)
    assert after is not None
    assert after > (before or 0)
    assert expected is None or after == expected


async def test_the_memory_limit_is_shown_if_there_is_one(fresh_server: StartServer, serve: Serve) -> None:
    """And is absent without one."""
    server = fresh_server()
    async with serve(redis_url=server.url) as http:
        assert of(await scrape(http), table.REDIS_MEMORY_MAX) is None
    redis = connect(server.url)
    await ask(redis, "CONFIG", "SET", "maxmemory", 64 * 2**20)
    await redis.aclose()
    async with serve(redis_url=server.url) as http:
        assert of(await scrape(http), table.REDIS_MEMORY_MAX) == 64 * 2**20


async def test_no_fleet_makes_more_series_than_the_table_says(hand: Hand, serve: Serve, reckoner: OpenReckoner) -> None:
    """Whatever workers, tasks, sources, refusals and planted counts there are, and whatever is asked for."""
    counters, keys = Counters(), hand.runtime.keys
    for metric in table.COUNTED:
        for labels in [*metric.combinations, *((f"planted {n}",) * len(metric.labels) for n in range(9))]:
            if metric.kind == "histogram":
                counters.observe(metric, *labels, seconds=0.1)
            else:
                counters.count(metric, *labels)
    await counters.add(hand.redis, keys)
    heartbeats = Heartbeats(hand.redis, keys)
    for number in range(9):
        await ask(hand.redis, "HSET", keys.counts, f"reckoner_tasks_total|{number}|b|c", 1)
        await ask(hand.redis, "HSET", keys.refused, f"planted {number}", 1)
        await ask(hand.redis, "ZADD", keys.click, 1_000, f"planted {number}:x")
        await heartbeats.write(Beat(1, f"w{number}", f"h{number}", 1, "1", 1, 1, 7, [], 60_000))
    async with serve() as http:
        for path in ("/v1/a", "/b", "/v1/users/x/recommendations?n=0"):
            await http.get(path)
    samples = await scrape_anew(serve)
    assert len(samples) <= MOST_SERIES
    assert of(samples, table.REFUSALS, OTHER) == 9
    names = {name for name, _ in samples}
    allowed = {f"{metric.name}{part}" for metric in METRICS for part in ("", "_bucket", "_sum", "_count")}
    assert names <= allowed
    assert not any("planted" in label or label in ("w1", "h1") for _, labels in samples for _, label in labels)


async def test_the_backlog_is_the_work_that_waits(
    hand: Hand, world: World, serve: Serve, reckoner: OpenReckoner
) -> None:
    """Splits stand for their jobs, other tasks for themselves; a run for its blocks; paused lanes do not count."""
    redis, keys, counters = hand.redis, hand.runtime.keys, Counters()
    # A job of the click lane takes a split of 0.1 s and on average two chunk tasks of 0.2 s and a reduce of 0.1 s.
    for kind, times in (("split", [0.1] * 2), ("chunk", [0.2] * 4), ("reduce", [0.1] * 2)):
        for seconds in times:
            counters.observe(table.TASK_RUN, "click", kind, seconds=seconds)
    for _ in range(4):
        counters.count(table.JOBS_ENDED, "batch", "block", "done")
    counters.count(table.JOB_WORK, "block", by=10.0)
    await counters.add(redis, keys)
    for member in ("split:a", "split:b", "chunk:c:0:0", "reduce:c:0"):
        await ask(redis, "ZADD", keys.click, 1_000, member)
    async with serve() as http:
        found = (await http.get("/v1/backlog")).json()
    expected = 2 * 0.6 + 0.2 + 0.1
    assert found == pytest.approx(
        {"seconds": expected, "work_seconds": expected, "click_seconds": expected, "batch_seconds": 0.0, "workers": 0}
    )
    # Three blocks of 2.5 s; the one in flight is no waiting split beside them.
    fleet = Fleet(hand, world, reckoner, http)
    await fleet.run_begins()
    await Heartbeat(hand.runtime).beat()
    await fleet.beat()
    async with serve() as http:
        found = (await http.get("/v1/backlog")).json()
    work = expected + 3 * 2.5
    assert found == pytest.approx(
        {
            "seconds": work / 2,
            "work_seconds": work,
            "click_seconds": expected / 2,
            "batch_seconds": 7.5 / 2,
            "workers": 2,
        }
    )
    await fleet.pause()
    async with serve() as http:
        found = (await http.get("/v1/backlog")).json()
    assert (found["work_seconds"], found["batch_seconds"]) == (pytest.approx(expected), 3.75)


async def test_scrapers_cost_one_reading_a_second(
    serve: Serve, reckoner: OpenReckoner, redis: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of a process together, also at the same moment; a failed reading is not kept."""
    moment = 100.0
    monkeypatch.setattr("reckoner.producer.http.metrics.monotonic", lambda: moment)
    async with serve() as http:
        answers = await asyncio.gather(*(http.get("/metrics") for _ in range(20)), http.get("/v1/backlog"))
        assert {answer.status_code for answer in answers} == {200}
        await ask(redis, "ZADD", reckoner.keys.stale, 0, "Ada")
        assert of(await scrape(http), table.STALE) == 0
        moment += KEPT_S
        assert of(await scrape(http), table.STALE) == 1


async def test_without_redis_metrics_are_a_problem(serve: Serve) -> None:
    """So that Prometheus' own `up` falls, instead of a gauge that nobody reads."""
    async with serve(redis_url="redis://localhost:1") as http:
        for path in ("/metrics", "/v1/backlog"):
            answer = await http.get(path)
            assert (answer.status_code, answer.json()["title"]) == (503, "Redis does not answer")


async def test_metrics_need_a_token_for_reading(serve: Serve, tokens_file: Path) -> None:
    """Prometheus and KEDA send one as a bearer token."""
    async with serve(tokens_file=tokens_file) as http:
        assert (await http.get("/metrics")).status_code == 401
        headers = {"authorization": f"Bearer {TOKENS['read']}"}
        assert (await http.get("/metrics", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/v1/users/{user}/recommendations", "recommendations"),
        ("/v1/users/{user}/hidden/{item}", "hidden"),
        ("/v1/items/{item}/similar", "similar"),
        ("/v1/items/{item}", "items"),
        ("/v1/jobs/{id}", "jobs"),
        ("/v1/unheard", OTHER),
        ("/openapi.json", OTHER),
        ("/metrics", "metrics"),
        ("/health/ready", "health"),
        ("/", "page"),
        ("/nights/{night}", "page"),
    ],
)
def test_a_route_counts_under_its_noun(path: str, kind: str) -> None:
    """Its last one."""
    assert request_kind(path) == kind
    assert kind in REQUESTS


def test_every_route_of_the_app_counts_under_a_noun() -> None:
    """But the API's description."""
    assert {route.path for route in ROUTES if request_kind(route.path) == OTHER} <= {"/openapi.json"}


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "ok"), (304, "ok"), (404, "refused"), (429, "refused"), (500, "failed"), (504, "unavailable")],
)
async def test_a_request_counts_by_its_status(serve: Serve, reckoner: OpenReckoner, status: int, outcome: str) -> None:
    """What is full, late or away is apart from what is broken."""
    counting = Counting()
    counting.request("recommendations", status, 0.1)
    await counting.add(reckoner)
    assert of(await scrape_anew(serve), table.REQUESTS_ANSWERED, "recommendations", outcome) == 1


async def test_an_invalid_accept_gets_the_text_format(http: httpx.AsyncClient) -> None:
    answer = await http.get("/metrics", headers={"accept": "application/openmetrics-text;version=abc;escaping=x"})
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, "text/plain")
