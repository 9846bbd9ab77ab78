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

    It talks in lines, on standard output: `up` when it could take jobs, then how many it has begun and how many it has
    done, whenever that has changed. When its standard input is closed it is to end, and writes what it did into a file.
    Times are those of a clock that all processes of the machine share.
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

    async def tell(self) -> None:
        """Tell of what happens until standard input is closed."""
        closed = asyncio.Event()
        asyncio.get_running_loop().add_reader(sys.stdin, closed.set)
        print("up", flush=True)
        told = (0, 0)
        while not closed.is_set():
            if told != (self._begun, len(self._done)):
                told = (self._begun, len(self._done))
                print(*told, flush=True)
            await asyncio.sleep(TELL_EVERY_S)
        asyncio.get_running_loop().remove_reader(sys.stdin)

    def write(self, path: Path) -> None:
        """Write each job's number, begin and end."""
        path.write_text(json.dumps(self._done), encoding="utf-8")
