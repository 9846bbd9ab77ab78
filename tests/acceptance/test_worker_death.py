"""Whatever dies, and whenever: every job ends, nothing is left behind, and the bytes are the same."""

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.keys import leases_key
from reckoner.shared.redis.scripts import ask
from tests.killer import FAULTS
from tests.system import System, Workers, eventually, synthetic_pairs

KILLER = "tests/killer.py"
TASKS = 32
# However small the job.
MANY_TASKS: dict[str, Any] = {"tasks_per_job": TASKS, "chunks": TASKS, "batch_task_ms": 1e-6}
# A kill that comes too late is repeated, in so many runs at most.
MAX_RUNS = 20
# A dead worker's job is claimed again after two seconds.
QUICK = {"task_deadline_s": 2, "first_look_s": 0.2, "lease_s": 1.5}


async def assert_whole(system: System, generation: str, neighbours: int = 100) -> None:
    """Nothing is unfinished or left behind, and all lists are the reference's."""
    await system.idle()
    assert await system.keys_for_ever() <= await system.keys_that_may_stay()
    assert await system.lists(generation) == system.reference_lists(generation, neighbours)


@asynccontextmanager
async def several_systems(place: Path, count: int) -> AsyncIterator[list[System]]:
    """Systems with the same small data, for concurrent faults."""
    async with AsyncExitStack() as stack:
        # Started in sequence: starting blocks.
        systems = [await stack.enter_async_context(System(place / f"home {n}", **QUICK)) for n in range(count)]
        for system in systems:
            system.import_pairs(synthetic_pairs())
        yield systems


async def partials_of_a_flow(reckoner: OpenReckoner, run_id: str) -> int:
    """The largest number of partials of one of the run's incomplete flows; 0 without any."""
    keys, redis = reckoner.keys, reckoner.redis
    flows = [flow.decode() for flow in await ask(redis, "HVALS", keys.flight(run_id))]
    counts = [await ask(redis, "HLEN", keys.partials(flow)) for flow in flows]
    return max((count for count in counts if count < TASKS), default=0)


async def kill_amid_partials(system: System, workers: Workers, partials: int) -> None:
    """Kill the only worker while a flow holds at least so many partials, but not all; then finish the run."""
    async with system.reckoner() as reckoner:
        for _ in range(MAX_RUNS):
            run_id = await system.start_run(block_size=10, window=3)
            while await ask(reckoner.redis, "HGET", system.keys.run(run_id), "state") == b"run":
                if await partials_of_a_flow(reckoner, run_id) >= partials:
                    workers.send(signal.SIGKILL)
                    await asyncio.sleep(0.05)
                    break
            # It may have continued until the signal: only its remains count.
            hit = await partials_of_a_flow(reckoner, run_id) > 0
            run = await system.run_ended(run_id)
            assert run.outcome == "passed", run
            if hit:
                return
    pytest.fail(f"in none of {MAX_RUNS} runs was the worker killed while a flow held {partials} partials or more")


async def test_a_worker_killed_amid_the_partials_of_a_flow_loses_nothing(tmp_path: Path) -> None:
    """Six random moments, two in each of three systems."""
    moments = np.random.default_rng(1).integers(1, TASKS - 1, (3, 2)).tolist()

    async def live_through(system: System, partials: list[int]) -> None:
        workers = system.start_workers(**MANY_TASKS)
        generation = await system.fit()
        for count in partials:
            await system.forget_lists(generation)
            await kill_amid_partials(system, workers, count)
            await assert_whole(system, generation)

    async with several_systems(tmp_path, len(moments)) as systems:
        await asyncio.gather(*map(live_through, systems, moments))


