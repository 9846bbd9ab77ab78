"""N worker processes: those that crash are started again, one signal stops all."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass

import structlog

from shared.flows import Flows
from shared.redis.connections import is_server_trouble
from shared.redis.keys import Keys
from shared.settings import Settings
from workers.settings import connect_worker

log = structlog.get_logger()

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 10.0
STEADY_S = 30.0
STOP_WAIT_S = 10.0
LOOK_S = 0.1
SCAN_AT_ONCE = 1000


@dataclass
class Child:
    """One worker process and its restarts."""

    process: "subprocess.Popen[bytes] | None" = None
    started: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    due: float = 0.0


class Supervisor:
    """Keeps `processes` workers alive until a signal comes."""

    def __init__(self, settings: Settings, url: str, processes: int) -> None:
        self._settings = settings
        self._url = url
        self._children = [Child() for _ in range(processes)]
        self._stopping = False

    def run(self) -> None:
        """Run until SIGINT or SIGTERM, then stop all workers and wait for them."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._stop)
        try:
            while not self._stopping:
                self._restart_those_that_ended()
                time.sleep(LOOK_S)
        finally:
            self._stop_children()

    def _stop(self, signum: int, frame: object) -> None:
        self._stopping = True

    def _restart_those_that_ended(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is not None and child.process.poll() is not None:
                if now - child.started > STEADY_S:
                    child.backoff_s = FIRST_BACKOFF_S
                log.warning("a worker ended", code=child.process.returncode, again_in_s=child.backoff_s)
                child.process, child.due = None, now + child.backoff_s
                child.backoff_s = min(child.backoff_s * 2, LONGEST_BACKOFF_S)
            if child.process is None and now >= child.due:
                set_aside_foreign_members(self._settings, self._url)
                child.started = now
                child.process = self._spawn()

    def _spawn(self) -> "subprocess.Popen[bytes]":
        environment = os.environ | {"RECKONER_REDIS_URL": self._url}
        # A session of its own, so that Ctrl-C reaches the supervisor alone, and each worker is told once.
        return subprocess.Popen([sys.executable, "-m", "workers", "--child"], env=environment, start_new_session=True)

    def _stop_children(self) -> None:
        running = [child.process for child in self._children if child.process is not None]
        for process in running:
            process.terminate()
        until = time.monotonic() + STOP_WAIT_S
        for process in running:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("a worker did not stop in time and is killed", pid=process.pid)
                process.kill()
                process.wait()


def set_aside_foreign_members(settings: Settings, url: str) -> None:
    """Remove queue members that are not UTF-8: a stock worker that meets one ends, and so does the next."""
    try:
        count = asyncio.run(_set_aside(settings, url))
    except Exception as error:
        if not is_server_trouble(error):
            raise
        return
    if count:
        log.warning("queue members that no job can have were set aside", count=count)


async def _set_aside(settings: Settings, url: str) -> int:
    keys, count = Keys(settings.prefix), 0
    async with connect_worker(settings, url) as redis:
        flows = Flows(redis, keys, settings.first_look_s)
        async for member, _ in redis.zscan_iter(keys.queue, count=SCAN_AT_ONCE):
            try:
                member.decode()
            except UnicodeDecodeError:
                count += await flows.refuse_member(member)
    return count
