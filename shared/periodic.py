"""Periodic work: a worker's background tasks, which continue after an error."""

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
from reckoner.shared.redis.scripts import call

log = structlog.get_logger()


async def run_periodically(
    what: str, pause_s: float, work: Callable[[], Awaitable[object]], first_pause_s: float | None = None
) -> NoReturn:
    """Call `work` forever, with a pause of `pause_s` (at first `first_pause_s`) before each call.

    An error is logged as "`what` failed", and a repeated one only once. Transient errors of Redis are not logged here:
    the jobs log them.
    """
    logged: type[Exception] | None = None
    await asyncio.sleep(pause_s if first_pause_s is None else first_pause_s)
    while True:
        try:
            await work()
        except Exception as error:
            if not is_transient_redis_error(error) and type(error) is not logged:
                logged = type(error)
                if is_environment_error(error):
                    log.warning(f"{what} failed", error=logged.__name__, reason=str(error))
                else:
                    # A key of a wrong type was planted: a traceback would not help.
                    log.error(f"{what} failed", error=logged.__name__, exc_info=not is_wrong_type(error))
        else:
            logged = None
        await asyncio.sleep(pause_s)


@asynccontextmanager
async def renewing(redis: Redis, lock: str, token: str, ttl_ms: int) -> AsyncIterator[None]:
    """Renew a lock, whose time to live is `ttl_ms`, while the context is open and the token holds it."""

    async def renew() -> None:
        await call(redis, "hold", [lock], [token, ttl_ms])

    task = asyncio.create_task(run_periodically("lock renewal", ttl_ms / 10_000, renew))
    try:
        yield
    finally:
        await cancel_and_wait(task)
