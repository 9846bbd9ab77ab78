"""A whole system for acceptance tests: a server, a store and workers as real processes."""

import asyncio
import contextlib
import csv
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import DEVNULL
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import psutil
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.importing import import_interactions
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.run_state import Run
from reckoner.shared.redis.embedded import Fsync
from reckoner.shared.redis.keys import Keys, wake_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.settings import Settings, load_settings
from reckoner.shared.store.location import store_of
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import open_snapshot, write_snapshot
from tests.patience import PATIENCE_S
from tests.root import ROOT
from tests.servers import start_server
from tests.truth import Truth

T = TypeVar("T")


class Workers:
    """A supervisor and its worker processes."""

    def __init__(self, command: Sequence[str], environ: Mapping[str, str], log: Path, cwd: Path = ROOT) -> None:
        with log.open("ab") as file:
            self._process = subprocess.Popen(
                command, cwd=cwd, env=environ, stdin=DEVNULL, stderr=file, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._process.pid

    @property
    def pids(self) -> list[int]:
        """The process ids of the running workers."""
        return [child.pid for child in psutil.Process(self._process.pid).children()]

    @property
    def alive(self) -> bool:
        """Whether the supervisor runs."""
        return self._process.poll() is None

    @property
    def resident_mb(self) -> list[float]:
        """The resident memory of each worker, in millions of bytes."""
        return [psutil.Process(pid).memory_info().rss / 1e6 for pid in self.pids]

    def send(self, signum: signal.Signals) -> list[int]:
        """Send a signal to every worker, and return their process ids."""
        pids = self.pids
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signum)
        return pids

    def tell(self, signum: signal.Signals) -> None:
        """Signal the supervisor."""
        self._process.send_signal(signum)

    async def ended(self) -> int:
        """Wait for the supervisor's end; returns its exit code."""
        return await asyncio.to_thread(self._process.wait, PATIENCE_S)

    async def stop(self) -> int:
        """Stop them all in good order; returns the supervisor's exit code."""
        self._process.terminate()
        return await self.ended()


