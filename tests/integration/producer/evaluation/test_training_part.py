"""A training part on a worker: the lists are those of its model, and it leaves nothing behind."""

import asyncio
import os
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.metrics import LENGTH
from reckoner.producer.evaluation.splits import Protocol, Split, hold_out, interactions_of
from reckoner.producer.evaluation.training_part import training_part
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import FlowCancelledError, UsageError
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.evaluation_parts import Lists
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.protocol import GRACE_S
from reckoner.shared.store.snapshots import open_snapshot
from reckoner.workers.maintenance.retention import delete_unreferenced
from tests.lanes import until
from tests.reference import reference_lists, reference_rows, reference_weights
from tests.world import Hand, World

RANDOM = Protocol(split="random", share=0.3)


@pytest.fixture
def world(own_world: World) -> World:
    """The worker's store is the test's own."""
    return own_world


@pytest.fixture
def split(own_world: World) -> Split:
    return hold_out(interactions_of(own_world.snapshot), RANDOM)


def show_nothing(what: str, unit: str, done: int, total: int | None) -> None:
    """No progress."""


def held(store: DirectoryStore) -> set[str]:
    """Everything in the store."""
    return {str(path) for path in store.root.rglob("*")}


def expected(split: Split, snapshot_path: Path, config: ModelConfig, recency: float = 0.0) -> list[list[int]]:
    """The lists of the tested users, by brute force."""
    snapshot = open_snapshot(snapshot_path)
    rows = reference_rows(
        snapshot.item_ptr, snapshot.item_users, None, snapshot.user_ptr, snapshot.user_items, None,
        neighbours=config.neighbours, shrink=config.shrink,
    )  # fmt: skip
    times = snapshot.user_times
    weights = None if times is None else reference_weights(snapshot.user_ptr, times, None, recency)
    lists = reference_lists(*rows, snapshot.user_ptr, snapshot.user_items, weights, length=LENGTH)
    return [[entry.item for entry in lists[user]] for user in split.test.users.tolist()]


def as_lists(lists: Lists) -> list[list[int]]:
    return [found.tolist() for found in np.split(lists.items, np.cumsum(lists.counts)[:-1])]


async def test_the_lists_are_those_of_a_model_of_the_training_part(
    worker: Hand, own_world: World, reckoner: OpenReckoner, split: Split
) -> None:
    """By brute force. Afterwards store and Redis hold what they held before, but the ended jobs."""
    before, pointer = held(own_world.store), await reckoner.results.generations.current()
    configs = ModelConfig(neighbours=4), ModelConfig(neighbours=9, shrink=2.5)
    async with training_part(split, reckoner, own_world.store) as part:
        path = own_world.store.fetch("snapshots", part.snapshot)
        found = await asyncio.gather(*(part.score(Candidate(config), show_nothing) for config in configs))
        for config, scored in zip(configs, found, strict=True):
            assert as_lists(scored.lists) == expected(split, path, config)
    await until(lambda: held(own_world.store) == before)
    assert await reckoner.results.generations.current() == pointer
    assert own_world.store.current_snapshot() == own_world.snapshot.id
    left = {name for name in await worker.dump() if ":flow:" not in name}
    assert not [name for name in left if "evaluation" in name or "join" in name or "record" in name]


async def test_a_candidate_has_the_recency_that_is_given_or_the_default(
    worker: Hand, own_world: World, reckoner: OpenReckoner
) -> None:
    """By brute force, where the data have times."""
    data = interactions_of(own_world.snapshot)
    split = hold_out(replace(data, times=np.random.default_rng(1).permutation(data.users.size)), RANDOM)
    config = ModelConfig(neighbours=9)
    async with training_part(split, reckoner, own_world.store) as part:
        path = own_world.store.fetch("snapshots", part.snapshot)
        for given, recency in ((None, 0.25), (0.0, 0.0), (2.0, 2.0)):
            scored = await part.score(Candidate(config, given), show_nothing)
            assert as_lists(scored.lists) == expected(split, path, config, recency), given


async def test_an_evaluation_that_is_stopped_leaves_nothing_behind(
    own_world: World, reckoner: OpenReckoner, split: Split
) -> None:
    """Without a worker its fit never ends; its jobs are cancelled."""
    before = held(own_world.store)

    async def evaluate() -> None:
        async with training_part(split, reckoner, own_world.store) as part:
            await part.score(Candidate(ModelConfig()), lambda *_: seen.set())

    seen = asyncio.Event()
    evaluating = asyncio.create_task(evaluate())
    await seen.wait()
    await cancel_and_wait(evaluating)
    await until(lambda: held(own_world.store) == before)
    assert not await reckoner.redis.exists(*reckoner.keys.all_live, *reckoner.keys.lanes)


