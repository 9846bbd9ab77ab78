"""One call of one side of the kernels' benchmark, in its own process. A wrong answer has no speed."""

import asyncio
import json
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tests.benchmarks.frame import Figures, WrongAnswerError
from tests.benchmarks.kernel_data import Data, What
from tests.benchmarks.timed_call import Lists

PROGRAMS = Path(__file__).absolute().parent
ROOT = PROGRAMS.parent.parent
# Longer than any call.
WITHIN_S = 300.0


@dataclass(frozen=True)
class Call:
    """A task of a program with a Python, on some data.

    `truth` is compared with its answer; "any" looks only whether there is one. `holds_itself`: an item may be among its
    own neighbours. `means`: a score is a mean instead of a sum.
    """

    python: Path
    program: str
    task: str
    data: Data
    truth: What
    holds_itself: bool = False
    means: bool = False
    blas_threads: int = 1

    async def __call__(self) -> Figures:
        """The seconds of the call, the mean number of cores it used, and the memory of its process at its peak.

        Raises:
            WrongAnswerError: the process failed, or its answer is wrong.
        """
        truth = self.data.truth(self.truth)
        answer, told = await self._run(truth.rows)
        if self.means:
            lengths = np.diff(self.data.arrays.user_ptr)[truth.rows]
            answer = answer._replace(values=answer.values * np.repeat(lengths, np.diff(answer.ptr)))
        truth.judge(answer, holds_itself=self.holds_itself)
        return {name: told[name] for name in ("s", "cores", "GB")}

    async def whole(self, rows: int) -> Lists:
        """The answer for all rows.

        Raises:
            WrongAnswerError: the process failed, or its answer is wrong.
        """
        answer, _ = await self._run(np.arange(rows))
        truth = self.data.truth(self.truth)
        truth.judge(answer.of(truth.rows), holds_itself=self.holds_itself)
        return answer

    async def _run(self, rows: NDArray[np.int64]) -> tuple[Lists, dict[str, float]]:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            np.save(folder / "sample.npy", rows)
            await self._process(folder)
            told = json.loads((folder / "report.json").read_text(encoding="utf-8"))
            with np.load(folder / "answer.npz") as kept:
                return Lists(kept["ptr"], kept["items"], kept["values"]), told

    async def _process(self, folder: Path) -> None:
        given = ["--snapshot", self.data.snapshot, "--sample", folder / "sample.npy", "--report", folder]
        model = ["--model", self.data.model] if self.data.model.exists() else []
        command = [self.python, PROGRAMS, self.program, self.task, *given, *model]
        # Keep the threads of BLAS out of the way of those who do not use it.
        environ = os.environ | {"OPENBLAS_NUM_THREADS": str(self.blas_threads)}
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*map(str, command), cwd=ROOT, env=environ, stderr=pipe)
        try:
            _, said = await asyncio.wait_for(process.communicate(), WITHIN_S)
        except TimeoutError as error:
            raise WrongAnswerError(f"it has not ended within {WITHIN_S:g} s") from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        if process.returncode:
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            raise WrongAnswerError(f"its process ended with {process.returncode}: {' '.join(last)}")
