"""Threads: no lane waits for another, and batch threads have a lower priority."""

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from reckoner.workers.runtime.threads import BATCH_NICENESS, STORE_THREADS, Threads
from tests.patience import PATIENCE_S


@contextmanager
def threads_of(batch: int) -> Iterator[Threads]:
    threads = Threads(batch)
    try:
        yield threads
    finally:
        threads.shutdown()


async def test_clicks_and_blocking_calls_wait_for_no_batch_kernel() -> None:
    """Even with many more batch kernels than threads."""
    until = threading.Event()
    with threads_of(1) as threads:
        batch = [threads.compute("batch", until.wait) for _ in range(20)]
        assert await threads.compute("click", lambda: "click") == "click"
        assert await threads.block(lambda: "block") == "block"
        assert not any(work.done() for work in batch)
        until.set()
        await asyncio.gather(*batch)


async def test_as_many_batch_kernels_run_at_once_as_there_are_threads() -> None:
    """Three kernels meet at a barrier for three."""
    meeting = threading.Barrier(3, timeout=PATIENCE_S)
    with threads_of(3) as threads:
        await asyncio.gather(*(threads.compute("batch", meeting.wait) for _ in range(3)))


async def test_hanging_store_work_delays_neither_checks_nor_work_without_the_store() -> None:
    """Cancelled work behind it never runs; a failure goes to its caller."""
    until, done = threading.Event(), list[str]()

    def fail() -> None:
        raise OSError("stale")

    with threads_of(1) as threads:
        hanging = [asyncio.create_task(threads.use_store(until.wait)) for _ in range(STORE_THREADS)]
        await asyncio.sleep(0)
        behind = asyncio.create_task(threads.use_store(lambda: done.append("behind")))
        await asyncio.sleep(0)
        assert await threads.probe(lambda: "probe") == "probe"
        assert await threads.block(lambda: "block") == "block"
        assert await threads.compute("click", lambda: "click") == "click"
        behind.cancel()
        await asyncio.wait([behind])
        until.set()
        await asyncio.gather(*hanging)
        with pytest.raises(OSError, match="stale"):
            await threads.use_store(fail)
        assert not done


async def test_work_after_a_shutdown_is_refused() -> None:
    """No thread would run it, and its caller would wait for ever."""
    threads = Threads(1)
    earlier = asyncio.create_task(threads.use_store(lambda: "earlier"))
    await asyncio.sleep(0)
    threads.shutdown()
    assert await earlier == "earlier"
    for run in (threads.use_store, threads.probe, threads.scrub, threads.block):
        with pytest.raises(RuntimeError, match="shutdown"):
            await run(lambda: "too late")


async def test_only_batch_threads_have_a_lower_priority() -> None:
    """On Linux, where threads have priorities, the event loop and clicks go first."""
    lower = BATCH_NICENESS if sys.platform == "linux" else 0

    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    with threads_of(1) as threads:
        assert await threads.compute("batch", niceness) == min(niceness() + lower, 19)
        assert await threads.compute("click", niceness) == niceness()
        assert await threads.block(niceness) == niceness()
