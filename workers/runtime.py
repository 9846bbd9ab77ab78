"""What every task of one worker process is handed: the connections, the open artifacts, the threads."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from arq import ArqRedis

from shared.cancelling import end
from shared.errors import ArtifactDamagedError, ArtifactMissingError, NothingFittedError
from shared.flows import Flows
from shared.manifests import MANIFEST_NAME
from shared.model_config import ModelConfig
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
    _making: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)

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

        To compile takes seconds, and on a slow machine longer than a task may run.

        Raises:
            NotNowError: it takes too long.
        """
        await self._make(kernels, lambda: self.in_thread(kernels))

    async def lay_out(self, snapshot: Snapshot, config: ModelConfig) -> None:
        """Have a snapshot laid out for the fit of a configuration, in a batch thread; once for all who ask.

        Raises:
            NotNowError: it takes too long.
        """
        # A snapshot that was imported again, since its files were damaged, is another one.
        key = id(snapshot), config

        async def make() -> None:
            try:
                await self.kernel("batch", lambda stop: self.layouts.counting(snapshot, config, stop))
            finally:
                # It is kept with the layouts, and let go there.
                self._making.pop(key, None)
                self.layouts.counted()

        if self.layouts.counting_at_hand(snapshot, config) is None:
            await self._make(key, make)

    async def _make(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, object]]) -> None:
        """Have something made, once for all who ask; it goes on being made while a task that waits is handed back.

        Raises:
            NotNowError: it takes too long; the task comes again.
        """
        if key not in self._making:
            self._making[key] = asyncio.create_task(make())
            # There may be nobody left whom a failure could be told.
            self._making[key].add_done_callback(lambda made: made.cancelled() or made.exception())
        making = self._making[key]
        await asyncio.wait([making], timeout=self.turns.patience_s)
        if not making.done():
            raise NotNowError
        if (making.cancelled() or making.exception() is not None) and self._making.get(key) is making:
            # The next one tries anew.
            del self._making[key]
        making.result()

    async def stop_making(self) -> None:
        """End what is made for tasks that will not come again here."""
        await end(*self._making.values())

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
