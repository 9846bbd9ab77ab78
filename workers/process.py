"""One worker process, from its start to its end."""

import asyncio
import contextlib

from shared.redis.connections import check
from shared.settings import Settings
from shared.store import open_store
from workers.environment import find_redis
from workers.settings import build_worker, connect_worker


def work(settings: Settings) -> None:
    """Do jobs until SIGTERM or SIGINT; what is under way then is handed back.

    Raises:
        ReckonerError: Redis or the store cannot be used.
    """
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    store = open_store(settings.store_location)
    redis = connect_worker(settings, find_redis(settings))
    await check(redis)
    worker = build_worker(settings, redis, store)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await worker.async_run()
    finally:
        await worker.close()
