"""Waits for the ends of jobs, by notifications and by polling, and survives outages of Redis."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import TYPE_CHECKING, TypeVar

from redis.exceptions import RedisError

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import ClientClosedError, RedisUnavailableError, WaitTimeoutError
from reckoner.shared.flows.flow_state import ENDED, DamagedFlowError, State
from reckoner.shared.flows.flows import Flows
from reckoner.shared.redis.connections import is_transient_redis_error, unavailable
from reckoner.shared.tracing import span

if TYPE_CHECKING:
    from redis.asyncio import Redis
    from redis.asyncio.client import PubSub

T = TypeVar("T")
Ends = asyncio.Queue["tuple[str, State | None] | Exception"]
# The message on a job's channel is the state in which it ended.
STATES = {state.encode(): state for state in ENDED}

# Between two polls, in case a notification is lost.
POLL_S = 1.0
# The longest outage of Redis that a wait survives.
LONGEST_OUTAGE_S = 60.0
RETRY_S = 0.5
# The timeout of one read from the listening connection.
READ_S = 3600.0


async def retry_while_away(work: Callable[[], Awaitable[T]]) -> T:
    """Do `work`, and retry it while Redis is away.

    Raises:
        RedisUnavailableError: Redis was away for longer than a minute.
    """
    until = time.monotonic() + LONGEST_OUTAGE_S
    while True:
        try:
            return await work()
        except Exception as error:
            if not is_transient_redis_error(error):
                raise
            if time.monotonic() >= until:
                raise RedisUnavailableError("Redis is unavailable. Jobs continue when it is back.") from error
        await asyncio.sleep(RETRY_S)


class Waiting:
    """All waits of one client, which share one listening connection and poll Redis together through `flows`.

    One task reads notifications, which name the state of an ended job. Another keeps the subscriptions and polls: a job
    just subscribed to, since its end may have come before, and once a second all jobs.
    """

    def __init__(self, listening: "Redis", flows: Flows) -> None:
        self._listening = listening
        self._flows = flows
        self._waits: dict[str, set[Ends]] = {}
        self._listeners: dict[str, set[asyncio.Event]] = {}
        self._due: set[str] = set()
        self._subscribed: set[str] = set()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.closed = False

    async def ends(
        self, jobs: Sequence[str], timeout_s: float | None = None
    ) -> AsyncIterator[tuple[str, State | None]]:
        """Yield each job with its state when it ends; the state is None for an unknown or expired job.

        Raises:
            WaitTimeoutError: some did not end in time.
            RedisUnavailableError: Redis was away for longer than a minute.
            ClientClosedError: the client was closed.
        """
        until = None if timeout_s is None else asyncio.get_running_loop().time() + timeout_s
        ends: Ends = asyncio.Queue()
        still_open = set(jobs)
        with (
            span("wait", attributes={"jobs": len(jobs)}, current=False),
            self._registered(self._waits, still_open, ends),
        ):
            while still_open:
                try:
                    async with asyncio.timeout_at(until):
                        ended = await ends.get()
                except TimeoutError as error:
                    raise WaitTimeoutError from error
                if isinstance(ended, Exception):
                    # A copy for each caller, since raising adds a traceback.
                    raise copy(ended) from ended
                still_open.discard(ended[0])
                yield ended

    @contextlib.asynccontextmanager
    async def notifications(self, ended_id: str) -> AsyncIterator[Callable[[], Awaitable[None]]]:
        """Yields a function that waits for a notification of a job or run, its subscription, or a second."""
        event = asyncio.Event()

        async def notified() -> None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL_S):
                    await event.wait()
            event.clear()
            self._require_open()

        with self._registered(self._listeners, [ended_id], event):
            if ended_id in self._subscribed:
                # Redis confirms a subscription only once.
                event.set()
            yield notified

    async def aclose(self) -> None:
        """Stop; all waits raise ClientClosedError."""
        self.closed = True
        if self._task is not None:
            await cancel_and_wait(self._task)
        self._fail_all(ClientClosedError())
        for event in set().union(*self._listeners.values()):
            event.set()

    def _require_open(self) -> None:
        if self.closed:
            raise ClientClosedError

    @contextlib.contextmanager
    def _registered(self, registry: dict[str, set[T]], ids: Iterable[str], waiter: T) -> Iterator[None]:
        self._require_open()
        named = list(ids)
        for name in named:
            registry.setdefault(name, set()).add(waiter)
        # Redis does not confirm these subscriptions again.
        self._due.update(self._subscribed.intersection(named))
        self._wake.set()
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            for name in named:
                others = registry.get(name, set())
                others.discard(waiter)
                if not others:
                    registry.pop(name, None)
            self._wake.set()

    async def _run(self) -> None:
        while True:
            while not (self._waits or self._listeners):
                self._wake.clear()
                await self._wake.wait()
            try:
                await self._serve()
            except Exception as error:
                try:
                    if not is_transient_redis_error(error):
                        raise
                    await retry_while_away(self._listening.ping)
                except RedisError as reason:
                    self._fail_all(unavailable(self._listening, reason))
                except Exception as reason:
                    self._fail_all(reason)
                await asyncio.sleep(RETRY_S)

    async def _serve(self) -> None:
        """Keep the subscriptions and poll, on a new connection, until it is lost."""
        clock = asyncio.get_running_loop().time
        async with self._listening.pubsub() as listener:
            await listener.connect()
            reading = asyncio.create_task(self._read(listener))
            reading.add_done_callback(lambda _: self._wake.set())
            polled = clock()
            try:
                while not reading.done():
                    self._wake.clear()
                    await self._subscribe(listener)
                    if clock() >= polled + POLL_S:
                        self._due.update(self._waits)
                        polled = clock()
                    await self._poll()
                    idle = not self._waits
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout_at(None if idle else polled + POLL_S):
                            await self._wake.wait()
                    if idle:
                        polled = clock()
                await reading
            finally:
                self._subscribed = set()
                await cancel_and_wait(reading)
                await asyncio.gather(reading, return_exceptions=True)

    async def _read(self, listener: "PubSub") -> None:
        while True:
            message = await listener.get_message(timeout=READ_S)
            if message is None or message["type"] not in ("message", "subscribe"):
                continue
            job = message["channel"].decode().removeprefix(self._flows.keys.events(""))
            if (state := STATES.get(message["data"])) is not None:
                self._end(job, state)
            else:
                self._due.add(job)
            for event in self._listeners.get(job, ()):
                event.set()
            self._wake.set()

    async def _subscribe(self, listener: "PubSub") -> None:
        wanted = self._waits.keys() | self._listeners.keys()
        channel = self._flows.keys.events
        if new := wanted - self._subscribed:
            await listener.subscribe(*map(channel, new))
        if gone := self._subscribed - wanted:
            await listener.unsubscribe(*map(channel, gone))
        self._subscribed = wanted

    async def _poll(self) -> None:
        """Poll all due jobs in one round trip, and pass on those that have ended or are unknown."""
        jobs, self._due = list(self._due & self._waits.keys()), set()
        if not jobs:
            return
        for job, flow in zip(jobs, await self._flows.load_many(jobs), strict=True):
            # The sweeper ends an unreadable flow.
            if isinstance(flow, DamagedFlowError) or (flow is not None and not flow.ended):
                continue
            self._end(job, flow.state if flow else None)

    def _end(self, job: str, state: State | None) -> None:
        """Pass on that a job has ended, or is unknown."""
        for ends in self._waits.pop(job, ()):
            ends.put_nowait((job, state))

    def _fail_all(self, error: Exception) -> None:
        waits, self._waits = self._waits, {}
        for ends in set().union(*waits.values()):
            ends.put_nowait(error)
