"""Times of options are ISO 8601 or relative to now, and numbers of lines are seconds or milliseconds."""

from datetime import UTC, datetime, timedelta

import pytest

from reckoner.producer.cli.times import epoch_seconds, read_time
from reckoner.shared.errors import UsageError

CLOSE = timedelta(minutes=1)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-12-24T18:00+01:00", datetime(2026, 12, 24, 17, tzinfo=UTC)),
        ("2026-12-24T18:00Z", datetime(2026, 12, 24, 18, tzinfo=UTC)),
        ("2026-12-24 18:00:01.5", datetime(2026, 12, 24, 18, 0, 1, 500_000, tzinfo=UTC)),
        ("2026-12-24", datetime(2026, 12, 24, tzinfo=UTC)),
    ],
)
def test_a_time_without_a_zone_is_in_utc(text: str, time: datetime) -> None:
    """Dates too."""
    assert read_time(text, ahead=True) == time


@pytest.mark.parametrize(
    ("text", "distance"),
    [
        ("90s", timedelta(seconds=90)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("3d", timedelta(days=3)),
        ("1w", timedelta(weeks=1)),
    ],
)
def test_a_relative_time_is_ahead_or_ago(text: str, distance: timedelta) -> None:
    """By this host's clock."""
    now = datetime.now(UTC)
    assert abs(read_time(text, ahead=True) - now - distance) < CLOSE
    assert abs(now - distance - read_time(text, ahead=False)) < CLOSE


@pytest.mark.parametrize("text", ["", "soon", "2", "2 h", "-2h", "2026-13-01", "999999w", "24.12.2026", "1700000000"])
def test_anything_else_is_refused(text: str) -> None:
    """In one sentence."""
    with pytest.raises(UsageError, match=r"^The time '.*' is neither ISO 8601, .* nor relative, as in 2h or 3d\.$"):
        read_time(text, ahead=True)


def test_numbers_are_seconds_or_milliseconds() -> None:
    """As for imports."""
    assert epoch_seconds(1_700_000_000) == epoch_seconds(1_700_000_000_000) == 1_700_000_000
    assert epoch_seconds(-1.5) == -1.5
    for number in (1e14, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"^$"):
            epoch_seconds(number)
