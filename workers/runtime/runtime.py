"""The runtime of one worker process: connections, open artifacts and threads, passed to every task."""

import asyncio
import math
from collections.abc import Callable, Coroutine, Hashable, Mapping
from dataclasses import dataclass, field
from functools import partial
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
import structlog
from arq import ArqRedis

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, NothingFittedError
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.runs import Runs
from reckoner.shared.metrics.counters import Counters
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.events import Events
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import Settings
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.protocol import ArtifactKind, Store
from reckoner.shared.store.snapshots import Snapshot, open_snapshot
from reckoner.shared.tracing import span
from reckoner.shared.wire.shapes import EvaluationSpec, FitSpec, Lane, Record, Spec
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.kernels.scoring.score import ADDITIONS_PER_MS
from reckoner.workers.runtime.artifact_cache import ArtifactCache, VersionCheck, VersionChecker
from reckoner.workers.runtime.artifact_opener import ArtifactOpener, OpenFunction
from reckoner.workers.runtime.layout_files import Layout
from reckoner.workers.runtime.layouts import Layouts
from reckoner.workers.runtime.masks import Masks
from reckoner.workers.runtime.open_flows import OpenFlows
from reckoner.workers.runtime.scheduling import Scheduler
from reckoner.workers.runtime.store_watch import StoreWatch
from reckoner.workers.runtime.threads import Threads

T = TypeVar("T")
R = TypeVar("R")

log = structlog.get_logger()

