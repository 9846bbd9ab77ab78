"""Whether processes that somebody waits for get on: as long as they use the processor, they do."""

import contextlib
import os
import subprocess
import time
from collections.abc import Collection
from pathlib import Path

# How long nothing may move. A busy machine gives a process some of its time within seconds, and a disk answers.
STALL_TIMEOUT_S = 120.0
# Less than this, in seconds of the processor, is what an idle process needs to look around again and again.
STEP_S = 0.1
LOOK_S = 0.5
PROCESSES = Path("/proc")


class ProgressWatch:
    """For how long some processes have stood still; `stall_timeout_s` seconds without any movement are too long."""

    def __init__(self, stall_timeout_s: float = STALL_TIMEOUT_S) -> None:
        self.stall_timeout_s = stall_timeout_s
        self._since = time.monotonic()
        self._look_at = self._since
        self._used: dict[int, float] = {}

    def note_progress(self) -> None:
        """Note that something else has shown that they get on."""
        self._since = time.monotonic()

    def is_stalled(self, processes: Collection[int]) -> bool:
        """Whether none of them, given by process id, has moved for too long."""
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + LOOK_S
            for process, used_s in cpu_seconds(processes).items():
                if used_s - self._used.setdefault(process, 0.0) >= STEP_S:
                    self._used[process], self._since = used_s, now
        return now - self._since >= self.stall_timeout_s


def cpu_seconds(processes: Collection[int]) -> dict[int, float]:
    """The processor time that each process has used so far, in seconds; those that have ended are left out."""
    if not (PROCESSES / "self" / "stat").exists():
        return _used_by_ps(processes)
    found = {}
    for process in processes:
        with contextlib.suppress(OSError):
            # After the program's name, which may hold anything: the state, ten numbers, and the time in user mode and
            # in system mode.
            fields = (PROCESSES / str(process) / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
            found[process] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found


def _used_by_ps(processes: Collection[int]) -> dict[int, float]:
    """The same where there is no /proc, as on macOS."""
    command = ["ps", "-o", "pid=,time=", "-p", ",".join(map(str, processes))]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    return {int(process): parse_ps_time(time_used) for process, time_used in map(str.split, lines)}


def parse_ps_time(time_used: str) -> float:
    """A time as `ps` writes it, [[days-]hours:]minutes:seconds, in seconds."""
    days, _, clock = time_used.rpartition("-")
    total = 0.0
    for part in clock.split(":"):
        total = total * 60 + float(part)
    return total + int(days or 0) * 86_400
