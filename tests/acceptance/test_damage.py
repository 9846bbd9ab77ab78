"""Damaged artifacts in use: at most one worker dies, callers get the reason, and rebuilt artifacts are right."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.model_config import ModelConfig, model_id
from reckoner.shared.store.verification import VerificationCache
from reckoner.workers.runtime.artifact_cache import FRESH_S
from tests.system import System, eventually, synthetic_pairs
from tests.tampering import flip

USER = "üser 001"
NEIGHBOURS = 5
# The supervisor's log of an unexpected end.
DIED = "worker ended"
HEADER_BYTES = 128


def an_index(directory: Path) -> Path:
    """The first item of a row is off by 2 to the 28th: this ended each worker by SIGSEGV."""
    path = directory / "row_items.npy"
    flip(path, HEADER_BYTES + 3, 4)
    return path


def a_pointer(directory: Path) -> Path:
    """A row begins 2 to the 48th too late: this was a SIGBUS."""
    path = directory / "row_ptr.npy"
    flip(path, HEADER_BYTES + 8 * 5 + 6, 0)
    return path


def an_exponent(directory: Path) -> Path:
    """A similarity is off by a factor of 2 to the 64th: this went live, and all lists were wrong."""
    path = directory / "row_values.npy"
    for at in range(HEADER_BYTES + 3, path.stat().st_size, 4):
        flip(path, at, 5)
    return path


def an_end(directory: Path) -> Path:
    """The end of a file is missing."""
    path = directory / "row_items.npy"
    os.truncate(path, HEADER_BYTES + 8)
    return path


async def clicked(system: System, count: int = 1) -> list[Flow]:
    """The ends of so many clicks in a row."""
    flows = []
    for _ in range(count):
        [job] = await system.enqueue([USER])
        flows.append(await system.ended(job))
    return flows


async def assert_told_and_healed(system: System, generation: str, said: str, *, by_fit: bool) -> None:
    """A click fails and names the fit that repairs it, even with other clicks queued.

    The workers also repair it by themselves.
    """
    [flow] = await clicked(system)
    assert flow.state == "failed"
    assert said in flow.reason
    assert flow.reason.endswith("; run `reckoner fit` with the same options to rebuild it")
    async with system.reckoner() as reckoner:
        jobs = [entry.job for _ in range(3) for entry in await reckoner.enqueue_many([USER], fresh=True)]
    if by_fit:
        assert await system.fit(NEIGHBOURS) == generation
    else:

        async def is_healed() -> bool:
            return (await clicked(system))[0].state == "done"

        await eventually(is_healed)
    for job in jobs:
        assert job is not None
        await system.ended(job)
    await system.forget_lists(generation)
    assert (await system.run()).outcome == "passed"
    assert await system.lists(generation) == system.reference_lists(generation, NEIGHBOURS)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def system(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[System]:
    """A system with a model and two workers; each test leaves it intact."""
    async with System(tmp_path_factory.mktemp("damage") / "a home") as running:
        running.import_pairs(synthetic_pairs())
        running.start_workers(2)
        await running.fit(NEIGHBOURS)
        yield running


def deaths_of(system: System) -> list[str]:
    """The log's lines on workers that ended unexpectedly."""
    return [line for line in system.log.read_text("utf-8").splitlines() if DIED in line]


async def current(system: System) -> str:
    """The only generation."""
    async with system.reckoner() as reckoner:
        return await reckoner.generation()


def the_model(system: System) -> str:
    """The model of most tests."""
    snapshot = system.store.current_snapshot()
    assert snapshot is not None
    return model_id(snapshot, ModelConfig(neighbours=NEIGHBOURS))


def model_directory(system: System) -> Path:
    """The model's directory."""
    return system.store.fetch("models", the_model(system))


