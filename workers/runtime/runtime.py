"""What every task of one worker process is handed: the connections, the open artifacts, the threads."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
import structlog
from arq import ArqRedis

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, NothingFittedError
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis.keys import Keys, tries_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import Settings
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.protocol import ArtifactKind, Store
from reckoner.shared.store.snapshots import Snapshot, open_snapshot
from reckoner.shared.wire.shapes import FitSpec, Lane, Record, Spec
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.kernels.scoring.score import ADDITIONS_PER_MS
from reckoner.workers.runtime.artifact_cache import ArtifactCache, Looks, Watch
from reckoner.workers.runtime.layouts import Layouts
from reckoner.workers.runtime.open_flows import OpenFlows
from reckoner.workers.runtime.opening import Opener, Opening
from reckoner.workers.runtime.scheduling import Turns
from reckoner.workers.runtime.store_watch import StoreWatch
from reckoner.workers.runtime.threads import Threads

T = TypeVar("T")
R = TypeVar("R")

log = structlog.get_logger()

# Some 0.2 ms with the call. From thread to thread and back takes as long, and longer while the cores are busy.
ADDITIONS_ON_LOOP = 0.15 * ADDITIONS_PER_MS
# As long as a count of deaths lives, which each death renews.
TRIES_TTL_S = 88_400
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
    opening: Opening
    looks: Looks
    turns: Turns
    threads: Threads
    store_watch: StoreWatch
    running: dict[str, int] = field(default_factory=dict)
    """The jobs that are being delivered, and since when, in milliseconds since the epoch by this host's clock."""
    open_flows: OpenFlows = field(default_factory=OpenFlows)
    layouts: Layouts = field(default_factory=Layouts)
    # Opened one at a time: numpy parses headers with ast, and in two threads at once that of CPython 3.11 can fail when
    # the garbage collector comes in between ("AST constructor recursion depth mismatch").
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)
    _models: ArtifactCache[Model] = field(default_factory=ArtifactCache)
    _snapshots: ArtifactCache[Snapshot] = field(default_factory=ArtifactCache)
    _records: ArtifactCache[Record] = field(default_factory=ArtifactCache)
    _making: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)

    async def model(self, model_id: str) -> Model:
        """A model that this host has verified, opened once and again after it was built again.

        Raises:
            ArtifactMissingError: the store does not hold it (any more).
            ArtifactDamagedError: it is damaged, and was set aside.
            StoreError: it cannot be read for now.
            NotNowError: to verify it takes too long; the task comes again.
        """
        return await self._open(self._models, "models", model_id, open_model)

    async def snapshot(self, snapshot_id: str) -> Snapshot:
        """A snapshot, opened once and again after it was imported again; see `model`."""
        return await self._open(self._snapshots, "snapshots", snapshot_id, open_snapshot)

    async def verify_model(self, model_id: str, since_s: float) -> None:
        """Verify a model unless this host has done so within the last `since_s` seconds; it raises as `model` does."""
        key = "verify", model_id

        async def make() -> None:
            try:
                await self.in_store(partial(self.opening.verify, "models", model_id, open_model, since_s))
            finally:
                self._making.pop(key, None)

        await self._make(key, make)

    async def note_published(self, model_id: str) -> None:
        """See a model that this worker has just published when it is next asked for; others see it a moment later."""
        self._models.look_again(model_id)
        await ask(self.redis, "DEL", self.keys.trouble(model_id))

    async def require_current(self, *opened: Model | Snapshot, closely: bool) -> None:
        """Make sure that what was computed of these is of what lies in the store until this moment.

        What is published anew is always seen. That a file was written to is seen when it is looked at `closely`, in a
        thread, or else at the next look.

        Raises:
            NotNowError: one of them was damaged or published anew, or the store does not answer; the task comes again.
        """
        watches = list[Watch]()
        for artifact in opened:
            shelf: ArtifactCache[Any] = self._models if isinstance(artifact, Model) else self._snapshots
            kept, watch = shelf.get(artifact.id)
            if kept is not artifact or watch is None:
                raise NotNowError
            watches.append(watch)
        if closely or not all(watch.is_fresh for watch in watches):
            await self.looks.look(watches)
        if not all(watch.current for watch in watches):
            raise NotNowError

    async def distrust(self, job_id: str, deaths: int, spec: Spec) -> None:
        """Have a job's artifacts verified since its last start without an end, once by each host: one may be deadly."""
        if not deaths:
            return
        left_ms = int(await ask(self.redis, "PTTL", tries_key(job_id)))
        since_s = TRIES_TTL_S - left_ms / 1000 if left_ms > 0 else 0.0
        for kind, artifact_id in await self._read_by(spec):
            if await self.in_store(partial(self.opening.distrust, kind, artifact_id, since_s)):
                log.warning("artifact verified anew after a death", kind=kind, id=artifact_id, job=job_id)
                (self._models if kind == "models" else self._snapshots).look_again(artifact_id)

    async def _read_by(self, spec: Spec) -> list[tuple[ArtifactKind, str]]:
        if isinstance(spec, FitSpec):
            return [("snapshots", spec.snapshot)]
        record = await self.record(spec.generation)
        return [("snapshots", record.snapshot), ("models", record.model)]

    async def _open(self, shelf: ArtifactCache[T], kind: ArtifactKind, artifact_id: str, opener: Opener[T]) -> T:
        if (kept := await self._current(shelf, artifact_id)) is not None:
            return kept
        key = kind, artifact_id

        async def make() -> T:
            try:
                # It may have been opened by whoever was before.
                async with self._one_at_a_time:
                    if (kept := await self._current(shelf, artifact_id)) is not None:
                        return kept
                    opened = await self.in_store(partial(self.opening.open, kind, artifact_id, opener))
                    made = shelf.put(artifact_id, *opened)
                    await self.in_store(partial(self.opening.let_go, kind, but=shelf))
                    return made
            except (ArtifactMissingError, ArtifactDamagedError) as error:
                raise type(error)(f"{str(error).rstrip('.')}; {REMEDIES[kind]}.", **error.evidence) from error
            finally:
                self._making.pop(key, None)

        return await self._make(key, make)

    async def _current(self, shelf: ArtifactCache[T], artifact_id: str) -> T | None:
        """What is open, if it was current when the store was last looked at: lately, or now."""
        kept, watch = shelf.get(artifact_id)
        if watch is not None and not watch.is_fresh:
            await self.looks.look([watch])
        return kept if watch is not None and watch.current else None

    async def record(self, generation: str) -> Record:
        """What a generation was made with.

        Raises:
            NothingFittedError: its record is gone.
        """
        known, _ = self._records.get(generation)
        if known:
            return known
        record = await self.results.generations.record(generation)
        if record is None:
            raise NothingFittedError(f"The record of generation {generation} is gone; fit a model again.")
        return self._records.put(generation, record)

    async def trouble_lasts_s(self, name: str, gap_s: float = math.inf) -> float:
        """For how long the environment has failed a job or a run, in seconds: since this was asked first.

        When it was not asked for `gap_s`, it has done well meanwhile.
        """
        now_ms, key = await self.now_ms(), self.keys.trouble(name)
        since, _, last = (await ask(self.redis, "GET", key) or b"").partition(b":")
        if not since.isdigit() or not last.isdigit() or now_ms - int(last) > gap_s * 1000:
            since = b"%d" % now_ms
        life_ms = int(2000 * self.settings.trouble_s) + 60_000
        await ask(self.redis, "SET", key, f"{int(since)}:{now_ms}", "PX", life_ms)
        return max(0, now_ms - int(since)) / 1000

    async def now_ms(self) -> int:
        """The server's clock, in milliseconds since the epoch."""
        seconds, microseconds = await ask(self.redis, "TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def in_thread(self, work: Callable[[], R]) -> R:
        """Do work that takes a while, and leaves the store alone, beside the event loop."""
        return await self.threads.block(work)

    async def in_store(self, work: Callable[[], R]) -> R:
        """Read or write the store beside the event loop."""
        return await self.threads.use_store(work)

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

        if self.layouts.cached_counting(snapshot, config) is None:
            await self._make(key, make)

    async def _make(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Have something made, once for all who ask; it goes on being made while a task that waits is handed back.

        Raises:
            NotNowError: it takes too long; the task comes again.
        """
        if key not in self._making:
            self._making[key] = asyncio.create_task(make())
            # There may be nobody left whom a failure could be told.
            self._making[key].add_done_callback(lambda made: made.cancelled() or made.exception())
        making: asyncio.Task[R] = self._making[key]
        await asyncio.wait([making], timeout=self.turns.patience_s)
        if not making.done():
            raise NotNowError
        if (making.cancelled() or making.exception() is not None) and self._making.get(key) is making:
            # The next one tries anew.
            del self._making[key]
        return making.result()

    async def stop_making(self) -> None:
        """End what is made for tasks that will not come again here."""
        await cancel_and_wait(*self._making.values())

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
