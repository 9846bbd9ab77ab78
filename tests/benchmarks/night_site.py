"""One measurement of the night: a fresh server and fresh workers over a data set's store, measured from outside.

Times are the run's own. The CPU of workers is that of their processes, the server's is from INFO.
"""

import asyncio
import contextlib
import json
import os
import shutil
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

import psutil
from redis import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.recording import Event
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.models import KIND
from reckoner.shared.store.ownership import take_store
from tests.benchmarks.frame import Figures, WrongAnswerError
from tests.benchmarks.night_data import DataSet, command
from tests.system import System, eventually

WORKERS = ("-m", "reckoner.workers")
# Clicks before a measurement, for each worker to load its kernels and artifacts.
WARM_UP = 10
AT_ONCE = 5_000
MICROSECONDS = 1e6
BYTES_PER_MB = 1e6

Stored = Mapping[bytes, bytes]
"""Cached lists by key."""


class Night(System):
    """A server and workers over the store of a data set. Leaving it stops them."""

    def __init__(self, home: Path, data: DataSet, **settings: object) -> None:
        super().__init__(home, store_url=data.store_url, log_level="ERROR", **settings)
        self.data = data

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        await take_store(self.settings, self.store)
        # The workers' host is the import's.
        await asyncio.to_thread(self._copy_stamps)
        return self

    def _copy_stamps(self) -> None:
        """Take over what the import of the data has verified."""
        stamps = self.data.home / "verified"
        if stamps.exists():
            shutil.copytree(stamps, self.home / "verified", dirs_exist_ok=True)

    async def start(self, workers: int, program: Sequence[str] = WORKERS) -> None:
        """Start worker processes, which end with this one."""
        self.start_workers(workers, (*program, "--parent", str(os.getpid())))
        await self.ready(workers)

    async def fit(self, neighbours: int = 100, recency: float = 0.0, config: ModelConfig | None = None) -> str:
        """Fit a model unless the store has it; returns the generation."""
        return str((await self.fitted(neighbours, recency, config))["generation"])

    async def fitted(
        self, neighbours: int = 100, recency: float = 0.0, config: ModelConfig | None = None
    ) -> dict[str, Any]:
        """The report of `reckoner fit`."""
        facts = (config or ModelConfig(neighbours=neighbours)).facts() | {"recency": recency}
        options = (f"--{name.replace('_', '-')}={value}" for name, value in facts.items())
        report: dict[str, Any] = json.loads(await command(self.environ(), "fit", *options, "--json"))
        return report

    async def batch(self, block: int | None = None) -> dict[str, Any]:
        """The manifest of `reckoner batch`.

        Raises:
            WrongAnswerError: not all lists were computed.
        """
        options = () if block is None else ("--block", str(block))
        run = json.loads(await command(self.environ(), "batch", "--json", *options))
        manifest: dict[str, Any] = run["manifest"]
        if manifest["done"] != self.data.users:
            raise WrongAnswerError(f"the run has computed {manifest['done']:,} lists")
        return manifest | {"blocks": run["blocks"]}

    async def warm_up(self, reckoner: OpenReckoner, generation: str) -> None:
        """Let each worker compute a few lists, and delete them."""
        users = [str(1 + number) for number in range(min(WARM_UP * len(self.worker_pids), self.data.users))]
        await reckoner.enqueue_many(users, fresh=True)
        await self.idle()
        await self.forget_lists(generation)

    async def happen(self, reckoner: OpenReckoner, generation: str) -> None:
        """A tenth of the users buy one of the popular items each, and half of these items are hidden then."""
        popular = (await reckoner.operator.newest()).popular
        buyers = [str(1 + number) for number in range(0, self.data.users, 10)]
        for first in range(0, len(buyers), AT_ONCE):
            some = buyers[first : first + AT_ONCE]
            events = [Event(user, popular[int(user) % len(popular)], "purchase") for user in some]
            if any(answer.status != "recorded" for answer in await reckoner.record_many(events)):
                raise WrongAnswerError("an event was not recorded")
        await reckoner.catalogue.hide(popular[::2])
        await self.idle()
        await self.forget_lists(generation)

    def cpu_s(self) -> "Cpu":
        """The CPU time so far."""
        workers = 0.0
        for pid in self.worker_pids:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = psutil.Process(pid).cpu_times()
                workers += times.user + times.system
        return Cpu(workers, server_cpu_s(self.server))

    def private_mb(self) -> list[float]:
        """The memory of each worker that it shares with no other process."""
        return [private_bytes(pid) / BYTES_PER_MB for pid in self.worker_pids]

    async def stored(self, reckoner: OpenReckoner, generation: str) -> Stored:
        """All cached lists of a generation."""
        names = sorted(
            [key async for key in reckoner.redis.scan_iter(match=f"{self.keys.result(generation, '')}*", count=1000)]
        )
        found: dict[bytes, bytes] = {}
        for first in range(0, len(names), AT_ONCE):
            some = names[first : first + AT_ONCE]
            found |= zip(some, await ask(reckoner.redis, "MGET", *some), strict=True)
        return found


@dataclass(frozen=True)
class Cpu:
    """Seconds of CPU of all workers and of the server."""

    workers_s: float
    server_s: float


