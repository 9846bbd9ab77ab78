"""Measures whole jobs on `python -m reckoner.workers`: a model of MovieLens, four chunk tasks a job, no logs."""

import asyncio
import contextlib
import os
import signal
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import cycle
from pathlib import Path

import numpy as np
import psutil

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import ReckonerError
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.location import open_store
from reckoner.shared.store.snapshots import write_snapshot
from tests.benchmarks.frame import Figures, WrongAnswerError, latencies
from tests.interactions import Interactions
from tests.system import System

TASKS = 4
# The pause between two clicks.
PAUSE_S = 0.01
CLICK_WITHIN_S = 30.0
LOOK_S = 0.002
ENDED_WITHIN_S = 120.0
# Blocks in flight, as `reckoner batch` has them.
WINDOW = 4
# Clicks visit users with this stride.
STRIDE = 101
# Enough for each worker to load its artifacts.
WARM_UP = 40


class Site(System):
    """A system with its own prefix and store on an existing server."""

    def __init__(self, server: EmbeddedServer, home: Path, data: Interactions, copies: int, **settings: object) -> None:
        """The interactions are those of `data`, and each of its users is there `copies` times."""
        super().__init__(home, redis_url=server.url, log_level="ERROR", tasks_per_job=TASKS, **settings)
        self.server = server
        self.users = [f"{user:03d}-{copy:03d}" for user in range(data.n_users) for copy in range(copies)]
        self._import(data, copies)

    def _import(self, data: Interactions, copies: int) -> None:
        users = np.repeat(np.arange(data.n_users), np.diff(data.user_ptr))
        copied = users[np.newaxis, :] * copies + np.arange(copies)[:, np.newaxis]
        store = open_store(self.settings.store_location)
        with store.scratch() as directory:
            snapshot = write_snapshot(
                directory,
                user_ids=self.users,
                item_ids=[f"{item:04d}" for item in range(data.n_items)],
                users=copied.ravel(),
                items=np.tile(data.user_items.astype(np.int64), copies),
            )
            store.publish("snapshots", snapshot, directory)
        store.set_current_snapshot(snapshot)

    @contextlib.asynccontextmanager
    async def at_work(self, processes: int = 2) -> AsyncIterator[OpenReckoner]:
        """Worker processes with a loaded model, and a client."""
        # Workers end with this process.
        self.start_workers(processes, ("-m", "reckoner.workers", "--parent", str(os.getpid())))
        try:
            await self.ready(processes)
            async with self.reckoner() as reckoner:
                if not await ask(reckoner.redis, "EXISTS", self.keys.current):
                    await self.fit()
                for user in self.users[:WARM_UP]:
                    await click(reckoner, user)
                yield reckoner
        finally:
            await self.stop_workers()

    async def none_live(self, reckoner: OpenReckoner) -> None:
        """Return as soon as no job is under way.

        Raises:
            WrongAnswerError: one is for very long.
        """
        until = time.monotonic() + ENDED_WITHIN_S
        while await ask(reckoner.redis, "EXISTS", *self.keys.all_live):
            if time.monotonic() > until:
                raise WrongAnswerError(f"not all jobs have ended within {ENDED_WITHIN_S:g} s")
            await asyncio.sleep(LOOK_S)


@contextlib.contextmanager
def halted(pids: Sequence[int]) -> Iterator[None]:
    """Stop the processes meanwhile, so that all their work is queued before they start."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


async def flows(site: Site) -> Figures:
    """How many one-user jobs per second two workers compute, when each user's is in the queue before they begin.

    They stand still while it is filled; the time is that from there until no job is unfinished.
    """
    async with site.at_work() as reckoner:
        with halted(site.worker_pids):
            jobs = [entry.job for entry in await reckoner.enqueue_many(site.users, fresh=True) if entry.job]
            began = time.monotonic()
        await site.none_live(reckoner)
        took_s = time.monotonic() - began
        ended = [flow for job in jobs if (flow := await reckoner.flows.load(job)) and flow.state == "done"]
        if len(set(jobs)) != len(site.users) or len(ended) != len(jobs):
            raise WrongAnswerError(f"{len(ended):,} of {len(site.users):,} jobs are done")
    return {"flows/s": len(jobs) / took_s}


async def clicks(site: Site, count: int) -> Figures:
    """How long `count` users wait for their list, one after the other, with nothing else to do for two workers."""
    async with site.at_work() as reckoner:
        waited = [await click(reckoner, user) for user in site.users[-count:]]
    return latencies(waited)


async def clicks_beside_a_run(site: Site) -> Figures:
    """How long users wait for their list, one after the other, while two workers compute the lists of all users."""
    waited: list[float] = []
    async with site.at_work() as reckoner:
        run_id, _ = await reckoner.operator.start_run(site.settings.block_size or None, WINDOW)
        users = cycle(site.users[::STRIDE])
        while (run := (await reckoner.operator.run(run_id)).run).state != "ended":
            waited.append(await click(reckoner, next(users)))
    if run.manifest is None or run.manifest.done != len(site.users):
        raise WrongAnswerError("the run has not computed all lists")
    # The last click may have come after the run's end.
    return latencies(waited[:-1])


async def click(reckoner: OpenReckoner, user: str) -> float:
    """How long a client waits for a user's computed list, in milliseconds.

    Raises:
        WrongAnswerError: it got no list, or another one.
    """
    await asyncio.sleep(PAUSE_S)
    began = time.perf_counter()
    try:
        answer = await reckoner.recommend(user, fresh=True, timeout=CLICK_WITHIN_S)
    except ReckonerError as error:
        raise WrongAnswerError(str(error)) from error
    waited = time.perf_counter() - began
    if answer.user != user or not answer.items or answer.source != "cache":
        raise WrongAnswerError(f"user {user} was given the {answer.source} list")
    return waited * 1000


async def idle(site: Site, for_s: float) -> Figures:
    """How much of one core a worker takes that has nothing to do, in per cent; the mean of two."""
    async with site.at_work():
        await asyncio.sleep(1.0)
        workers = [psutil.Process(pid) for pid in site.worker_pids]
        before = [_cpu_s(worker) for worker in workers]
        await asyncio.sleep(for_s)
        after = [_cpu_s(worker) for worker in workers]
    return {"% of a core": statistics.mean(b - a for a, b in zip(before, after, strict=True)) / for_s * 100}


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
