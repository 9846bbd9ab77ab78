"""Cancelling a running job stops its kernel and frees the worker."""

from pathlib import Path

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.store.model_config import ModelConfig
from tests.system import System, eventually, synthetic_pairs

KILLER = "tests/killer.py"
# Longer than this test.
FOR_EVER_S = 600
USERS = ["üser 001", "üser 002"]


async def running(reckoner: Reckoner) -> set[str]:
    """The jobs that the workers report as running."""
    return {job.job for each in (await reckoner.operator.status()).workers if each.beat for job in each.beat.jobs}


async def test_a_kernel_ends_with_its_job_and_frees_its_turn(tmp_path: Path) -> None:
    """In both lanes, with one thread each: the next job runs."""
    system = System(tmp_path / "a höme", lease_s=1, threads=1, chunks=1, tasks_per_job=1, task_deadline_s=FOR_EVER_S)
    async with system:
        snapshot = system.import_pairs(synthetic_pairs())
        slow = system.start_workers(program=[KILLER, "--pause", str(FOR_EVER_S)])
        await system.ready(1)
        await system.fit()
        async with system.reckoner() as reckoner:
            asked = [await reckoner.enqueue(USERS[0]), await reckoner.enqueue(USERS[1], lane="click")]
            jobs = [entry.job or "" for entry in asked]
            kernels = {f"chunk:{job}:0:0" for job in jobs}

            async def have_begun() -> bool:
                return kernels <= await running(reckoner)

            async def have_ended() -> bool:
                return not kernels & await running(reckoner)

            await eventually(have_begun)
            waiting, _ = await reckoner.operator.fit(snapshot, ModelConfig(neighbours=5), system.settings.list_length)
            assert [await reckoner.cancel(job) for job in jobs] == [True, True]
            await eventually(have_ended)
            assert (await system.ended(waiting)).state == "done"
            for job in jobs:
                report = await reckoner.job(job)
                assert (report.flow.state, report.tasks_done) == ("cancelled", 0)
            pids = slow.pids
            await system.idle()
            assert slow.pids == pids, "no worker had to be ended for it"
