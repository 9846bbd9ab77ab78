"""Stopping or draining workers loses nothing: jobs finish or are handed back, without a try."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.flows.heartbeats import LiveWorker
from reckoner.shared.redis.scripts import ask
from tests.commands import CommandLine
from tests.system import System, eventually, synthetic_pairs

KILLER = "tests/killer.py"
FOR_LONG = ("--pause", "600")
FOR_A_WHILE = ("--pause", "3")


@pytest.fixture
async def system(tmp_path: Path) -> AsyncIterator[System]:
    """A system without workers."""
    async with System(tmp_path / "a home", tasks_per_job=1, task_deadline_s=900, first_look_s=0.2) as system:
        system.import_pairs(synthetic_pairs())
        yield system


async def scoring(reckoner: OpenReckoner, count: int = 1) -> list[LiveWorker]:
    """The workers, once so many of them run a chunk task."""

    async def look() -> list[LiveWorker]:
        alive = await reckoner.operator.alive()
        busy = [each for each in alive if any(name.startswith("chunk:") for name in each.running_ms)]
        return alive if len(busy) >= count else []

    return await eventually(look)


async def tries_and_claims(reckoner: OpenReckoner) -> list[bytes]:
    """arq's keys of tries and claims."""
    return [name for kind in ("retry", "in-progress") async for name in reckoner.redis.scan_iter(f"arq:{kind}:*")]


async def assert_done(system: System, jobs: list[str]) -> None:
    """Other workers do all jobs, and none counts as failed."""
    system.start_workers()
    for job in jobs:
        assert (await system.ended(job)).state == "done"
    async with system.reckoner() as reckoner:
        assert not await ask(reckoner.redis, "EXISTS", system.keys.dead)
    await system.idle()


async def test_what_takes_longer_than_a_stop_may_is_handed_back_without_a_try(system: System) -> None:
    """After the configured time, or at once after a second signal."""
    async with system.reckoner() as reckoner:
        for stop_s, signals in ((0.5, [signal.SIGTERM]), (600, [signal.SIGINT, signal.SIGINT])):
            workers = system.start_workers(program=[KILLER, *FOR_LONG], stop_s=stop_s)
            await system.fit()
            [job] = await system.enqueue([f"üser {len(signals):03d}"])
            await scoring(reckoner)
            for signum in signals:
                workers.tell(signum)
                # Two equal signals at the same moment merge into one.
                await asyncio.sleep(0.3)
            assert await workers.ended() == 0
            assert (await reckoner.job(job)).flow.state == "run"
            assert await tries_and_claims(reckoner) == []
            assert await reckoner.operator.alive() == []
        assert "killed" not in system.log.read_text()
        await assert_done(system, [job])


async def test_what_ends_in_time_is_not_handed_back(system: System) -> None:
    """It ends on its worker, and its flow continues on another."""
    workers = system.start_workers(program=[KILLER, *FOR_A_WHILE], stop_s=600)
    async with system.reckoner() as reckoner:
        await system.fit()
        [job] = await system.enqueue(["üser 001"])
        [worker] = await scoring(reckoner)
        assert await workers.stop() == 0
        assert await reckoner.operator.alive() == []
        assert "handed back" not in system.log.read_text()
        await assert_done(system, [job])
        assert [trace.worker for trace in (await reckoner.job(job)).traces.values()] == [worker.worker]


async def test_a_drained_worker_finishes_its_jobs_and_is_not_restarted(system: System) -> None:
    """The others continue. When all are drained, their supervisor exits with 0."""
    workers = system.start_workers(2, program=[KILLER, *FOR_A_WHILE])
    commands = CommandLine(redis_url=system.server.url, home=system.home)
    async with system.reckoner() as reckoner:
        await system.fit()
        await system.ready(2)
        jobs = await system.enqueue([f"üser {number:03d}" for number in range(1, 13)])
        first, second = (each.worker for each in await scoring(reckoner, 2))
        drained = await asyncio.to_thread(commands.run, "drain", first, "--json")
        assert (drained.code, drained.objects) == (0, [{"worker": first, "ended": True}])
        assert await reckoner.operator.workers() == [second]
        assert await reckoner.operator.pause("batch") > 0
        result = await asyncio.to_thread(commands.run, "drain", "--all", "--no-wait")
        assert (result.code, result.out) == (0, f"{second} is draining.\n")
        assert await workers.ended() == 0
        assert await reckoner.operator.alive() == []
        assert await tries_and_claims(reckoner) == []
        log = system.log.read_text()
        assert (log.count("worker drained"), "worker ended" in log) == (2, False)
        await reckoner.operator.resume("batch")
        await assert_done(system, jobs)
        traces = [trace.worker for job in jobs for trace in (await reckoner.job(job)).traces.values()]
        assert {first, second} <= set(traces)
