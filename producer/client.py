"""`Reckoner`: asks for recommendations from application code, waits for and reads them; without numpy or store."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from producer.status import Status, Tell, read_status, read_workers, untold
from producer.waiting import patiently, wait_for_flows
from shared.errors import (
    FlowFailedError,
    FlowUnknownError,
    NothingFittedError,
    UsageError,
)
from shared.flow_state import Flow
from shared.flows import Flows
from shared.model_config import ModelConfig, model_id
from shared.redis.connections import check, connect
from shared.redis.keys import Keys
from shared.results import Answer, Results, generation_id
from shared.runs import Run, Runs
from shared.wire import FitSpec, Options, Record, Trace, UserSpec, arq_deserializer, arq_serializer

if TYPE_CHECKING:
    from arq import ArqRedis

# Between two looks at what is followed.
FOLLOW_S = 0.2
DEFAULT_N = 10
# How often a user is asked for again when Redis has lost both flow and result.
MOST_ASKS = 3


@dataclass(frozen=True)
class Enqueued:
    """What was asked for one user: the job that works for it, None when the cached list is the answer."""

    user: str
    job: str | None


@dataclass(frozen=True)
class JobReport:
    """A job as it is now."""

    flow: Flow
    tasks_done: int
    traces: dict[int, Trace]


@dataclass(frozen=True)
class RunReport:
    """A run as it is now."""

    run: Run
    blocks_done: int

    @property
    def users_done(self) -> int:
        """How many users the blocks that are done have, at least; the last block may be smaller than the others."""
        return min(self.blocks_done * self.run.block_size, self.run.users)


class Reckoner:
    """A connection to Ready Reckoner.

    Use it as an asynchronous context manager; on entry it raises RedisUnavailableError when Redis does not answer.
    """

    def __init__(self, url: str, *, prefix: str = "reckoner", first_look_s: float = 10.0) -> None:
        self.keys = Keys(prefix)
        self.redis: ArqRedis = connect(
            url, queue_name=self.keys.queue, job_serializer=arq_serializer, job_deserializer=arq_deserializer
        )
        self.flows = Flows(self.redis, self.keys, first_look_s)
        self.results = Results(self.redis, self.keys)
        self.runs = Runs(self.redis, self.keys, first_look_s)
        # The last one that was read: a record never changes.
        self._record: Record | None = None

    async def __aenter__(self) -> Self:
        try:
            await check(self.redis)
        except BaseException:
            await self.redis.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.redis.aclose()

    async def generation(self) -> str:
        """The generation that is current.

        Raises:
            NothingFittedError: there is none yet.
        """
        current = await self.results.current()
        if current is None:
            raise NothingFittedError
        return current

    async def reach(self, n: int | None = None) -> tuple[Record, int]:
        """The current generation, and how many places its readers get: `n`, or ten where its lists have as many.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: its lists have fewer than `n` places.
        """
        generation, record = await self.generation(), self._record
        if record is None or record.generation != generation:
            record = self._record = await self.results.record(generation)
        if record is None:
            raise NothingFittedError
        length = record.options.list_length
        if n is not None and not 1 <= n <= length:
            raise UsageError(
                f"n is {n}, and has to be from 1 to {length}, the length of the cached lists; for longer ones set "
                "RECKONER_LIST_LENGTH and fit again."
            )
        return record, min(DEFAULT_N, length) if n is None else n

    async def enqueue(
        self, users: Sequence[str], *, fresh: bool = False, generation: str | None = None
    ) -> list[Enqueued]:
        """Ask for lists for `users`: for those who have none in the cache, or for all when `fresh`.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: a user's id cannot be written as UTF-8.
        """
        _require_text(users)
        generation = generation or await self.generation()
        cached = [None] * len(users) if fresh else await self.results.read(generation, users)
        wanted = [user for user, result in zip(users, cached, strict=True) if result is None]
        jobs = iter(
            await self.flows.create(
                [UserSpec(user, generation) for user in wanted],
                [self.keys.join_user(generation, user) for user in wanted],
            )
        )
        return [Enqueued(u, next(jobs) if r is None else None) for u, r in zip(users, cached, strict=True)]

    async def recommend(
        self, users: Sequence[str], n: int | None = None, *, fresh: bool = False, timeout_s: float | None = None
    ) -> list[Answer]:
        """Ask for lists, wait for them, and return their first `n` places; see `reach`.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: the cached lists have fewer than `n` places, or a user's id cannot be written as UTF-8.
            FlowFailedError: a job failed.
            WaitTimeoutError: they were not there in time; the jobs go on.
        """
        _require_text(users)
        record, n = await self.reach(n)
        if not fresh:
            # Most often everything is cached, and this is all there is to do.
            answers = await self.results.answer(users, n, record)
            if all(answer.source == "cache" for answer in answers):
                return answers
        failed = await self.compute(users, record.generation, fresh=fresh, timeout_s=timeout_s)
        for user, reason in failed.items():
            raise FlowFailedError(f"The job for user {user} failed: {reason}.", failed=failed)
        return await self.results.answer(users, n, record)

    async def compute(
        self, users: Sequence[str], generation: str, *, fresh: bool = False, timeout_s: float | None = None
    ) -> dict[str, str]:
        """Ask for lists and wait until they are in the cache; returns the users whose job failed, with the reason.

        Raises:
            WaitTimeoutError: they were not there in time; the jobs go on.
        """
        open_users, until = list(users), None if timeout_s is None else time.monotonic() + timeout_s
        failed: dict[str, str] = {}
        for _ in range(MOST_ASKS):
            asked = await self.enqueue(open_users, fresh=fresh, generation=generation)
            jobs = {entry.job: entry.user for entry in asked if entry.job}
            left = None if until is None else until - time.monotonic()
            open_users = []
            async for job, flow in self.wait(list(jobs), left):
                if flow is None:
                    open_users.append(jobs[job])
                elif flow.state != "done":
                    failed[jobs[job]] = flow.reason or flow.state
            if not open_users:
                return failed
        return failed | dict.fromkeys(open_users, "Redis lost the job, and lost it again")

    async def wait(self, jobs: Sequence[str], timeout_s: float | None = None) -> AsyncIterator[tuple[str, Flow | None]]:
        """Yield each job with its flow as it ends, None for one that is not known (any more).

        Raises:
            WaitTimeoutError: some had not ended in time.
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        async for ended in wait_for_flows(self.redis, self.flows, jobs, until):
            yield ended

    async def get(self, users: Sequence[str], n: int | None = None) -> list[Answer]:
        """The cached lists, with the popular list for users who have none; see `reach`. It asks for nothing.

        Raises:
            NothingFittedError: there is no generation yet.
            UsageError: the cached lists have fewer than `n` places, or a user's id cannot be written as UTF-8.
        """
        _require_text(users)
        record, n = await self.reach(n)
        return await self.results.answer(users, n, record)

    async def job(self, job: str) -> JobReport:
        """A job as it is now.

        Raises:
            FlowUnknownError: there is no such job, or it is forgotten.
        """
        flow = await self.flows.load(job)
        if flow is None:
            raise FlowUnknownError
        traces = await self.flows.traces(job)
        return JobReport(flow, flow.tasks if flow.state == "done" else await self.flows.stored(job), traces)

    async def fit(self, snapshot: str, config: ModelConfig, list_length: int) -> tuple[str, str]:
        """Ask for the fit of a model, or join the one of the same generation that is under way.

        Returns:
            The job, and the id that the model has or will have.
        """
        model = model_id(snapshot, config)
        generation = generation_id(model, Options(list_length))
        spec = FitSpec(snapshot, config.similarity, config.neighbours, config.shrink, list_length)
        return (await self.flows.create([spec], [self.keys.join_fit(generation)]))[0], model

    async def newest(self) -> Record:
        """The record of the generation whose model was fitted last.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        newest = await self.results.pointer(self.keys.newest)
        record = await self.results.record(newest) if newest else None
        if record is None:
            raise NothingFittedError
        return record

    async def start_run(self, block_size: int, window: int) -> tuple[str, bool]:
        """Start a run of the newest generation, or join the one under way; returns its id and whether it is new.

        Raises:
            NothingFittedError: no model was fitted yet.
        """
        return await self.runs.start(await self.newest(), block_size, window)

    async def run(self, run_id: str) -> RunReport:
        """A run as it is now.

        Raises:
            FlowUnknownError: there is no such run, or it is forgotten.
        """
        run = await self.runs.load(run_id)
        if run is None:
            raise FlowUnknownError
        return RunReport(run, run.blocks if run.state == "ended" else await self.runs.progress(run_id))

    async def follow(self, job: str) -> AsyncIterator[JobReport]:
        """Yield a job as it is, a few times a second, until it has ended; the last report is that of its end.

        Raises:
            FlowUnknownError: there is no such job (any more).
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        while True:
            report = await patiently(lambda: self.job(job))
            yield report
            if report.flow.ended:
                return
            await asyncio.sleep(FOLLOW_S)

    async def follow_run(self, run_id: str) -> AsyncIterator[RunReport]:
        """Yield a run as it is, a few times a second, until it has ended; see `follow`."""
        while True:
            report = await patiently(lambda: self.run(run_id))
            yield report
            if report.run.state == "ended":
                return
            await asyncio.sleep(FOLLOW_S)

    async def status(self, tell: Tell = untold) -> Status:
        """The system as it is now; `tell` hears how many keys of how many were looked at to count the results."""
        return await read_status(self.redis, self.keys, self.results, self.runs, tell)

    async def workers(self, since_ms: int = 0) -> list[str]:
        """The workers that have been heard of within the last seconds, or since a moment by the server's clock."""
        return await read_workers(self.redis, self.keys, since_ms)


def _require_text(users: Sequence[str]) -> None:
    for user in users:
        try:
            user.encode()
        except UnicodeEncodeError as error:
            raise UsageError(
                f"The user {user!a} has half of a surrogate pair, so it is no text that can be an id."
            ) from error


async def wait_for_workers(reckoner: Reckoner, count: int, since_ms: int, timeout_s: float) -> bool:
    """Wait until `count` workers have been heard of since a moment; False when they were not in time."""
    until = time.monotonic() + timeout_s
    while len(await reckoner.workers(since_ms)) < count:
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(0.05)
    return True
