"""Publishing leaves the event loop to the worker's other jobs, and writes nothing late."""

import asyncio
from dataclasses import replace

import msgspec
import numpy as np
import pytest

from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.identifiers import TextTable
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.shared.wire.jobs import Finish, Reduce, Split
from reckoner.shared.wire.shapes import FitSpec
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.tasks.gate import PLACES_AT_ONCE, SAMPLE, _items
from reckoner.workers.tasks.reduce import reduce
from reckoner.workers.tasks.split import split
from tests.world import ITEMS, USERS, Hand, World, calls_on_the_loop

N_USERS = 2_000


def publish_many_users(store: DirectoryStore) -> str:
    """A snapshot of `N_USERS` users with three items each."""
    users = np.repeat(np.arange(N_USERS), 3)
    numbers = np.arange(N_USERS)
    # Three that differ, in so many ways that every item has all others as neighbours.
    items = (np.stack([numbers, numbers + 1 + numbers // 40 % 19, numbers + 20 + numbers // 7 % 19], 1) % 40).ravel()
    with store.scratch() as scratch:
        ids = [f"user {user:06}" for user in range(N_USERS)]
        snapshot = write_snapshot(scratch, user_ids=ids, item_ids=ITEMS, users=users, items=items)
        store.publish("snapshots", snapshot, scratch)
    return snapshot


async def fit(hand: Hand, snapshot: str, neighbours: int) -> str:
    """Build a model, and return its generation."""
    join = hand.runtime.keys.join_fit(str(neighbours))
    await hand.runtime.flows.create([FitSpec(snapshot, "cosine", neighbours, 0.0, 20)], [join])
    await hand.deliver_all()
    newest = await hand.runtime.results.generations.pointer(hand.runtime.keys.newest)
    assert newest is not None
    return newest


async def start_run(hand: Hand, generation: str) -> str:
    """Start a run that has everybody in one block."""
    run, _ = await hand.runtime.runs.start(await hand.runtime.record(generation), N_USERS, 1)
    return run


async def test_the_gate_does_not_hold_up_the_loop(own_world: World, hand: Hand) -> None:
    """Other jobs run between its steps; ids are looked up, and figures computed, in other threads."""
    snapshot = publish_many_users(own_world.store)
    await start_run(hand, await fit(hand, snapshot, 30))
    await hand.deliver_all()
    run_id = await start_run(hand, await fit(hand, snapshot, 20))
    await hand.deliver_all(but=lambda job: job.startswith("finish:"))
    turns = 0

    async def judge() -> None:
        nonlocal turns
        delivery = asyncio.create_task(hand.deliver(Finish(run_id, 0).job_id))
        while not delivery.done():
            await asyncio.sleep(0)
            turns += 1
        await delivery

    calls = await calls_on_the_loop(judge())
    assert turns > SAMPLE * 20 / PLACES_AT_ONCE
    assert not calls.keys() & {TextTable.find.__code__, TextTable.__getitem__.__code__, _items.__code__}
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    assert run.manifest is not None
    assert run.manifest.done == N_USERS
    assert run.manifest.figures is not None
    assert run.manifest.figures.churn is not None


@pytest.mark.parametrize(("task", "task_ms"), [("split", 20.0), ("reduce", 1e-6)])
async def test_a_worker_that_thaws_after_its_lease_writes_no_lists(
    hand: Hand, world: World, task: str, task_ms: float
) -> None:
    """Their generation may be deleted by then. In one job, and after the reduce of several tasks."""
    settings = msgspec.structs.replace(hand.runtime.settings, batch_task_ms=task_ms)
    hand.runtime = replace(hand.runtime, settings=settings)
    generation = await hand.adopt(world)
    await hand.runtime.runs.start(generation.record, len(USERS), 1)
    await hand.deliver_all(but=lambda job: job.startswith(f"{task}:"))
    [job] = await hand.queued()
    flow = await hand.runtime.flows.load(job.split(":")[1])
    assert flow is not None
    frozen, before = await hand.claim(job), await hand.dump()
    frozen.lapses_at = 0.0
    runtime = hand.runtime
    with pytest.raises(NotNowError):
        await (
            split(runtime, flow, Split(flow.id), frozen)
            if task == "split"
            else reduce(runtime, flow, Reduce(flow.id, flow.round), frozen)
        )
    assert await hand.dump() == before
