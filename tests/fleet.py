"""Worker processes for faults: each behind a proxy, with its own clock, restarted after its end."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import AsyncExitStack
from subprocess import DEVNULL
from typing import Self

from tests.patience import PATIENCE_S
from tests.proxies import Proxy
from tests.root import ROOT
from tests.shifted import write_shift
from tests.system import System

LOOK_S = 0.05
PAUSE_S = 0.3


class Post:
    """A worker process and its successors."""

    def __init__(self, system: System, number: int, proxy: Proxy) -> None:
        self.name = f"worker {number}"
        self.proxy = proxy
        self.log = system.home / f"{self.name}.log"
        self._clock = system.home / f"clock {number}"
        write_shift(self._clock, 0.0)
        self._environ = system.environ(redis_url=proxy.url)
        self._process: subprocess.Popen[bytes] | None = None
        self._again = 0.0

    @property
    def pid(self) -> int | None:
        """The current process."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start it."""
        command = [sys.executable, "tests/shifted.py", str(self._clock), "--child", "--parent", str(os.getpid())]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                command, cwd=ROOT, env=self._environ, stdin=DEVNULL, stderr=log, start_new_session=True
            )

    def look(self) -> int | None:
        """Restart the process some time after its end; returns the exit code when it has just ended."""
        if self._process is None:
            if time.monotonic() >= self._again:
                self.start()
            return None
        code = self._process.poll()
        if code is not None:
            self._process, self._again = None, time.monotonic() + PAUSE_S
        return code

    def send(self, signum: signal.Signals, pid: int) -> None:
        """Send a signal to the process, if it still has that id."""
        if self.pid == pid:
            os.kill(pid, signum)

    def shift(self, seconds: float) -> None:
        """Set its clock so many seconds ahead."""
        write_shift(self._clock, seconds)

    async def stop(self) -> None:
        """Stop it, or kill it after a time-out."""
        if self._process is None or self._process.poll() is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
        try:
            await asyncio.to_thread(self._process.wait, PATIENCE_S)
        finally:
            self._process.kill()


class Fleet:
    """Some workers of one system; leaving it stops them."""

    def __init__(self, system: System, count: int) -> None:
        self._system, self._count = system, count
        self._stack = AsyncExitStack()
        self.posts: list[Post] = []
        self.exits: Counter[int] = Counter()

    async def __aenter__(self) -> Self:
        for number in range(self._count):
            proxy = await self._stack.enter_async_context(Proxy(self._system.server.url))
            self.posts.append(Post(self._system, number, proxy))
            self.posts[-1].start()
        self._keeping = asyncio.create_task(self._keep())
        return self

    async def __aexit__(self, *raised: object) -> None:
        self._keeping.cancel()
        try:
            await asyncio.gather(*(post.stop() for post in self.posts))
        finally:
            await self._stack.aclose()

    async def _keep(self) -> None:
        while True:
            for post in self.posts:
                code = post.look()
                if code is not None:
                    self.exits[code] += 1
            await asyncio.sleep(LOOK_S)

    def last_words(self, lines: int = 15) -> str:
        """The last log lines of each."""
        return "\n".join(
            f"--- {post.name}\n" + "\n".join(post.log.read_text("utf-8", "replace").splitlines()[-lines:])
            for post in self.posts
        )
