"""Runs N worker processes: restarts crashed workers, not drained ones, and stops all of them on one signal."""

import asyncio
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass

import structlog
from redis.exceptions import RedisError

from reckoner.shared.errors import ReckonerError
from reckoner.shared.interpreter import module_command
from reckoner.shared.redis.connections import check, connect
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import call
from reckoner.shared.settings import Settings
from reckoner.shared.startup import EventSender
from reckoner.shared.stopping import supervisor_exit_timeout_s
from reckoner.shared.store.location import store_of
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.store.verification import verification_cache
from reckoner.workers.runtime.store_watch import in_own_thread

log = structlog.get_logger()

FIRST_BACKOFF_S = 0.2
LONGEST_BACKOFF_S = 10.0
STEADY_S = 30.0
# A worker that was stopped after so long had begun to work.
AT_WORK_S = 2.0
POLL_S = 0.1
# Without an answer the leases lapse by themselves.
GIVE_BACK_S = 1.0
# The exit codes of a worker that an operator, the host or the OOM killer has stopped.
STOPPED = (0, -signal.SIGKILL, -signal.SIGTERM)
# The exit codes of a worker that may have read a damaged artifact.
CRASHED = (-signal.SIGSEGV, -signal.SIGBUS, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL)
# The exit code of a drained worker.
DRAINED = 3


@dataclass
class Child:
    """One worker process and its restarts."""

    process: "subprocess.Popen[bytes] | None" = None
    name: str = ""
    """The beginning of the tokens of its leases; empty if its program takes no name."""
    started: float = 0.0
    backoff_s: float = FIRST_BACKOFF_S
    due: float = 0.0
    drained: bool = False

    def backoff_after(self, code: int, ran_s: float) -> float:
        """Seconds until the restart of a process that ended with an exit code after so many seconds."""
        if code in STOPPED and ran_s > AT_WORK_S:
            self.backoff_s = FIRST_BACKOFF_S
            return 0.0
        if ran_s > STEADY_S:
            self.backoff_s = FIRST_BACKOFF_S
        pause_s, self.backoff_s = self.backoff_s, min(self.backoff_s * 2, LONGEST_BACKOFF_S)
        return pause_s


class Supervisor:
    """Keeps `processes` workers alive, each started by `command`, until a signal comes or all are drained.

    It imports neither kernels nor arq's worker, so it stays small and starts its children at once.
    """

    def __init__(
        self,
        settings: Settings,
        processes: int,
        command: Sequence[str] | None = None,
        events: EventSender | None = None,
    ) -> None:
        self._settings = settings
        self._events = events or EventSender(None)
        self._names = command is None
        self._command = [*(command or module_command("reckoner.workers", "--child", "--parent", str(os.getpid())))]
        self._passed = [] if self._events.descriptor is None else [self._events.descriptor]
        for descriptor in self._passed:
            self._command += ["--tell", str(descriptor)]
        self._children = [Child() for _ in range(processes)]
        self._verified = verification_cache(settings.home_path)
        self._stopping = False

    def run(self) -> None:
        """Run until SIGINT or SIGTERM, then stop all workers and wait for them. A second signal stops them at once.

        Raises:
            ReckonerError: Redis or the store is unavailable, so no worker was started.
        """
        asyncio.run(self._check())
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, self._stop)
        try:
            while not self._stopping and not all(child.drained for child in self._children):
                self._reap_children()
                self._restart_children()
                time.sleep(POLL_S)
        finally:
            self._stop_children()

    async def _check(self) -> None:
        store = await in_own_thread(lambda: store_of(self._settings))
        async with connect(find_redis(self._settings)) as redis:
            await check(redis)
            await claim_store(redis, self._settings, store, in_own_thread)

    def _stop(self, signum: int, frame: object) -> None:
        if self._stopping:
            # Not SIGTERM: two of the same signal at once may merge into one.
            self._signal(signal.SIGINT)
        self._stopping = True

    def _signal(self, signum: signal.Signals) -> None:
        for child in self._children:
            if child.process is not None:
                child.process.send_signal(signum)

    def _reap_children(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.process is None or child.process.poll() is None:
                continue
            process, child.process = child.process, None
            if process.returncode == DRAINED:
                log.info("worker drained", pid=process.pid)
                child.drained = True
            else:
                pause_s = child.backoff_after(process.returncode, now - child.started)
                child.due = now + pause_s
                log.warning("worker ended", pid=process.pid, code=process.returncode, restart_in_s=pause_s)
            # After the log line, which the receiver quotes.
            self._events.send("ended", process.pid, process.returncode)
            if process.returncode not in CRASHED:
                self._verified.excuse_death(process.pid)
            if child.name and process.returncode < 0:
                asyncio.run(self._give_back_jobs(child.name))

    def _restart_children(self) -> None:
        now = time.monotonic()
        due = [child for child in self._children if not (child.process or child.drained) and now >= child.due]
        for child in due:
            if not self._stopping:
                child.started, child.process = time.monotonic(), self._start_worker(child)
                self._events.send("started", child.process.pid)

    async def _give_back_jobs(self, name: str) -> None:
        """Give back the jobs of a dead worker at once. A try of each is counted, as when its lease lapses."""
        lanes, lease_ms = Keys(self._settings.prefix).lanes, int(self._settings.lease_s * 1000)
        try:
            async with asyncio.timeout(GIVE_BACK_S), connect(find_redis(self._settings)) as redis:
                count = await call(redis, "release", lanes, [lease_ms, 1, name])
        except (RedisError, OSError, ReckonerError) as error:
            log.warning("jobs not given back", error=type(error).__name__)
        else:
            log.info("jobs given back", count=count)

    def _start_worker(self, child: Child) -> "subprocess.Popen[bytes]":
        child.name = secrets.token_hex(8) if self._names else ""
        command = [*self._command, *(["--name", child.name] if child.name else [])]
        # A session of its own, so that Ctrl-C reaches the supervisor alone and each worker gets one signal.
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=self._passed, start_new_session=True)

    def _stop_children(self) -> None:
        self._signal(signal.SIGTERM)
        until = time.monotonic() + supervisor_exit_timeout_s(self._settings.stop_s)
        for process in [child.process for child in self._children if child.process is not None]:
            try:
                process.wait(max(0.0, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("worker killed", pid=process.pid, reason="it did not stop in time")
                process.kill()
                process.wait()
