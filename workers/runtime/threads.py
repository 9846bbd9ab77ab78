"""The threads of one worker process: separate ones for each lane's kernels, for blocking work and for the store."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from queue import SimpleQueue
from types import MappingProxyType
from typing import Any, TypeVar

from reckoner.shared.wire.shapes import Lane

R = TypeVar("R")

# A click computes for milliseconds at most, so one thread is enough.
CLICK_THREADS = 1
BLOCKING_THREADS = 4
STORE_THREADS = 4
# Lower priority than all event loops and clicks of the host, but enough to meet deadlines beside other processes.
BATCH_NICENESS = 10


class StoreThreads(Executor):
    """Daemon threads for store access: a hanging mount blocks them, but not the exit of the process."""

    def __init__(self, count: int, name: str) -> None:
        self._work = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]()
        self._closed = False
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}_{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """See `Executor.submit`."""
        if self._closed:
            raise RuntimeError("no work is accepted after a shutdown")
        future = Future[R]()
        self._work.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`. Work that was submitted before still runs."""
        self._closed = True
        for _ in self._threads:
            self._work.put(None)
        for thread in self._threads if wait else ():
            thread.join()

    def _run(self) -> None:
        while (item := self._work.get()) is not None:
            future, work = item
            if future.set_running_or_notify_cancel():
                try:
                    answer = work()
                except BaseException as error:
                    future.set_exception(error)
                else:
                    future.set_result(answer)
                    del answer
            # An idle thread keeps no references.
            del item, future, work


class Threads:
    """Runs work beside the event loop; no lane waits for another. `batch` is the number of batch threads."""

    def __init__(self, batch: int) -> None:
        self.kernels: Mapping[Lane, int] = MappingProxyType({"click": CLICK_THREADS, "batch": batch})
        """The number of kernel threads of each lane."""
        self._lanes: Mapping[Lane, ThreadPoolExecutor] = MappingProxyType(
            {
                "click": ThreadPoolExecutor(CLICK_THREADS, "click"),
                "batch": ThreadPoolExecutor(batch, "batch", initializer=_lower_priority),
            }
        )
        self.blocking = ThreadPoolExecutor(BLOCKING_THREADS, "blocking")
        """For slow work that does not use the store, and for helpers of a kernel."""
        self._store = StoreThreads(STORE_THREADS, "store")
        self._probing = StoreThreads(1, "probing")
        self._scrubbing = StoreThreads(1, "scrubbing")

    def compute(self, lane: Lane, work: Callable[[], R]) -> "asyncio.Future[R]":
        """Run a kernel in a thread of its lane."""
        return asyncio.get_running_loop().run_in_executor(self._lanes[lane], work)

    async def block(self, work: Callable[[], R]) -> R:
        """Run slow work that does not use the store."""
        return await asyncio.get_running_loop().run_in_executor(self.blocking, work)

    async def use_store(self, work: Callable[[], R]) -> R:
        """Read or write the store."""
        return await asyncio.get_running_loop().run_in_executor(self._store, work)

    async def probe(self, work: Callable[[], R]) -> R:
        """Probe the store. Probes have a thread of their own, since the store threads may be busy for long."""
        return await asyncio.get_running_loop().run_in_executor(self._probing, work)

    async def scrub(self, work: Callable[[], R]) -> R:
        """Read the store for minutes."""
        return await asyncio.get_running_loop().run_in_executor(self._scrubbing, work)

    def shutdown(self, wait: bool = True) -> None:
        """Accept no more work, and `wait` for running work."""
        for pool in (*self._lanes.values(), self.blocking, self._store, self._probing, self._scrubbing):
            pool.shutdown(wait)


def _lower_priority() -> None:
    """Lower this thread's priority. Only Linux can do this per thread, and it may refuse."""
    if sys.platform == "linux":
        with suppress(OSError):
            this = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, this, os.getpriority(os.PRIO_PROCESS, this) + BATCH_NICENESS)
