"""Healing: damage is found by a scrub, and a damaged model is rebuilt automatically."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest
from redis.exceptions import OutOfMemoryError
from structlog.testing import capture_logs

import reckoner.workers.maintenance.healing
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings
from reckoner.shared.store.manifests import MANIFEST_NAME
from reckoner.shared.store.models import open_model
from reckoner.shared.store.protocol import QUARANTINED
from reckoner.shared.wire.shapes import UserSpec
from reckoner.workers.maintenance.healing import Healing
from reckoner.workers.process.wiring import connect_worker
from tests.system import eventually
from tests.tampering import flip
from tests.world import Generation, Hand, World, make_world

ASIDE = "as a test wants"


class Ward(NamedTuple):
    """A worker on a store of its own, with a generation that it has made known."""

    world: World
    hand: Hand
    generation: Generation

    @property
    def model(self) -> str:
        return self.generation.record.model

    @property
    def fingerprint(self) -> str:
        return self.world.store.fingerprint("models", self.model)

    def damage(self, kind: str = "models", artifact_id: str = "", name: str = "row_values.npy") -> None:
        path = self.world.store.root / kind / (artifact_id or self.model) / name
        flip(path, path.stat().st_size - 1, 4)

    def quarantine(self) -> None:
        self.world.store.quarantine("models", self.model, self.fingerprint, ASIDE)


@pytest.fixture
async def ward(tmp_path: Path, redis_url: str, prefix: str) -> AsyncIterator[Ward]:
    redis, world = connect_worker(Settings(), redis_url), make_world(tmp_path / "a störe")
    hand = Hand(world, redis, prefix)
    yield Ward(world, hand, await hand.adopt(world))
    hand.close()
    await redis.aclose()


@pytest.mark.parametrize("seen_whole", [True, False])
async def test_the_newest_model_is_rebuilt_after_its_quarantine(ward: Ward, seen_whole: bool) -> None:
    """By one fit, however many workers notice it."""
    healings = [Healing(ward.hand.runtime) for _ in range(3)]
    for healing in healings:
        await healing.heal()
    assert not await ward.hand.queued()
    whole = open_model(ward.world.store.fetch("models", ward.model)).row_values.copy()
    # Again when it is damaged again, however long they live, and whether or not they saw it whole meanwhile.
    for _ in range(2):
        ward.quarantine()
        for healing in healings * 2:
            await healing.heal()
        assert len(await ward.hand.queued()) == 1
        await ward.hand.deliver_all()
        mended = open_model(ward.world.store.fetch("models", ward.model), verify=True)
        assert (mended.row_values == whole).all()
        if seen_whole:
            for healing in healings:
                await healing.heal()
            assert not await ward.hand.queued()


async def test_a_fit_that_fails_is_asked_for_once_and_one_that_was_refused_again(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full Redis takes no job; a fit that has failed would fail again."""
    healing = Healing(ward.hand.runtime)
    ward.quarantine()
    with monkeypatch.context() as full:

        async def refuse(*_: object) -> None:
            raise OutOfMemoryError

        full.setattr(ward.hand.runtime.flows, "create", refuse)
        with pytest.raises(OutOfMemoryError):
            await healing.heal()
    await healing.heal()
    [job] = await ward.hand.queued()
    flow = await ward.hand.runtime.flows.load(job.partition(":")[2])
    assert flow is not None
    await ward.hand.runtime.flows.fail(flow, "as a test wants", lease=None)
    for worker in (healing, Healing(ward.hand.runtime)):
        await worker.heal()
        assert not await ward.hand.queued(), "a worker that was restarted would revive it for ever"


@pytest.mark.parametrize("which", ["current", "previous"])
async def test_a_model_that_is_not_the_newest_is_built_again_and_no_pointer_moves(ward: Ward, which: str) -> None:
    """As after a rollback, or while a new model is the newest; records do not change."""
    keys, redis = ward.hand.runtime.keys, ward.hand.redis
    newest = await ward.hand.adopt(ward.world, 1)
    if which == "previous":
        await ask(redis, "MSET", keys.current, newest.id, keys.previous, ward.generation.id)
    before = await known(ward)
    ward.quarantine()
    await Healing(ward.hand.runtime).heal()
    await ward.hand.deliver_all()
    open_model(ward.world.store.fetch("models", ward.model), verify=True)
    assert await known(ward) == before


async def known(ward: Ward) -> list[bytes]:
    """What the pointers and the records of two generations are."""
    keys = ward.hand.runtime.keys
    records = [keys.record(generation.id) for generation in ward.world.generations[:2]]
    return [await ask(ward.hand.redis, "GET", key) for key in (*keys.pointers, *records)]


