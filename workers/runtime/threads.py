"""The threads of one worker process: each lane has its own for kernels, and so has work that waits for a disk."""

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

# A task of a click computes for milliseconds at most, so that one thread serves them one after the other.
CLICK_THREADS = 1
BLOCKING_THREADS = 4
STORE_THREADS = 4
# Behind the event loops and the clicks of all workers of the host; low enough to let them pass at once, and high enough
# for a share with which a task keeps its deadline beside processes that are none of ours.
BATCH_NICENESS = 10


class StoreThreads(Executor):
    """Threads for what reads and writes the store: a mount that hangs keeps them, but not the end of their process."""

    def __init__(self, count: int, name: str) -> None:
        self._work = SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None]()
        self._threads = [
            threading.Thread(target=self._run, name=f"{name}_{number}", daemon=True) for number in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, fn: Callable[..., R], /, *args: Any, **kwargs: Any) -> Future[R]:
        """See `Executor.submit`."""
        future = Future[R]()
        self._work.put((future, partial(fn, *args, **kwargs)))
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """See `Executor.shutdown`; what was asked for before is done, and may be cancelled one by one."""
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
            # Nothing is held while there is nothing to do.
            del item, future, work


class Threads:
    """Runs work beside the event loop, where no lane waits for another one; `batch` is how many batch threads."""

    def __init__(self, batch: int) -> None:
        self.kernels: Mapping[Lane, int] = MappingProxyType({"click": CLICK_THREADS, "batch": batch})
        """How many kernels of each lane run at once."""
        self._lanes: Mapping[Lane, ThreadPoolExecutor] = MappingProxyType(
            {
                "click": ThreadPoolExecutor(CLICK_THREADS, "click"),
                "batch": ThreadPoolExecutor(batch, "batch", initializer=_stand_back),
            }
        )
        self.blocking = ThreadPoolExecutor(BLOCKING_THREADS, "blocking")
        """For what takes a while and leaves the store alone, and for what a kernel has done beside it."""
        self._store = StoreThreads(STORE_THREADS, "store")
        self._looking = StoreThreads(1, "looking")
        self._scrubbing = StoreThreads(1, "scrubbing")

    def compute(self, lane: Lane, work: Callable[[], R]) -> "asyncio.Future[R]":
        """Run a kernel in a thread of its lane."""
        return asyncio.get_running_loop().run_in_executor(self._lanes[lane], work)

    async def block(self, work: Callable[[], R]) -> R:
        """Do work that takes a while, and does not wait for the store: that may hang."""
        return await asyncio.get_running_loop().run_in_executor(self.blocking, work)

    async def use_store(self, work: Callable[[], R]) -> R:
        """Read or write the store."""
        return await asyncio.get_running_loop().run_in_executor(self._store, work)

    async def look(self, work: Callable[[], R]) -> R:
        """Look at the store, behind nothing but another look: the threads that use it may be busy for long."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, work)

    async def scrub(self, work: Callable[[], R]) -> R:
        """Read the store for minutes."""
        return await asyncio.get_running_loop().run_in_executor(self._scrubbing, work)

    def shutdown(self, wait: bool = True) -> None:
        """Take no more work, and `wait` for what runs."""
        for pool in (*self._lanes.values(), self.blocking, self._store, self._looking, self._scrubbing):
            pool.shutdown(wait)


def _stand_back() -> None:
    """Give this thread a lower priority than the others of its process have, which only Linux can and may forbid."""
    if sys.platform == "linux":
        with suppress(OSError):
            this = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, this, os.getpriority(os.PRIO_PROCESS, this) + BATCH_NICENESS)
