"""`Reckoner`: asks for recommendations from application code, waits for and reads them; without numpy or store."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Self

from shared.errors import FlowFailedError, FlowUnknownError, NothingFittedError, WaitTimeoutError, WireError
from shared.flows import DamagedFlowError, Flow, Flows
from shared.redis.connections import check, connect
from shared.redis.keys import Keys
from shared.redis.scripts import ask
from shared.results import Answer, Results
from shared.runs import Run, Runs
from shared.wire import FitSpec, Record, Trace, UserSpec, arq_deserializer, arq_serializer

if TYPE_CHECKING:
    from arq import ArqRedis

# Between two looks at what is waited for, should a message be lost.
LOOK_S = 1.0
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
class Status:
    """The system as it is now."""

    redis_version: str
    redis_memory_bytes: int
    workers: list[str]
    queued: int
    flows: dict[str, int]
    runs: list[Run]
    generation: str | None
    previous: str | None
    newest: str | None
    results: int
    dead: int
    refused: dict[str, int]


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
        self.results = Results(self.redis, self.keys, self.flows)
        self.runs = Runs(self.redis, self.keys, first_look_s)

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

    async def enqueue(
        self, users: Sequence[str], *, fresh: bool = False, generation: str | None = None
    ) -> list[Enqueued]:
        """Ask for lists for `users`: for those who have none in the cache, or for all when `fresh`.

        Raises:
            NothingFittedError: there is no generation yet.
        """
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
        self, users: Sequence[str], n: int = 10, *, fresh: bool = False, timeout_s: float | None = None
    ) -> list[Answer]:
        """Ask for lists, wait for them, and return their first `n` places.

        Raises:
            NothingFittedError: there is no generation yet.
            FlowFailedError: a job failed.
            WaitTimeoutError: they were not there in time; the jobs go on.
        """
        generation = await self.generation()
        failed = await self.compute(users, generation, fresh=fresh, timeout_s=timeout_s)
        for user, reason in failed.items():
            raise FlowFailedError(f"The job for user {user} failed: {reason}.", failed=failed)
        return await self.results.answer(users, n, generation)

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
        """
        until = None if timeout_s is None else time.monotonic() + timeout_s
        channels = {self.keys.events(job): job for job in jobs}
        still_open = dict.fromkeys(jobs)
        if not still_open:
            return
        async with self.redis.pubsub(ignore_subscribe_messages=True) as listener:
            await listener.subscribe(*channels)
            looked = 0.0
            told: list[str] = []
            while still_open:
                if time.monotonic() - looked >= LOOK_S:
                    told, looked = list(still_open), time.monotonic()
                for job, flow in zip(told, await self.flows.load_many(told), strict=True):
                    if isinstance(flow, DamagedFlowError) or (flow is not None and not flow.ended):
                        continue
                    still_open.pop(job, None)
                    yield job, flow
                if not still_open:
                    return
                if until is not None and time.monotonic() >= until:
                    raise WaitTimeoutError
                message = await listener.get_message(timeout=LOOK_S)
                told = [channels[message["channel"].decode()]] if message else []

    async def get(self, users: Sequence[str], n: int = 10) -> list[Answer]:
        """The cached lists, with the popular list for users who have none; asks for nothing.

        Raises:
            NothingFittedError: there is no generation yet.
        """
        return await self.results.answer(users, n)

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

    async def fit(self, spec: FitSpec, model: str) -> str:
        """Ask for the fit of a model, or join the one under way; returns the job."""
        return (await self.flows.create([spec], [self.keys.join_fit(model)]))[0]

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

    async def status(self) -> Status:
        """The system as it is now."""
        redis, keys = self.redis, self.keys
        info = await redis.info()
        members = [member.decode(errors="replace") for member in await ask(redis, "ZRANGE", keys.live, 0, -1)]
        generation = await self.results.current()
        return Status(
            redis_version=str(info["redis_version"]),
            redis_memory_bytes=int(info["used_memory"]),
            workers=await self.workers(),
            queued=int(await ask(redis, "ZCARD", keys.queue)),
            flows=await self._flow_states([m.removeprefix("flow:") for m in members if m.startswith("flow:")]),
            runs=await self._runs([m.removeprefix("run:") for m in members if m.startswith("run:")]),
            generation=generation,
            previous=await self.results.pointer(keys.previous),
            newest=await self.results.pointer(keys.newest),
            results=await self._count(keys.result(generation, "*")) if generation else 0,
            dead=int(await ask(redis, "XLEN", keys.dead)),
            refused={k.decode(): int(v) for k, v in (await ask(redis, "HGETALL", keys.refused)).items()},
        )

    async def workers(self, since_ms: int = 0) -> list[str]:
        """The workers that have been heard of within the last seconds, or since a moment by the server's clock."""
        seconds, _ = await ask(self.redis, "TIME")
        oldest = max(since_ms, (int(seconds) - 5) * 1000)
        names = await ask(self.redis, "ZRANGEBYSCORE", self.keys.workers, oldest, "+inf")
        return sorted(name.decode(errors="replace") for name in names)

    async def _flow_states(self, flow_ids: Sequence[str]) -> dict[str, int]:
        counts = {"split": 0, "run": 0, "reduce": 0}
        async with self.redis.pipeline(transaction=False) as pipe:
            for flow_id in flow_ids:
                pipe.hget(self.keys.flow(flow_id), "state")
            for state in await pipe.execute():
                name = (state or b"").decode(errors="replace")
                if name in counts:
                    counts[name] += 1
        return counts

    async def _runs(self, run_ids: Sequence[str]) -> list[Run]:
        runs = []
        for run_id in run_ids:
            try:
                runs.append(await self.runs.load(run_id))
            except WireError:
                continue
        return [run for run in runs if run is not None]

    async def _count(self, pattern: str) -> int:
        count = 0
        async for _ in self.redis.scan_iter(match=pattern, count=1000):
            count += 1
        return count


async def wait_for_workers(reckoner: Reckoner, count: int, since_ms: int, timeout_s: float) -> bool:
    """Wait until `count` workers have been heard of since a moment; False when they were not in time."""
    until = time.monotonic() + timeout_s
    while len(await reckoner.workers(since_ms)) < count:
        if time.monotonic() >= until:
            return False
        await asyncio.sleep(0.05)
    return True
