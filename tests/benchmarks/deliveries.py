"""What a measured worker process keeps of its jobs, the same for every peer: which it did, and when.

Nothing but Python's own library: a peer's process runs in an environment that has nothing of ours.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

TELL_EVERY_S = 0.02


class Deliveries:
    """The jobs that one process has begun and done.

    It talks in lines. On standard output: `up` when all that it needs is loaded, then how many jobs it has begun and
    how many it has done, whenever that has changed. On standard input: an empty line when it is to take jobs; when that
    is closed it is to end, and writes what it did into a file. Times are those of a clock that all processes share.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._begun = 0
        self._done: list[tuple[int, float, float]] = []

    async def deliver(self, number: int) -> None:
        """The job: it waits as long as it was told to, and is noted."""
        began = time.monotonic()
        self._begun += 1
        if self._wait_s:
            await asyncio.sleep(self._wait_s)
        self._done.append((number, began, time.monotonic()))

    async def told_to_begin(self) -> None:
        """Tell that this process is up, and return when it is to take jobs."""
        print("up", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

    async def tell(self) -> None:
        """Tell of what happens until this process is to end."""
        closed = asyncio.create_task(asyncio.to_thread(sys.stdin.read))
        told = (0, 0)
        while not closed.done():
            if told != (self._begun, len(self._done)):
                told = (self._begun, len(self._done))
                print(*told, flush=True)
            await asyncio.sleep(TELL_EVERY_S)

    def write(self, path: Path) -> None:
        """Write each job's number, begin and end."""
        path.write_text(json.dumps(self._done), encoding="utf-8")
