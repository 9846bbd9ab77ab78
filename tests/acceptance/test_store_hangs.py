"""A store that hangs, like a mount without its server, blocks only its readers."""

from pathlib import Path

from reckoner.workers.runtime.store_watch import NO_ANSWER
from tests.root import ROOT
from tests.system import System, eventually, synthetic_pairs


class Hang:
    """Workers whose store hangs while a file exists."""

    def __init__(self, home: Path) -> None:
        self._file, self._touched = home / "hangs", home / "touched"
        paths = ("--hangs", str(self._file), "--touched", str(self._touched))
        self.program = (str(ROOT / "tests" / "hanging.py"), *paths)

    def begin(self) -> None:
        """Make it hang."""
        self._file.touch()

    def end(self) -> None:
        """End the hang."""
        self._file.unlink()

    def on_the_loop(self) -> str:
        """Where a worker's event loop touched the store."""
        return self._touched.read_text("utf-8") if self._touched.exists() else ""


async def test_workers_with_a_hanging_store_continue_and_report_it(tmp_path: Path) -> None:
    """They send heartbeats, renew leases, hand jobs back, and can stop. When the store is back, work resumes.

    None touches the store on its event loop.
    """
    home = tmp_path / "a höme"
    hang = Hang(home)
    async with System(home, first_look_s=0.5) as system, system.reckoner() as reckoner:

        async def says_so() -> bool:
            return await system.troubled() == [NO_ANSWER]

        system.import_pairs(synthetic_pairs())
        workers = system.start_workers(program=hang.program)
        generation = await system.fit()
        # What lies in memory then.
        await system.ended((await system.enqueue(["üser 001"]))[0])
        hang.begin()
        jobs = await system.enqueue([f"üser {user:03d}" for user in range(20)])
        run = await system.start_run(block_size=1)
        await eventually(says_so)
        beats = set[int]()

        async def goes_on_without_a_job() -> bool:
            alive = await reckoner.operator.alive()
            beats.update(each.last_beat_ms for each in alive)
            return len(beats) > 5 and not any(each.running_ms for each in alive)

        await eventually(goes_on_without_a_job)
        flows = [await reckoner.flows.load(job) for job in jobs]
        assert all(flow is not None and not flow.reason for flow in flows)
        hang.end()
        assert {(await system.ended(job)).state for job in jobs} == {"done"}
        assert (await system.run_ended(run)).outcome == "passed"
        assert await system.lists(generation) == system.reference_lists(generation)
        await system.nothing_failed()
        hang.begin()
        await eventually(says_so)
        assert await workers.stop() == 0
        log = system.log.read_text()
        assert [shown for shown in ("job lost", "worker killed", "Traceback") if shown in log] == []
        assert hang.on_the_loop() == ""


async def test_workers_whose_store_hangs_when_they_start_say_so(tmp_path: Path) -> None:
    """They exit, as with a missing mount."""
    system, hang = System(tmp_path / "a höme"), Hang(tmp_path)
    hang.begin()
    assert await system.start_workers(program=hang.program).ended() == 1
    assert NO_ANSWER in system.log.read_text()
