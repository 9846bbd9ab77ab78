"""The reduce of a large block leaves the event loop to the worker's other jobs."""

import asyncio
import time
from collections.abc import Coroutine
from typing import Any

import numpy as np

from shared.snapshots import write_snapshot
from shared.store import DirectoryStore
from shared.wire import FitSpec
from tests.world import ITEMS, Hand, World

N_USERS = 20_000
# Measured: 0.05 to 0.06; 0.26 to 0.29 when the lists were made on the loop.
LONGEST_SHARE = 0.15


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
    newest = await hand.runtime.results.pointer(hand.runtime.keys.newest)
    assert newest is not None
    return newest


async def start_run(hand: Hand, generation: str) -> str:
    """Start a run that has everybody in one block."""
    run, _ = await hand.runtime.runs.start(await hand.runtime.record(generation), N_USERS, 1)
    return run


async def longest_pause(work: Coroutine[Any, Any, Any]) -> float:
    """For what share of its time the work held up the event loop at a stretch, at most."""
    task = asyncio.create_task(work)
    started = before = time.perf_counter()
    longest = 0.0
    while not task.done():
        await asyncio.sleep(0.001)
        now = time.perf_counter()
        longest, before = max(longest, now - before), now
    await task
    return longest / (before - started)


async def test_a_large_block_does_not_hold_up_the_loop(own_world: World, hand: Hand) -> None:
    """Tens of thousands of lists are merged, compared with those before and written while other jobs go on."""
    snapshot = publish_many_users(own_world.store)
    await start_run(hand, await fit(hand, snapshot, 30))
    await hand.deliver_all()
    run_id = await start_run(hand, await fit(hand, snapshot, 20))
    await hand.deliver_all(but=lambda job: job.startswith("reduce:"))
    [reduce] = await hand.queued()
    share = await longest_pause(hand.deliver(reduce))
    assert share < LONGEST_SHARE
    await hand.deliver_all()
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    assert run.manifest is not None
    assert run.manifest.done == N_USERS
    assert run.manifest.churn is not None