@dataclass(frozen=True)
class Everybody:
    """The lists of all users by so many workers, and what they cost; `kept` gets the lists of the first measurement.

    With `kill_every_s` a worker is killed as often; with `news`, users have recorded events and items are hidden.
    """

    home: Path
    data: DataSet
    workers: int
    kept: dict[str, Any]
    kill_every_s: float = 0.0
    compared: bool = True
    news: bool = False

    async def __call__(self) -> Figures:
        """The figures of one round.

        Raises:
            WrongAnswerError: a list is missing, or differs from that of another measurement.
        """
        async with Night(self.home / f"night-{time.monotonic_ns()}", self.data) as night:
            await night.start(self.workers)
            generation = await night.fit()
            async with night.reckoner() as reckoner:
                await night.warm_up(reckoner, generation)
                if self.news:
                    await night.happen(reckoner, generation)
                memory, before = memory_bytes(night.server), night.cpu_s()
                async with killing(night, reckoner, self.kill_every_s) as killed:
                    manifest = await night.batch()
                after = night.cpu_s()
                await night.idle()
                await settled(night.server)
                # A child of the server counts when it has ended.
                server_s = server_cpu_s(night.server) - before.server_s
                memory = memory_bytes(night.server) - memory
                if self.compared:
                    self._compare(
                        await night.stored(reckoner, await reckoner.generation()), night.settings.result_ttl_s
                    )
        took_s, users = manifest["duration_s"], manifest["users"]
        if self.kill_every_s:
            # The CPU time of a killed worker is not known.
            return {"s": took_s, "killed": len(killed)}
        workers_s = after.workers_s - before.workers_s
        return {
            "s": took_s,
            "users/s": users / took_s,
            "s without the server": without_server(took_s, server_s, self.workers),
            "workers' µs a user": workers_s / users * MICROSECONDS,
            "server's µs a user": server_s / users * MICROSECONDS,
            "server's share of a core": server_s / took_s,
            "bytes a user": memory / users,
        }

    def _compare(self, lists: Stored, ttl_s: int) -> None:
        digest = sha256()
        for key, value in lists.items():
            digest.update(b"%d %b %d %b" % (len(key), key, len(value), value))
        if self.kept.setdefault("digest", digest.digest()) != digest.digest():
            raise WrongAnswerError("the lists differ from those of another measurement")
        self.kept.setdefault("lists", lists)
        self.kept.setdefault("ttl_s", ttl_s)


@dataclass(frozen=True)
class Fitting:
    """A fit of a data set by so many workers."""

    home: Path
    data: DataSet
    workers: int

    async def __call__(self) -> Figures:
        """The seconds from enqueue to the published model, and the CPU of all workers.

        Raises:
            WrongAnswerError: the model was there already.
        """
        self.data.store.delete(KIND, self.data.model_id)
        async with Night(self.home / f"fit-{time.monotonic_ns()}", self.data) as night:
            await night.start(self.workers)
            before = night.cpu_s()
            report = await night.fitted()
            after = night.cpu_s()
        if not report["chunk_tasks"]:
            raise WrongAnswerError("the model was there already")
        return {"s": report["duration_s"], "CPU s": after.workers_s - before.workers_s}


@contextlib.asynccontextmanager
async def killing(night: Night, reckoner: OpenReckoner, every_s: float) -> AsyncIterator[list[int]]:
    """Kill the oldest worker as often, until the end; yields the killed processes. Not at all if `every_s` is 0.

    A process that has not begun to work yet is spared, and the last one that works.
    """
    killed: list[int] = []

    async def kill() -> None:
        while True:
            await asyncio.sleep(every_s)
            # A worker's id is HOST-PID-RANDOM.
            heard = {int(worker.rsplit("-", 2)[1]) for worker in await reckoner.operator.workers()}
            alive = [psutil.Process(pid) for pid in heard & set(night.worker_pids)]
            if len(alive) > 1:
                oldest = min(alive, key=lambda process: process.create_time())
                killed.append(oldest.pid)
                oldest.kill()

    killer = asyncio.create_task(kill()) if every_s else None
    try:
        yield killed
    finally:
        if killer is not None:
            killer.cancel()
            with contextlib.suppress(asyncio.CancelledError, psutil.NoSuchProcess):
                await killer


def without_server(took_s: float, server_s: float, workers: int) -> float:
    """What a run takes where the server has a core of its own.

    While workers keep all cores of this machine busy, each core gives the server an equal part of its CPU time: that
    part is taken off. With a core left, the server runs there and delays no worker.
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return took_s if workers < cores else took_s - server_s / cores


def server_cpu_s(server: EmbeddedServer) -> float:
    """The CPU time of a server and its ended children, in seconds."""
    with Redis.from_url(server.url) as redis:
        return float(sum(value for name, value in redis.info("cpu").items() if not name.endswith("_main_thread")))


async def settled(server: EmbeddedServer) -> None:
    """Wait until a server has no child that rewrites its file of commands."""

    async def ended() -> bool:
        with Redis.from_url(server.url) as redis:
            told = redis.info("persistence")
        return not (told["aof_rewrite_in_progress"] or told["aof_rewrite_scheduled"])

    await eventually(ended)


def memory_bytes(server: EmbeddedServer) -> int:
    """The memory that a server uses for everything."""
    with Redis.from_url(server.url) as redis:
        return int(redis.info("memory")["used_memory"])


def private_bytes(pid: int) -> int:
    """Private_Clean and Private_Dirty of a process, as the kernel sums them up."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))
