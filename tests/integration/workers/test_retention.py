"""Retention: what nothing refers to is deleted after a day, and nothing else is."""

import os
import time
from pathlib import Path

import pytest

from shared.redis.scripts import ask
from shared.settings import Settings
from tests.world import Hand, World, make_world
from workers.retention import GRACE_S, delete_unreferred
from workers.settings import connect_worker


@pytest.fixture
def old_world(tmp_path: Path) -> World:
    """A world of the test's own in which everything is two days old."""
    world = make_world(tmp_path / "a store")
    world.store.put_part(b"an old part")
    for path in [*world.store.root.rglob("*")]:
        os.utime(path, (time.time() - 2 * GRACE_S,) * 2)
    return world


@pytest.fixture
async def hand(old_world: World, redis_url: str, prefix: str):  # type: ignore[no-untyped-def]
    redis = connect_worker(Settings(), redis_url)
    made = Hand(old_world, redis, prefix)
    yield made
    made.close()
    await redis.aclose()


def models(world: World) -> set[str]:
    return {entry.id for entry in world.store.entries("models")}


async def test_what_nothing_refers_to_is_deleted(old_world: World, hand: Hand) -> None:
    """Two of the models have no record, and no fit wants the part."""
    generation = await hand.adopt(old_world)
    await delete_unreferred(hand.runtime)
    assert models(old_world) == {generation.record.model}
    assert [entry.id for entry in old_world.store.entries("snapshots")] == [old_world.snapshot.id]
    assert list(old_world.store.entries("parts")) == []


async def test_what_is_new_is_left_alone(old_world: World, hand: Hand) -> None:
    """Whoever has just published it has not yet been able to say so."""
    new, before = old_world.generations[1].record.model, models(old_world)
    for path in (old_world.store.root / "models" / new).iterdir():
        os.utime(path)
    await hand.adopt(old_world)
    await delete_unreferred(hand.runtime)
    assert models(old_world) == {new, old_world.generations[0].record.model} < before


async def test_a_fit_under_way_keeps_what_it_works_on(old_world: World, hand: Hand) -> None:
    """Its snapshot and the model that it will publish."""
    generation = old_world.generations[2]
    (old_world.store.root / "current-snapshot").unlink()
    await hand.runtime.flows.create([generation.fit], [hand.runtime.keys.join_fit(generation.id)])
    await delete_unreferred(hand.runtime)
    assert models(old_world) == {generation.record.model}
    assert [entry.id for entry in old_world.store.entries("snapshots")] == [old_world.snapshot.id]


async def test_a_record_that_cannot_be_read_stops_nobody(old_world: World, hand: Hand) -> None:
    """What it named cannot be known."""
    generation = await hand.adopt(old_world)
    await ask(hand.redis, "SET", hand.runtime.keys.record("planted"), b"\x80bomb", "EX", 100)
    await delete_unreferred(hand.runtime)
    assert models(old_world) == {generation.record.model}
