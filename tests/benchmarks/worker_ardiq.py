"""One worker process of ArdiQ, or with `--fill` the producer of its jobs; it runs in ArdiQ's own environment."""

import argparse
import asyncio
import json
import os
import time
from pathlib import Path

from ardiq import Ardiq

from tests.benchmarks.deliveries import Deliveries

SLICE = 500


def main() -> int:
    """Fill the queue, or work on it until standard input is closed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--queue", required=True)
    parser.add_argument("--fill", type=int)
    parser.add_argument("--pause-s", type=float, help="enqueue one by one, and print when each was, as JSON")
    parser.add_argument("--max-jobs", type=int, default=50)
    parser.add_argument("--report", type=Path)
    options = parser.parse_args()
    # Results are not kept, as on the other sides. Prefetch is ArdiQ's default, twice the concurrency.
    app = Ardiq(options.url, options.queue, concurrency=options.max_jobs, result_ttl_ms=0)
    if options.pause_s is not None:
        asyncio.run(_drip(app, options.fill, options.pause_s))
    asyncio.run(_fill(app, options.fill) if options.fill else _work(app, options.report))
    return 0


async def _fill(app: Ardiq, jobs: int) -> None:
    work = app.ref("work")
    for start in range(0, jobs, SLICE):
        await app.enqueue_many([work.prepare(number) for number in range(start, min(start + SLICE, jobs))])
    # Its threads crash Python at exit, one time in six.
    os._exit(0)


async def _drip(app: Ardiq, jobs: int, pause_s: float) -> None:
    work, moments = app.ref("work"), []
    for number in range(jobs):
        await asyncio.sleep(pause_s)
        moments.append(time.monotonic())
        await app.enqueue_many([work.prepare(number)])
    print(json.dumps(moments), flush=True)
    os._exit(0)


async def _work(app: Ardiq, report: Path) -> None:
    deliveries = Deliveries(0.0)

    async def work(number: int) -> None:
        await deliveries.deliver(number)

    app.task(name="work")(work)
    await deliveries.told_to_begin()
    running = asyncio.create_task(app.run())
    await deliveries.tell()
    app.stop()
    await running
    deliveries.write(report)
