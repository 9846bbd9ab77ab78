"""A store that is unavailable for a while fails no job: jobs wait or go to other workers, without a try."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.scripts import ask
from tests.commands import CommandLine
from tests.system import System, eventually, synthetic_pairs


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def fitted(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A system with a model and two workers, one of which reaches the store through a mount."""
    async with System(tmp_path_factory.mktemp("away") / "a höme", first_look_s=0.5) as running:
        running.import_pairs(synthetic_pairs())
        mount = running.home / "mount"
        mount.symlink_to(running.home / "store")
        running.start_workers(store_url=f"file://{mount}".replace(" ", "%20").replace("ö", "%C3%B6"))
        running.start_workers()
        await running.ready(2)
        await running.fit()
        yield running


@pytest.fixture
async def system(fitted: System) -> AsyncIterator[System]:
    """The same without lists. A test that fails leaves the store where the next one finds it."""
    await fitted.forget_lists(await current(fitted))
    yield fitted
    if (away := fitted.home / "away").exists():
        away.rename(fitted.home / "store")


async def current(system: System) -> str:
    """The generation, without lists."""
    async with system.reckoner() as reckoner:
        return await reckoner.generation()


async def look_at(reckoner: OpenReckoner, job: str) -> float:
    """When the sweeper next checks an unfinished job."""
    looks = [await ask(reckoner.redis, "ZSCORE", live, f"flow:{job}") for live in reckoner.keys.all_live]
    [look] = [float(look) for look in looks if look is not None]
    return look


async def test_a_night_passes_though_the_store_was_away_meanwhile(system: System) -> None:
    """All workers wait, status and doctor name the reason, and work resumes by itself."""
    root, away = system.home / "store", system.home / "away"
    root.rename(away)

    async def all_say_so() -> bool:
        return len(await system.troubled()) == 2

    await eventually(all_say_so)
    generation = await current(system)
    run = await system.start_run(block_size=1)
    [job] = await system.enqueue(["üser 001"])
    commands = CommandLine(redis_url=system.server.url, home=system.home)
    status, doctor = [await asyncio.to_thread(commands.call, name) for name in ("status", "doctor")]
    assert f"The store {root} is unavailable: " in status.out
    assert "It continues when the store is back." in doctor.out
    # The doctor checks the store too, outside the workers.
    assert doctor.code == 1
    async with system.reckoner() as reckoner:
        first_look = await look_at(reckoner, job)

        async def was_looked_at() -> bool:
            return await look_at(reckoner, job) > first_look

        await eventually(was_looked_at)
        flow = await reckoner.flows.load(job)
        assert flow is not None
        assert flow.state == "split"
    away.rename(root)
    assert (await system.run_ended(run)).outcome == "passed"
    assert (await system.ended(job)).state == "done"
    assert await system.lists(generation) == system.reference_lists(generation)
    await system.nothing_failed()


async def test_a_worker_without_its_mount_leaves_the_jobs_to_those_that_have_theirs(system: System) -> None:
    """Once it failed the jobs of 17,902 users in 0.7 s: the fastest answer was "no model"."""
    mount = system.home / "mount"
    mount.unlink()

    async def says_so() -> bool:
        return bool(await system.troubled())

    await eventually(says_so)
    generation = await current(system)
    run = await system.start_run(block_size=1)
    assert (await system.run_ended(run)).outcome == "passed"
    assert await system.lists(generation) == system.reference_lists(generation)
    assert len(await system.troubled()) == 1
    mount.symlink_to(system.home / "store")
    await system.nothing_failed()
