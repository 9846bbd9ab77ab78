"""Starts workers: `python -m workers --processes 2`."""

import argparse
import asyncio
import contextlib
import os
import sys

from shared.errors import ReckonerError
from shared.logs import configure_logs
from shared.redis.connections import check
from shared.redis.embedded import find_embedded
from shared.settings import Settings, load_settings


def main() -> int:
    """Run the workers; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m workers", description=__doc__)
    parser.add_argument("--processes", type=int, default=1, metavar="N", help="how many worker processes")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.processes < 1:
        parser.error("--processes must be at least 1")
    # Kernels have threads of their own; the ones that OpenBLAS would start are never used and cost memory.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    try:
        settings = load_settings()
        configure_logs(settings.log_level)
        url = settings.redis_url or find_embedded(settings.home_path) or ""
        if options.child:
            asyncio.run(_work(settings, url))
        else:
            _supervise(settings, url, options.processes)
    except ReckonerError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    return 0


def _supervise(settings: Settings, url: str, processes: int) -> None:
    from workers.settings import connect_worker
    from workers.supervisor import Supervisor

    async def look() -> None:
        async with connect_worker(settings, url) as redis:
            await check(redis)

    asyncio.run(look())
    Supervisor(settings, url, processes).run()


async def _work(settings: Settings, url: str) -> None:
    from shared.store import open_store
    from workers.settings import build_worker, connect_worker

    store = open_store(settings.store_location)
    redis = connect_worker(settings, url)
    await check(redis)
    worker = build_worker(settings, redis, store)
    try:
        with contextlib.suppress(asyncio.CancelledError):
            await worker.async_run()
    finally:
        await worker.close()


if __name__ == "__main__":
    sys.exit(main())
