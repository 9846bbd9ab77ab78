"""One worker process, from its start to its end."""

import asyncio
import signal
import time
from typing import TYPE_CHECKING

import structlog
from arq import Worker
from redis.exceptions import RedisError

from shared.cancelling import end
from shared.redis.connections import check, is_server_trouble, unavailable
from shared.redis.embedded import find_redis
from shared.settings import Settings
from shared.store import open_store
from workers.settings import build_worker, connect_worker
from workers.turns import SETTLE_S

if TYPE_CHECKING:
    from workers.runtime import Runtime

# How long what runs may go on after a signal; what takes longer is handed back.
GRACE_S = 2.0
LOOK_S = 0.1

log = structlog.get_logger()


def work(settings: Settings) -> None:
    """Do jobs until SIGTERM or SIGINT; what is under way then comes to its end or is handed back.

    Raises:
        ReckonerError: Redis or the store cannot be used, or Redis went away.
    """
    asyncio.run(_work(settings))


async def _work(settings: Settings) -> None:
    store = open_store(settings.store_location)
    redis = connect_worker(settings, find_redis(settings))
    await check(redis)
    worker = build_worker(settings, redis, store)
    told = asyncio.Event()
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, told.set)
    running = asyncio.create_task(worker.async_run())
    waiting = asyncio.create_task(told.wait())
    await asyncio.wait({running, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    try:
        await _wind_down(worker)
        await end(running)
        if not running.cancelled():
            running.result()
        await worker.close()
    except RedisError as error:
        if not is_server_trouble(error):
            raise
        raise unavailable(redis, error) from error


async def _wind_down(worker: Worker) -> None:
    """Claim nothing more, let what runs come to its end, and after a while cancel it, upon which it is handed back.

    It is the tasks that are cancelled, once each, and never what arq does before and after them: that would leave a
    claim behind, or a try that nobody hands back.
    """
    runtime: Runtime = worker.ctx["runtime"]
    runtime.turns.close()
    await asyncio.sleep(SETTLE_S)
    until = time.monotonic() + GRACE_S
    cancelled = set[asyncio.Task[object]]()
    while jobs := [job for job in worker.tasks.values() if not job.done()]:
        if time.monotonic() > until:
            late = set(worker.job_tasks.values()) - cancelled
            for task in late:
                task.cancel()
            cancelled |= late
        await asyncio.wait(jobs, timeout=LOOK_S)
    if cancelled:
        log.info("jobs were handed back", count=len(cancelled))