# A hash finds any damage in an unopened artifact.
@pytest.mark.parametrize(
    ("damage", "in_use"),
    [*((damage, True) for damage in (an_index, a_pointer, an_exponent, an_end)), (an_end, False)],
)
async def test_a_damaged_model_ends_no_worker_and_a_fit_makes_it_whole(
    system: System, damage: Callable[[Path], Path], in_use: bool
) -> None:
    """Bits change while workers have it open, or before."""
    assert [flow.state for flow in await clicked(system, 3)] == ["done"] * 3
    if not in_use:
        await system.stop_workers()
        system.start_workers(2)
        await system.ready(2)
    pids = system.worker_pids
    name = damage(model_directory(system)).name
    # A worker does not verify again what it has verified lately.
    await asyncio.sleep(FRESH_S)
    await assert_told_and_healed(system, await current(system), name, by_fit=in_use)
    assert system.worker_pids == pids


async def test_after_going_back_the_current_model_is_built_again_by_itself(system: System) -> None:
    """No pointer and no record changes, and clicks get correct lists; a fit would make it the newest."""
    old, keys = await current(system), system.keys
    directory = model_directory(system)
    newest = await system.fit(NEIGHBOURS + 2)
    async with system.reckoner() as reckoner:
        await ask(reckoner.redis, "SET", keys.previous, newest)
        known = [*keys.pointers, keys.record(old), keys.record(newest)]
        before = [await ask(reckoner.redis, "GET", key) for key in known]
        await system.forget_lists(old)
        an_index(directory)
        await asyncio.sleep(FRESH_S)
        assert [flow.state for flow in await clicked(system)] == ["failed"]

        async def is_healed() -> bool:
            return (await clicked(system))[0].state == "done"

        await eventually(is_healed)
        assert await system.lists(old) == {USER: system.reference_lists(old, NEIGHBOURS)[USER]}
        assert [await ask(reckoner.redis, "GET", key) for key in known] == before
        await system.fit(NEIGHBOURS)
        await ask(reckoner.redis, "DEL", keys.previous)


async def test_a_damaged_snapshot_ends_no_worker_and_an_import_makes_it_whole(system: System) -> None:
    """Its job fails with a sentence."""
    snapshot = system.store.current_snapshot()
    assert snapshot is not None
    generation = await current(system)
    assert [flow.state for flow in await clicked(system)] == ["done"]
    pids = system.worker_pids
    path = system.store.fetch("snapshots", snapshot) / "user_items.npy"
    flip(path, path.stat().st_size - 1, 4)
    await asyncio.sleep(FRESH_S)
    for flow in await clicked(system, 3):
        assert flow.state == "failed"
        assert "user_items.npy" in flow.reason
        assert flow.reason.endswith("; import the same data again to restore it")
    assert system.import_pairs(synthetic_pairs()) == snapshot
    assert [flow.state for flow in await clicked(system)] == ["done"]
    await system.forget_lists(generation)
    assert (await system.run()).outcome == "passed"
    assert await system.lists(generation) == system.reference_lists(generation, NEIGHBOURS)
    assert system.worker_pids == pids


@pytest.mark.parametrize(("sent", "verified"), [(signal.SIGKILL, 0), (signal.SIGSEGV, 2)])
async def test_only_a_crash_makes_the_next_worker_verify_again(
    system: System, sent: signal.Signals, verified: int
) -> None:
    """The snapshot and the model that the dead worker had open; a kill from outside is no sign of damage."""

    def count(event: str) -> int:
        return system.log.read_text("utf-8").count(f'"{event}"')

    async def is_ready() -> bool:
        return count("worker ready") == started

    await system.stop_workers()
    started, invalidated = count("worker ready") + 1, count("artifact invalidated")
    system.start_workers()
    await eventually(is_ready)
    [pid] = system.worker_pids
    started += 1
    os.kill(pid, sent)
    await eventually(is_ready)
    assert count("artifact invalidated") == invalidated + verified
    assert [flow.state for flow in await clicked(system)] == ["done"]


async def test_a_worker_that_a_job_killed_is_followed_by_none(system: System) -> None:
    """Bits that change silently after verification may kill one worker, as on a rotting disk.

    The next worker verifies what the dead one had open, and so does the worker that takes the job.
    """
    await system.stop_workers()
    before = len(deaths_of(system))
    an_index(model_directory(system))
    VerificationCache(system.home / "verified").add(system.store.fingerprint("models", the_model(system)))
    system.start_workers(2, lease_s=1)
    await assert_told_and_healed(system, await current(system), "row_items.npy", by_fit=True)
    assert len(deaths_of(system)) <= before + 1