async def test_one_that_is_stopped_while_it_publishes_leaves_nothing_behind(
    own_world: World, reckoner: OpenReckoner, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread cannot be stopped: its end is waited for, and undone."""
    before, entered, go_on = held(own_world.store), threading.Event(), threading.Event()
    publish = own_world.store.publish

    def slow(*arguments: Any) -> None:
        entered.set()
        go_on.wait()
        publish(*arguments)

    async def evaluate() -> None:
        async with training_part(split, reckoner, own_world.store):
            pass

    monkeypatch.setattr(own_world.store, "publish", slow)
    evaluating = asyncio.create_task(evaluate())
    await asyncio.to_thread(entered.wait)
    evaluating.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await evaluating
    await until(lambda: held(own_world.store) == before)


@pytest.mark.parametrize("stage", ["fit", "scoring"])
async def test_one_that_is_stopped_half_way_deletes_what_its_tasks_have_stored(
    hand: Hand, own_world: World, reckoner: OpenReckoner, split: Split, stage: str
) -> None:
    """The parts of a fit that was not reduced, or its model and the lists of some users."""
    before = held(own_world.store)

    async def evaluate() -> None:
        async with training_part(split, reckoner, own_world.store) as part:
            await part.score(Candidate(ModelConfig(neighbours=9)), show_nothing)

    async def reduces(count: int) -> None:
        """Deliver jobs until so many reduces are due; the last is not delivered."""
        while count:
            for job in await hand.queued():
                count -= job.startswith("reduce:")
                if count:
                    await hand.deliver(job)
            await asyncio.sleep(0)

    evaluating = asyncio.create_task(evaluate())
    await reduces(1 if stage == "fit" else 2)
    assert list(own_world.store.entries("parts"))
    await cancel_and_wait(evaluating)
    await until(lambda: held(own_world.store) == before)


async def test_a_long_evaluation_renews_what_it_reads(
    worker: Hand, own_world: World, reckoner: OpenReckoner, split: Split
) -> None:
    """Between two jobs nothing names them, and what nothing names is deleted after a day."""
    async with training_part(split, reckoner, own_world.store) as part:
        for path in own_world.store.root.rglob("*"):
            os.utime(path, (time.time() - 2 * GRACE_S,) * 2)
        await part.score(Candidate(ModelConfig()), show_nothing)
        await delete_unreferenced(worker.runtime)
        scored = await part.score(Candidate(ModelConfig(neighbours=9)), show_nothing)
    assert scored.lists.counts.size == split.test.users.size


async def test_parts_that_are_stored_during_the_clean_up_are_deleted(
    hand: Hand, own_world: World, reckoner: OpenReckoner, split: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the fit is planned and a task of it done after the clean-up has read the job."""
    before, load_many = held(own_world.store), reckoner.flows.load_many

    async def evaluate() -> None:
        async with training_part(split, reckoner, own_world.store) as part:
            await part.score(Candidate(ModelConfig(neighbours=9)), lambda *_: seen.set())

    async def load_early(flow_ids: Sequence[str]) -> Sequence[Flow | DamagedFlowError | None]:
        loaded = await load_many(flow_ids)
        for job in await hand.queued():
            await hand.deliver(job)
        for job in [job for job in await hand.queued() if job.startswith("chunk:")][:1]:
            await hand.deliver(job)
            stored.update(entry.id for entry in own_world.store.entries("parts"))
        return loaded

    seen, stored = asyncio.Event(), set[str]()
    evaluating = asyncio.create_task(evaluate())
    await seen.wait()
    monkeypatch.setattr(reckoner.flows, "load_many", load_early)
    await cancel_and_wait(evaluating)
    assert len(stored) == 1
    assert held(own_world.store) == before


async def test_two_evaluations_of_the_same_training_part_do_not_meet(
    own_world: World, reckoner: OpenReckoner, split: Split
) -> None:
    """The first to end would delete what the other needs."""
    async with training_part(split, reckoner, own_world.store):
        with pytest.raises(UsageError, match="under way"):
            async with training_part(split, reckoner, own_world.store):
                pass
    async with training_part(split, reckoner, own_world.store):
        pass


async def test_a_job_that_is_cancelled_ends_the_evaluation(
    own_world: World, reckoner: OpenReckoner, split: Split
) -> None:
    """It says so, and leaves nothing behind."""
    before, seen = held(own_world.store), asyncio.Event()

    async def cancel() -> None:
        await seen.wait()
        [job] = await reckoner.redis.zrange(reckoner.keys.live_of("batch"), 0, -1)
        assert await reckoner.cancel(job.decode().removeprefix("flow:"))

    async with training_part(split, reckoner, own_world.store) as part:
        cancelling = asyncio.create_task(cancel())
        with pytest.raises(FlowCancelledError, match="Fitting cosine was cancelled"):
            await part.score(Candidate(ModelConfig()), lambda *_: seen.set())
        await cancelling
    await until(lambda: held(own_world.store) == before)
