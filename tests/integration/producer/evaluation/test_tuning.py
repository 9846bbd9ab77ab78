"""A tuning on a worker: its figures, what it remembers, and that it goes on where it was stopped."""

import asyncio

import msgspec
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.evaluation import halving, metrics
from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.splits import Protocol, hold_out, interactions_of
from reckoner.producer.evaluation.store_jobs import Progress
from reckoner.producer.evaluation.training_part import training_part
from reckoner.producer.evaluation.tuning import Tuned, tune
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import FlowCancelledError, FlowFailedError
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import open_snapshot
from tests.integration.producer.conftest import work
from tests.lanes import until
from tests.world import Hand, World, publish_tastes

RANDOM = Protocol(split="random", share=0.3)
CANDIDATES = [Candidate(ModelConfig(neighbours=count)) for count in (4, 1, 2, 3, 6, 9, 15, 30)]


@pytest.fixture
def world(own_world: World) -> World:
    """The store of `hand` is the test's own."""
    return own_world


@pytest.fixture(autouse=True)
def tastes(own_world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """Sixty users with one of two tastes, which suffice for two rounds."""
    publish_tastes(own_world)
    monkeypatch.setattr(halving, "LEAST_USERS", 5)
    monkeypatch.setattr(halving, "WORTH", -1)
    return own_world


class Shown:
    """Notes how many trials of the first and the last step were said to be done."""

    def __init__(self) -> None:
        self.done = list[tuple[int, int | None]]()
        self.changed = asyncio.Event()

    def __call__(self, what: str, unit: str, done: int, total: int | None) -> None:
        if what.startswith("Judging"):
            self.done.append((done, total))
            self.changed.set()


async def tuned(reckoner: OpenReckoner, store: DirectoryStore, shown: Progress, seed: int = 0) -> Tuned:
    snapshot = store.current_snapshot()
    assert snapshot
    candidates = {candidate: number == 0 for number, candidate in enumerate(CANDIDATES)}
    return await tune(reckoner, store, snapshot, RANDOM, candidates, metric=metrics.RECALL, seed=seed, progress=shown)


def encoded(found: Tuned) -> bytes:
    return msgspec.json.encode([found.tuning, found.test.evaluation])


def held(store: DirectoryStore) -> set[str]:
    """Everything in the store but the history."""
    return {str(path) for path in store.root.rglob("*") if "history" not in path.parts}


async def trial_keys(reckoner: OpenReckoner) -> list[bytes]:
    return sorted([key async for key in reckoner.redis.scan_iter(f"{reckoner.keys.prefix}:trial:*")])


async def first_job(reckoner: OpenReckoner, shown: Shown) -> str:
    """The first trial's fit, once it is under way."""
    await shown.changed.wait()
    jobs = list[bytes]()
    while not jobs:
        jobs = await reckoner.redis.zrange(reckoner.keys.live_of("batch"), 0, -1)
    return jobs[0].decode().removeprefix("flow:")


async def test_trials_are_judged_by_models_of_the_validation_part(
    worker: Hand, own_world: World, reckoner: OpenReckoner
) -> None:
    """Two rounds give the figures of one; the best is shown the test part beside the live one and popularity."""
    store, before, pointer = own_world.store, held(own_world.store), await reckoner.results.generations.current()
    found = await tuned(reckoner, store, Shown())
    await until(lambda: held(store) == before)
    assert await reckoner.results.generations.current() == pointer
    snapshot = open_snapshot(store.fetch("snapshots", found.tuning.snapshot))
    outer = hold_out(interactions_of(snapshot), RANDOM)
    inner = hold_out(outer.training, RANDOM)
    tested = inner.test.users.size
    assert [(each.trials, each.users) for each in found.tuning.rounds] == [(8, tested // 3), (3, tested)]
    assert [trial.users for trial in found.tuning.trials] == [tested] * 3 + [tested // 3] * 5
    assert not found.tuning.stopped_early
    async with training_part(inner, reckoner, store) as part:
        for trial in found.tuning.trials[:3]:
            [candidate] = [each for each in CANDIDATES if each.name == trial.name]
            scored = await part.score(candidate, Shown())
            values = metrics.per_user(scored.lists, inner.test, len(inner.training.item_ids))
            assert trial.metric.mean == pytest.approx(values[metrics.RECALL].mean())
    means = [trial.metric.mean for trial in found.tuning.trials[:3]]
    assert means == sorted(means, reverse=True)
    best = found.tuning.trials[0]
    assert found.tuning.command == f"reckoner fit --similarity {best.name.replace(' neighbours=', ' --neighbours ')}"
    shown = dict.fromkeys(["cosine neighbours=4", best.name, "popularity"])
    assert [model.name for model in found.test.evaluation.models] == list(shown)
    assert found.test.evaluation.counts["users"] == outer.test.users.size
    assert found.test.evaluation.models[0].is_live


async def test_a_tuning_that_is_stopped_goes_on(worker: Hand, own_world: World, reckoner: OpenReckoner) -> None:
    """It leaves nothing in the store; trials that are done are not done again; the report is the same."""
    before, shown = held(own_world.store), Shown()
    tuning = asyncio.create_task(tuned(reckoner, own_world.store, shown))
    while not shown.done or shown.done[-1][0] < 2:
        shown.changed.clear()
        await shown.changed.wait()
    await cancel_and_wait(tuning)
    assert held(own_world.store) == before
    remembered = await trial_keys(reckoner)
    assert len(remembered) >= 2
    shown = Shown()
    found = await tuned(reckoner, own_world.store, shown)
    assert shown.done[0] == (len(remembered), 8)
    assert shown.done[-1] == (3, 3)
    shown = Shown()
    assert encoded(await tuned(reckoner, own_world.store, shown)) == encoded(found)
    assert not shown.done
    keys = await trial_keys(reckoner)
    assert all([0 < await reckoner.redis.ttl(key) <= 7 * 86_400 for key in keys])
    await reckoner.redis.delete(*keys)
    assert encoded(await tuned(reckoner, own_world.store, shown)) == encoded(found)
    assert shown.done[0] == (0, 8)


async def test_damaged_trials_and_those_of_others_are_done_again(
    worker: Hand, own_world: World, reckoner: OpenReckoner
) -> None:
    """A trial in another's place is damage too; another seed judges by other users."""
    found = await tuned(reckoner, own_world.store, Shown())
    one, other, *rest = await trial_keys(reckoner)
    await reckoner.redis.set(one, await reckoner.redis.get(other))
    await reckoner.redis.set(other, b"damaged")
    shown = Shown()
    assert encoded(await tuned(reckoner, own_world.store, shown)) == encoded(found)
    assert len(shown.done) >= 3
    before = len(rest) + 2
    assert encoded(await tuned(reckoner, own_world.store, shown, seed=1)) != encoded(found)
    assert len(await trial_keys(reckoner)) == 2 * before


async def test_a_tuning_whose_jobs_are_cancelled_ends(own_world: World, reckoner: OpenReckoner) -> None:
    """Without a worker; it says so, and leaves nothing behind."""
    before, shown = held(own_world.store), Shown()
    tuning = asyncio.create_task(tuned(reckoner, own_world.store, shown))
    await reckoner.cancel(await first_job(reckoner, shown))
    with pytest.raises(FlowCancelledError, match="Fitting cosine neighbours=4 was cancelled"):
        await tuning
    assert held(own_world.store) == before
    assert not await reckoner.redis.exists(*reckoner.keys.all_live, *reckoner.keys.lanes)


async def fail(reckoner: OpenReckoner, job: str) -> None:
    flow = await reckoner.flows.load(job)
    assert flow is not None
    assert await reckoner.flows.fail(flow, "its worker died 3 times", lease=None)


async def test_a_trial_that_fails_is_left_out(hand: Hand, own_world: World, reckoner: OpenReckoner) -> None:
    """It is named with the reason, and is tried again the next time. Here it is the live one."""
    shown = Shown()
    tuning = asyncio.create_task(tuned(reckoner, own_world.store, shown))
    await fail(reckoner, await first_job(reckoner, shown))
    working = asyncio.create_task(work(hand))
    found = await tuning
    assert found.tuning.failed == {
        "cosine neighbours=4": "Fitting cosine neighbours=4 failed: its worker died 3 times."
    }
    assert found.tuning.rounds[0].trials == len(found.tuning.trials) == len(CANDIDATES) - 1
    assert len(found.test.evaluation.models) == 2
    again = await tuned(reckoner, own_world.store, shown)
    assert not again.tuning.failed
    assert again.tuning.rounds[0].trials == len(CANDIDATES)
    await cancel_and_wait(working)


async def test_a_tuning_whose_trials_all_fail_says_why(own_world: World, reckoner: OpenReckoner) -> None:
    """It leaves nothing behind."""
    before = held(own_world.store)
    tuning = asyncio.create_task(tuned(reckoner, own_world.store, Shown()))
    failed = set[str]()
    while not tuning.done():
        await asyncio.sleep(0)
        for name in await reckoner.redis.zrange(reckoner.keys.live_of("batch"), 0, -1):
            job = name.decode().removeprefix("flow:")
            if job not in failed:
                failed.add(job)
                await fail(reckoner, job)
    with pytest.raises(FlowFailedError, match="Fitting cosine neighbours=4 failed: its worker died 3 times"):
        await tuning
    assert held(own_world.store) == before


async def test_a_tuning_stops_when_nothing_is_left_to_gain(
    worker: Hand, own_world: World, reckoner: OpenReckoner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here any gain below the best's own figure is held to be nothing."""
    monkeypatch.setattr(halving, "WORTH", 1)
    monkeypatch.setattr(halving, "LEAST_USERS", 2)
    found = await tuned(reckoner, own_world.store, Shown())
    assert found.tuning.stopped_early
    assert len(found.tuning.rounds) == 1
