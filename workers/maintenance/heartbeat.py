"""The heartbeat of one worker process: it regularly reports that it is alive, what it runs, and what it counted."""

import os
import resource
import socket
import sys
import time
from collections.abc import Callable

import structlog

from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.periodic import run_periodically
from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.version import can_import, installed_version
from reckoner.shared.wire.shapes import Beat, Running
from reckoner.workers.runtime.runtime import Runtime

LONGEST_PAUSE_S = 1.0
# Two beats may be late within a lease.
BEATS_A_LEASE = 3
# Longer names are cut. Ours are shorter; foreign jobs may have longer ones.
MAX_LETTERS = 200

log = structlog.get_logger()


class Heartbeat:
    """The heartbeat of one worker process."""

    def __init__(self, runtime: Runtime, is_draining: Callable[[], bool] = lambda: False) -> None:
        self._runtime = runtime
        self._is_draining = is_draining
        self._lease_ms = int(runtime.settings.lease_s * 1000)
        self.pause_s = min(LONGEST_PAUSE_S, runtime.settings.lease_s / BEATS_A_LEASE)
        """The time between two beats, in seconds."""
        self._beats = Heartbeats(runtime.redis, runtime.keys)
        self._host, self._version, self._started_ms = socket.gethostname(), installed_version(), _now_ms()
        self._imports = can_import(runtime.settings.source)

    async def beat(self) -> None:
        """Send one heartbeat, and add up what was counted since the last one."""
        running, snapshot = self._runtime.running.items(), self._runtime.store_watch.snapshot
        await self._beats.write(
            Beat(
                format=1,
                worker=self._runtime.worker_id,
                host=self._host,
                pid=os.getpid(),
                version=self._version,
                started_ms=self._started_ms,
                beat_ms=_now_ms(),
                memory_bytes=resident_bytes(),
                jobs=[Running(job[:MAX_LETTERS], since_ms) for job, since_ms in running],
                lease_ms=self._lease_ms,
                draining=self._is_draining(),
                trouble=self._runtime.store_watch.trouble[:MAX_LETTERS],
                imports=self._imports,
                snapshot=None if snapshot is None else snapshot[:MAX_LETTERS],
            )
        )
        await self._runtime.counters.add(self._runtime.redis, self._runtime.keys)

    async def run(self) -> None:
        """Send heartbeats for ever."""
        await run_periodically("heartbeat", self.pause_s, self.beat)

    async def stop(self) -> None:
        """Remove the heartbeat, and add up the last counts. Without Redis it expires by itself, and they are lost."""
        try:
            await self._beats.remove(self._runtime.worker_id)
            await self._runtime.counters.add(self._runtime.redis, self._runtime.keys)
        except Exception as error:
            if not is_transient_redis_error(error):
                log.exception("heartbeat removal failed")


def resident_bytes() -> int:
    """The resident memory of this process; without /proc its peak."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
