"""Garbage collection: unreferenced artifacts are deleted after a day, and nothing else."""

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from reckoner.shared.redis.pools import CancellableConnection
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.settings import Settings
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.store.protocol import GRACE_S
from reckoner.shared.wire.shapes import RECORD, EvaluationSpec, UserSpec
from reckoner.workers.maintenance import retention
from reckoner.workers.maintenance.retention import delete_under_lock, delete_unreferenced, referenced_artifacts
from reckoner.workers.process.wiring import connect_worker
from tests.world import Hand, World, make_world


@pytest.fixture
def old_world(tmp_path: Path) -> World:
    """A world of the test's own in which everything is two days old."""
    world = make_world(tmp_path / "a store")
    world.store.put_part(b"an old part")
    for path in [*world.store.root.rglob("*")]:
        os.utime(path, (time.time() - 2 * GRACE_S,) * 2)
    return world


@pytest.fixture
def world(old_world: World) -> World:
    """The worker's store is the old one."""
    return old_world


def models(world: World) -> set[str]:
    return {entry.id for entry in world.store.entries("models")}


async def test_what_nothing_refers_to_is_deleted(old_world: World, hand: Hand) -> None:
    """Two of the models have no record, and no fit wants the part."""
    generation = await hand.adopt(old_world)
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {generation.record.model}
    assert [entry.id for entry in old_world.store.entries("snapshots")] == [old_world.snapshot.id]
    assert list(old_world.store.entries("parts")) == []


async def test_new_artifacts_are_kept(old_world: World, hand: Hand) -> None:
    """Its publisher may not have referenced it yet."""
    new, before = old_world.generations[1].record.model, models(old_world)
    for path in (old_world.store.root / "models" / new).iterdir():
        os.utime(path)
    await hand.adopt(old_world)
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {new, old_world.generations[0].record.model} < before


