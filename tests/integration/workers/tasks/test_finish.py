"""The finish keeps its deadline and the event loop, and a run that moved the pointer has passed."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.run_state import Figures, Run
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.shared.wire.codecs import Codec
from reckoner.shared.wire.jobs import Finish
from reckoner.shared.wire.shapes import OUTCOME, FitSpec, Outcome, Record
from reckoner.workers.tasks.finish import Tally
from tests.world import ITEMS, LIST_LENGTH, USERS, Generation, Hand, World, calls_on_the_loop

STAYED, NEW = USERS[1:4], "who is new"


async def fit_without_some(hand: Hand, world: World) -> Record:
    """A generation of a later snapshot, which some users have left."""
    users = sorted([*STAYED, NEW])
    with world.store.scratch() as scratch:
        pairs = np.divmod(np.arange(len(users) * 3), 3)
        snapshot = write_snapshot(scratch, user_ids=users, item_ids=ITEMS, users=pairs[0], items=pairs[1])
        world.store.publish("snapshots", snapshot, scratch)
    join = hand.runtime.keys.join_fit("later")
    await hand.runtime.flows.create([FitSpec(snapshot, "cosine", 4, 0.0, LIST_LENGTH)], [join])
    await hand.deliver_all()
    newest = await hand.runtime.results.generations.pointer(hand.runtime.keys.newest)
    assert newest is not None
    return await hand.runtime.record(newest)


async def run_to_finish(hand: Hand, record: Record) -> str:
    """A run that only lacks its finish."""
    run_id, _ = await hand.runtime.runs.start(record, 2, 2)
    await hand.deliver_all(but=lambda job: job.startswith("finish:"))
    return run_id


async def ended(hand: Hand, run_id: str) -> Run:
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    assert run.state == "ended"
    return run


@pytest.fixture
async def first(hand: Hand, own_world: World) -> Generation:
    """The current generation, in which everybody has a list."""
    generation = await hand.adopt(own_world)
    await run_to_finish(hand, generation.record)
    await hand.deliver_all()
    return generation


async def test_users_who_left_keep_their_lists_in_the_previous_generation(
    hand: Hand, own_world: World, first: Generation
) -> None:
    """It stays whole, so that going back is one write."""
    settings = msgspec.structs.replace(
        hand.runtime.settings, gate_users_lost=1.0, gate_popular=1.0, gate_empty=1.0, gate_coverage=0.0
    )
    hand.runtime = replace(hand.runtime, settings=settings)
    run_id = await run_to_finish(hand, await fit_without_some(hand, own_world))
    await hand.deliver_all()
    assert (await ended(hand, run_id)).outcome == "passed"
    assert await hand.runtime.results.generations.pointer(hand.runtime.keys.previous) == first.id
    assert all(await hand.runtime.results.read(first.id, USERS))


async def test_missing_users_are_judged_without_live_lists(hand: Hand, own_world: World, first: Generation) -> None:
    """They may have expired. Nothing else is compared."""
    run_id = await run_to_finish(hand, await fit_without_some(hand, own_world))
    await ask(hand.redis, "DEL", *(hand.runtime.keys.result(first.id, user) for user in USERS))
    await hand.deliver_all()
    run = await ended(hand, run_id)
    assert run.manifest is not None
    assert run.outcome == "refused"
    assert run.manifest.figures == Figures(users_lost=0.5)
    [reason] = run.manifest.reasons
    assert reason.startswith("50.0% of the live generation's users are missing")


async def test_missing_users_are_counted_without_the_live_snapshot(
    hand: Hand, own_world: World, first: Generation
) -> None:
    """At least so many are missing."""
    run_id = await run_to_finish(hand, await fit_without_some(hand, own_world))
    own_world.store.delete("snapshots", first.record.snapshot)
    hand.runtime._snapshots._kept.clear()
    await hand.deliver_all()
    run = await ended(hand, run_id)
    assert run.manifest is not None
    assert run.manifest.figures is not None
    assert run.manifest.figures.users_lost == round(1 - (len(STAYED) + 1) / len(USERS), 6)
    assert run.manifest.reasons[0].startswith("33.3% of the live generation's users are missing")


async def test_how_a_run_ended_is_logged(hand: Hand, own_world: World, first: Generation) -> None:
    """Each as one event in the past tense with its figures; and where one generation took another's place."""
    second = await hand.adopt(own_world, 1)
    run_id = await run_to_finish(hand, second.record)
    with capture_logs() as lines:
        await hand.deliver_all()
        await hand.run("finish", [run_id, 0], Finish(run_id, 0).job_id)
    told = {line.pop("event"): line for line in lines if line.get("run") == run_id}
    assert told["generation went live"] == {
        "log_level": "info",
        "run": run_id,
        "now": second.id,
        "before": first.id,
    }
    passed = told["run passed"]
    assert passed["log_level"] == "info"
    assert (passed["users"], passed["done"], passed["failed"], passed["reasons"]) == (6, 6, 0, [])
    assert len([line for line in lines if line.get("run") == run_id]) == 2, "a second delivery says nothing"


async def test_that_a_run_was_refused_is_logged_as_a_warning(hand: Hand, first: Generation) -> None:
    """With why, and how many failed."""
    run_id, _ = await hand.runtime.runs.start(first.record, 3, 2)
    [flow, _] = await hand.runtime.flows.load_many(
        [name.decode() for name in await ask(hand.redis, "HVALS", hand.runtime.keys.flight(run_id))]
    )
    assert isinstance(flow, Flow)
    await hand.runtime.flows.fail(flow, "told to", lease=None)
    with capture_logs() as lines:
        await hand.deliver_all()
    [refused] = [line for line in lines if line["event"] == "run refused"]
    assert (refused["log_level"], refused["run"]) == ("warning", run_id)
    assert (refused["done"], refused["failed"], refused["reasons"]) == (3, 3, ["told to"])


