"""How long the supervisor waits until it restarts a worker."""

import signal

import pytest

from reckoner.workers.process.supervisor import AT_WORK_S, FIRST_BACKOFF_S, LONGEST_BACKOFF_S, STEADY_S, Child

BRIEF_S = 0.5


@pytest.mark.parametrize("code", [0, 1, -signal.SIGKILL, -signal.SIGTERM, -signal.SIGSEGV])
def test_a_worker_that_ends_at_once_is_restarted_more_and_more_slowly(code: int) -> None:
    """However it ends: twice as slowly each time, up to a limit."""
    child = Child()
    pauses = [child.backoff_after(code, BRIEF_S) for _ in range(10)]
    assert pauses == [min(FIRST_BACKOFF_S * 2**number, LONGEST_BACKOFF_S) for number in range(10)]


@pytest.mark.parametrize(
    ("code", "at_work_s", "pause_s"),
    [
        (0, AT_WORK_S, 0.0),
        (-signal.SIGKILL, AT_WORK_S, 0.0),
        (-signal.SIGTERM, AT_WORK_S, 0.0),
        (1, STEADY_S, FIRST_BACKOFF_S),
        (-signal.SIGSEGV, STEADY_S, FIRST_BACKOFF_S),
    ],
)
def test_a_worker_that_was_stopped_at_work_is_restarted_at_once(code: int, at_work_s: float, pause_s: float) -> None:
    """A crashed one has to run much longer before its crashes count as unrelated. Both start over with short pauses."""
    child = Child()
    for _ in range(10):
        child.backoff_after(code, BRIEF_S)
    assert child.backoff_after(code, at_work_s) == LONGEST_BACKOFF_S
    assert child.backoff_after(code, at_work_s + 0.1) == pause_s
    assert child.backoff_after(code, BRIEF_S) <= 2 * FIRST_BACKOFF_S
