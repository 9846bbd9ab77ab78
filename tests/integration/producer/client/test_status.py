"""`reckoner status` shows the system in eighty columns and as one object, whatever Redis holds."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.recording import Event
from reckoner.producer.client.status import FEW
from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.flows.nights import NightOptions
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import HOLDING, Beat, Holding, Options, Record, Running
from tests.commands import CommandLine
from tests.conftest import StartServer
from tests.servers import start_server
from tests.world import make_known


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A separate server: among many other keys, counts would be estimated."""
    with start_server(tmp_path_factory.mktemp("a home")) as running:
        yield running.url


@pytest.fixture
def commands(redis_url: str, prefix: str, tmp_path: Path) -> CommandLine:
    return CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path)


@pytest.fixture
async def reckoner(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        yield client


def beat(worker: str, **changes: Any) -> Beat:
    """The heartbeat of a worker that is up for an hour with two jobs, with its clock a day late."""
    fields: dict[str, Any] = {"host": "shop-1", "pid": 7, "version": "9.8.7", "memory_bytes": 200 * 2**20}
    fields |= {"lease_ms": 60_000} | changes
    now_ms = 1_700_000_000_000
    jobs = [Running("split:0123456789abcdef", now_ms - 10), Running("chunk:89abcdef01234567:31:0", now_ms - 65_000)]
    return Beat(1, worker, started_ms=now_ms - 3_600_000, beat_ms=now_ms, jobs=jobs, **fields)


async def test_workers_queue_and_generations_are_reported(
    commands: CommandLine, reckoner: OpenReckoner, redis: Redis
) -> None:
    """Each worker's jobs with their ages by its own clock, the queue with its age, and the generations."""
    keys = reckoner.keys
    record = Record(2, "0123456789abcdef", "m", "s", Options(20, recency=0.25), 1_700_000_000_000, 12_345, ["i"])
    await make_known(redis, keys, record, {})
    await Heartbeats(redis, keys).write(beat("shop-1-4711-08ca"))
    await Heartbeats(redis, keys).write(
        beat("shop-2-4712-b946", host="shop-2", draining=True, trouble="The store is away.")
    )
    seconds, _ = await ask(redis, "TIME")
    now = int(seconds) * 1000
    places = [10**14 + now - 60_000, 2 * 10**14 + now - 50_000, now]
    jobs = [f"{keys.prefix}-{number}" for number in range(3)]
    await ask(redis, "ZADD", keys.click, *(part for pair in zip(places, jobs, strict=True) for part in pair))
    await reckoner.results.write("0123456789abcdef", [(f"user:{n}", b"{}") for n in range(3)], 60)
    await reckoner.results.write("before", [("user", b"{}")], 60)
    (told,) = commands.call("status", "--json").objects
    first, second = told["workers"]
    assert first["age_ms"] < 10_000
    assert first == {
        "worker": "shop-1-4711-08ca",
        "age_ms": first["age_ms"],
        "host": "shop-1",
        "pid": 7,
        "version": "9.8.7",
        "up_ms": 3_600_000 + first["age_ms"],
        "memory_bytes": 200 * 2**20,
        "lease_ms": 60_000,
        "draining": False,
        "trouble": None,
        "jobs": [
            {"job": "split:0123456789abcdef", "running_ms": 10 + first["age_ms"]},
            {"job": "chunk:89abcdef01234567:31:0", "running_ms": 65_000 + first["age_ms"]},
        ],
    }
    assert (second["host"], second["draining"], second["trouble"]) == ("shop-2", True, "The store is away.")
    assert told["silent"] == []
    click = told["lanes"]["click"]
    assert (told["queued"], click["waiting"], click["running"], click["paused"]) == (3, 2, 1, False)
    assert 49_000 <= click["oldest_waiting_ms"] < 80_000
    assert told["lanes"]["batch"] == {
        "waiting": 0,
        "running": 0,
        "oldest_waiting_ms": None,
        "paused": False,
        "paused_ms": None,
    }
    assert told["results"] == {"0123456789abcdef": 3, "before": 1}
    assert told["generations"] == {
        "0123456789abcdef": {
            "model": "m",
            "snapshot": "s",
            "made_ms": 1_700_000_000_000,
            "users": 12_345,
            "list_length": 20,
            "recency": 0.25,
        }
    }
    shown = commands.call("status").out
    assert max(map(len, shown.splitlines())) <= 80
    assert "workers       2, release 9.8.7\n" in shown
    assert "click lane    3 jobs, 1 of them running; the oldest waiting job is " in shown
    assert ", 3 lists for 12,345 users\nrecency       0.25\n" in shown
    assert "others        1 list of 1 earlier generation\n" in shown
    assert "   200 MiB   chunk 89abcdef01234567 " in shown
    assert "   200 MiB   draining, 2 jobs left\n" in shown
    assert "trouble       shop-2-4712-b946: The store is away.\n" in shown
    assert " s, 1 more\n" in shown


async def test_events_and_hidden_items_are_counted(commands: CommandLine, reckoner: OpenReckoner, redis: Redis) -> None:
    """A line each, only where there are some."""
    names = ("events", "hidden", "stale")
    assert not [line for line in commands.call("status").out.splitlines() if line.startswith(names)]
    await reckoner.record_many([Event("u", "i"), Event("v", "i")])
    await reckoner.catalogue.hide(["i"])
    await reckoner.hide("u", "j")
    [told] = commands.call("status", "--json").objects
    assert (told["events"], told["hidden_items"], told["stale_lists"]) == (2, 1, 1)
    assert [line for line in commands.call("status").out.splitlines() if line.startswith(names)] == [
        "events        2 kept until the data of all lists hold them",
        "hidden        1 item, see `reckoner hidden`",
        "stale         1 list to compute again",
    ]


@pytest.mark.parametrize(
    ("later_ms", "held"),
    [(60_000, "all 3 lists for 12,345 users"), (0, "2 of 3 lists (the others have expired) for 12,345 users")],
)
async def test_lists_that_have_expired_are_not_all_there(
    commands: CommandLine, reckoner: OpenReckoner, redis: Redis, later_ms: int, held: str
) -> None:
    """By the server's clock."""
    keys = reckoner.keys
    record = Record(2, "0123456789abcdef", "m", "s", Options(20), 1_700_000_000_000, 12_345, ["i"])
    await make_known(redis, keys, record, {})
    await reckoner.results.write(record.generation, [(f"user:{n}", b"{}") for n in range(2)], 60)
    seconds, _ = await ask(redis, "TIME")
    holding = HOLDING.encode(Holding(3, 0, int(seconds) * 1000 + later_ms))
    await ask(redis, "HSET", keys.held, record.generation, holding)
    assert held in " ".join(commands.call("status").out.split())


async def test_what_nobody_of_ours_wrote_is_no_trace(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """Invalid pointers, counters, scores and records, a run and a flow of another type, a future heartbeat."""
    keys, redis = reckoner.keys, reckoner.redis
    await ask(redis, "SET", keys.current, b"\xff\xfe", "EX", 60)
    await ask(redis, "SET", keys.newest, "newest", "EX", 60)
    await ask(redis, "SET", keys.record("newest"), "no record", "EX", 60)
    await ask(redis, "HSET", keys.refused, "kind", "many")
    await ask(redis, "ZADD", keys.click, "-inf", "early", "+inf", "late", 1, b"\xff")
    await ask(redis, "ZADD", keys.live_of("click"), 1, "flow:a", 1, "flow:b", 1, "run:a", 1, "run:b", 1, b"\xff", 1, "")
    await ask(redis, "SET", keys.flow("a"), "x", "EX", 60)
    await ask(redis, "HSET", keys.flow("b"), "state", b"\xff")
    await ask(redis, "SET", keys.run("a"), "x", "EX", 60)
    names = ("round", "blocks", "block_size", "users", "next", "started")
    numbers = [part for name in names for part in (name, "9" * 400)]
    await ask(redis, "HSET", keys.run("b"), "state", "ended", "generation", "g", "since", "", *numbers)
    seconds, _ = await ask(redis, "TIME")
    await ask(
        redis, "ZADD", keys.workers, (int(seconds) + 86_400) * 1000, "tomorrow", (int(seconds) + 9) * 1000, "newer"
    )
    await ask(redis, "SET", keys.beat("newer"), b'{"format":2}', "EX", 60)
    (told,) = commands.call("status", "--json").objects
    assert (told["generation"], told["newest"]) == (None, "newest")
    assert told["generations"] == {"newest": None}
    assert told["damage"] == [
        f"{keys.current} holds an invalid generation",
        f"The record of generation newest, named by {keys.newest}, is gone",
    ]
    assert (told["runs"], told["flows"]) == ([], {"split": 0, "run": 0, "reduce": 0})
    assert [(worker["version"], worker["jobs"]) for worker in told["workers"]] == [(None, [])]
    seconds, _ = await ask(redis, "TIME")
    await ask(redis, "ZADD", keys.workers, (int(seconds) + 9) * 1000, "newer")
    ended = commands.call("status")
    assert (ended.code, ended.err) == (0, "")
    assert "unreadable heartbeat" in ended.out
    assert "its record is missing" in ended.out
    await ask(redis, "DEL", keys.flow("b"), keys.run("b"))


async def fill(redis: Redis, keys: Keys, many: int) -> None:
    """`count` lists of a generation and `count` flows with waiting jobs."""
    script = """
        for i = ARGV[1], ARGV[2] do
            redis.call('SET', KEYS[1] .. i, '{}')
            redis.call('HSET', KEYS[2] .. i, 'state', 'split')
            redis.call('ZADD', KEYS[3], i, 'flow:' .. i)
            redis.call('ZADD', KEYS[4], i, 'split:' .. i)
        end
    """
    for start in range(0, many, 10_000):
        names = [keys.result("g", ""), keys.flow(""), keys.live_of("batch"), keys.batch]
        await ask(redis, "EVAL", script, 4, *names, start, min(start + 10_000, many) - 1)


async def test_few_are_counted_and_many_are_estimated(fresh_server: StartServer, prefix: str) -> None:
    """Within two fifths, which is seven standard deviations; the estimates are marked."""
    async with OpenReckoner(fresh_server().url, prefix=prefix) as client:
        await fill(client.redis, client.keys, FEW // 3)
        status = await client.operator.status()
        assert (status.results, status.flows["split"]) == ({"g": FEW // 3}, FEW // 3)
        assert status.estimated == []
        await fill(client.redis, client.keys, 20 * FEW)
        status = await client.operator.status()
        assert status.results["g"] == pytest.approx(20 * FEW, rel=0.4)
        assert status.flows == {"split": 20 * FEW, "run": 0, "reduce": 0}
        assert (status.queued, status.estimated) == (20 * FEW, ["flows", "results"])


async def test_it_reads_no_more_where_there_is_more(fresh_server: StartServer, prefix: str) -> None:
    """No more commands and no more bytes for thirty times as many lists, flows and jobs."""
    async with OpenReckoner(fresh_server().url, prefix=prefix) as client:

        async def costs() -> tuple[int, int]:
            await client.redis.config_resetstat()
            await client.operator.status()
            told = await client.redis.info("stats")
            return told["total_commands_processed"], told["total_net_output_bytes"]

        await client.operator.status()
        await fill(client.redis, client.keys, 2 * FEW)
        commands, size = await costs()
        await fill(client.redis, client.keys, 60 * FEW)
        commands_of_many, size_of_many = await costs()
        assert commands_of_many == commands
        # A name and a number take a digit more or two.
        assert size_of_many == pytest.approx(size, rel=0.1)


async def test_a_run_is_found_among_many_flows(reckoner: OpenReckoner, redis: Redis) -> None:
    """By its generation, without a scan of unfinished flows; an ended fit is not shown."""
    record = Record(2, "g", "m", "s", Options(20), 1_700_000_000_000, 12, ["i"])
    await make_known(redis, reckoner.keys, record, {})
    run_id, _ = await reckoner.operator.start_run(5, 1)
    assert [(now.run.id, now.blocks_done) for now in (await reckoner.operator.status()).runs] == [(run_id, 0)]
    run = (await reckoner.operator.run(run_id)).run
    await reckoner.runs.close(run, "failed", Manifest(12, 0, 12, 0, 1.0, 0.0, []), lease=None)
    assert (await reckoner.operator.status()).runs == []


async def test_the_night_under_way_is_named(reckoner: OpenReckoner, commands: CommandLine) -> None:
    """With its date, and the stage that runs; a planted one is not."""
    assert (await reckoner.operator.status()).night is None
    night_id, date, _ = await reckoner.operator.begin_night("2026-11-30", NightOptions())
    night = (await reckoner.operator.status()).night
    assert night is not None
    assert (night.id, night.date) == (night_id, date)
    shown = await asyncio.to_thread(commands.call, "status")
    assert f"{night_id}, of 2026-11-30: between stages" in shown.out
    await ask(reckoner.redis, "SET", reckoner.keys.night_state(night_id), "planted")
    assert (await reckoner.operator.status()).night is None