async def plant_outcomes(hand: Hand, run_id: str, count: int) -> None:
    """Give a run as many blocks more."""
    data = OUTCOME.encode(Outcome(1, 0, tasks={"a worker": 3, "another": 1}))
    for start in range(0, count, 10_000):
        pairs = [part for block in range(start, start + 10_000) for part in (100 + block, data)]
        await ask(hand.redis, "HSET", hand.runtime.keys.blocks(run_id), *pairs)


async def test_a_run_of_many_blocks_does_not_hold_up_the_loop(hand: Hand, first: Generation) -> None:
    """Adding up hundreds of thousands of blocks does not block other jobs."""
    run_id = await run_to_finish(hand, first.record)
    await plant_outcomes(hand, run_id, 100_000)
    calls = await calls_on_the_loop(hand.deliver(Finish(run_id, 0).job_id))
    assert 1 <= calls[Codec.decode.__code__] < 10, "the outcomes are read in another thread, the run is in this one"
    run = await ended(hand, run_id)
    assert run.manifest is not None
    assert (run.outcome, run.manifest.done) == ("refused", len(USERS) + 100_000)


async def test_a_finish_that_takes_too_long_ends_the_run(hand: Hand, own_world: World, first: Generation) -> None:
    """As failed, with the reason in its manifest; the pointer has not moved."""
    run_id = await run_to_finish(hand, (await hand.adopt(own_world, 1)).record)
    await plant_outcomes(hand, run_id, 100_000)
    settings = msgspec.structs.replace(hand.runtime.settings, task_deadline_s=0.02)
    hand.runtime = replace(hand.runtime, settings=settings)
    await hand.deliver(Finish(run_id, 0).job_id)
    run = await ended(hand, run_id)
    assert run.manifest is not None
    assert (run.outcome, run.manifest.reasons) == ("failed", ["finish ran longer than 0.02 s"])
    assert await hand.runtime.results.generations.current() == first.id


async def test_a_run_that_could_not_be_finished_failed_also_for_the_current_generation(
    hand: Hand, first: Generation
) -> None:
    """If the pointer named its generation before, this says nothing of the run."""
    run_id = await run_to_finish(hand, first.record)
    await hand.run("finish", [run_id, 0], Finish(run_id, 0).job_id, tries=4)
    run = await ended(hand, run_id)
    assert run.manifest is not None
    assert (run.outcome, run.manifest.reasons) == ("failed", ["its worker died 3 times"])


async def test_a_finish_of_an_earlier_round_changes_nothing(hand: Hand, own_world: World, first: Generation) -> None:
    """Its task, its flip and its close come late, before the next finish and while that is under way."""
    generation, runs, flows = await hand.adopt(own_world, 1), hand.runtime.runs, hand.runtime.flows
    run_id, _ = await runs.start(generation.record, 3, 2)
    [flow, _] = await flows.load_many(
        [name.decode() for name in await ask(hand.redis, "HVALS", hand.runtime.keys.flight(run_id))]
    )
    assert isinstance(flow, Flow)
    await flows.fail(flow, "told to", lease=None)
    await hand.deliver_all(but=lambda job: job.startswith("finish:"))
    late = await runs.load(run_id)
    assert late is not None
    await hand.deliver_all()
    letters = DeadLetters(hand.redis, flows)
    await letters.retry((await letters.newest(1))[0].id)

    async def assert_nothing_changes() -> None:
        before = await hand.dump()
        await hand.run("finish", [run_id, 0], Finish(run_id, 0).job_id)
        await hand.run("finish", [run_id, 0], Finish(run_id, 0).job_id, tries=4)
        assert await runs.flip(late, lease=None) == "late"
        assert not await runs.close(late, "failed", Tally().manifest(late, 1), lease=None)
        assert await hand.dump() == before

    await assert_nothing_changes()
    await hand.deliver_all(but=lambda job: job.startswith("finish:"))
    await assert_nothing_changes()
    await hand.deliver_all()
    assert (await ended(hand, run_id)).outcome == "passed"
    assert await hand.runtime.results.generations.current() == generation.id


async def test_a_finish_that_dies_passes_by_no_flip_but_its_own(
    hand: Hand, own_world: World, first: Generation
) -> None:
    """Another run of its generation has passed meanwhile; this one is still judged by itself."""
    generation, flows = await hand.adopt(own_world, 1), hand.runtime.flows
    run_id, _ = await hand.runtime.runs.start(generation.record, 3, 2)
    [flow, _] = await flows.load_many(
        [name.decode() for name in await ask(hand.redis, "HVALS", hand.runtime.keys.flight(run_id))]
    )
    assert isinstance(flow, Flow)
    await flows.fail(flow, "told to", lease=None)
    await hand.deliver_all()
    await run_to_finish(hand, generation.record)
    await hand.deliver_all()
    assert await hand.runtime.results.generations.current() == generation.id
    letters = DeadLetters(hand.redis, flows)
    await letters.retry((await letters.newest(1))[0].id)
    await hand.deliver_all(but=lambda job: job.startswith("finish:"))
    await hand.run("finish", [run_id, 1], Finish(run_id, 1).job_id, tries=4)
    assert (await ended(hand, run_id)).outcome == "failed"
