"""The jobs and times of a measured worker process, recorded in the same way for every peer.

Only Python's own library: a peer's environment has nothing of ours.
"""

import asyncio
import json
import sys
import time
from pathlib import Path

TELL_EVERY_S = 0.02


class Deliveries:
    """The jobs that one process has begun and done.

    It prints lines: `up` when its code is loaded, then the numbers of begun and done jobs at each change. An empty line
    on standard input starts it. When standard input is closed it stops and writes its jobs into a file. Times are from
    a clock that all processes share.
    """

    def __init__(self, wait_s: float) -> None:
        self._wait_s = wait_s
        self._begun = 0
        self._done: list[tuple[int, float, float]] = []

    async def deliver(self, number: int) -> None:
        """The job: it waits as long as requested, and is recorded."""
        began = time.monotonic()
        self._begun += 1
        if self._wait_s:
            await asyncio.sleep(self._wait_s)
        self._done.append((number, began, time.monotonic()))

    async def told_to_begin(self) -> None:
        """Report that this process is up, and wait for the start."""
        print("up", flush=True)
        await asyncio.to_thread(sys.stdin.readline)

    async def tell(self) -> None:
        """Report progress until the end."""
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
