"""A killed, stopped or stuck worker is counted for at most one lease."""

import asyncio
import signal
from pathlib import Path

from tests.processes import run
from tests.system import System, eventually, synthetic_pairs

KILLER = "tests/killer.py"
LEASE_S = 1.0
# A last heartbeat may be in flight.
MARGIN_S = 0.1
USER = "üser 001"


async def healthcheck_code(system: System) -> int:
    """The exit code of the container's health check."""
    return (await asyncio.to_thread(run, "workers", "--healthcheck", environ=system.environ())).returncode


async def test_status_and_health_tell_the_truth_within_a_lease(tmp_path: Path) -> None:
    """For a stuck event loop, SIGSTOP and SIGKILL; and a worker that continues is counted again."""
    async with System(tmp_path / "a home", lease_s=LEASE_S, first_look_s=0.2) as system:
        system.import_pairs(synthetic_pairs())
        wedged = system.home / "wedged"
        workers = system.start_workers(program=[KILLER, "--user", USER, "--wedge", "--marker", str(wedged)])
        await system.ready(1)
        await system.fit()
        assert await healthcheck_code(system) == 0
        async with system.reckoner() as reckoner:

            async def assert_silent(worker: str) -> None:
                await asyncio.sleep(LEASE_S + MARGIN_S)
                status = await reckoner.operator.status()
                assert (status.workers, [each.worker for each in status.silent]) == ([], [worker])
                assert await healthcheck_code(system) == 1

            [worker] = await reckoner.operator.workers()
            [job] = await system.enqueue([USER])

            async def is_wedged() -> bool:
                return wedged.exists()

            await eventually(is_wedged)
            await assert_silent(worker)
            wedged.unlink()
            assert (await system.ended(job)).state == "done"
            assert await eventually(reckoner.operator.workers) == [worker]
            workers.send(signal.SIGSTOP)
            await assert_silent(worker)
            workers.send(signal.SIGCONT)
            assert await eventually(reckoner.operator.workers) == [worker]
            workers.send(signal.SIGKILL)
            await asyncio.sleep(LEASE_S + MARGIN_S)
            assert worker not in await reckoner.operator.workers()
            # Its supervisor restarts it.
            await eventually(reckoner.operator.workers)
