"""The worker processes of one measurement: they start, work on a full queue, and report their deliveries."""

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.frame import WrongAnswerError

PROGRAMS = Path(__file__).absolute().parent
ROOT = PROGRAMS.parent.parent
# Imports and kernels take long on a slow machine.
UP_S = 600.0
# Workers continue after the last job, so that a repeated delivery is seen.
AFTER_S = 0.3
LOOK_S = 0.02


@dataclass(frozen=True)
class Delivery:
    """One job that one process did, with its times in seconds."""

    number: int
    began_s: float
    ended_s: float


class WorkerProcess:
    """A process of one of the programs that speak as `Deliveries` does."""

    def __init__(self, process: asyncio.subprocess.Process, report: Path) -> None:
        self.pid = process.pid
        self.begun = 0
        self.done = 0
        self._process = process
        self._report = report
        self._up = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear())

    @classmethod
    async def start(cls, python: Path, program: Sequence[str], report: Path) -> "WorkerProcess":
        """Start one and return at once."""
        command = [str(python), str(PROGRAMS), *program, "--report", str(report)]
        pipe = asyncio.subprocess.PIPE
        return cls(await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT), report)

    async def _hear(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            if line == b"up\n":
                self._up.set()
            else:
                self.begun, self.done = map(int, line.split())
        self._up.set()

    async def up(self) -> None:
        """Wait until it has loaded its code.

        Raises:
            WrongAnswerError: it exited or is silent.
        """
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._up.wait(), UP_S)
        if not self._up.is_set() or self._hearing.done():
            raise WrongAnswerError("a worker process did not start")

    def begin(self) -> None:
        """Let it take jobs."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    async def end(self) -> list[Delivery]:
        """Stop it, and return its jobs."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        await self._process.wait()
        if not self._report.exists():
            raise WrongAnswerError("a worker process did not end as it should")
        return [Delivery(*entry) for entry in json.loads(self._report.read_text(encoding="utf-8"))]

    async def kill(self) -> None:
        """End it at once, if it has not ended."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._hearing


@contextlib.asynccontextmanager
async def crew(
    programs: Sequence[Sequence[str]], scratch: Path, python: Path = Path(sys.executable)
) -> AsyncIterator[list[WorkerProcess]]:
    """A running worker process for each program, ended at exit."""
    workers: list[WorkerProcess] = []
    try:
        for number, program in enumerate(programs):
            report = scratch / f"{number}.json"
            report.unlink(missing_ok=True)
            workers.append(await WorkerProcess.start(python, program, report))
        for worker in workers:
            await worker.up()
        yield workers
    finally:
        for worker in workers:
            await worker.kill()


async def all_done(workers: Sequence[WorkerProcess], jobs: int, within_s: float) -> None:
    """Return shortly after the workers have done so many jobs.

    Raises:
        WrongAnswerError: not within the time limit.
    """
    until = asyncio.get_running_loop().time() + within_s
    while (done := sum(worker.done for worker in workers)) < jobs:
        if asyncio.get_running_loop().time() > until:
            raise WrongAnswerError(f"{done:,} of {jobs:,} jobs were done within {within_s:g} s")
        await asyncio.sleep(LOOK_S)
    await asyncio.sleep(AFTER_S)


def once_each(deliveries: Sequence[Delivery], jobs: int) -> None:
    """Make sure that the jobs 0 to before `jobs` were done, each once.

    Raises:
        WrongAnswerError: some were lost or done again.
    """
    distinct = {delivery.number for delivery in deliveries}
    lost, again = len(set(range(jobs)) - distinct), len(deliveries) - len(distinct)
    if lost or again or len(distinct) > jobs:
        raise WrongAnswerError(f"of {jobs:,} jobs {lost:,} were lost, and {again:,} were done again")
