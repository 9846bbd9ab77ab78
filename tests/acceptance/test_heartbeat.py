"""Who is dead, stands still or is stuck is not counted among the workers for longer than a lease."""

import asyncio
import signal
from pathlib import Path

from tests.processes import run
from tests.system import System, eventually, synthetic_pairs

KILLER = "tests/killer.py"
LEASE_S = 1.0
# A last word may still be on its way.
MARGIN_S = 0.1
USER = "üser 001"


async def healthcheck_code(system: System) -> int:
    """The exit code of what a container is asked for its health."""
    return (await asyncio.to_thread(run, "workers", "--healthcheck", environ=system.environ())).returncode


async def test_status_and_health_tell_the_truth_within_a_lease(tmp_path: Path) -> None:
    """After an event loop that is stuck, after SIGSTOP and after SIGKILL; and that it is back when it goes on."""
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
            # Its supervisor starts another.
            await eventually(reckoner.operator.workers)