async def test_a_worker_that_dies_at_an_awkward_point_loses_nothing(tmp_path: Path) -> None:
    """At six points: the run's last block ends and the run flips, though the only worker died there once."""

    async def live_through(system: System, fault: str) -> None:
        healthy = system.start_workers()
        before, generation = await system.fit(neighbours=100), await system.fit(neighbours=5)
        await healthy.stop()
        died = system.home / "died"
        # A block that is one job has no reduce.
        settings = MANY_TASKS if fault == "in the reduce" else {}
        system.start_workers(program=[KILLER, "--fault", fault, "--marker", str(died)], **settings)
        run = await system.run(block_size=60)
        assert died.exists(), fault
        assert (run.outcome, run.since) == ("passed", before), fault
        async with system.reckoner() as reckoner:
            assert await reckoner.generation() == generation, fault
        await assert_whole(system, generation, neighbours=5)

    async with several_systems(tmp_path, len(FAULTS)) as systems:
        await asyncio.gather(*map(live_through, systems, FAULTS))


async def test_the_jobs_of_a_killed_worker_start_again_before_its_leases_lapse(tmp_path: Path) -> None:
    """Its supervisor gives them back. The leases are far longer than the test."""
    async with System(tmp_path / "a home", **MANY_TASKS, lease_s=600) as system:
        system.import_pairs(synthetic_pairs())
        workers = system.start_workers()
        generation = await system.fit()
        async with system.reckoner() as reckoner:
            for _ in range(MAX_RUNS):
                run_id = await system.start_run(block_size=10, window=3)
                while await ask(reckoner.redis, "HGET", system.keys.run(run_id), "state") == b"run":
                    if await ask(reckoner.redis, "ZCARD", leases_key(system.keys.batch)):
                        workers.send(signal.SIGKILL)
                        break
                assert (await system.run_ended(run_id)).outcome == "passed"
                given_back = re.findall('"count": ([0-9]+), "event": "jobs given back"', system.log.read_text("utf-8"))
                if any(map(int, given_back)):
                    break
                await system.forget_lists(generation)
            else:
                pytest.fail(f"in none of {MAX_RUNS} runs was the worker killed while it held a job")
        await assert_whole(system, generation)


async def test_a_job_that_kills_its_worker_each_time_fails_alone(tmp_path: Path) -> None:
    """Among nine others on each of two workers: it fails after three tries, and all others succeed."""
    async with System(tmp_path / "a home", tasks_per_job=1, **QUICK) as system:
        pairs = synthetic_pairs()
        system.import_pairs(pairs)
        users = sorted({user for user, _ in pairs})[:19]
        healthy = system.start_workers()
        await system.fit()
        await healthy.stop()
        deadly, others = users[4], [*users[:4], *users[5:]]
        jobs = dict(zip(users, await system.enqueue(users), strict=True))
        system.start_workers(2, program=[KILLER, "--user", deadly, "--pause", "0.3"])
        failed = await system.ended(jobs[deadly])
        assert (failed.state, failed.reason) == ("failed", "its worker died 3 times")
        assert [(await system.ended(jobs[user])).state for user in others] == ["done"] * 18
        async with system.reckoner() as reckoner:
            letters = await reckoner.redis.xrange(system.keys.dead)
        assert [(letter[b"kind"], letter[b"id"], letter[b"reason"]) for _, letter in letters] == [
            (b"flow", jobs[deadly].encode(), b"its worker died 3 times")
        ]
        await system.idle()
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()


