"""The threads of one worker process: each lane has its own for kernels, and so has work that waits for a disk."""

import asyncio
import os
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import MappingProxyType
from typing import TypeVar

from shared.wire import Lane

R = TypeVar("R")

# A task of a click computes for milliseconds at most, so that one thread serves them one after the other.
CLICK_THREADS = 1
BLOCKING_THREADS = 4
# Behind the event loops and the clicks of all workers of the host; low enough to let them pass at once, and high enough
# for a share with which a task keeps its deadline beside processes that are none of ours.
BATCH_NICENESS = 10


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
        """For work that waits, and for what a kernel has done beside it."""
        self._looking = ThreadPoolExecutor(1, "looking")

    def compute(self, lane: Lane, work: Callable[[], R]) -> "asyncio.Future[R]":
        """Run a kernel in a thread of its lane."""
        return asyncio.get_running_loop().run_in_executor(self._lanes[lane], work)

    async def block(self, work: Callable[[], R]) -> R:
        """Do work that waits, for a disk above all."""
        return await asyncio.get_running_loop().run_in_executor(self.blocking, work)

    async def look(self, work: Callable[[], R]) -> R:
        """Look at something, behind nothing but another look: the threads for work that waits may be busy for long."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, work)

    def shutdown(self, wait: bool = True) -> None:
        """Take no more work, and `wait` for what runs."""
        for pool in (*self._lanes.values(), self.blocking, self._looking):
            pool.shutdown(wait)


def _stand_back() -> None:
    """Give this thread a lower priority than the others of its process have, which only Linux can and may forbid."""
    if sys.platform == "linux":
        with suppress(OSError):
            this = threading.get_native_id()
            os.setpriority(os.PRIO_PROCESS, this, os.getpriority(os.PRIO_PROCESS, this) + BATCH_NICENESS)