async def test_a_model_that_only_something_unfinished_names_is_built_again(
    ward: Ward, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A click of an old generation needs it; without such a click nothing does."""
    keys, flows = ward.hand.runtime.keys, ward.hand.runtime.flows
    newest = await ward.hand.adopt(ward.world, 1)
    await ask(ward.hand.redis, "SET", keys.current, newest.id)
    ward.quarantine()
    monkeypatch.setattr(reckoner.workers.maintenance.healing, "PAUSES_PER_SEARCH", 1e9)
    healing = Healing(ward.hand.runtime)
    await healing.heal()
    assert not await ward.hand.queued()
    await flows.create([UserSpec("Ada", ward.generation.id)], [keys.join_user(ward.generation.id, "Ada")])
    [click] = await ward.hand.queued()
    await healing.heal()
    assert await ward.hand.queued() == [click], "to look may take seconds, and a share of the time only"
    await Healing(ward.hand.runtime).heal()
    assert len(await ward.hand.queued()) == 2
    await ward.hand.deliver_all(but=lambda job: job == click)
    assert ward.fingerprint not in ("", QUARANTINED)


async def test_a_fit_that_a_user_asks_for_does_not_join_one_that_heals(ward: Ward) -> None:
    """It is to make its model the newest."""
    newest = await ward.hand.adopt(ward.world, 1)
    ward.quarantine()
    await Healing(ward.hand.runtime).heal()
    [healing] = await ward.hand.queued()
    keys, flows = ward.hand.runtime.keys, ward.hand.runtime.flows
    await flows.create([ward.generation.fit], [keys.join_fit(ward.generation.id)], "batch")
    assert len(await ward.hand.queued()) == 2
    await ward.hand.deliver_all(but=lambda job: job != healing and healing.partition(":")[2] not in job)
    assert await ward.hand.runtime.results.generations.pointer(keys.newest) == newest.id
    await ward.hand.deliver_all()
    assert await ward.hand.runtime.results.generations.pointer(keys.newest) == ward.generation.id


async def test_a_model_whose_snapshot_is_damaged_too_waits_for_an_import(ward: Ward) -> None:
    """It is logged once; when the snapshot is back, the model is rebuilt."""
    healing, store, snapshot = Healing(ward.hand.runtime), ward.world.store, ward.world.snapshot.id
    kept = ward.world.store.root / "kept"
    shutil.copytree(store.fetch("snapshots", snapshot), kept)
    ward.quarantine()
    store.quarantine("snapshots", snapshot, store.fingerprint("snapshots", snapshot), ASIDE)
    with capture_logs() as logs:
        await healing.heal()
        await healing.heal()
    [found] = logs
    assert (found["event"], found["model"]) == ("damaged model not rebuilt", ward.model)
    assert found["reason"] == f"its snapshot {snapshot} is damaged too"
    assert not await ward.hand.queued()
    store.publish("snapshots", snapshot, kept)
    await healing.heal()
    await ward.hand.deliver_all()
    assert ward.fingerprint not in ("", QUARANTINED)


async def test_a_snapshot_whose_damage_only_the_fit_finds_is_waited_for_too(ward: Ward) -> None:
    """The fit fails, and is enqueued again only after the snapshot was republished."""
    healing, store, snapshot = Healing(ward.hand.runtime), ward.world.store, ward.world.snapshot.id
    kept = ward.world.store.root / "kept"
    shutil.copytree(store.fetch("snapshots", snapshot), kept)
    ward.quarantine()
    ward.damage("snapshots", snapshot, "user_items.npy")
    for _ in range(3):
        await healing.heal()
        await ward.hand.deliver_all()
    assert store.fingerprint("snapshots", snapshot) == ward.fingerprint == QUARANTINED
    assert await ask(ward.hand.redis, "XLEN", ward.hand.runtime.keys.dead) == 1
    store.publish("snapshots", snapshot, kept)
    await healing.heal()
    await ward.hand.deliver_all()
    assert ward.fingerprint not in ("", QUARANTINED)


async def test_a_model_with_a_damaged_manifest_waits_for_a_users_fit(ward: Ward) -> None:
    """Without the manifest its configuration is unknown."""
    ward.quarantine()
    (ward.world.store.quarantine_path("models", ward.model) / MANIFEST_NAME).write_text("{")
    await Healing(ward.hand.runtime).heal()
    assert not await ward.hand.queued()


async def test_artifacts_in_use_are_verified_once_a_day_by_one_worker(ward: Ward) -> None:
    """Damaged artifacts are quarantined; unreferenced ones are not read."""
    unused = ward.world.generations[1].record.model
    scrub = Healing(ward.hand.runtime).scrub
    await scrub()
    life_ms = await ask(ward.hand.redis, "PTTL", ward.hand.runtime.keys.scrub)
    assert 86_000_000 < life_ms <= 86_400_000
    for artifact_id in (ward.model, unused):
        ward.damage(artifact_id=artifact_id)
    await scrub()
    assert ward.fingerprint != QUARANTINED
    await ask(ward.hand.redis, "DEL", ward.hand.runtime.keys.scrub)
    await scrub()
    assert ward.fingerprint == QUARANTINED
    assert ward.world.store.fingerprint("models", unused) != QUARANTINED


async def test_a_scrub_reads_the_current_snapshot_too(ward: Ward) -> None:
    """As what it names."""
    ward.damage("snapshots", ward.world.snapshot.id, "user_items.npy")
    await Healing(ward.hand.runtime).scrub()
    assert ward.world.store.fingerprint("snapshots", ward.world.snapshot.id) == QUARANTINED


async def test_a_scrub_ends_with_its_worker(ward: Ward, monkeypatch: pytest.MonkeyPatch) -> None:
    """However slowly it reads; another worker restarts the scrub soon."""
    monkeypatch.setattr(reckoner.workers.maintenance.healing, "SCRUB_BYTES_PER_S", 1)
    scrubbing = asyncio.create_task(Healing(ward.hand.runtime).scrub())

    async def begun() -> bool:
        return bool(await ask(ward.hand.redis, "EXISTS", ward.hand.runtime.keys.scrub))

    await eventually(begun)
    await asyncio.sleep(0.1)
    scrubbing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await scrubbing
    await asyncio.get_running_loop().shutdown_default_executor()
    assert (
        await ask(ward.hand.redis, "PTTL", ward.hand.runtime.keys.scrub)
        <= reckoner.workers.maintenance.healing.SCRUB_LEASE_MS
    )
