"""Upkeep: what a worker does again and again beside its jobs, whatever goes wrong once."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NoReturn

import structlog
from redis.asyncio import Redis

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import is_environment_error
from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import ask

log = structlog.get_logger()


async def run_periodically(
    what: str, pause_s: float, work: Callable[[], Awaitable[object]], first_pause_s: float | None = None
) -> NoReturn:
    """Do `work` for ever, with a pause before each time; the first one may be another.

    What goes wrong is logged as a failure of `what`: once, and again when it went well meanwhile or something else goes
    wrong. A Redis that is in trouble is not, since the jobs meet it as well.
    """
    told: type[Exception] | None = None
    await asyncio.sleep(pause_s if first_pause_s is None else first_pause_s)
    while True:
        try:
            await work()
        except Exception as error:
            if not is_transient_redis_error(error) and type(error) is not told:
                told = type(error)
                if is_environment_error(error):
                    log.warning(f"{what} failed", error=told.__name__, reason=str(error))
                else:
                    # What has another type was planted, and where tells nobody anything.
                    log.error(f"{what} failed", error=told.__name__, exc_info=not is_wrong_type(error))
        else:
            told = None
        await asyncio.sleep(pause_s)


@asynccontextmanager
async def renewing(redis: Redis, claim: str, life_ms: int) -> AsyncIterator[None]:
    """Keep the key of a claim, which lives for `life_ms`, from expiring meanwhile."""

    async def renew() -> None:
        await ask(redis, "PEXPIRE", claim, life_ms)

    task = asyncio.create_task(run_periodically("the renewal of a claim", life_ms / 10_000, renew))
    try:
        yield
    finally:
        await cancel_and_wait(task)
