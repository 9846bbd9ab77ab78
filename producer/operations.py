"""The connections of a client, and what is asked about the system as a whole: generations, fits, runs, status."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from producer import steering
from producer.answers import JobReport, RunReport
from producer.asking import Asking
from producer.calls import ASK_S, moment_after, require_lane, require_number, told, until
from producer.questions import Questions
from producer.status import Status, read_status, read_workers
from producer.waiting import Waiting, patiently
from shared.defaults import MAX_QUEUED, MOST_BLOCK_USERS, MOST_PLACES
from shared.errors import FlowUnknownError, UsageError, WrongLoopError
from shared.flows import FLOWS_AT_ONCE, Flows
from shared.heartbeats import Heard, Heartbeats
from shared.ids import require_id
from shared.jobs import arq_deserializer, arq_serializer
from shared.model_config import ModelConfig, fit_spec, model_id
from shared.redis.connections import check, connect
from shared.redis.keys import Keys
from shared.results import Results, generation_id
from shared.runs import Runs
from shared.wire import Lane, Options, Record

if TYPE_CHECKING:
    from arq import ArqRedis

DEFAULT_N = 10


class Operations:
    """What operators and the command line ask; `Reckoner` adds what applications do."""

    def __init__(
        self,
        url: str,
        *,
        prefix: str = "reckoner",
        first_look_s: float = 10.0,
        max_queued: int | None = MAX_QUEUED,
    ) -> None:
        self.keys = Keys(prefix)
        self.redis: ArqRedis = connect(
            url,
            queue_name=self.keys.batch,
            job_serializer=arq_serializer,
            job_deserializer=arq_deserializer,
            max_connections=1,
        )
        self.flows = Flows(self.redis, self.keys, first_look_s)
        self.results = Results(self.redis, self.keys)
        self.runs = Runs(self.redis, self.keys, first_look_s)
        self._listening = connect(url, client_name="reckoner-listening")
        self._waiting = Waiting(self._listening, self.flows)
        self._asking = Asking(self.flows, self.results, self._waiting, max_queued)
        self._questions = Questions(self._asking, self.results)
        # The last one that was read: a record never changes.
        self._record: Record | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def require_own_loop(self) -> None:
        """Make sure that this client is used in one event loop alone: its connections are that loop's.

        Raises:
            WrongLoopError: it was used in another one.
        """
        loop = asyncio.get_running_loop()
        if self._loop not in (None, loop):
            raise WrongLoopError
        self._loop = loop

    async def __aenter__(self) -> Self:
        self.require_own_loop()
        try:
            await check(self.redis)
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        self.require_own_loop()
        await self._waiting.aclose()
        await self._listening.connection_pool.aclose()
        await self.redis.connection_pool.aclose()

    @property
    def closed(self) -> bool:
        """Whether it was left."""
        return self._waiting.closed

    @told
    async def generation(self, *, timeout: float | None = ASK_S) -> str:
        """The generation that is current.

        Raises:
            NothingFittedError: there is none yet.
        """
        return (await self._current()).generation

    async def _current(self) -> Record:
        record = self._record
        if record is None or record.generation != await self.results.pointer(self.keys.current):
            record = self._record = (await self.results.follow(self.keys.current)).require()
        return record

    @told
    async def reach(self, n: int | None = None, *, timeout: float | None = ASK_S) -> tuple[Record, int]:
        """The current generation, and how many places its readers get: `n`, or ten where its lists have as many.

        Raises:
            NothingFittedError: there is no generation yet, or its record is gone.
            UsageError: its lists have fewer than `n` places.
        """
        record = await self._current()
        length = record.options.list_length
        if n is not None and not 1 <= n <= length:
            raise UsageError(
                f"n is {n}, and has to be from 1 to {length}, the length of the cached lists; for longer ones set "
                "RECKONER_LIST_LENGTH and fit again."
            )
        return record, min(DEFAULT_N, length) if n is None else n

    async def _report(self, job: str) -> JobReport:
        flow = await self.flows.load(job)
        if flow is None:
            raise FlowUnknownError
        traces = await self.flows.traces(job)
        return JobReport(flow, flow.tasks if flow.state == "done" else await self.flows.stored(job), traces)

    @told
    async def fit(
        self, snapshot: str, config: ModelConfig, list_length: int, *, timeout: float | None = ASK_S
    ) -> tuple[str, str]:
        """Ask for the fit of a model, or join the one of the same generation that is under way.

        Returns:
            The job, and the id that the model has or will have.

        Raises:
            UsageError: the lists cannot be so long, or the snapshot's id cannot be one.
            QueueFullError: the batch lane takes no more.
        """
        require_id("snapshot", snapshot)
        require_number("The list length", list_length, MOST_PLACES)
        model = model_id(snapshot, config)
        generation = generation_id(model, Options(list_length))
        return await self._asking.create_fit(fit_spec(snapshot, config, list_length), generation), model

    @told
    async def newest(self, *, timeout: float | None = ASK_S) -> Record:
        """The record of the generation whose model was fitted last.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        return (await self.results.follow(self.keys.newest)).require()

    @told
    async def start_run(self, block_size: int, window: int, *, timeout: float | None = ASK_S) -> tuple[str, bool]:
        """Start a run of the newest generation, or join the one under way; returns its id and whether it is new.

        Raises:
            NothingFittedError: no model was fitted yet.
            UsageError: a block cannot have so many users, or no block may be under way.
        """
        require_number("The block size", block_size, MOST_BLOCK_USERS)
        require_number("The number of blocks in flight", window, FLOWS_AT_ONCE)
        return await self.runs.start(await self.newest(timeout=None), block_size, window)

    @told
    async def run(self, run_id: str, *, timeout: float | None = ASK_S) -> RunReport:
        """A run as it is now.

        Raises:
            FlowUnknownError: there is no such run, or it is forgotten.
            UsageError: the run's id is refused (`require_id`).
        """
        return await self._run(require_id("run", run_id))

    async def _run(self, run_id: str) -> RunReport:
        run = await self.runs.load(run_id)
        if run is None:
            raise FlowUnknownError
        return RunReport(run, run.blocks if run.state == "ended" else await self.runs.progress(run_id))

    async def follow(self, job: str, *, timeout: float | None = None) -> AsyncIterator[JobReport]:
        """Yield a job as it is, once a second and at its end, until it has ended; the last report is that of its end.

        Raises:
            FlowUnknownError: there is no such job (any more).
            RedisUnavailableError: Redis was away for longer than a minute.
            UsageError: the job's id is refused (`require_id`).
            WaitTimeoutError: it had not ended in time.
        """
        self.require_own_loop()
        moment = moment_after(timeout)
        async with self._waiting.hearing(require_id("job", job)) as hear:
            while True:
                async with until(moment):
                    await hear()
                    report = await patiently(lambda: self._report(job))
                yield report
                if report.flow.ended:
                    return

    async def follow_run(self, run_id: str, *, timeout: float | None = None) -> AsyncIterator[RunReport]:
        """Yield a run as it is, once a second and at its end, until it has ended; see `follow`."""
        self.require_own_loop()
        moment = moment_after(timeout)
        async with self._waiting.hearing(require_id("run", run_id)) as hear:
            while True:
                async with until(moment):
                    await hear()
                    report = await patiently(lambda: self._run(run_id))
                yield report
                if report.run.state == "ended":
                    return

    @told
    async def status(self, *, timeout: float | None = ASK_S) -> Status:
        """The system as it is now; it takes no longer when there is more."""
        return await read_status(self.redis, self.keys, self.results, self.runs)

    @told
    async def pause(self, lane: Lane, *, timeout: float | None = ASK_S) -> int:
        """Have workers take no more jobs from a lane; what runs comes to its end.

        Returns:
            Since when it is paused, in milliseconds since the epoch by the server's clock.

        Raises:
            UsageError: there is no such lane.
        """
        require_lane(lane)
        return await steering.pause(self.redis, self.keys, lane)

    @told
    async def resume(self, lane: Lane, *, timeout: float | None = ASK_S) -> bool:
        """Have workers take a lane's jobs again; False when it was not paused. See `pause`."""
        require_lane(lane)
        return await steering.resume(self.redis, self.keys, lane)

    @told
    async def alive(self, *, timeout: float | None = ASK_S) -> list[Heard]:
        """The workers that have been heard of within their lease, with what each says of itself."""
        return await Heartbeats(self.redis, self.keys).alive()

    @told
    async def drain(self, workers: Sequence[Heard], *, timeout: float | None = ASK_S) -> None:
        """Tell workers to claim nothing any more, and to end when they have done what they run; their supervisor starts
        no others in their places.

        Raises:
            DrainRefusedError: what one of them says of itself cannot be read; none was told then.
        """
        await steering.drain(self.redis, self.keys, workers)

    async def gone(self, workers: Sequence[str], *, timeout: float | None = None) -> AsyncIterator[str]:
        """Yield workers that were told to drain, as they end.

        Raises:
            RedisUnavailableError: Redis was away for longer than a minute.
            WaitTimeoutError: some had not ended in time.
        """
        self.require_own_loop()
        moment, ended = moment_after(timeout), steering.gone(self.redis, self.keys, workers)
        while True:
            async with until(moment):
                worker = await anext(ended, None)
            if worker is None:
                return
            yield worker

    @told
    async def workers(self, since_ms: int = 0, *, timeout: float | None = ASK_S) -> list[str]:
        """The workers that have been heard of within their lease, and since a moment by the server's clock."""
        return await read_workers(self.redis, self.keys, since_ms)
