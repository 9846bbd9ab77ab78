"""Waiting callers go first, and a full lane refuses more jobs from producers."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import QueueFullError, UsageError
from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.redis.keys import leases_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.engine.claims import Claims, Settled
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.system import eventually
from tests.world import ITEMS, USERS, Generation, Hand, World

MOST = 3


@pytest.fixture
async def made(hand: Hand, world: World) -> Generation:
    """A generation without workers."""
    return await hand.adopt(world)


@pytest.fixture
async def reckoner(redis_url: str, prefix: str, made: Generation) -> AsyncIterator[OpenReckoner]:
    """A client whose lanes hold three jobs."""
    async with OpenReckoner(redis_url, prefix=prefix, max_queued=MOST) as client, asyncio.timeout(PATIENCE_S):
        yield client


@pytest.fixture
def commands(redis_url: str, prefix: str, tmp_path: Path, made: Generation) -> CommandLine:
    return CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path, max_queued=MOST)


async def lane_of(reckoner: OpenReckoner, job: str | None) -> str:
    return (await reckoner.job(job or "")).flow.lane


async def members(reckoner: OpenReckoner) -> list[int]:
    """How many jobs each lane holds, the click lane first."""
    return [int(await ask(reckoner.redis, "ZCARD", queue)) for queue in reckoner.keys.lanes]


@asynccontextmanager
async def waiting(reckoner: OpenReckoner, held: list[int], *calls: Coroutine[Any, Any, object]) -> AsyncIterator[None]:
    """Start calls that wait, until the lanes hold so many jobs; cancel them after the block."""
    tasks = [asyncio.create_task(call) for call in calls]

    async def look() -> bool:
        return await members(reckoner) == held

    await eventually(look)
    yield
    await cancel_and_wait(*tasks)


async def test_requests_with_a_waiting_caller_use_the_click_lane(redis_url: str, prefix: str, made: Generation) -> None:
    """A user's list, a basket's, the neighbours of an item and what a user has had."""
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        calls = (
            reckoner.recommend(USERS[0]),
            reckoner.recommend_many(USERS[1:3]),
            reckoner.recommend_for(ITEMS[:2]),
            reckoner.similar(ITEMS[0]),
            reckoner.history(USERS[0]),
        )
        async with waiting(reckoner, [6, 0], *calls):
            pass


async def test_requests_without_waiting_use_the_batch_lane(
    reckoner: OpenReckoner, world: World, made: Generation
) -> None:
    """By default; there are no other lanes."""
    asked = [(await reckoner.enqueue(USERS[0])).job, (await reckoner.enqueue_for(ITEMS[:2])).job]
    fit, _ = await reckoner.operator.fit(made.record.snapshot, world.unfitted.config, 5)
    assert [await lane_of(reckoner, job) for job in (*asked, fit)] == ["batch"] * 3
    assert await lane_of(reckoner, (await reckoner.enqueue(USERS[1], lane="click")).job) == "click"
    assert await lane_of(reckoner, (await reckoner.enqueue_for(ITEMS[2:4], lane="click")).job) == "click"
    assert await members(reckoner) == [2, 3]
    for call in (reckoner.enqueue(USERS[2], lane="night"), reckoner.enqueue_for(ITEMS[:1], lane="")):  # type: ignore[arg-type]
        with pytest.raises(UsageError, match="Unknown lane"):
            await call


async def test_a_waiting_caller_moves_a_job_to_the_click_lane(reckoner: OpenReckoner, hand: Hand) -> None:
    """All its jobs except running ones change lanes; later jobs use the click lane."""
    asked = await reckoner.enqueue(USERS[0])
    await hand.deliver_all(but=lambda job: job.startswith("chunk"))
    claims = Claims(hand.redis, hand.worker.keys, 5.0)  # type: ignore[attr-defined]
    [claimed, paused] = (await claims.claim("a token", 2, [2, 2], alone=True)).jobs
    await claims.settle(reckoner.keys.batch, [Settled(paused.job_id, "a token", "later", 1)])
    async with waiting(reckoner, [2, 1], reckoner.recommend(USERS[0])):
        assert await lane_of(reckoner, asked.job) == "click"
    for members_of in (reckoner.keys.batch, leases_key(reckoner.keys.batch)):
        assert await ask(hand.redis, "ZRANGE", members_of, 0, -1) == [claimed.job_id]
    assert await ask(hand.redis, "ZRANGE", leases_key(reckoner.keys.click), 0, -1) == [paused.job_id]
    await hand.deliver_all(but=lambda job: job.startswith("reduce"))
    assert await members(reckoner) == [1, 0]


async def test_a_full_lane_takes_no_more(reckoner: OpenReckoner, hand: Hand, made: Generation) -> None:
    """The error has the accepted jobs; joining still works, and the other lane has its own limit."""
    await reckoner.results.write(made.id, [(USERS[1], made.lists[USERS[1]])], 60)
    with pytest.raises(QueueFullError) as full:
        await reckoner.enqueue_many(USERS)
    assert str(full.value) == (
        "Only the first 4 of 6 jobs were enqueued: the queue is full with 3 jobs (RECKONER_MAX_QUEUED is 3). "
        "Retry when the workers have finished some of them."
    )
    taken = full.value.taken
    assert [(entry.user, entry.job is None) for entry in taken] == [(user, user == USERS[1]) for user in USERS[:4]]
    assert await reckoner.enqueue_many(USERS[:4]) == taken
    full_now = "^The queue is full with 3 jobs"
    for call in (
        reckoner.enqueue(USERS[5]),
        reckoner.enqueue_for(ITEMS[:1]),
        reckoner.operator.fit(made.record.snapshot, ModelConfig(neighbours=7), 5),
    ):
        with pytest.raises(QueueFullError, match=full_now):
            await call
    assert await members(reckoner) == [0, 3]
    async with waiting(reckoner, [1, 3], reckoner.similar(ITEMS[0])):
        pass
    with pytest.raises(
        QueueFullError, match=r"^Only the first 2 of 4 jobs were enqueued: the queue is full with 3 jobs"
    ):
        await reckoner.recommend_many(USERS[2:])
    with pytest.raises(QueueFullError, match=full_now):
        await reckoner.history(USERS[0])
    await hand.deliver_all()
    assert [entry.job is None for entry in await reckoner.enqueue_many(USERS)] == [*[True] * 4, False, False]


async def test_what_was_taken_goes_on_in_a_full_lane(reckoner: OpenReckoner, hand: Hand) -> None:
    """Blocks of a run, chunk tasks and retries are accepted."""
    run, _ = await reckoner.operator.start_run(1, 4)
    with pytest.raises(QueueFullError):
        await reckoner.enqueue(USERS[0], fresh=True)
    async with OpenReckoner(url_of(reckoner), prefix=reckoner.keys.prefix, max_queued=None) as unbounded:
        asked = await unbounded.enqueue(USERS[0], fresh=True)
    flow = await reckoner.flows.load(asked.job or "")
    assert flow is not None
    assert await reckoner.flows.fail(flow, "its worker died 3 times", lease=None)
    letters = DeadLetters(reckoner.redis, reckoner.flows)
    [letter] = await letters.newest(10)
    retried = await letters.retry(letter.id)
    assert await lane_of(reckoner, retried.job) == "batch"
    await hand.deliver_all()
    assert (await reckoner.operator.run(run)).run.outcome == "passed"
    assert (await reckoner.job(retried.job)).flow.state == "done"


def url_of(reckoner: OpenReckoner) -> str:
    path = reckoner.redis.connection_pool.connection_kwargs["path"]
    return f"unix://{path}"


async def test_commands_ask_on_the_batch_lane(reckoner: OpenReckoner, commands: CommandLine) -> None:
    """Jobs above the setting are refused with exit code 1; `job` shows the lane."""
    ended = await asyncio.to_thread(commands.run, "enqueue", *USERS, "--json")
    assert (ended.code, [told["user"] for told in ended.objects]) == (1, USERS[:3])
    assert ended.err.startswith("Only the first 3 of 6 jobs were enqueued: the queue is full with 3 jobs")
    assert len(ended.err.splitlines()) == 1
    [told] = commands.call("job", ended.objects[0]["job"], "--json").objects
    assert told["lane"] == "batch"
    assert "lane         batch\n" in commands.call("job", told["job"]).out


async def test_a_command_that_waits_asks_on_the_click_lane(reckoner: OpenReckoner, commands: CommandLine) -> None:
    """It moves the job from the batch lane."""
    asked = await reckoner.enqueue(USERS[0])
    command = commands.start("enqueue", USERS[0], USERS[1], "--wait")
    try:
        async with waiting(reckoner, [2, 0]):
            assert await lane_of(reckoner, asked.job) == "click"
    finally:
        command.kill()
        command.communicate()
