"""Counts, durations and times are readable for any number."""

import pytest

from reckoner.producer.formats import format_duration, format_mebibytes, format_time


@pytest.mark.parametrize(
    ("ms", "shown"),
    [(0, "0.0 s"), (9_949, "9.9 s"), (9_950, "10 s"), (119_000, "119 s"), (120_000, "2 min"), (7_200_000, "2 h")],
)
def test_a_duration_is_as_exact_as_one_wants_to_know_it(ms: int, shown: str) -> None:
    """Tenths below ten seconds, whole units above, with at least two digits."""
    assert format_duration(ms) == shown
    assert format_duration(10 * 86_400_000) == "10 d"
    assert format_duration(2**53) == "104,249,991 d"


def test_an_impossible_time_ends_in_no_stack_trace() -> None:
    """For any number."""
    assert format_time(1_700_000_000_000).startswith("2023-11-")
    assert format_time(1_700_000_000_123, exact=True)[17:23] == "20.123"
    assert format_time(2**53, exact=True) == format_time(2**53) == "at an invalid time"
    assert format_mebibytes(3 * 2**30) == "3,072.0 MiB"
