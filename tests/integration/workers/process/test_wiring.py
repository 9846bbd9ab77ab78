"""A worker claims what it has room for, and sets foreign jobs aside."""

import asyncio
from itertools import pairwise

import pytest

from reckoner.shared.errors import ArtifactMissingError
from reckoner.shared.redis.keys import in_progress_key, job_key, tries_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import UserSpec
from reckoner.workers.engine.worker import EngineWorker
from reckoner.workers.process.wiring import _warm_up
from tests.patience import PATIENCE_S
from tests.world import ITEMS, Hand, World, make_known


@pytest.fixture
def world(own_world: World) -> World:
    """The test's own: what another test laid out on this host is not there."""
    return own_world


async def test_unless_set_otherwise_a_task_has_15_s_and_arq_ends_it_after_20(hand: Hand) -> None:
    """A task's own deadline comes first."""
    assert hand.runtime.settings.task_deadline_s == 15
    assert hand.worker.job_timeout_s == 20


async def test_a_worker_wants_as_many_batch_jobs_as_its_threads_have_turns_for(hand: Hand) -> None:
    """Clicks are unlimited; it claims again as soon as there is room."""
    worker, turns = hand.worker, hand.runtime.scheduler
    assert isinstance(worker, EngineWorker)
    assert worker._slots.room.lanes == [8, 2]
    worker._wakeup.clear()
    async with turns.turn("click"), turns.turn("batch"):
        assert worker._slots.room.lanes == [8, 1]
        waiting = asyncio.create_task(hand.runtime.kernel("batch", lambda _: 1))
        await asyncio.sleep(0)
        assert worker._slots.room.lanes == [8, 0]
        assert not worker._wakeup.is_set()
    assert worker._wakeup.is_set()
    await waiting


# arq's own.
@pytest.mark.filterwarnings("ignore:Call to deprecated close:DeprecationWarning")
async def test_nothing_planted_keeps_a_worker_from_serving(hand: Hand, world: World) -> None:
    """Members that are not UTF-8, keys of other types, and an invalid heartbeat."""
    generation, keys, redis = await hand.adopt(world), hand.runtime.keys, hand.redis
    planted = [f"{keys.prefix}-{number}" for number in range(4)]
    await ask(redis, "ZADD", keys.click, 1, b"\xff\xfe", *(part for job in planted for part in (1, job)))
    await ask(redis, "HSET", job_key(planted[0]), "a", "b")
    await ask(redis, "SET", tries_key(planted[1]), "no number", "EX", 100)
    await ask(redis, "HSET", tries_key(planted[2]), "a", "b")
    await ask(redis, "HSET", in_progress_key(planted[3]), "a", "b")
    await ask(redis, "SET", keys.workers, "planted")
    join = keys.join_user(generation.id, "Ada")
    [flow_id] = await hand.runtime.flows.create([UserSpec("Ada", generation.id)], [join])
    running = asyncio.create_task(hand.worker.async_run())
    try:
        async with asyncio.timeout(PATIENCE_S):
            while await ask(redis, "EXISTS", keys.click):
                assert not running.done()
                await asyncio.sleep(0.02)
        flow = await hand.runtime.flows.load(flow_id)
        assert flow is not None
        assert flow.state == "done"
        assert await redis.zcard(keys.workers) == 1
        assert await ask(redis, "HGETALL", keys.refused) == {b"member": b"1", b"key": b"5"}
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await hand.worker.close()


async def test_a_worker_is_warm_before_its_first_job(hand: Hand, world: World) -> None:
    """The host's layouts for blocks and clicks of the current and the newest generation are open; none is made."""
    runtime = hand.runtime
    models = [await runtime.model((await hand.adopt(world, number)).record.model) for number in range(2)]
    bounds = models[0].task_bounds(runtime.settings.chunks, runtime.settings.tasks_per_job).tolist()
    ranges = [(0, len(ITEMS)), *pairwise(bounds)]
    for first, last in ranges:
        await runtime.layout(models[0], first, last, "batch")
    runtime.layouts.drop(models[0].id)
    await _warm_up(runtime)
    for first, last in ranges:
        assert runtime.layouts.cached(models[0], first, last) is not None
        assert runtime.layouts.cached(models[1], first, last) is None


async def test_a_worker_starts_without_a_model_that_is_gone(hand: Hand, world: World) -> None:
    """Its jobs say so."""
    world.store.delete("models", world.unfitted.record.model)
    await make_known(hand.redis, hand.runtime.keys, world.unfitted.record, {})
    await _warm_up(hand.runtime)
    with pytest.raises(ArtifactMissingError):
        await hand.runtime.model(world.unfitted.record.model)
