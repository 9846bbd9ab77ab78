"""Measures how long a job waits whose worker process is killed while it runs.

Two worker processes are idle when the job comes. Whichever begins it is killed (SIGKILL); the time is that from there
until the job has been done by the other one.
"""

import asyncio
import time
from dataclasses import dataclass
from pathlib import Path

from redis.asyncio import Redis

from tests.benchmarks.bare_jobs import QUEUE, Queue
from tests.benchmarks.crews import LOOK_S, WorkerProcess, all_done, crew, once_each
from tests.benchmarks.frame import Figures, WrongAnswerError

# Long enough for the kill; included in the measured time.
WAIT_MS = 200
WITHIN_S = 30.0


@dataclass(frozen=True)
class Takeover:
    """A measurement on the server at `url`, whose database it empties."""

    url: str
    scratch: Path
    queue: Queue

    async def __call__(self) -> Figures:
        """The seconds of one round."""
        redis = Redis.from_url(self.url)
        await redis.flushdb()
        program = [*self.queue.program, "--url", self.url, "--queue", QUEUE, "--wait-ms", str(WAIT_MS)]
        async with crew([program] * 2, self.scratch, self.queue.python) as workers:
            for worker in workers:
                worker.begin()
            await self.queue.fill(self.url, 1)
            victim = await _first_to_begin(workers)
            killed_s = time.monotonic()
            await victim.kill()
            [survivor] = [worker for worker in workers if worker is not victim]
            await all_done([survivor], 1, WITHIN_S)
            deliveries = await survivor.end()
        await redis.flushdb()
        await redis.aclose()
        once_each(deliveries, 1)
        return {"s": deliveries[0].ended_s - killed_s}


async def _first_to_begin(workers: list[WorkerProcess]) -> WorkerProcess:
    until = time.monotonic() + WITHIN_S
    while time.monotonic() < until:
        for worker in workers:
            if worker.begun:
                if worker.done:
                    raise WrongAnswerError("the job was done before its worker could be killed")
                return worker
        await asyncio.sleep(LOOK_S / 4)
    raise WrongAnswerError(f"the job was not begun within {WITHIN_S:g} s")
