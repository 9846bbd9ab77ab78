"""How a job that raised is settled: pure decisions, with a bounded backoff and jitter."""

import asyncio

import pytest
from arq.worker import Function, Retry, RetryJob
from hypothesis import given
from hypothesis import strategies as st

from reckoner.workers.engine.outcomes import (
    LONGEST_BACKOFF_MS,
    JobTimeoutError,
    NotNowError,
    after_error,
    backoff_ms,
    most_tries,
)


async def nothing(ctx: object) -> None:
    """Do nothing."""


@given(st.integers(1, 10_000))
def test_a_backoff_is_doubled_each_time_and_half_of_it_is_chance(tries: int) -> None:
    """From 0.5 s to 30 s, with 50 % jitter."""
    middle = min(500 * 2 ** min(tries - 1, 60), LONGEST_BACKOFF_MS)
    assert middle // 2 <= backoff_ms(tries) <= middle * 3 // 2


def test_backoffs_of_many_jobs_are_spread() -> None:
    """Jobs that failed together are not retried together."""
    assert len({backoff_ms(4) for _ in range(50)}) > 25


@pytest.mark.parametrize(
    ("error", "tries", "expected"),
    [
        (NotNowError(), 1, ("back", 0)),
        (NotNowError(), 99, ("back", 0)),
        (Retry(defer=2), 1, ("later", 2000)),
        (Retry(), 99, ("later", 0)),
        (RetryJob(), 1, ("later", 0)),
        (JobTimeoutError("too long"), 1, ("done", 0)),
        (ValueError(), 3, ("done", 0)),
        (ValueError(), 4, ("done", 0)),
    ],
)
def test_the_exception_decides_how_a_job_is_settled(error: Exception, tries: int, expected: tuple[str, int]) -> None:
    """With three tries: a delivery that was no try is never the last, and a timeout is not retried."""
    assert after_error(error, tries, 3) == expected


@pytest.mark.parametrize("error", [ValueError(), TimeoutError(), asyncio.QueueFull(), ConnectionError()])
def test_an_ordinary_exception_is_tried_again_later(error: Exception) -> None:
    """Including the job's own TimeoutError."""
    how, delay_ms = after_error(error, 2, 3)
    assert how == "later"
    assert 500 <= delay_ms <= 1500


@pytest.mark.parametrize("error", [ValueError(), Retry(defer=2), RetryJob()])
def test_without_retries_every_exception_is_the_last(error: Exception) -> None:
    """As with `retry_jobs=False` in stock arq; a delivery that was no try is still repeated."""
    assert after_error(error, 1, 3, retries=False) == ("done", 0)
    assert after_error(NotNowError(), 1, 3, retries=False) == ("back", 0)


@pytest.mark.parametrize(("own", "expected"), [(None, 5), (1, 1), (0, 0)])
def test_a_functions_own_tries_go_before_the_workers(own: int | None, expected: int) -> None:
    """Even without a limit of its own."""
    assert most_tries(Function("nothing", nothing, None, None, None, own), 5) == expected
