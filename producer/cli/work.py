"""What a command says while it waits and Redis or the workers are away."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reckoner.producer.client.reckoner import Reckoner

# A worker that has just been started is given the time to be heard.
PAUSE_S = 1.0

NOBODY = "No worker is running; this waits until one is, for example one started with `reckoner worker`."
PAUSED = "The {lane} lane is paused; what waits in it goes on after `reckoner resume {lane}`."
NO_REDIS = "Redis does not answer; this waits for it, but not for longer than a minute."


@asynccontextmanager
async def minding_workers(reckoner: "Reckoner", tell: Callable[[str], None]) -> AsyncIterator[None]:
    """While the block waits, tell once whenever Redis is away, no worker is running, or a lane is paused."""
    import asyncio

    minding = asyncio.create_task(_mind(reckoner, tell))
    try:
        yield
    finally:
        minding.cancel()
        await asyncio.gather(minding, return_exceptions=True)


async def _mind(reckoner: "Reckoner", tell: Callable[[str], None]) -> None:
    import asyncio

    from reckoner.shared.redis.connections import is_transient_redis_error

    told = None
    while True:
        await asyncio.sleep(PAUSE_S)
        try:
            missing = await _missing(reckoner)
        except Exception as error:
            if not is_transient_redis_error(error):
                raise
            missing = NO_REDIS
        if missing not in (None, told):
            tell(missing)
        told = missing


async def _missing(reckoner: "Reckoner") -> str | None:
    from reckoner.producer.client.status import read_paused, read_workers

    if not await read_workers(reckoner.redis, reckoner.keys):
        return NOBODY
    paused = await read_paused(reckoner.redis, reckoner.keys)
    return PAUSED.format(lane=paused[0]) if paused else None
