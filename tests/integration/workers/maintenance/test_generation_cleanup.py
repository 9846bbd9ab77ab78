"""The cleanup: it deletes lists of old generations, and nothing else."""

import asyncio
import os
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import numpy as np
import pytest
from structlog.testing import capture_logs

import reckoner.workers.maintenance.generation_cleanup
from reckoner.shared.errors import RetryRefusedError
from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.generations import GenerationLists, decode_generation_lists
from reckoner.shared.store.protocol import GRACE_S
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.shared.wire.shapes import RESULT, FitSpec, Record, Result, UserSpec
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.maintenance.generation_cleanup import GenerationCleanup
from reckoner.workers.maintenance.retention import delete_unreferenced
from tests.system import eventually
from tests.world import ITEMS, LIST_LENGTH, USERS, Hand, World, open_gates


def import_users(world: World, users: Sequence[str], seed: int) -> str:
    """A snapshot of these users, each with three items; returns its id."""
    chosen = np.concatenate([np.random.default_rng(seed).permutation(len(ITEMS))[:3] for _ in users])
    with world.store.scratch() as scratch:
        pairs = np.repeat(np.arange(len(users)), 3), chosen
        snapshot = write_snapshot(scratch, user_ids=sorted(users), item_ids=ITEMS, users=pairs[0], items=pairs[1])
        world.store.publish("snapshots", snapshot, scratch)
    return snapshot


async def fit(hand: Hand, snapshot: str) -> Record:
    join = hand.runtime.keys.join_fit(snapshot)
    await hand.runtime.flows.create([FitSpec(snapshot, "cosine", 4, 0.0, LIST_LENGTH)], [join])
    await hand.deliver_all()
    newest = await hand.runtime.results.generations.newest()
    assert newest is not None
    return newest


async def holders(hand: Hand) -> Counter[str]:
    """The number of lists of each generation, by a scan of all keys."""
    start = hand.runtime.keys.result("", "").removesuffix(":")
    names = [name.decode() async for name in hand.redis.scan_iter(match=f"{start}*", count=10_000)]
    return Counter(name.removeprefix(start).partition(":")[0] for name in names)


async def fill(hand: Hand, record: Record) -> None:
    """Give all users of a generation a list."""
    users = (await hand.runtime.snapshot(record.snapshot)).users
    await hand.runtime.results.write(
        record.generation, [(users[i], RESULT.encode(Result(2, []))) for i in range(len(users))], 1000
    )


async def left_behind(hand: Hand, world: World, users: int = 1203) -> Record:
    """An old generation with many users and all lists."""
    names = [f"user {number:06}" for number in range(users)]
    old = await fit(hand, import_users(world, names, 1))
    await fill(hand, old)
    for number in (0, 1):
        generation = await hand.adopt(world, number)
        await hand.runtime.runs.start(generation.record, 3, 2)
        await hand.deliver_all()
    return old


@pytest.fixture(autouse=True)
def gates(hand: Hand) -> None:
    """These shops change from night to night."""
    open_gates(hand)


@pytest.fixture
def cleanup(hand: Hand) -> GenerationCleanup:
    """The cleanup of the worker whose jobs the test delivers."""
    return GenerationCleanup(hand.runtime)


@pytest.fixture
def world(own_world: World) -> World:
    """The worker's store is the test's own."""
    return own_world


async def test_after_each_night_only_current_and_previous_hold_lists(
    hand: Hand, own_world: World, cleanup: GenerationCleanup
) -> None:
    """Run after run with different users: two generations hold lists, and a third one while it is made."""
    passed: list[str] = []
    users: list[list[str]] = []
    for night in range(6):
        users.append([f"user {number}" for number in range(night, night + 20)])
        record = await fit(hand, import_users(own_world, users[-1], night))
        await hand.runtime.runs.start(record, 7, 2)
        await hand.deliver_all(but=lambda job: job.startswith("finish:"))
        await cleanup.delete_old()
        assert set(await holders(hand)) == {*passed[-2:], record.generation}, "a night is under way"
        await hand.deliver_all()
        passed.append(record.generation)
        await cleanup.delete_old()
        assert await holders(hand) == dict.fromkeys(passed[-2:], 20), f"after night {night}"
        assert await hand.runtime.results.generations.record(passed[-3]) is None if night > 1 else True
        previous = await hand.runtime.results.read(passed[-2:][0], users[-2:][0])
        assert all(previous), "going back is one write"


