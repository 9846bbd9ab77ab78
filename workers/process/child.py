"""One worker process, from its start to its end."""

import asyncio
import gc
import os
import signal
import sys

import structlog
from redis.exceptions import RedisError

from reckoner.shared.memory import return_freed_memory
from reckoner.shared.redis.connections import check, is_transient_redis_error, unavailable
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.following import follow_embedded
from reckoner.shared.settings import Settings
from reckoner.shared.store.location import store_of
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.tracing import NO_DISTRIBUTION, configure_traces
from reckoner.workers.process.supervisor import DRAINED
from reckoner.workers.process.wiring import build_engine, connect_waiting, connect_worker
from reckoner.workers.runtime.store_watch import in_own_thread

# The event loop waits at most this long for a thread that runs Python. CPython's default is 5 ms.
SWITCH_S = 0.001

log = structlog.get_logger()


def work(settings: Settings, name: str = "") -> int:
    """Run jobs until SIGTERM, SIGINT or a drain. The supervisor knows the worker's leases by its `name`.

    Running jobs finish first. After a signal, jobs still running after `stop_s` are handed back; after a second signal
    all are handed back at once.

    Returns:
        The exit code.

    Raises:
        ReckonerError: Redis or the store is unavailable.
    """
    if not configure_traces(os.environ):
        log.warning("traces not exported", reason=NO_DISTRIBUTION)
    return asyncio.run(_work(settings, name))


async def _work(settings: Settings, name: str) -> int:
    store = await in_own_thread(lambda: store_of(settings))
    url = find_redis(settings)
    redis = connect_worker(settings, url)
    await check(redis)
    await claim_store(redis, settings, store, in_own_thread)
    waiting = connect_waiting(url)
    worker = build_engine(settings, redis, waiting, store, name)
    following = asyncio.create_task(follow_embedded(settings, url, [redis.connection_pool, waiting.connection_pool]))
    _keep_loop_responsive()
    return_freed_memory()
    stop, stop_now = asyncio.Event(), asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, lambda: (stop_now if stop.is_set() else stop).set())
    running = asyncio.create_task(worker.async_run())
    await _wait_for_either(running, stop)
    try:
        worker.stop(settings.stop_s)
        await _wait_for_either(running, stop_now)
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


def _keep_loop_responsive() -> None:
    """Keep the garbage collector and threads from blocking the event loop."""
    # A full collection over all imported modules took 75 ms every few minutes.
    gc.freeze()
    sys.setswitchinterval(SWITCH_S)


async def _wait_for_either(running: "asyncio.Task[None]", event: asyncio.Event) -> None:
    """Wait until the worker ends or the event is set."""
    waiting = asyncio.create_task(event.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
