"""Waiting: for the ends of jobs, which are told on a channel and looked for besides, through a Redis that goes away."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from redis.asyncio import Redis

from shared.errors import RedisUnavailableError, WaitTimeoutError
from shared.flow_state import DamagedFlowError, Flow
from shared.flows import Flows
from shared.redis.connections import is_server_trouble

T = TypeVar("T")

# Between two looks at what is waited for, should a message be lost.
LOOK_S = 1.0
# For how long whoever waits bears with a Redis that is away.
PATIENCE_S = 60.0
KNOCK_S = 0.5


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
            if not is_server_trouble(error):
                raise
            if time.monotonic() >= until:
                raise RedisUnavailableError(
                    "Redis has gone away; what was asked for goes on when it is back."
                ) from error
        await asyncio.sleep(KNOCK_S)


async def wait_for_flows(
    redis: Redis, flows: Flows, jobs: Sequence[str], until: float | None
) -> AsyncIterator[tuple[str, Flow | None]]:
    """Yield each job with its flow as it ends, None for one that is not known (any more).

    Raises:
        WaitTimeoutError: some had not ended at the moment `until` of the monotonic clock.
        RedisUnavailableError: Redis was away for longer than a minute.
    """
    still_open = dict.fromkeys(jobs)
    while still_open:
        try:
            async for job, flow in _listen(redis, flows, list(still_open), until):
                del still_open[job]
                yield job, flow
        except Exception as error:
            if not is_server_trouble(error):
                raise
            await patiently(redis.ping)


async def _listen(
    redis: Redis, flows: Flows, jobs: Sequence[str], until: float | None
) -> AsyncIterator[tuple[str, Flow | None]]:
    """`wait_for_flows` on one connection, which subscribes before it looks, so that no end falls in between."""
    channels = {flows.keys.events(job): job for job in jobs}
    still_open = dict.fromkeys(jobs)
    async with redis.pubsub(ignore_subscribe_messages=True) as listener:
        await listener.subscribe(*channels)
        looked = 0.0
        told: list[str] = []
        while still_open:
            if time.monotonic() - looked >= LOOK_S:
                told, looked = list(still_open), time.monotonic()
            for job, flow in zip(told, await flows.load_many(told), strict=True):
                if isinstance(flow, DamagedFlowError) or (flow is not None and not flow.ended):
                    continue
                del still_open[job]
                yield job, flow
            if not still_open:
                return
            if until is not None and time.monotonic() >= until:
                raise WaitTimeoutError
            message = await listener.get_message(timeout=LOOK_S)
            told = [channels[message["channel"].decode()]] if message else []
            # Its end may have been seen before it was told.
            told = [job for job in told if job in still_open]