class System:
    """Everything under one home, stopped at exit."""

    def __init__(self, home: Path, **settings: object) -> None:
        home.mkdir(parents=True, exist_ok=True)
        self.home = home
        self.python = sys.executable
        self.packages: tuple[Path, ...] = ()
        """Where workers find more packages."""
        self._inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECKONER_")}
        # Programs under tests/ run by path and need this repository's packages.
        self._inherited["PYTHONPATH"] = str(ROOT)
        self._given = {"home": home, **settings}
        self.settings: Settings = load_settings(self.environ())
        self.keys = Keys(self.settings.prefix)
        self.store = store_of(self.settings)
        self.log = home / "workers.log"
        self._workers: list[Workers] = []

    def environ(self, **settings: object) -> dict[str, str]:
        """The variables for a process with this system's settings and these."""
        given = {f"RECKONER_{name.upper()}": str(value) for name, value in (self._given | settings).items()}
        return self._inherited | given

    async def __aenter__(self) -> Self:
        self.start_server()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.stop_workers()
        finally:
            self.server.stop()

    def start_server(self, appendfsync: Fsync = "everysec") -> None:
        """Start the server, or restart it after its end."""
        self.server = start_server(self.home, appendfsync=appendfsync)

    def start_workers(
        self,
        processes: int = 1,
        program: Sequence[str] = ("-m", "reckoner.workers"),
        root: Path = ROOT,
        **settings: object,
    ) -> Workers:
        """Start workers under a supervisor of their own, with these settings, possibly of another checkout."""
        command = [self.python, *program, "--processes", str(processes)]
        environ = self.environ(**settings) | {"PYTHONPATH": os.pathsep.join(map(str, (root, *self.packages)))}
        self._workers.append(Workers(command, environ, self.log, root))
        return self._workers[-1]

    @property
    def worker_pids(self) -> list[int]:
        """The process ids of all running workers."""
        return sorted(pid for workers in self._workers for pid in workers.pids)

    async def stop_workers(self) -> None:
        """Stop all workers in good order."""
        workers, self._workers = self._workers, []
        await asyncio.gather(*(some.stop() for some in workers))

    @asynccontextmanager
    async def reckoner(self) -> AsyncIterator[OpenReckoner]:
        """A client."""
        settings = self.settings
        async with OpenReckoner(self.server.url, prefix=settings.prefix, first_look_s=settings.first_look_s) as client:
            yield client

    def flows(self, redis: Redis) -> Flows:
        """The flows over a connection."""
        return Flows(redis, self.keys, self.settings.first_look_s)

    async def ready(self, count: int) -> None:
        """Wait until exactly so many workers send heartbeats."""
        async with self.reckoner() as reckoner:

            async def each() -> bool:
                hopeless = count and self._workers and not any(workers.alive for workers in self._workers)
                assert not hopeless, self.log.read_text()[-2000:]
                return len(await reckoner.operator.workers()) == count

            await eventually(each)

    def import_pairs(self, pairs: Iterable[tuple[str, str]]) -> str:
        """Make (user, item) pairs the current snapshot; returns its id."""
        distinct = sorted(set(pairs))
        user_ids, users = np.unique([user for user, _ in distinct], return_inverse=True)
        item_ids, items = np.unique([item for _, item in distinct], return_inverse=True)
        with self.store.scratch() as directory:
            snapshot = write_snapshot(
                directory, user_ids=user_ids.tolist(), item_ids=item_ids.tolist(), users=users, items=items
            )
            self.store.publish("snapshots", snapshot, directory)
        self.store.set_current_snapshot(snapshot)
        return snapshot

    def import_movielens(self, one_in: int = 1) -> str:
        """Make the demonstration's interactions the current snapshot, or those of one in so many users."""
        whole, part = self.home / "movielens.csv", self.home / "part.csv"
        subprocess.run(
            [sys.executable, "-m", "reckoner.producer.trial.demo_data", str(whole)],
            check=True,
            cwd=ROOT,
            stdout=DEVNULL,
        )
        with whole.open(encoding="utf-8", newline="") as source, part.open("w", encoding="utf-8", newline="") as chosen:
            reader = csv.reader(source)
            writer = csv.writer(chosen)
            writer.writerow(next(reader))
            writer.writerows(row for row in reader if int(row[0]) % one_in == 0)
        return import_interactions(part, self.store).snapshot_id

    async def fit(self, neighbours: int = 100, recency: float = 0.0, config: ModelConfig | None = None) -> str:
        """Fit the current snapshot on the workers; returns the generation."""
        snapshot = self.store.current_snapshot()
        assert snapshot is not None
        async with self.reckoner() as reckoner:
            wanted, length = config or ModelConfig(neighbours=neighbours), self.settings.list_length
            spare = self.settings.spare
            job, _ = await reckoner.operator.fit(snapshot, wanted, length, recency=recency, spare=spare)
            flow = await self.ended(job)
        assert flow.state == "done", flow.reason
        return flow.answer.decode()

    async def enqueue(self, users: Sequence[str]) -> list[str]:
        """Enqueue users, cached or not; returns the jobs."""
        async with self.reckoner() as reckoner:
            return [entry.job for entry in await reckoner.enqueue_many(users, fresh=True) if entry.job]

    async def ended(self, job: str) -> Flow:
        """Wait until a job has ended."""
        async with self.reckoner() as reckoner:

            async def look() -> Flow | None:
                flow = await reckoner.flows.load(job)
                return flow if flow is None or flow.ended else None

            return await eventually(look)

    async def start_run(self, block_size: int = 7, window: int = 4) -> str:
        """Start a run of the newest generation; returns its id."""
        async with self.reckoner() as reckoner:
            return (await reckoner.operator.start_run(block_size, window))[0]

    async def run_ended(self, run_id: str) -> Run:
        """Wait until a run has ended."""
        async with self.reckoner() as reckoner:

            async def look() -> Run | None:
                run = await reckoner.runs.load(run_id)
                return run if run is None or run.state == "ended" else None

            return await eventually(look)

    async def run(self, block_size: int = 7, window: int = 4) -> Run:
        """Compute all lists."""
        return await self.run_ended(await self.start_run(block_size, window))

    async def lists(self, generation: str) -> dict[str, bytes]:
        """The cached bytes of all users."""
        start = self.keys.result(generation, "")
        async with self.reckoner() as reckoner:
            names = sorted([key async for key in reckoner.redis.scan_iter(match=f"{start}*", count=1000)])
            values = await ask(reckoner.redis, "MGET", *names) if names else []
        return {name.decode().removeprefix(start): value for name, value in zip(names, values, strict=True)}

    def truth(self, neighbours: int = 100, recency: float = 0.0, config: ModelConfig | None = None) -> Truth:
        """The correct answers for a model of the current snapshot."""
        current = self.store.current_snapshot()
        assert current is not None
        snapshot = open_snapshot(self.store.fetch("snapshots", current))
        wanted = config or ModelConfig(neighbours=neighbours)
        return Truth(snapshot, wanted, self.settings.list_length + self.settings.spare, recency)

    def reference_lists(self, generation: str, neighbours: int = 100, recency: float = 0.0) -> dict[str, bytes]:
        """The expected cached bytes of all users of the current snapshot."""
        return self.truth(neighbours, recency).lists(generation)

    async def forget_lists(self, generation: str) -> None:
        """Delete all users' lists."""
        async with self.reckoner() as reckoner:
            names = [self.keys.result(generation, user) for user in await self.lists(generation)]
            if names:
                await ask(reckoner.redis, "UNLINK", *names)

    async def idle(self) -> None:
        """Wait until no job is queued, no flow is live, and none of arq's keys is left."""
        async with self.reckoner() as reckoner:
            redis = reckoner.redis

            async def nothing_left() -> bool:
                if await ask(redis, "EXISTS", *self.keys.lanes, *self.keys.all_live):
                    return False
                return not [key async for key in redis.scan_iter(match="arq:*", count=1000)]

            await eventually(nothing_left)

    async def troubled(self) -> list[str]:
        """The workers' reasons for not seeing the store."""
        async with self.reckoner() as reckoner:
            return [each.beat.trouble for each in await reckoner.operator.alive() if each.beat and each.beat.trouble]

    async def nothing_failed(self) -> None:
        """Wait until the system is idle and no worker in trouble.

        Raises:
            AssertionError: a job failed or was refused, or a worker logged a stack trace.
        """

        async def nobody_is() -> bool:
            return not await self.troubled()

        await eventually(nobody_is)
        await self.idle()
        async with self.reckoner() as reckoner:
            assert not await ask(reckoner.redis, "EXISTS", self.keys.dead, self.keys.refused)
        assert "Traceback" not in self.log.read_text(), self.log.read_text()[-3000:]

    async def keys_for_ever(self) -> set[str]:
        """All keys without expiry."""
        async with self.reckoner() as reckoner:
            keys = [key.decode() async for key in reckoner.redis.scan_iter(count=1000)]
            return {key for key in keys if await ask(reckoner.redis, "TTL", key) == -1}

    async def keys_that_may_stay(self) -> set[str]:
        """The keys without expiry that an idle system may keep."""
        keys = self.keys
        named = {*keys.pointers, keys.generations, keys.store, keys.dead, keys.refused, *map(wake_key, keys.lanes)}
        named |= {keys.event_stream, keys.recents, keys.recent_versions, keys.stale, keys.taken, keys.later}
        named |= {keys.hidden, keys.hidden_version, keys.hidden_changes, keys.hidden_by_hand}
        named |= {keys.unavailable, keys.unavailable_of}
        named |= {keys.held, keys.barred, keys.counts, keys.history, *keys.history_orders}
        async with self.reckoner() as reckoner:
            for pointer in keys.pointers:
                generation = await reckoner.results.generations.pointer(pointer)
                record = await reckoner.results.generations.record(generation) if generation else None
                if record:
                    named |= {keys.record(record.generation), *(stem + record.snapshot for stem in keys.snapshot_stems)}
        return named


async def eventually(look: Callable[[], Awaitable[T | None]], every_s: float = 0.02) -> T:
    """Poll until the result is true, and return it."""
    until = time.monotonic() + PATIENCE_S
    while not (seen := await look()):
        assert time.monotonic() < until, "it never came"
        await asyncio.sleep(every_s)
    return seen


def synthetic_pairs(seed: int = 1, users: int = 60, items: int = 40, pairs: int = 600) -> list[tuple[str, str]]:
    """Random users and items with ids beyond letters, the first items popular."""
    rng = np.random.default_rng(seed)
    chosen_users = [*range(users), *rng.integers(0, users, pairs).tolist()]
    chosen_items = (items * rng.random(len(chosen_users)) ** 2).astype(int).tolist()
    return [(f"üser {user:03d}", f"item:{item:02d}") for user, item in zip(chosen_users, chosen_items, strict=True)]
