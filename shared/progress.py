"""Detects stalled processes: a process makes progress as long as it uses the processor."""

import contextlib
import os
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

# Even on a busy machine, a process gets some processor time within this time.
STALL_TIMEOUT_S = 120.0
# Processor time in seconds; polling in an idle process uses less.
STEP_S = 0.1
LOOK_S = 0.5
PROCESSES = Path("/proc")


class ProgressWatch:
    """Watches processes: they are stalled after `stall_timeout_s` seconds without progress."""

    def __init__(self, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self.stall_timeout_s = stall_timeout_s
        self._since = time.monotonic()
        self._look_at = self._since
        self._used: dict[int, float] = {}

    def note_progress(self) -> None:
        """Note progress that was seen in another way."""
        self._since = time.monotonic()

    def is_stalled(self, processes: Collection[int]) -> bool:
        """Whether none of the processes, given by their ids, made progress for too long."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            for process, used_s in cpu_seconds(processes).items():
                if used_s - self._used.setdefault(process, 0.0) >= STEP_S:
                    self._used[process], self._since = used_s, now
        return now - self._since >= self.stall_timeout_s


def cpu_seconds(processes: Collection[int]) -> dict[int, float]:
    """The processor time of each running process so far, in seconds."""
    if not (PROCESSES / "self" / "stat").exists():
        return _used_by_ps(processes)
    found = {}
    for process in processes:
        with contextlib.suppress(OSError):
            # proc(5): utime and stime are the fields 14 and 15; the program's name may hold blanks and brackets.
            fields = (PROCESSES / str(process) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            found[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _used_by_ps(processes: Collection[int]) -> dict[int, float]:
    """The same by `ps`, for systems without /proc, such as macOS."""
    command = ["ps", "-o", "pid=,time=", "-p", ",".join(map(str, processes))]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return {int(process): parse_ps_time(time_used) for process, time_used in map(str.split, lines)}


def parse_ps_time(time_used: str) -> float:
    """Parse a time of `ps`, [[days-]hours:]minutes:seconds, into seconds."""
    days, _, clock = time_used.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + int(days or 0) * 86_400
