"""A paused lane keeps its jobs until it is resumed, and a worker is drained by a unique part of its id."""

import asyncio
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import DrainRefusedError, UsageError
from reckoner.shared.flows.heartbeats import Heartbeats, LiveWorker
from reckoner.shared.redis.keys import paused_key, wake_key
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.wire.shapes import Beat
from reckoner.workers.engine.claims import Claims
from tests.commands import CommandLine
from tests.system import eventually
from tests.world import Hand, World

Asked = tuple[OpenReckoner, Claims, list[str]]


@pytest.fixture
def commands(redis_url: str, prefix: str, tmp_path: Path) -> CommandLine:
    return CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path)


@pytest.fixture
async def asked(hand: Hand, world: World, redis_url: str) -> AsyncIterator[Asked]:
    """A client, the claims of a worker, and the jobs that wait in the batch lane."""
    await hand.adopt(world)
    async with OpenReckoner(redis_url, prefix=hand.runtime.keys.prefix) as client:
        await client.operator.start_run(1, 3)
        yield client, Claims(hand.redis, hand.worker.keys, 5.0), await hand.queued()  # type: ignore[attr-defined]


async def claimed(claims: Claims, token: str) -> list[str]:
    return [job.job_id.decode() for job in (await claims.claim(token, 10, [10, 10], alone=True)).jobs]


async def test_nothing_is_claimed_from_a_paused_lane_until_it_is_resumed(asked: Asked) -> None:
    """Leases are renewed meanwhile, and waiting workers are woken for all jobs."""
    client, claims, jobs = asked
    keys, redis = client.keys, client.redis
    since_ms = await client.operator.pause("batch")
    assert await claimed(claims, "before") == []
    assert await client.operator.pause("batch") == since_ms
    status = await client.operator.status()
    assert (status.queues["batch"].waiting, status.queues["click"].paused_ms) == (len(jobs), None)
    await ask(redis, "DEL", wake_key(keys.batch))
    assert await client.operator.resume("batch")
    assert await ask(redis, "LLEN", wake_key(keys.batch)) == len(jobs)
    assert sorted(await claimed(claims, "after")) == jobs
    assert not await client.operator.resume("batch")


async def test_resuming_an_empty_lane_wakes_a_worker_for_the_next_due_job(asked: Asked) -> None:
    """Workers were not notified during the pause."""
    client, _, _ = asked
    keys, redis = client.keys, client.redis
    await client.operator.pause("click")
    seconds, _ = await ask(redis, "TIME")
    await ask(redis, "ZADD", keys.click, (int(seconds) + 60) * 1000, f"{keys.prefix}-later")
    await client.operator.resume("click")
    assert await ask(redis, "LLEN", wake_key(keys.click)) == 1


@pytest.mark.parametrize("planted", [b"no number", b"9" * 400, b"-5", b""])
async def test_whatever_is_there_pauses_a_lane(asked: Asked, planted: bytes) -> None:
    """The start is unknown then; pausing again sets it to now."""
    client, claims, _ = asked
    keys, redis = client.keys, client.redis
    await ask(redis, "SET", paused_key(keys.batch), planted)
    assert await claimed(claims, "a token") == []
    assert (await client.operator.status()).queues["batch"].paused_ms == 0
    assert await client.operator.pause("batch") > 1_700_000_000_000
    await client.operator.resume("batch")


async def test_a_mark_of_another_type_is_quarantined(asked: Asked, hand: Hand) -> None:
    """The lane stays paused until then."""
    client, claims, jobs = asked
    await ask(client.redis, "HSET", paused_key(client.keys.batch), "a", "b")
    assert (await client.operator.status()).queues["batch"].paused_ms == 0
    assert await hand.runtime.flows.refusals.foreign_jobs() == 1
    assert sorted(await claimed(claims, "a token")) == jobs


async def test_only_a_lane_can_be_paused(asked: Asked) -> None:
    """Another name is an error of the caller."""
    client, _, _ = asked
    with pytest.raises(UsageError, match=r"Unknown lane 'night'\. The lanes are click and batch"):
        await client.operator.pause("night")  # type: ignore[arg-type]


