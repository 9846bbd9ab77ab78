"""Our tasks on stock arq workers, for comparison with the engine: `python tests/benchmarks stock_flows`."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import wraps
from typing import Any
from unittest.mock import patch

from arq import Worker
from arq.worker import Function, Retry

import reckoner.producer.client.connection
import reckoner.workers.process.wiring
from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.logs import configure_logs
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.keys import Keys
from reckoner.shared.settings import load_settings
from reckoner.shared.store.location import open_store
from reckoner.workers.engine.lease import Lease
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.kernels.environment import prepare
from reckoner.workers.process.parent import stop_with_parent
from reckoner.workers.process.supervisor import Supervisor
from reckoner.workers.process.wiring import build_runtime, connect_worker, worker_options
from tests.benchmarks.whole_system import Site

PROGRAM = ("tests/benchmarks", "stock_flows")
POLL_DELAY_S = 0.01
# Stock arq's value in place of a fencing token.
STOCK_TOKEN = "1"


@dataclass(frozen=True)
class StockKeys(Keys):
    """Keys with one queue for both lanes, which is all that a stock worker polls."""

    @property
    def click(self) -> str:
        """The queue."""
        return self._name("queue")

    @property
    def batch(self) -> str:
        """The same."""
        return self.click


class StockSite(Site):
    """A site whose workers are stock ones."""

    def start_workers(self, processes: int = 1, *_: Any, **__: Any) -> Any:
        """Start them under a supervisor."""
        return super().start_workers(processes, (*PROGRAM, "--parent", str(os.getpid())))

    @asynccontextmanager
    async def reckoner(self) -> AsyncIterator[OpenReckoner]:
        """A client that puts its jobs into their queue."""
        async with AsyncExitStack() as stack:
            with _one_queue():
                client = await stack.enter_async_context(super().reckoner())
            yield client


@contextlib.contextmanager
def _one_queue() -> Iterator[None]:
    with (
        patch.object(reckoner.producer.client.connection, "Keys", StockKeys),
        patch.object(reckoner.workers.process.wiring, "Keys", StockKeys),
    ):
        yield


def main() -> int:
    """Run workers until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--child", action="store_true")
    options, settings = parser.parse_args(), load_settings()
    configure_logs("ERROR")
    prepare(os.environ, settings)
    stop_with_parent(options.parent, 1.0)
    if options.child:
        asyncio.run(_work())
    else:
        command = [sys.executable, *PROGRAM, "--child", "--parent", str(os.getpid())]
        Supervisor(settings, options.processes, command).run()
    return 0


async def _work() -> None:
    settings = load_settings()
    with _one_queue():
        redis = connect_worker(settings, find_redis(settings))
        runtime = build_runtime(settings, redis, open_store(settings.store_location))
    options = worker_options(runtime)
    options["functions"] = [_as_on_the_engine(function, runtime.keys.batch) for function in options["functions"]]
    options["ctx"]["is_draining"] = lambda: False
    worker = Worker(queue_name=runtime.keys.batch, poll_delay=POLL_DELAY_S, **options)
    running = asyncio.create_task(worker.async_run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    await asyncio.wait([running])
    await worker.close()


def _as_on_the_engine(function: Function, queue: str) -> Function:
    """The function with the engine's lease; stock arq's token is always 1."""
    inner = function.coroutine

    @wraps(inner)
    async def call(ctx: dict[Any, Any], *arguments: Any) -> None:
        lease = Lease(ctx["job_id"], queue, STOCK_TOKEN, 0, lambda: False)
        try:
            await inner(ctx | {"lease": lease, "job_deaths": 0}, *arguments)
        except NotNowError as error:
            raise Retry from error

    function.coroutine = call
    return function