# About 0.2 ms with the call, no longer than the way to a thread and back.
ADDITIONS_ON_LOOP = 0.15 * ADDITIONS_PER_MS
REMEDIES: Mapping[ArtifactKind, str] = {
    "snapshots": "import the same data again to restore it",
    "models": "run `reckoner fit` with the same options to rebuild it",
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
    events: Events
    store: Store
    artifact_opener: ArtifactOpener
    version_checker: VersionChecker
    scheduler: Scheduler
    threads: Threads
    store_watch: StoreWatch
    layouts: Layouts
    masks: Masks
    counters: Counters
    running: dict[str, int] = field(default_factory=dict)
    """The running jobs with their start, in milliseconds since the epoch by this host's clock."""
    open_flows: OpenFlows = field(default_factory=OpenFlows)
    # numpy parses headers with ast, which in CPython 3.11 can fail in two threads at once.
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)
    _models: ArtifactCache[Model] = field(default_factory=ArtifactCache)
    _snapshots: ArtifactCache[Snapshot] = field(default_factory=ArtifactCache)
    _records: ArtifactCache[Record] = field(default_factory=ArtifactCache)
    _shared_work: dict[Hashable, asyncio.Task[Any]] = field(default_factory=dict)

    async def model(self, model_id: str) -> Model:
        """A verified model. It is opened once, and again after a rebuild.

        Raises:
            ArtifactMissingError: the store does not have it.
            ArtifactDamagedError: it is damaged and was quarantined.
            StoreError: it cannot be read now.
            NotNowError: the verification takes long; the task is retried.
        """
        return await self._open(self._models, "models", model_id, open_model)

    async def snapshot(self, snapshot_id: str) -> Snapshot:
        """A verified snapshot; see `model`."""
        return await self._open(self._snapshots, "snapshots", snapshot_id, open_snapshot)

    async def verify_model(self, model_id: str, since_s: float) -> None:
        """Verify a model unless this host verified it in the last `since_s` seconds. Raises as `model` does."""
        key = "verify", model_id

        async def make() -> None:
            try:
                await self.in_store(partial(self.artifact_opener.verify, "models", model_id, open_model, since_s))
            finally:
                self._shared_work.pop(key, None)

        await self._run_shared(key, make)

    async def note_published(self, model_id: str) -> None:
        """Make a model that this worker has just published visible to its next task."""
        self._models.expire(model_id)
        await ask(self.redis, "DEL", self.keys.trouble(model_id), self.keys.heal(model_id))

    async def require_current(self, *opened: Model | Snapshot, layout: Layout | None = None, closely: bool) -> None:
        """Require that these artifacts are still the versions in the store, and that a layout's file is unchanged.

        A republished artifact is always noticed. A changed file is noticed now if `closely`, else at the next check.

        Raises:
            NotNowError: an artifact changed or the store does not answer; the task is retried.
        """
        checks = list[VersionCheck]()
        for artifact in opened:
            cache: ArtifactCache[Any] = self._models if isinstance(artifact, Model) else self._snapshots
            kept, check = cache.get(artifact.id)
            if kept is not artifact or check is None:
                raise NotNowError
            checks.append(check)
        if layout is not None and layout.check is not None:
            checks.append(layout.check)
        if closely or not all(check.is_fresh for check in checks):
            await self.version_checker.check(checks)
        if not all(check.current for check in checks):
            raise NotNowError

    async def invalidate_after_deaths(self, deaths: int, spec: Spec) -> None:
        """Require a new verification of a job's artifacts if it killed a worker and one of this host crashed.

        Deaths without a crash say nothing: a worker may have been killed from outside, or have stood still.
        """
        if not deaths:
            return
        for kind, artifact_id in await self._read_by(spec):
            await self.in_store(partial(self.artifact_opener.invalidate_after_crash, kind, artifact_id))
            self._reopen(kind, artifact_id)

    async def invalidate_given_up(self, job_id: str, spec: Spec) -> None:
        """Require a new verification of the artifacts of a job that was given up, however its workers died."""
        for kind, artifact_id in await self._read_by(spec):
            log.warning("artifact invalidated", kind=kind, id=artifact_id, reason="a job was given up", job=job_id)
            await self.in_store(partial(self.artifact_opener.invalidate, kind, artifact_id))
            self._reopen(kind, artifact_id)

    def _reopen(self, kind: ArtifactKind, artifact_id: str) -> None:
        """Check an artifact before its next use, and map its layouts anew: another process may have removed them."""
        (self._models if kind == "models" else self._snapshots).expire(artifact_id)
        self.layouts.drop(artifact_id)

    async def _read_by(self, spec: Spec) -> list[tuple[ArtifactKind, str]]:
        if isinstance(spec, FitSpec):
            return [("snapshots", spec.snapshot)]
        if isinstance(spec, EvaluationSpec):
            return [("snapshots", spec.snapshot), ("models", spec.model)]
        record = await self.record(spec.generation)
        return [("snapshots", record.snapshot), ("models", record.model)]

    async def _open(self, cache: ArtifactCache[T], kind: ArtifactKind, artifact_id: str, opener: OpenFunction[T]) -> T:
        if (kept := await self._current(cache, artifact_id)) is not None:
            return kept
        key = kind, artifact_id

        async def make() -> T:
            try:
                async with self._opening:
                    # Another task may have opened it while this one waited for the lock.
                    if (kept := await self._current(cache, artifact_id)) is not None:
                        return kept
                    opened = await self.in_store(partial(self.artifact_opener.open, kind, artifact_id, opener))
                    made = cache.put(artifact_id, *opened)
                    await self.in_store(partial(self.artifact_opener.release, kind, but=cache))
                    return made
            except (ArtifactMissingError, ArtifactDamagedError) as error:
                raise type(error)(f"{str(error).rstrip('.')}; {REMEDIES[kind]}.", **error.evidence) from error
            finally:
                self._shared_work.pop(key, None)

        return await self._run_shared(key, make)

    async def _current(self, cache: ArtifactCache[T], artifact_id: str) -> T | None:
        """The cached artifact, if it is still the version in the store."""
        kept, check = cache.get(artifact_id)
        if check is not None and not check.is_fresh:
            await self.version_checker.check([check])
        return kept if check is not None and check.current else None

    async def record(self, generation: str) -> Record:
        """The record of a generation.

        Raises:
            NothingFittedError: it is gone.
        """
        known, _ = self._records.get(generation)
        if known:
            return known
        record = await self.results.generations.record(generation)
        if record is None:
            raise NothingFittedError(f"The record of generation {generation} is gone; fit a model again.")
        return self._records.put(generation, record)

    async def now_ms(self) -> int:
        """The server's clock, in milliseconds since the epoch."""
        seconds, microseconds = await ask(self.redis, "TIME")
        return int(seconds) * 1000 + int(microseconds) // 1000

    async def in_thread(self, work: Callable[[], R]) -> R:
        """Run slow work that does not use the store, beside the event loop."""
        return await self.threads.block(work)

    async def in_store(self, work: Callable[[], R]) -> R:
        """Read or write the store beside the event loop."""
        return await self.threads.use_store(work)

    async def load(self, kernels: Callable[[], object]) -> None:
        """Import kernels beside the event loop, once for all callers. Compiling them can take longer than a task may.

        Raises:
            NotNowError: it takes too long.
        """
        await self._run_shared(kernels, lambda: self.in_thread(kernels))

    async def lay_out(self, snapshot: Snapshot, config: ModelConfig, popular: int) -> None:
        """Lay out a snapshot for a fit with dense rows of `popular` items, in a batch thread, once for all callers.

        Raises:
            NotNowError: it takes too long.
        """
        # By identity: a snapshot that was imported again has the same id.
        key = id(snapshot), config, popular

        async def make() -> None:
            try:
                await self.kernel("batch", lambda stop: self.layouts.counting(snapshot, config, popular, stop))
            finally:
                self._shared_work.pop(key, None)
                self.layouts.release_counting_later()

        if self.layouts.cached_counting(snapshot, config, popular) is None:
            await self._run_shared(key, make)

    async def layout(self, model: Model, first: int, last: int, lane: Lane) -> Layout:
        """The candidates first..last-1 of a model, laid out once by the first process of this host that needs them.

        Raises:
            NotNowError: it takes too long, or the model was opened anew.
        """
        key = "layout", id(model), first, last

        async def make() -> Layout:
            try:
                version = self._version_of(model)
                return await self.layouts.open_or_make(model, version, first, last, partial(self.kernel, lane))
            finally:
                self._shared_work.pop(key, None)

        kept = self.layouts.cached(model, first, last)
        return await self._run_shared(key, make) if kept is None else kept

    def _version_of(self, model: Model) -> str:
        """The fingerprint of an open model's files. Raises NotNowError if it was opened anew."""
        opened, check = self._models.get(model.id)
        if opened is not model or check is None:
            raise NotNowError
        return check.opened

    async def warm_up(self) -> None:
        """Open what jobs of the current and the newest generation need, and the layouts that this host has.

        A worker's first job would take a hundred times as long as the next, and a worker that often dies would start it
        in vain. No layout is made here: rows that were damaged in silence would end all workers that start together.
        """
        generations, settings = self.results.generations, self.settings
        for pointer in (self.keys.current, self.keys.newest):
            record = (await generations.follow(pointer)).record
            if record is not None:
                model, _ = await self.model(record.model), await self.snapshot(record.snapshot)
                for tasks in (1, settings.tasks_per_job):
                    bounds = model.task_bounds(settings.chunks, tasks).tolist()
                    for first, last in pairwise(bounds):
                        await self.layouts.open(model, self._version_of(model), first, last)

    async def remove_unused_layouts(self) -> None:
        """Remove this host's layouts of models that the store does not have, and those that no process uses."""
        for model in self.layouts.models:
            if not await self.in_store(partial(self.store.fingerprint, "models", model.id)):
                self.layouts.drop(model.id)
        await self.layouts.remove_unused()

    async def _run_shared(self, key: Hashable, make: Callable[[], Coroutine[Any, Any, R]]) -> R:
        """Share one run of `make` between all callers. It goes on after a caller gave up waiting.

        Raises:
            NotNowError: it takes too long; the task is retried.
        """
        if key not in self._shared_work:
            self._shared_work[key] = asyncio.create_task(make())
            # Mark a failure as retrieved: all callers may have given up.
            self._shared_work[key].add_done_callback(lambda made: made.cancelled() or made.exception())
        making: asyncio.Task[R] = self._shared_work[key]
        await asyncio.wait([making], timeout=self.scheduler.patience_s)
        if not making.done():
            raise NotNowError
        if (making.cancelled() or making.exception() is not None) and self._shared_work.get(key) is making:
            # The next caller starts over.
            del self._shared_work[key]
        return making.result()

    async def stop_shared_work(self) -> None:
        """Cancel shared work when the worker ends."""
        await cancel_and_wait(*self._shared_work.values())

    async def kernel(self, lane: Lane, work: Callable[[Any], R | None], additions: float = math.inf) -> R:
        """Run a kernel in a thread of its lane, or on the event loop if it does few `additions`.

        `work` gets a stop flag, uint8[1], which is set when the task is cancelled.

        Raises:
            NotNowError: no thread became free in time.
        """
        stop = np.zeros(1, np.uint8)
        if additions < ADDITIONS_ON_LOOP:
            self.scheduler.skip(lane)
            with span("kernel"):
                return _not_stopped(work(stop))
        async with self.scheduler.turn(lane):
            running = self.threads.compute(lane, lambda: work(stop))
            try:
                with span("kernel"):
                    return _not_stopped(await asyncio.shield(running))
            except asyncio.CancelledError:
                # A thread cannot be cancelled: wait until the kernel sees the flag.
                stop[0] = 1
                await asyncio.wait([running])
                raise


def _not_stopped(answer: R | None) -> R:
    if answer is None:
        raise RuntimeError("a kernel stopped although its stop flag was not set")
    return answer