async def test_a_refused_generation_may_be_promoted_until_the_next_run(
    hand: Hand, own_world: World, cleanup: GenerationCleanup
) -> None:
    """A hidden item gives the run a generation that no pointer names; its lists stay until another run begins."""
    runs, generations, opened = hand.runtime.runs, hand.runtime.results.generations, hand.runtime
    live = (await hand.adopt(own_world, 0)).record
    await runs.start(live, 3, 2)
    await hand.deliver_all()
    await hand.runtime.results.hidden.hide([ITEMS[0]])
    newest = (await hand.adopt(own_world, 1)).record
    hand.runtime = replace(opened, settings=msgspec.structs.replace(opened.settings, gate_churn=0.0))
    record = await runs.with_news(newest)
    await runs.start(record, 3, 2)
    await hand.deliver_all()
    await cleanup.delete_old()
    assert record.generation != newest.generation
    assert await generations.current() == live.generation
    assert (await holders(hand))[record.generation] == len(USERS)
    assert await generations.promote(record.generation, await generations.follow(hand.runtime.keys.current)) == "done"
    await cleanup.delete_old()
    assert await holders(hand) == {live.generation: len(USERS), record.generation: len(USERS)}
    await hand.runtime.results.hidden.hide([ITEMS[1]])
    refused = await runs.with_news(newest)
    await runs.start(refused, 3, 2)
    await hand.deliver_all()
    await cleanup.delete_old()
    assert (await holders(hand))[refused.generation] == len(USERS), "it was refused"
    await hand.runtime.results.hidden.hide([ITEMS[2]])
    await runs.start(await runs.with_news(newest), 3, 2)
    await cleanup.delete_old()
    assert refused.generation not in await holders(hand)