async def test_commands_pause_and_resume(asked: Asked, commands: CommandLine) -> None:
    """`status` shows the duration, and `doctor` warns of jobs waiting for long in a paused lane."""
    client, _, _ = asked
    keys, redis = client.keys, client.redis
    assert commands.call("pause", "night").code == 2
    ended = commands.call("pause", "batch")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("The batch lane is paused since 20")
    [told] = commands.call("pause", "batch", "--json").objects
    assert (told["lane"], told["paused"]) == ("batch", True)
    await ask(redis, "SET", paused_key(keys.batch), told["since_ms"] - 600_000)
    shown, doctor = await asyncio.gather(*(asyncio.to_thread(commands.run, name) for name in ("status", "doctor")))
    assert re.search(r"3 jobs, 0 of them running; paused for 1\d min\n", shown.out)
    assert max(map(len, shown.out.splitlines())) <= 80
    assert re.search(r"The batch lane has been paused for 1\d min, and jobs wait in it. Resume it with", doctor.out)
    assert commands.call("resume", "batch").out == "The batch lane is resumed.\n"
    assert commands.call("resume", "batch", "--json").objects == [
        {"lane": "batch", "paused": False, "was_paused": False}
    ]


async def say(client: OpenReckoner, worker: str, lease_ms: int = 60_000) -> None:
    """A worker's heartbeat, with a long lease by default."""
    host = worker.partition("-")[0]
    await Heartbeats(client.redis, client.keys).write(Beat(1, worker, host, 1, "", 1, 2, 3, [], lease_ms))


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["a-1-00"], 0, "a-1-00 is draining.\n"),
        (["1-00"], 2, "2 workers match (a-1-00, a-1-0012). Give a longer part of the id.\n"),
        (["12"], 0, "a-1-0012 is draining.\n"),
        (["--host", "a"], 0, "a-1-00 is draining.\na-1-0012 is draining.\n"),
        (["nobody"], 1, "No such worker is running: `reckoner status` lists the running workers.\n"),
        (["--host", "nowhere"], 1, "No such worker is running: `reckoner status` lists the running workers.\n"),
        (["--all"], 1, "Cannot drain other-2: it is of another release"),
        (["a-1-00", "--all"], 2, "Give exactly one of WORKER, --host and --all.\n"),
        ([], 2, "Give exactly one of WORKER, --host and --all.\n"),
        ([""], 2, "The worker '' is empty."),
    ],
)
async def test_who_is_drained_is_named_by_any_part_that_no_other_has(
    asked: Asked, commands: CommandLine, arguments: list[str], code: int, said: str
) -> None:
    """All named workers are drained, or none if one of them cannot be."""
    client, _, _ = asked
    await say(client, "a-1-00")
    await say(client, "a-1-0012")
    await say(client, "other-2")
    beating = asyncio.create_task(_beat_strangely(client, "other-2") if "--all" in arguments else asyncio.sleep(0))
    ended = await asyncio.to_thread(commands.run, "drain", "--no-wait", *arguments)
    beating.cancel()
    assert ended.code == code
    assert (ended.err or ended.out).startswith(said)
    told = [name async for name in client.redis.scan_iter(f"{client.keys.prefix}:worker:*:mail", count=10_000)]
    assert len(told) == (ended.out.count("\n") if code == 0 else 0)


async def _beat_strangely(client: OpenReckoner, worker: str) -> None:
    """Write the heartbeat of another release, forever."""
    while True:
        seconds, _ = await ask(client.redis, "TIME")
        await ask(client.redis, "SET", client.keys.beat(worker), b'{"format":2}', "EX", 60)
        await ask(client.redis, "ZADD", client.keys.workers, int(seconds) * 1000, worker)
        await asyncio.sleep(0.5)


async def test_a_drain_is_repeated_and_ends_with_silent_workers(asked: Asked) -> None:
    """A mailbox expires after ten seconds, and a key of another type is not mail."""
    client, _, _ = asked
    keys, redis = client.keys, client.redis
    await say(client, "w")
    await ask(redis, "SET", keys.mail("w"), "planted", "EX", 100)

    async def ended() -> list[str]:
        return [worker async for worker in client.operator.drained(["w"])]

    async def is_told() -> bool:
        return bool(await ask(redis, "TYPE", keys.mail("w")) == b"list")

    waiting = asyncio.create_task(ended())
    await eventually(is_told)
    await call(redis, "tell", [keys.mail("w")], ["drain"])
    assert await ask(redis, "LRANGE", keys.mail("w"), 0, -1) == [b"drain"]
    await ask(redis, "ZREM", keys.workers, "w")
    assert await waiting == ["w"]
    with pytest.raises(DrainRefusedError):
        await client.operator.drain([LiveWorker("old", 0, 0, None)])
