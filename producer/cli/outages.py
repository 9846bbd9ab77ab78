"""Warnings of a waiting command: Redis is away, no worker is running, or a lane is paused."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner

# Gives a new worker the time for its first heartbeat.
PAUSE_S = 1.0

NO_WORKERS = "No worker is running. Waiting for one: start it with `reckoner worker`."
PAUSED = "The {lane} lane is paused. Its jobs continue after `reckoner resume {lane}`."
NO_REDIS = "Redis does not answer. Waiting for it for up to a minute."


@asynccontextmanager
async def warn_of_outages(reckoner: "OpenReckoner", warn: Callable[[str], None]) -> AsyncIterator[None]:
    """Warn once of each outage that begins while the block waits."""
    import asyncio

    watching = asyncio.create_task(_watch(reckoner, warn))
    try:
        yield
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _watch(reckoner: "OpenReckoner", warn: Callable[[str], None]) -> None:
    import asyncio

    from reckoner.shared.redis.connections import is_transient_redis_error

    warned = None
    while True:
        await asyncio.sleep(PAUSE_S)
        try:
            outage = await _outage(reckoner)
        except Exception as error:
            if not is_transient_redis_error(error):
                raise
            outage = NO_REDIS
        if outage not in (None, warned):
            warn(outage)
        warned = outage


async def _outage(reckoner: "OpenReckoner") -> str | None:
    from reckoner.producer.client.status import read_paused, read_workers

    if not await read_workers(reckoner.redis, reckoner.keys):
        return NO_WORKERS
    paused = await read_paused(reckoner.redis, reckoner.keys)
    return PAUSED.format(lane=paused[0]) if paused else None
