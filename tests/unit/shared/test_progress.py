"""ProgressWatch: a process that uses the processor gets on, and one that does not stands still after a while."""

import os
import time
from pathlib import Path

import pytest

from reckoner.shared import progress
from reckoner.shared.progress import ProgressWatch, cpu_seconds, parse_ps_time


@pytest.mark.parametrize(
    ("written", "read"),
    [("0:00.05", 0.05), ("01:02", 62.0), ("2:03:04", 7384.0), ("1-00:00:01", 86_401.0), ("123:45.67", 7425.67)],
)
def test_times_of_ps_are_read(written: str, read: float) -> None:
    """With days, hours and hundredths, or without."""
    assert parse_ps_time(written) == pytest.approx(read)


def test_the_processor_time_of_a_process_is_measured() -> None:
    """A missing process is left out."""
    before = time.process_time()
    found = cpu_seconds([os.getpid(), 2**30])
    assert found.keys() == {os.getpid()}
    assert before - 0.1 <= found[os.getpid()] <= time.process_time() + 0.1


def test_without_proc_ps_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on macOS, where it tells hundredths."""
    monkeypatch.setattr(progress, "PROCESSES", tmp_path)
    found = cpu_seconds([os.getpid()])
    assert abs(found[os.getpid()] - time.process_time()) <= 2


def test_a_process_with_progress_is_not_stalled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each step of processor time counts, and so does progress that was seen in another way."""
    clock, found = [0.0], {1: 0.0, 2: 0.0}
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(progress, "cpu_seconds", lambda processes: {process: found[process] for process in processes})
    watched = ProgressWatch(stall_timeout_s=10)

    def is_stalled(now: float, *processes: int) -> bool:
        clock[0] = now
        return watched.is_stalled(processes)

    assert not is_stalled(9.0, 1)
    found[1] = 0.05
    assert is_stalled(10.0, 1)
    found[1] = 0.1
    assert not is_stalled(11.0, 1)
    assert is_stalled(21.0, 1)
    found[2] = 0.2
    assert not is_stalled(22.0, 1, 2)
    clock[0] = 31.0
    watched.note_progress()
    assert not is_stalled(40.0, 1, 2)
    assert is_stalled(41.0, 1, 2)