@pytest.mark.parametrize(
    ("older_block", "newer_block"), [(1, 60), (60, 1)], ids=["newer in one block", "older in one block"]
)
async def test_two_runs_at_once_flip_once(tmp_path: Path, older_block: int, newer_block: int) -> None:
    """The first to end flips, the other is superseded; a worker dies meanwhile and delays one by a lease."""
    async with System(tmp_path / "a home", **QUICK) as system:
        system.import_pairs(synthetic_pairs())
        workers = system.start_workers(2)
        generations = [await system.fit(neighbours=k) for k in (100, 20, 5)]
        async with system.reckoner() as reckoner:
            older, newer = [await reckoner.results.generations.record(generation) for generation in generations[1:]]
            assert older is not None
            assert newer is not None
            # Neither ends before the other has started.
            await reckoner.operator.pause("batch")
            slow, _ = await reckoner.runs.start(older, older_block, 1)
            quick, _ = await reckoner.runs.start(newer, newer_block, 1)
            await reckoner.operator.resume("batch")
            os.kill(workers.pids[0], signal.SIGKILL)
            ended = {run.generation: run.outcome for run in [await system.run_ended(run) for run in (slow, quick)]}
            assert sorted(ended.values()) == ["passed", "superseded"]
            assert ended[await reckoner.generation()] == "passed"
            assert await reckoner.results.generations.pointer(system.keys.previous) == generations[0]
        await system.idle()
        assert await system.keys_for_ever() <= await system.keys_that_may_stay()


async def test_being_stopped_uses_up_no_try(tmp_path: Path) -> None:
    """More workers in a row than a job has tries stop while tasks run and wait; the next one does them."""
    # Enough threads to fill all slots with tasks.
    async with System(tmp_path / "a home", first_look_s=0.2, threads=4) as system:
        pairs = synthetic_pairs()
        system.import_pairs(pairs)
        system.start_workers()
        await system.fit()
        await system.stop_workers()
        jobs = await system.enqueue(sorted({user for user, _ in pairs})[:3])
        async with system.reckoner() as reckoner:

            async def running() -> bool:
                return len(await reckoner.redis.keys("arq:in-progress:chunk:*")) == 8

            for _ in range(4):
                system.start_workers(program=[KILLER, "--pause", "10"])
                await eventually(running)
                await system.stop_workers()
                assert await reckoner.redis.keys("arq:retry:*") == []
                assert await reckoner.redis.keys("arq:in-progress:*") == []
            system.start_workers()
            assert [(await system.ended(job)).state for job in jobs] == ["done"] * 3
            assert not await ask(reckoner.redis, "EXISTS", system.keys.dead)
        await system.idle()


async def test_a_worker_that_is_stopped_leaves_neither_claims_nor_tries(tmp_path: Path) -> None:
    """During a run whose tasks are so short that each stop meets some that start or end."""
    async with System(tmp_path / "a home", **MANY_TASKS) as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers()
        await system.fit()
        await system.stop_workers()
        run_id = await system.start_run(block_size=1)
        async with system.reckoner() as reckoner:
            for moment_s in (0.05, 0.15, 0.25):
                system.start_workers()
                await system.ready(1)
                await asyncio.sleep(moment_s)
                await system.stop_workers()
                assert await reckoner.redis.keys("arq:retry:*") == []
                assert await reckoner.redis.keys("arq:in-progress:*") == []
                assert await reckoner.operator.workers() == []
            run = await reckoner.runs.load(run_id)
            assert run is not None
            assert run.state == "run"
    assert "Traceback" not in system.log.read_text("utf-8")


async def test_a_server_that_is_killed_loses_nothing_that_it_acknowledged(tmp_path: Path) -> None:
    """With `appendfsync always`; it returns at another address, and the workers find it."""
    async with System(tmp_path / "a home", **MANY_TASKS, **QUICK) as system:
        system.server.stop()
        system.start_server(appendfsync="always")
        pairs = synthetic_pairs()
        system.import_pairs(pairs)
        system.start_workers(2)
        generation = await system.fit()
        for _ in range(2):
            await system.forget_lists(generation)
            run_id = await system.start_run(block_size=10, window=3)
            jobs = await system.enqueue(sorted({user for user, _ in pairs})[:10])
            await asyncio.sleep(0.3)
            system.server.kill()
            system.start_server(appendfsync="always")
            assert (await system.run_ended(run_id)).outcome == "passed"
            assert [(await system.ended(job)).state for job in jobs] == ["done"] * 10
            await assert_whole(system, generation)
