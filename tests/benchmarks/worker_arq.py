"""One worker process of stock arq, or with `--lease-s` of the engine, whose one function does nothing or waits."""

import argparse
import asyncio
import os
from pathlib import Path
from typing import Any

import msgspec
from arq import ArqRedis, Worker, func

from reckoner.shared.logs import configure_logs
from reckoner.shared.redis.connections import open_pool
from reckoner.workers.engine.claims import EngineKeys
from reckoner.workers.engine.connection import connect_engine
from reckoner.workers.engine.worker import EngineWorker
from reckoner.workers.process.wiring import connect_waiting
from tests.benchmarks.deliveries import Deliveries

POLL_DELAY_S = 0.01


def main() -> int:
    """Work on the queue until standard input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--max-jobs", type=int, default=50)
    parser.add_argument("--wait-ms", type=float, default=0.0)
    parser.add_argument("--lease-s", type=float)
    parser.add_argument("--report", type=Path, required=True)
    configure_logs("ERROR")
    asyncio.run(_work(parser.parse_args()))
    return 0


async def _work(options: argparse.Namespace) -> None:
    deliveries = Deliveries(options.wait_ms / 1000)

    async def work(ctx: dict[Any, Any], number: int) -> None:
        await deliveries.deliver(number)

    given: dict[str, Any] = {
        "functions": [func(work, name="work")],
        "max_jobs": options.max_jobs,
        "keep_result": 0,
        "log_results": False,
        "handle_signals": False,
        "job_serializer": msgspec.msgpack.encode,
        "job_deserializer": msgspec.msgpack.decode,
    }
    worker = _stock(options, given) if options.lease_s is None else _engine(options, given)
    await deliveries.told_to_begin()
    running = asyncio.create_task(worker.async_run())
    await deliveries.tell()
    running.cancel()
    await asyncio.wait([running])
    await worker.close()
    deliveries.write(options.report)


def _stock(options: argparse.Namespace, given: dict[str, Any]) -> Worker:
    redis = ArqRedis(open_pool(options.url, client_name="benchmark"))
    return Worker(queue_name=options.queue, redis_pool=redis, poll_delay=POLL_DELAY_S, **given)


def _engine(options: argparse.Namespace, given: dict[str, Any]) -> EngineWorker:
    redis = connect_engine(options.url, client_name="benchmark")
    queue = options.queue
    engine_keys = EngineKeys((queue,), (False,), workers=f"{queue}:workers", mail=f"{queue}:mail:{os.getpid()}")
    waiting = connect_waiting(options.url)
    return EngineWorker(keys=engine_keys, waiting=waiting, lease_s=options.lease_s, redis_pool=redis, **given)
