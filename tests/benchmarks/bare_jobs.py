"""Measures jobs that do nothing, or wait: a queue's own cost.

The queue is filled while the worker processes are up but take no jobs yet, so neither their start nor the producer
counts. The measured time is from the start of the first job to the end of the last, by a shared clock. All sides have
the same server, an empty database, msgpack, no logs, no results, and the same concurrency. Each process records the
numbers of its jobs; each job must be done exactly once.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from arq import ArqRedis
from redis.asyncio import Redis

from reckoner.shared.redis.connections import open_pool
from reckoner.workers.engine.connection import NewJob, connect_engine
from tests.benchmarks.crews import PROGRAMS, ROOT, all_done, crew, once_each
from tests.benchmarks.frame import Figures, WrongAnswerError, latencies

QUEUE = "benchmark"
# Stock arq has no bulk enqueue: its producer sends so many at a time.
AT_ONCE = 200
# Long enough for a busy machine.
DONE_WITHIN_S = 240.0
# The pause before each single job: long enough for all workers to be idle.
DRIP_S = 0.03


@dataclass(frozen=True)
class Queue:
    """A queue and its workers: the program, its Python, and how its producer fills it."""

    name: str
    python: Path
    program: tuple[str, ...]
    fill: Callable[[str, int], Awaitable[None]]
    """Called with the URL and the number of jobs."""
    drip: Callable[[str, int], Awaitable[list[float]]] | None = None
    """Enqueues so many one by one, with a pause before each; returns their times by the shared clock."""


@dataclass(frozen=True)
class BareJobs:
    """A measurement of one queue on the server at `url`. It empties the database."""

    url: str
    scratch: Path
    queue: Queue
    jobs: int
    processes: int = 2
    max_jobs: int = 50
    options: tuple[str, ...] = ()

    async def __call__(self) -> Figures:
        """The jobs per second of one round."""
        redis = Redis.from_url(self.url)
        await redis.flushdb()
        program = [*self.queue.program, "--url", self.url, "--queue", QUEUE, "--max-jobs", str(self.max_jobs)]
        program += self.options
        async with crew([program] * self.processes, self.scratch, self.queue.python) as workers:
            await self.queue.fill(self.url, self.jobs)
            for worker in workers:
                worker.begin()
            await all_done(workers, self.jobs, DONE_WITHIN_S)
            deliveries = [delivery for worker in workers for delivery in await worker.end()]
        await redis.flushdb()
        await redis.aclose()
        once_each(deliveries, self.jobs)
        took_s = max(delivery.ended_s for delivery in deliveries) - min(delivery.began_s for delivery in deliveries)
        return {"jobs/s": self.jobs / took_s}


@dataclass(frozen=True)
class OneByOne:
    """The latency of a job on two idle workers, from before its enqueue to its end."""

    url: str
    scratch: Path
    queue: Queue
    jobs: int

    async def __call__(self) -> Figures:
        """The median of a job, and median and 99th percentile of three after each other, in milliseconds."""
        assert self.queue.drip is not None
        redis = Redis.from_url(self.url)
        await redis.flushdb()
        program = [*self.queue.program, "--url", self.url, "--queue", QUEUE]
        async with crew([program] * 2, self.scratch, self.queue.python) as workers:
            for worker in workers:
                worker.begin()
            enqueued = await self.queue.drip(self.url, self.jobs)
            await all_done(workers, self.jobs, DONE_WITHIN_S)
            deliveries = [delivery for worker in workers for delivery in await worker.end()]
        await redis.flushdb()
        await redis.aclose()
        once_each(deliveries, self.jobs)
        waited_ms = [
            (delivery.ended_s - enqueued[delivery.number]) * 1000
            for delivery in sorted(deliveries, key=lambda delivery: delivery.number)
        ]
        three_ms = [sum(some) for some in zip(waited_ms[::3], waited_ms[1::3], waited_ms[2::3], strict=False)]
        return {"median": statistics.median(waited_ms)} | {
            f"three: {name}": value for name, value in latencies(three_ms).items()
        }


async def fill_stock(url: str, jobs: int) -> None:
    """Enqueue as stock arq does, one at a time, some at once."""
    redis = ArqRedis(open_pool(url, max_connections=AT_ONCE), msgspec.msgpack.encode, default_queue_name=QUEUE)
    for start in range(0, jobs, AT_ONCE):
        await asyncio.gather(
            *(redis.enqueue_job("work", number) for number in range(start, min(start + AT_ONCE, jobs)))
        )
    await redis.aclose(close_connection_pool=True)


async def fill_engine(url: str, jobs: int) -> None:
    """Enqueue as the engine does, in bulk."""
    redis = connect_engine(url, queue_name=QUEUE, job_serializer=msgspec.msgpack.encode)
    await redis.enqueue_jobs([NewJob("work", (number,)) for number in range(jobs)])
    await redis.aclose()


async def drip_engine(url: str, jobs: int) -> list[float]:
    """Enqueue jobs of the engine one after the other; see `Queue.drip`."""
    redis = connect_engine(url, queue_name=QUEUE, job_serializer=msgspec.msgpack.encode)
    moments = []
    for number in range(jobs):
        await asyncio.sleep(DRIP_S)
        moments.append(time.monotonic())
        await redis.enqueue_jobs([NewJob("work", (number,))])
    await redis.aclose()
    return moments


def ardiq(python: Path) -> Queue:
    """ArdiQ, run by the Python of its own environment."""

    async def produce(url: str, jobs: int, *options: str) -> bytes:
        program = ["worker_ardiq", "--url", url, "--queue", QUEUE, "--fill", str(jobs), *options]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(str(python), str(PROGRAMS), *program, stdout=pipe, cwd=ROOT)
        told, _ = await process.communicate()
        if process.returncode:
            raise WrongAnswerError("its producer failed")
        return told

    async def fill(url: str, jobs: int) -> None:
        await produce(url, jobs)

    async def drip(url: str, jobs: int) -> list[float]:
        moments: list[float] = json.loads(await produce(url, jobs, "--pause-s", str(DRIP_S)))
        return moments

    return Queue("ArdiQ", python, ("worker_ardiq",), fill, drip)
