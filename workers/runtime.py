"""What every task of one worker process is handed: the connections, the open artifacts, the threads."""

import asyncio
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from arq import ArqRedis

from shared.errors import ArtifactDamagedError, ArtifactMissingError, NothingFittedError
from shared.flows import Flows
from shared.manifests import MANIFEST_NAME
from shared.models import Model, open_model
from shared.redis.keys import Keys
from shared.redis.scripts import ask
from shared.results import Results
from shared.runs import Runs
from shared.settings import Settings
from shared.snapshots import Snapshot, open_snapshot
from shared.store import ArtifactKind, Store
from shared.wire import Lane, Record
from workers.engine.outcomes import NotNowError
from workers.flows_at_hand import FlowsAtHand
from workers.kernels.score import ADDITIONS_PER_MS
from workers.layouts import Layouts
from workers.shelf import Shelf, Watch
from workers.threads import Threads
from workers.turns import Turns

T = TypeVar("T")
R = TypeVar("R")

# Some 0.2 ms with the call. From thread to thread and back takes as long, and longer while the cores are busy.
ADDITIONS_ON_LOOP = 0.15 * ADDITIONS_PER_MS
REMEDIES: Mapping[ArtifactKind, str] = {
    "snapshots": "importing the same data again makes it whole",
    "models": "`reckoner fit`, given the same options, builds it again",
}


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
    threads: Threads
    running: dict[str, int] = field(default_factory=dict)
    """The jobs that are being delivered, and since when, in milliseconds since the epoch by this host's clock."""
    at_hand: FlowsAtHand = field(default_factory=FlowsAtHand)
    layouts: Layouts = field(default_factory=Layouts)
    # Opened one at a time: numpy parses headers with ast, and in two threads at once that of CPython 3.11 can fail when
    # the garbage collector comes in between ("AST constructor recursion depth mismatch").
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _models: Shelf[Model] = field(default_factory=Shelf)
    _snapshots: Shelf[Snapshot] = field(default_factory=Shelf)
    _records: Shelf[Record] = field(default_factory=Shelf)
    _loading: dict[Callable[[], object], asyncio.Task[object]] = field(default_factory=dict)

    async def model(self, model_id: str) -> Model:
        """A model, opened once and again after it was built again.

        Raises:
            ArtifactMissingError: the store does not hold it (any more).
            ArtifactDamagedError: it cannot be opened.
        """
        return await self._open(self._models, "models", model_id, open_model)

    def look_again(self, model_id: str) -> None:
        """See a model that this worker has just published when it is next asked for; others see it a moment later."""
        self._models.look_again(model_id)

    async def snapshot(self, snapshot_id: str) -> Snapshot:
        """A snapshot, opened once and again after it was imported again; see `model`."""
        return await self._open(self._snapshots, "snapshots", snapshot_id, open_snapshot)

    async def _open(self, shelf: Shelf[T], kind: ArtifactKind, artifact_id: str, opener: Callable[[Path], T]) -> T:
        def open_now() -> tuple[T, Watch]:
            directory = self.store.fetch(kind, artifact_id)
            watch = Watch(directory / MANIFEST_NAME)
            return opener(directory), watch

        if (kept := shelf.get(artifact_id)) is not None:
            return kept
        async with self._opening:
            # It may have been opened by whoever was before.
            if (kept := shelf.get(artifact_id)) is not None:
                return kept
            try:
                return shelf.put(artifact_id, *await self.in_thread(open_now))
            except (ArtifactMissingError, ArtifactDamagedError) as error:
                raise type(error)(f"{str(error).rstrip('.')}; {REMEDIES[kind]}.", **error.evidence) from error

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
        return await self.threads.block(work)

    async def load(self, kernels: Callable[[], object]) -> None:
        """Have a function import kernels, and compile them where need be, beside the loop; once for all who ask.

        To compile takes seconds, and on a slow machine longer than a task may run: it goes on while the task is handed
        back, and comes again.

        Raises:
            NotNowError: it takes too long.
        """
        if kernels not in self._loading:
            self._loading[kernels] = asyncio.create_task(self.in_thread(kernels))
        loading = self._loading[kernels]
        await asyncio.wait([loading], timeout=self.turns.patience_s)
        if not loading.done():
            raise NotNowError
        if loading.exception() is not None:
            # The next one tries anew.
            self._loading.pop(kernels, None)
        loading.result()

    async def kernel(self, lane: Lane, work: Callable[[Any], R | None], additions: float = math.inf) -> R:
        """Run a kernel in a thread of its lane and in its turn, or right here if it is about to do few `additions`.

        `work` is handed its stop flag, uint8[1], which is set when the task is cancelled.

        Raises:
            NotNowError: the kernels ahead of it take too long.
        """
        stop = np.zeros(1, np.uint8)
        if additions < ADDITIONS_ON_LOOP:
            self.turns.skip(lane)
            return _not_stopped(work(stop))
        async with self.turns.turn(lane):
            running = self.threads.compute(lane, lambda: work(stop))
            try:
                return _not_stopped(await asyncio.shield(running))
            except asyncio.CancelledError:
                # A thread cannot be ended from outside: the task ends when its kernel has seen the flag.
                stop[0] = 1
                await asyncio.wait([running])
                raise


def _not_stopped(answer: R | None) -> R:
    if answer is None:
        raise RuntimeError("a kernel stopped without being told to")
    return answer