async def test_an_interrupted_deletion_is_continued(
    hand: Hand, own_world: World, cleanup: GenerationCleanup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By any worker; the snapshot stays in the store until then."""
    old, keys = await left_behind(hand, own_world), hand.runtime.keys
    forget, calls = hand.runtime.results.generations.forget, 0

    async def dies(*arguments: object) -> bool:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise asyncio.CancelledError
        return await forget(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(hand.runtime.results.generations, "forget", dies)
    with pytest.raises(asyncio.CancelledError):
        await cleanup.delete_old()
    assert (await holders(hand))[old.generation] == 203
    entry = (await hand.runtime.results.generations.lists())[old.generation.encode()]
    assert decode_generation_lists(entry) == GenerationLists(old.snapshot, 2 * SLICE)
    assert await hand.runtime.results.generations.record(old.generation) is None, (
        "a dead letter of it is not retried any more"
    )
    await GenerationCleanup(hand.runtime).delete_old()
    assert old.generation not in await holders(hand)
    assert old.generation.encode() not in await hand.runtime.results.generations.lists()
    assert await ask(hand.redis, "EXISTS", keys.cleanup) == 0


async def test_many_workers_delete_at_once_without_harm(hand: Hand, own_world: World) -> None:
    """Each slice is one worker's."""
    old = await left_behind(hand, own_world)
    while old.generation in await holders(hand):
        await asyncio.gather(*(GenerationCleanup(hand.runtime).delete_old() for _ in range(5)))
    assert len(await holders(hand)) == 2


@pytest.mark.parametrize("damage", ["gone", "damaged"])
async def test_without_its_snapshot_a_generation_is_left_to_expire(
    hand: Hand, own_world: World, cleanup: GenerationCleanup, damage: str
) -> None:
    """The log says so, once."""
    old = await left_behind(hand, own_world, 3)
    # Others are what this worker has open.
    hand.runtime._snapshots._kept.clear()
    if damage == "gone":
        own_world.store.delete("snapshots", old.snapshot)
    else:
        (own_world.store.root / "snapshots" / old.snapshot / "manifest.json").write_text("{}")
    with capture_logs() as logs:
        await cleanup.delete_old()
        await cleanup.delete_old()
    [warning] = [log for log in logs if log["log_level"] == "warning"]
    assert (warning["event"], warning["generation"]) == (
        "old generation left to expire",
        old.generation,
    )
    assert (await holders(hand))[old.generation] == 3
    assert old.generation.encode() not in await hand.runtime.results.generations.lists()
    names = [name async for name in hand.redis.scan_iter(match=hand.runtime.keys.result(old.generation, "*"))]
    assert all([await ask(hand.redis, "TTL", name) > 0 for name in names])


async def test_an_unfinished_click_holds_its_generation_back(
    hand: Hand, own_world: World, cleanup: GenerationCleanup
) -> None:
    """Until it ends; then its list is deleted too."""
    old, keys = await left_behind(hand, own_world, 3), hand.runtime.keys
    await hand.runtime.flows.create(
        [UserSpec("user 000001", old.generation)], [keys.join_user(old.generation, "user 000001")]
    )
    await cleanup.delete_old()
    assert (await holders(hand))[old.generation] == 3
    assert 0 < await ask(hand.redis, "PTTL", keys.cleanup) <= 10_000, "nobody else looks at once"
    await hand.deliver_all()
    await ask(hand.redis, "DEL", keys.cleanup)
    await cleanup.delete_old()
    assert old.generation not in await holders(hand)


async def test_a_generation_that_is_made_again_stays(hand: Hand, own_world: World, cleanup: GenerationCleanup) -> None:
    """A run that reuses it stops its deletion, even after the search for references."""
    old = await left_behind(hand, own_world, 3)
    results, entry = hand.runtime.results, (await hand.runtime.results.generations.lists())[old.generation.encode()]
    await hand.runtime.runs.start(old, 2, 1)
    assert not await results.generations.forget(old.generation.encode(), entry), "a run makes it"
    run_of = hand.runtime.keys.run_of(old.generation)
    await ask(hand.redis, "DEL", run_of)
    assert await results.generations.forget(
        old.generation.encode(), entry, GenerationLists(old.snapshot, 1), ["user 000000"]
    )
    await hand.runtime.runs.start(old, 2, 1)
    await ask(hand.redis, "DEL", run_of)
    assert not await results.generations.forget(old.generation.encode(), GenerationLists(old.snapshot, 1).encode()), (
        "a run began anew"
    )
    assert await results.generations.record(old.generation) == old
    await cleanup.delete_old()
    assert (await holders(hand))[old.generation] == 2, "the runs are not over"


async def test_a_generation_that_a_pointer_names_stays(hand: Hand, own_world: World) -> None:
    """Whichever of the three, and whenever it has come to name it."""
    await left_behind(hand, own_world, 3)
    results = hand.runtime.results
    for pointer in hand.runtime.keys.pointers:
        named = await results.generations.pointer(pointer)
        assert named is not None
        assert not await results.generations.forget(named.encode(), (await results.generations.lists())[named.encode()])


@pytest.mark.parametrize("value", [None, "no such generation", b"\xff\x00"])
async def test_while_the_pointer_names_nothing_that_is_known_nothing_is_deleted(
    hand: Hand, own_world: World, cleanup: GenerationCleanup, value: str | bytes | None
) -> None:
    """The generation that readers follow may be any of those that there are."""
    await left_behind(hand, own_world, 3)
    before, current = await holders(hand), hand.runtime.keys.current
    await (ask(hand.redis, "SET", current, value) if value else ask(hand.redis, "DEL", current))
    await cleanup.delete_old()
    assert await holders(hand) == before


async def test_generations_that_were_lost_are_noted_again(
    hand: Hand, own_world: World, cleanup: GenerationCleanup
) -> None:
    """The entries of generations that pointers name, from their records."""
    generations = [await hand.adopt(own_world, number) for number in (0, 1)]
    await ask(hand.redis, "DEL", hand.runtime.keys.generations)
    await cleanup.delete_old()
    expected = {g.id.encode(): own_world.snapshot.id.encode() for g in generations}
    assert await hand.runtime.results.generations.lists() == expected


async def test_what_was_planted_among_the_generations_goes(
    hand: Hand, own_world: World, cleanup: GenerationCleanup
) -> None:
    """Invalid names and entries, and too large numbers."""
    generation = await hand.adopt(own_world)
    snapshot = own_world.snapshot.id
    planted: list[str | bytes] = [
        b"\xff",
        b"\x00",
        "a",
        f"{snapshot} -1",
        "b",
        f"{snapshot} 999999999999",
        "c",
        "../../etc 5",
    ]
    await ask(hand.redis, "HSET", hand.runtime.keys.generations, *planted)
    await cleanup.delete_old()
    assert set(await hand.runtime.results.generations.lists()) == {generation.id.encode()}


async def test_the_snapshot_of_a_generation_that_goes_stays_in_the_store(hand: Hand, own_world: World) -> None:
    """However old it is, until all lists are deleted: only its entry references it."""
    old, root = await left_behind(hand, own_world, 3), own_world.store.root
    for path in [*root.rglob("*")]:
        os.utime(path, (time.time() - 2 * GRACE_S,) * 2)
    await delete_unreferenced(hand.runtime)
    assert {entry.id for entry in own_world.store.entries("models")} == {
        g.record.model for g in own_world.generations[:2]
    }
    assert old.snapshot in {entry.id for entry in own_world.store.entries("snapshots")}
    await GenerationCleanup(hand.runtime).delete_old()
    await delete_unreferenced(hand.runtime)
    assert old.snapshot not in {entry.id for entry in own_world.store.entries("snapshots")}


async def test_a_dead_letter_of_a_generation_that_goes_is_not_retried(
    hand: Hand, own_world: World, cleanup: GenerationCleanup
) -> None:
    """Its list would come back."""
    old, keys, flows = await left_behind(hand, own_world, 3), hand.runtime.keys, hand.runtime.flows
    [flow_id] = await flows.create([UserSpec("user 000001", old.generation)], [keys.join_user("x", "y")])
    flow = await flows.load(flow_id)
    assert flow is not None
    await flows.fail(flow, "failed by the test", lease=None)
    await cleanup.delete_old()
    letters = DeadLetters(hand.redis, flows)
    with pytest.raises(RetryRefusedError, match="was deleted"):
        await letters.retry((await letters.newest(1))[0].id)


async def test_what_takes_long_to_verify_is_forgotten_later(
    hand: Hand, own_world: World, cleanup: GenerationCleanup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not an error: it was logged as one, with a stack trace."""
    old = await left_behind(hand, own_world, 5)
    snapshot = type(hand.runtime).snapshot

    async def not_now(*_: object) -> None:
        raise NotNowError

    monkeypatch.setattr(type(hand.runtime), "snapshot", not_now)
    await cleanup.delete_old()
    assert (await holders(hand))[old.generation] == 5
    monkeypatch.setattr(type(hand.runtime), "snapshot", snapshot)
    await cleanup.delete_old()
    assert old.generation not in await holders(hand)


async def test_a_long_search_for_references_runs_alone(
    hand: Hand, own_world: World, cleanup: GenerationCleanup, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among a million flows a search takes longer than its lock lives, so the lock is renewed."""
    await left_behind(hand, own_world, 5)
    lives_ms = list[int]()

    async def is_renewed() -> bool:
        lives_ms.append(await ask(hand.redis, "PTTL", hand.runtime.keys.cleanup))
        return len(lives_ms) > 1 and lives_ms[-1] > lives_ms[-2]

    async def look(_: object) -> tuple[set[str], set[str]]:
        await eventually(is_renewed)
        return set(), set()

    monkeypatch.setattr(reckoner.workers.maintenance.generation_cleanup, "live_references", look)
    await cleanup.delete_old()
    assert lives_ms


async def test_each_worker_logs_which_lists_are_live(hand: Hand, own_world: World, cleanup: GenerationCleanup) -> None:
    """Whatever changed the pointer: a run, a promotion, a rollback; each change once."""
    first, second = (generation.id for generation in own_world.generations[:2])
    changes = list[tuple[str, str]]()
    for live in (first, second, second, first):
        await ask(hand.redis, "SET", hand.runtime.keys.current, live)
        with capture_logs() as logs:
            await cleanup.delete_old()
        changes += [(log["before"], log["now"]) for log in logs if log["event"] == "live generation changed"]
    assert changes == [(first, second), (second, first)]
