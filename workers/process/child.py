"""One worker process, from its start to its end."""

import asyncio
import gc
import signal
import sys
from typing import TYPE_CHECKING

import structlog
from redis.exceptions import RedisError

from reckoner.shared.redis.address import read_address
from reckoner.shared.redis.connections import check, is_transient_redis_error, unavailable
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.pools import BoundedPool
from reckoner.shared.settings import Settings
from reckoner.shared.store.location import open_store
from reckoner.shared.store.ownership import claim_store
from reckoner.workers.process.supervisor import DRAINED
from reckoner.workers.process.wiring import build_engine, connect_waiting, connect_worker
from reckoner.workers.runtime.store_watch import beside

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.connection import ConnectionPool

# How often a worker looks where the embedded server is.
FOLLOW_S = 0.5
# How long the event loop waits for a thread that runs Python; 5 ms unless set.
SWITCH_S = 0.001

log = structlog.get_logger()


def work(settings: Settings) -> int:
    """Do jobs until SIGTERM or SIGINT, or until it is drained.

    What is under way then comes to its end; after a signal it is handed back if that takes longer than `stop_s`, and
    after another one at once.

    Returns:
        The exit code.

    Raises:
        ReckonerError: Redis or the store cannot be used, or Redis went away.
    """
    return asyncio.run(_work(settings))


async def _work(settings: Settings) -> int:
    store = await beside(lambda: open_store(settings.store_location))
    url = find_redis(settings)
    redis = connect_worker(settings, url)
    await check(redis)
    await claim_store(redis, settings, store, beside)
    waiting = connect_waiting(url)
    worker = build_engine(settings, redis, waiting, store)
    following = asyncio.create_task(_follow(settings, url, [redis.connection_pool, waiting.connection_pool]))
    _hold_nothing_up()
    told, again = asyncio.Event(), asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, lambda: (again if told.is_set() else told).set())
    running = asyncio.create_task(worker.async_run())
    await _first(running, told)
    try:
        worker.stop(settings.stop_s)
        await _first(running, again)
        worker.stop(0.0)
        await asyncio.wait([running])
        if not running.cancelled():
            running.result()
        await worker.close()
    except RedisError as error:
        if not is_transient_redis_error(error):
            raise
        raise unavailable(redis, error) from error
    finally:
        following.cancel()
    return DRAINED if worker.drained else 0


async def _follow(settings: Settings, url: str, pools: "Sequence[ConnectionPool]") -> None:
    """Go to where the embedded server is: each time it is started it has another socket."""
    directory = settings.home_path.absolute() / "redis"
    while not settings.redis_url:
        await asyncio.sleep(FOLLOW_S)
        address = read_address(directory)
        if address is None or address.state != "ready" or address.url == url:
            continue
        url = address.url
        log.info("the embedded server is somewhere else now")
        for pool in pools:
            if isinstance(pool, BoundedPool):
                await pool.move(str(address.socket_path))


def _hold_nothing_up() -> None:
    """Let neither the garbage collector nor a thread stop the event loop for long."""
    # What was imported stays: to look through all of it takes 75 ms, which a full collection did every few minutes.
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)


async def _first(running: "asyncio.Task[None]", told: asyncio.Event) -> None:
    """Wait until the worker has ended or is told something."""
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
