"""Waiting: for the ends of jobs, which are told on a channel and looked for besides, through a Redis that goes away."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import RedisError

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import ClientClosedError, RedisUnavailableError, WaitTimeoutError
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.redis.connections import is_transient_redis_error, unavailable

if TYPE_CHECKING:
    from arq import ArqRedis
    from redis.asyncio.client import PubSub

T = TypeVar("T")
Told = asyncio.Queue["tuple[str, Flow | None] | Exception"]

# Between two looks at what is waited for, should a message be lost.
LOOK_S = 1.0
# For how long whoever waits bears with a Redis that is away.
PATIENCE_S = 60.0
KNOCK_S = 0.5
# For how long one read of the connection that listens may last.
SILENCE_S = 3600.0


async def patiently(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work`, and again while Redis is away.

    Raises:
        RedisUnavailableError: it was away for longer than a minute.
    """
    until = time.monotonic() + PATIENCE_S
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_transient_redis_error(error):
                raise
            if time.monotonic() >= until:
                raise RedisUnavailableError(
                    "Redis has gone away; what was asked for goes on when it is back."
                ) from error
        await asyncio.sleep(KNOCK_S)


class Waiting:
    """All waits of one client: they share one connection that listens, and look at Redis together by `flows`.

    One task reads what is told, and one keeps the subscriptions and looks: at a job whose end was told, at a job to
    whose channel the subscription has just begun, so that no end falls in between, and once a second at all.
    """

    def __init__(self, listening: "ArqRedis", flows: Flows) -> None:
        self._listening = listening
        self._flows = flows
        self._waits: dict[str, set[Told]] = {}
        self._hearers: dict[str, set[asyncio.Event]] = {}
        self._due: set[str] = set()
        self._subscribed: set[str] = set()
        self._stir = asyncio.Event()
        self._keeping: asyncio.Task[None] | None = None
        self.closed = False

    async def ends(self, jobs: Sequence[str], timeout_s: float | None = None) -> AsyncIterator[tuple[str, Flow | None]]:
        """Yield each job with its flow as it ends, None for one that is not known (any more).

        Raises:
            WaitTimeoutError: some had not ended in time.
            RedisUnavailableError: Redis was away for longer than a minute.
            ClientClosedError: the client was closed.
        """
        until = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        told: Told = asyncio.Queue()
        still_open = set(jobs)
        with self._registered(self._waits, still_open, told):
            while still_open:
                try:
                    async with asyncio.timeout_at(until):
                        ended = await told.get()
                except TimeoutError as error:
                    raise WaitTimeoutError from error
                if isinstance(ended, Exception):
                    # Each call raises one of its own: what it goes through is noted in it.
                    raise copy(ended) from ended
                still_open.discard(ended[0])
                yield ended

    @contextlib.asynccontextmanager
    async def hearing(self, ended_id: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """What returns when something is told of a job or run, or the listening to it begins, and after a second."""
        heard = asyncio.Event()

        async def hear() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await heard.wait()
            heard.clear()
            self._require_open()

        with self._registered(self._hearers, [ended_id], heard):
            if ended_id in self._subscribed:
                # The subscription is there already, so no message announces it.
                heard.set()
            yield hear

    async def aclose(self) -> None:
        """Stop; whoever waits gets a ClientClosedError."""
        self.closed = True
        if self._keeping is not None:
            await cancel_and_wait(self._keeping)
        self._tell_all(ClientClosedError())
        for heard in self._hearers.values():
            for event in heard:
                event.set()

    def _require_open(self) -> None:
        if self.closed:
            raise ClientClosedError

    @contextlib.contextmanager
    def _registered(self, registry: dict[str, set[T]], ids: Iterable[str], who: T) -> Iterator[None]:
        self._require_open()
        named = list(ids)
        for name in named:
            registry.setdefault(name, set()).add(who)
        # Nobody will say that these subscriptions begin.
        self._due.update(self._subscribed.intersection(named))
        self._stir.set()
        if self._keeping is None:
            self._keeping = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            for name in named:
                others = registry.get(name, set())
                others.discard(who)
                if not others:
                    registry.pop(name, None)
            self._stir.set()

    async def _keep(self) -> None:
        while True:
            while not (self._waits or self._hearers):
                self._stir.clear()
                await self._stir.wait()
            try:
                await self._attend()
            except Exception as error:
                try:
                    if not is_transient_redis_error(error):
                        raise
                    await patiently(self._listening.ping)
                except RedisError as reason:
                    self._tell_all(unavailable(self._listening, reason))
                except Exception as reason:
                    self._tell_all(reason)
                await asyncio.sleep(KNOCK_S)

    async def _attend(self) -> None:
        """Keep the subscriptions and look, on a new connection, until that is lost."""
        clock = asyncio.get_running_loop().time
        async with self._listening.pubsub() as listener:
            await listener.connect()
            reading = asyncio.create_task(self._read(listener))
            reading.add_done_callback(lambda _: self._stir.set())
            looked = clock()
            try:
                while not reading.done():
                    self._stir.clear()
                    await self._subscribe(listener)
                    if clock() >= looked + LOOK_S:
                        self._due.update(self._waits)
                        looked = clock()
                    await self._look()
                    idle = not self._waits
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(None if idle else looked + LOOK_S):
                            await self._stir.wait()
                    if idle:
                        looked = clock()
                await reading
            finally:
                self._subscribed = set()
                await cancel_and_wait(reading)
                await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, listener: "PubSub") -> None:
        while True:
            message = await listener.get_message(timeout=SILENCE_S)
            if message is None or message["type"] not in ("message", "subscribe"):
                continue
            told_of = message["channel"].decode().removeprefix(self._flows.keys.events(""))
            self._due.add(told_of)
            for event in self._hearers.get(told_of, ()):
                event.set()
            self._stir.set()

    async def _subscribe(self, listener: "PubSub") -> None:
        wanted = self._waits.keys() | self._hearers.keys()
        channel = self._flows.keys.events
        if new := wanted - self._subscribed:
            await listener.subscribe(*map(channel, new))
        if gone := self._subscribed - wanted:
            await listener.unsubscribe(*map(channel, gone))
        self._subscribed = wanted

    async def _look(self) -> None:
        """Look at all jobs that are due, in one round trip, and tell those that have ended or are not known."""
        jobs, self._due = list(self._due & self._waits.keys()), set()
        if not jobs:
            return
        for job, flow in zip(jobs, await self._flows.load_many(jobs), strict=True):
            # What cannot be read is ended by the sweeper.
            if isinstance(flow, DamagedFlowError) or (flow is not None and not flow.ended):
                continue
            for told in self._waits.pop(job, ()):
                told.put_nowait((job, flow))

    def _tell_all(self, error: Exception) -> None:
        waits, self._waits = self._waits, {}
        for told in set().union(*waits.values()):
            told.put_nowait(error)
