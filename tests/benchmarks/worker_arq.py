"""One worker process of stock arq, or with `--engine` of ours, whose one function does nothing or waits."""

import argparse
import asyncio
from pathlib import Path
from typing import Any

import msgspec
from arq import Worker, func

from shared.redis.connections import connect
from tests.benchmarks.deliveries import Deliveries

POLL_DELAY_S = 0.01


def main() -> int:
    """Do what is in the queue until standard input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--max-jobs", type=int, default=50)
    parser.add_argument("--wait-ms", type=float, default=0.0)
    parser.add_argument("--report", type=Path, required=True)
    asyncio.run(_work(parser.parse_args()))
    return 0


async def _work(options: argparse.Namespace) -> None:
    deliveries = Deliveries(options.wait_ms / 1000)

    async def work(ctx: dict[Any, Any], number: int) -> None:
        await deliveries.deliver(number)

    worker = Worker(
        [func(work, name="work")],
        queue_name=options.queue,
        redis_pool=connect(options.url, client_name="benchmark"),
        max_jobs=options.max_jobs,
        poll_delay=POLL_DELAY_S,
        keep_result=0,
        log_results=False,
        handle_signals=False,
        job_serializer=msgspec.msgpack.encode,
        job_deserializer=msgspec.msgpack.decode,
    )
    await deliveries.told_to_begin()
    running = asyncio.create_task(worker.async_run())
    await deliveries.tell()
    running.cancel()
    await worker.close()
    deliveries.write(options.report)