async def test_a_process_that_was_frozen_for_a_day_deletes_nothing(
    old_world: World, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fit has reused the old model meanwhile."""
    before, clock = models(old_world), time.time

    async def read_and_stand_still(runtime: Any) -> set[str]:
        found = await referenced_artifacts(runtime)
        monkeypatch.setattr(time, "time", lambda: clock() + 2 * GRACE_S)
        return found

    await hand.adopt(old_world)
    monkeypatch.setattr(retention, "referenced_artifacts", read_and_stand_still)
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == before


async def test_a_running_fit_keeps_its_artifacts(old_world: World, hand: Hand) -> None:
    """Its snapshot and its future model."""
    generation = old_world.generations[2]
    (old_world.store.root / "current-snapshot").unlink()
    await hand.runtime.flows.create([generation.fit], [hand.runtime.keys.join_fit(generation.id)])
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {generation.record.model}
    assert [entry.id for entry in old_world.store.entries("snapshots")] == [old_world.snapshot.id]


async def test_a_running_evaluation_keeps_what_it_reads(old_world: World, hand: Hand) -> None:
    """Its snapshot, its model and the part with its users."""
    model = old_world.generations[2].record.model
    (old_world.store.root / "current-snapshot").unlink()
    [part] = [entry.id for entry in old_world.store.entries("parts")]
    await hand.runtime.flows.create([EvaluationSpec(old_world.snapshot.id, model, part, 20)], ["evaluation"])
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {model}
    assert [entry.id for entry in old_world.store.entries("snapshots")] == [old_world.snapshot.id]
    assert [entry.id for entry in old_world.store.entries("parts")] == [part]


async def test_a_record_that_nothing_names_is_no_reference(old_world: World, hand: Hand) -> None:
    """Whether it can be read or not; it may live on after the last pointer has left it."""
    generation, other = await hand.adopt(old_world), old_world.generations[1].record
    await ask(hand.redis, "SET", hand.runtime.keys.record(other.generation), RECORD.encode(other), "EX", 100)
    await ask(hand.redis, "SET", hand.runtime.keys.record("planted"), b"\x80bomb", "EX", 100)
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {generation.record.model}


async def test_a_run_under_way_keeps_its_generation_and_the_one_before(old_world: World, hand: Hand) -> None:
    """Whatever the pointers name meanwhile; until it has ended."""
    first, second, _ = [await hand.adopt(old_world, number) for number in range(3)]
    await hand.runtime.runs.start(second.record, 2, 2)
    await ask(hand.redis, "DEL", hand.runtime.keys.current, hand.runtime.keys.newest)
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {first.record.model, second.record.model}
    await hand.deliver_all()
    assert await hand.runtime.results.generations.current() == second.id
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {second.record.model}


async def test_a_job_under_way_keeps_its_generation(old_world: World, hand: Hand) -> None:
    """Whatever the pointers name meanwhile; until it has ended."""
    first, second, keys = await hand.adopt(old_world), await hand.adopt(old_world, 1), hand.runtime.keys
    await hand.runtime.flows.create([UserSpec("Ada", second.id)], [keys.join_user(second.id, "Ada")])
    await ask(hand.redis, "DEL", keys.newest)
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {first.record.model, second.record.model}
    await hand.deliver_all()
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {first.record.model}


@pytest.mark.parametrize("what", ["record", "no record", "record's type", "spec", "flow's type", "pointer's type"])
async def test_where_a_reference_cannot_be_read_nothing_is_deleted(old_world: World, hand: Hand, what: str) -> None:
    """What it named cannot be known."""
    generation, before = await hand.adopt(old_world), models(old_world)
    redis, keys = hand.redis, hand.runtime.keys
    [flow] = await hand.runtime.flows.create([UserSpec("Ada", generation.id)], [keys.join_user(generation.id, "Ada")])
    key = keys.flow(flow) if what in ("spec", "flow's type") else keys.record(generation.id)
    key = keys.previous if what == "pointer's type" else key
    if what == "record":
        await ask(redis, "SET", key, b"\x80bomb", "EX", 100)
    elif what == "spec":
        await ask(redis, "HSET", key, "spec", b"\x80bomb")
    else:
        await ask(redis, "DEL", key)
    if what.endswith("type"):
        await ask(redis, "LPUSH", key, "planted")
        await ask(redis, "EXPIRE", key, 100)
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == before


@pytest.mark.parametrize("change", ["prefix", "database"])
async def test_nothing_is_deleted_in_a_store_of_another_owner(
    old_world: World, hand: Hand, redis_url: str, prefix: str, change: str
) -> None:
    """A second prefix or database references nothing of the first one."""
    generation, before = await hand.adopt(old_world), models(old_world)
    await claim_store(hand.redis, Settings(prefix=prefix, redis_url=redis_url), old_world.store)
    url = redis_url + ("?db=1" if change == "database" else "")
    redis = connect_worker(Settings(), url)
    other = Hand(old_world, redis, prefix + "-b" if change == "prefix" else prefix, redis_url=url)
    with capture_logs() as logs:
        await delete_unreferenced(other.runtime)
    assert models(old_world) == before
    assert [log["event"] for log in logs] == ["artifact deletion skipped"]
    other.close()
    await redis.aclose()
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {generation.record.model}


async def test_no_task_reads_the_references_of_all_flows(
    old_world: World, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Among a million flows that takes longer than a task may run."""

    async def read(_: Any) -> set[str]:
        raise AssertionError

    monkeypatch.setattr(retention, "referenced_artifacts", read)
    generation = old_world.generations[0]
    await hand.runtime.flows.create([generation.fit], [hand.runtime.keys.join_fit(generation.id)])
    await hand.deliver_all()
    assert await hand.runtime.results.generations.current() == generation.id
    run_id, _ = await hand.runtime.runs.start(generation.record, 2, 2)
    await hand.deliver_all()
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    assert run.outcome == "passed"


async def test_one_worker_searches_at_a_time_and_not_again_soon(
    old_world: World, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one after the lock has expired; none while the store is unavailable."""
    looks = list[str]()

    async def read(runtime: Any) -> set[str]:
        looks.append(runtime.worker_id)
        return await referenced_artifacts(runtime)

    generation, key = await hand.adopt(old_world), hand.runtime.keys.retention
    monkeypatch.setattr(retention, "referenced_artifacts", read)
    await asyncio.gather(*(delete_under_lock(hand.runtime) for _ in range(5)))
    assert len(looks) == 1
    assert models(old_world) == {generation.record.model}
    assert 0 < await ask(hand.redis, "PTTL", key) <= retention.EACH_MS
    await ask(hand.redis, "DEL", key)
    monkeypatch.setattr(hand.runtime.store_watch, "trouble", "It is away.")
    await delete_under_lock(hand.runtime)
    assert not await ask(hand.redis, "EXISTS", key)


async def test_references_are_read_in_slices_with_pauses(
    old_world: World, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each pause is as long as its slice, which leaves half of the server's time to others."""
    generation, flows, pauses = await hand.adopt(old_world), hand.runtime.flows, list[float]()
    users = [f"user {number}" for number in range(3 * SLICE)]
    joins = [hand.runtime.keys.join_user(generation.id, user) for user in users]
    await flows.create([UserSpec(user, generation.id) for user in users], joins)
    sleep = asyncio.sleep

    async def note(pause_s: float) -> None:
        pauses.append(pause_s)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    assert await retention.live_references(hand.runtime) == ({generation.id}, set())
    assert len(pauses) > 3
    assert all(pause_s > 0 for pause_s in pauses)


async def test_ended_flows_hold_no_references(old_world: World, hand: Hand) -> None:
    """A member of an expired flow, and a foreign member."""
    generation = await hand.adopt(old_world)
    await ask(hand.redis, "ZADD", hand.runtime.keys.live_of("batch"), 1, "flow:gone", 1, b"\xff", 1, "run:gone")
    await delete_unreferenced(hand.runtime)
    assert models(old_world) == {generation.record.model}


async def test_the_references_are_found_without_a_scan_of_all_keys(
    old_world: World, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a large system are tens of millions."""
    commands = list[str]()
    send = CancellableConnection.send_packed_command

    async def note(connection: Any, command: Any, *arguments: Any, **named: Any) -> Any:
        commands.append(b"".join(command).decode(errors="replace"))
        return await send(connection, command, *arguments, **named)

    await hand.adopt(old_world)
    monkeypatch.setattr(CancellableConnection, "send_packed_command", note)
    await delete_unreferenced(hand.runtime)
    assert commands
    assert not any("\nSCAN\r" in command or "\nKEYS\r" in command for command in commands)
