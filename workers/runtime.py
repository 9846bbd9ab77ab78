"""What every task of one worker process is handed: the connections, the open artifacts, the threads."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from arq import ArqRedis

from shared.errors import NothingFittedError
from shared.flows import Flows
from shared.models import Model, open_model
from shared.redis.keys import Keys
from shared.redis.scripts import ask
from shared.results import Results
from shared.runs import Runs
from shared.settings import Settings
from shared.snapshots import Snapshot, open_snapshot
from shared.store import Store
from shared.wire import Record
from workers.turns import Turns

T = TypeVar("T")
R = TypeVar("R")

# A generation in use and the one that a run is making, each with a model and a snapshot.
OPEN_AT_ONCE = 4


class Shelf(Generic[T]):
    """The last few immutable things that were asked for: a model is opened once, and memory stays bounded."""

    def __init__(self) -> None:
        self._kept: OrderedDict[str, T] = OrderedDict()

    def get(self, name: str) -> T | None:
        """The thing of that name, if it was put here lately."""
        if name in self._kept:
            self._kept.move_to_end(name)
        return self._kept.get(name)

    def put(self, name: str, thing: T) -> T:
        """Keep a thing, and let go of the one that was not asked for the longest."""
        self._kept[name] = thing
        if len(self._kept) > OPEN_AT_ONCE:
            self._kept.popitem(last=False)
        return thing


@dataclass(frozen=True)
class Runtime:
    """One worker process."""

    worker_id: str
    settings: Settings
    redis: ArqRedis
    keys: Keys
    flows: Flows
    runs: Runs
    results: Results
    store: Store
    turns: Turns
    threads: ThreadPoolExecutor
    running: dict[str, int] = field(default_factory=dict)
    """The jobs that are being delivered, and since when, in milliseconds since the epoch by this host's clock."""
    # Opened one at a time: numpy parses headers with ast, and in two threads at once that of CPython 3.11 can fail when
    # the garbage collector comes in between ("AST constructor recursion depth mismatch").
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _models: Shelf[Model] = field(default_factory=Shelf)
    _snapshots: Shelf[Snapshot] = field(default_factory=Shelf)
    _records: Shelf[Record] = field(default_factory=Shelf)

    async def model(self, model_id: str) -> Model:
        """A model, opened once."""
        async with self._opening:
            return self._models.get(model_id) or self._models.put(
                model_id, await self.in_thread(lambda: open_model(self._fetch("models", model_id)))
            )

    async def snapshot(self, snapshot_id: str) -> Snapshot:
        """A snapshot, opened once."""
        async with self._opening:
            return self._snapshots.get(snapshot_id) or self._snapshots.put(
                snapshot_id, await self.in_thread(lambda: open_snapshot(self._fetch("snapshots", snapshot_id)))
            )

    def _fetch(self, kind: Any, artifact_id: str) -> Path:
        return self.store.fetch(kind, artifact_id)

    async def record(self, generation: str) -> Record:
        """What a generation was made with.

        Raises:
            NothingFittedError: its record is gone.
        """
        known = self._records.get(generation)
        if known:
            return known
        record = await self.results.record(generation)
        if record is None:
            raise NothingFittedError(f"The record of generation {generation} is gone; fit a model again.")
        return self._records.put(generation, record)

    async def now_ms(self) -> int:
        """The server's clock, in milliseconds since the epoch."""
        seconds, microseconds = await ask(self.redis, "TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def in_thread(self, work: Callable[[], R]) -> R:
        """Do blocking work beside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, work)

    async def kernel(self, work: Callable[[Any], R | None]) -> R:
        """Run a kernel in a thread; `work` is handed its stop flag, which is set when the task is cancelled."""
        stop = np.zeros(1, np.uint8)
        running = asyncio.get_running_loop().run_in_executor(self.threads, work, stop)
        try:
            answer = await asyncio.shield(running)
        except asyncio.CancelledError:
            # A thread cannot be ended from outside: the task ends when its kernel has seen the flag.
            stop[0] = 1
            await asyncio.wait([running])
            raise
        if answer is None:
            raise RuntimeError("a kernel stopped without being told to")
        return answer
