"""Two lanes of one test, and engine workers in this process that run plain functions."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import msgspec
from arq import ArqRedis

from reckoner.shared.redis.connections import connect, open_pool
from reckoner.shared.redis.keys import Keys, in_progress_key, job_key, leases_key, tries_key
from reckoner.shared.redis.scripts import ask
from reckoner.workers.engine.claims import EngineKeys
from reckoner.workers.engine.connection import EngineRedis, connect_engine
from reckoner.workers.engine.worker import EngineWorker
from tests.patience import PATIENCE_S

if TYPE_CHECKING:
    from redis.asyncio import Redis

CLAIMED = 10**14
PAUSED = 2 * CLAIMED
ERRORS = {kind.__name__: kind for kind in (ValueError, TimeoutError, asyncio.CancelledError)}


def encode(value: dict[str, Any]) -> bytes:
    """A job or a result; exceptions become their name and message."""
    if isinstance(error := value.get("r"), BaseException):
        value = value | {"r": {"error": type(error).__name__, "words": str(error)}}
    return msgspec.msgpack.encode(value)


def decode(data: bytes) -> dict[str, Any]:
    """A job or a result."""
    value: dict[str, Any] = msgspec.msgpack.decode(data)
    if isinstance(error := value.get("r"), dict) and "error" in error:
        value["r"] = ERRORS.get(error["error"], RuntimeError)(error["words"])
    return value


async def until(holds: Callable[[], Any]) -> None:
    """Wait until `holds` is true; it may be awaitable."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = holds()
            if await answer if isinstance(answer, Awaitable) else answer:
                return
            await asyncio.sleep(0.005)


class Lanes:
    """Two lanes on a server, and the workers on them."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url = url
        self.keys = Keys(prefix)
        self.redis = self.connect()
        # A separate client, as of a producer.
        self.stock = ArqRedis(open_pool(url, client_name="test"), encode, decode, self.keys.click)
        self._names: list[str] = []
        self._pools: list[Redis] = [self.redis, self.stock]

    @property
    def click(self) -> str:
        return self.keys.click

    @property
    def batch(self) -> str:
        return self.keys.batch

    def name(self) -> str:
        """A unique job name: arq's keys of jobs are outside the prefix."""
        return uuid4().hex

    def connect(self) -> EngineRedis:
        """A pool of the engine's."""
        return connect_engine(
            self.url, client_name="test", queue_name=self.keys.click, job_serializer=encode, job_deserializer=decode
        )

    def make(self, *functions: Any, name: str = "a", lease_s: float = 2.0, **options: Any) -> EngineWorker:
        """A worker that does not run."""
        pool, waiting = self.connect(), connect(self.url, socket_timeout_s=10.0, max_connections=1)
        self._pools += [pool, waiting]
        keys = self.keys
        engine_keys = EngineKeys(keys.lanes, (False, True), keys.workers, keys.mail(name), keys.refused, keys.dead)
        given = {"handle_signals": False, "job_serializer": encode, "job_deserializer": decode, **options}
        return EngineWorker(functions, keys=engine_keys, waiting=waiting, lease_s=lease_s, redis_pool=pool, **given)

    @asynccontextmanager
    async def running(self, *workers: EngineWorker) -> AsyncIterator[None]:
        """Run workers, check that none has ended by itself, and close them."""
        async with AsyncExitStack() as stack:
            mains = []
            for worker in workers:
                mains.append(asyncio.create_task(worker.async_run()))
                stack.push_async_callback(worker.close)
                stack.push_async_callback(stopped, worker, mains[-1])
            yield
            for main in mains:
                if main.done():
                    main.result()

    async def put(self, lane: str, *jobs: str, function: str = "work", place: int | None = None) -> None:
        """Put jobs into a lane as the engine does, at a chosen place."""
        for job in jobs:
            made = await self.redis.enqueue_job(function, _job_id=job, _queue_name=lane)
            assert made is not None
            if place is not None:
                await ask(self.redis, "ZADD", lane, place, job)

    async def score(self, lane: str, job: str) -> float | None:
        """A job's score."""
        score = await ask(self.redis, "ZSCORE", lane, job)
        return None if score is None else float(score)

    async def lease(self, lane: str, job: str) -> float | None:
        """The deadline of a job's lease."""
        score = await ask(self.redis, "ZSCORE", leases_key(lane), job)
        return None if score is None else float(score)

    async def is_paused(self, lane: str, job: str) -> bool:
        """Whether a job is in backoff."""
        return (await self.score(lane, job) or 0) >= PAUSED

    async def tries(self, job: str) -> int:
        """How many tries of a job are counted."""
        return int(await ask(self.redis, "GET", tries_key(job)) or 0)

    async def token(self, job: str) -> bytes | None:
        """The token of a job's claim."""
        token: bytes | None = await ask(self.redis, "GET", in_progress_key(job))
        return token

    async def size(self) -> int:
        """How many jobs the lanes hold."""
        return sum([int(await ask(self.redis, "ZCARD", lane)) for lane in self.keys.lanes])

    async def idle(self) -> bool:
        """Whether nothing is in the lanes."""
        return not await self.size()

    async def left(self, *jobs: str) -> int:
        """How many keys of these jobs and of the lanes remain."""
        names = [key(job) for job in jobs for key in (job_key, in_progress_key, tries_key)]
        return int(await ask(self.redis, "EXISTS", *names, *self.keys.lanes, *map(leases_key, self.keys.lanes)))

    async def dead(self) -> list[dict[bytes, bytes]]:
        """The dead letters."""
        letters = await ask(self.redis, "XRANGE", self.keys.dead, "-", "+")
        return [fields for _, fields in letters]

    async def close(self) -> None:
        """Let go of all connections."""
        for pool in self._pools:
            await pool.aclose(close_connection_pool=True)


async def stopped(worker: EngineWorker, main: "asyncio.Task[None]") -> None:
    """Stop a worker, and wait for its end."""
    worker.stop(0.0)
    with contextlib.suppress(asyncio.CancelledError):
        await main


async def died(worker: EngineWorker, main: "asyncio.Task[None]") -> None:
    """End a worker like a SIGKILL: running jobs are not settled, and leases are not renewed."""
    main.cancel()
    await asyncio.gather(main, return_exceptions=True)
    tasks = list(worker.tasks.values())
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    worker._ended.clear()
