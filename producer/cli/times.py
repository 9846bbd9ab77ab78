"""Reads the times of options and event lines: ISO 8601, relative, and numbers since 1970."""

import re
from datetime import UTC, datetime, timedelta

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
RELATIVE = re.compile(r"(\d{1,6})([smhdw])")
# As for imports: a smaller number is in seconds, until the year 5138, a larger one in milliseconds.
SECONDS_BELOW, MILLISECONDS_BELOW = 1e11, 1e14


def read_time(text: str, *, ahead: bool) -> datetime:
    """The time of an option: ISO 8601, in UTC without a zone; or relative to now, such as `2h`.

    A relative time is `ahead` of now, or ago.

    Raises:
        UsageError: it is no such time.
    """
    relative = RELATIVE.fullmatch(text)
    try:
        if relative is None:
            return iso_time(text)
        distance = timedelta(**{UNITS[relative[2]]: int(relative[1])})
        return datetime.now(UTC) + (distance if ahead else -distance)
    except (ValueError, OverflowError):
        from reckoner.shared.errors import UsageError
        from reckoner.shared.ids import shown

        raise UsageError(
            f"The time {shown(text)} is neither ISO 8601, as in 2026-12-24T18:00+01:00, nor relative, as in 2h or 3d."
        ) from None


def iso_time(text: str) -> datetime:
    """A time in ISO 8601, in UTC without a zone.

    Raises:
        ValueError: it is no such time.
    """
    time = datetime.fromisoformat(text)
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)


def epoch_seconds(number: float) -> float:
    """Seconds since 1970, from a number of seconds or of milliseconds.

    Raises:
        ValueError: it is neither.
    """
    if not abs(number) < MILLISECONDS_BELOW:
        raise ValueError
    return number if abs(number) < SECONDS_BELOW else number / 1000
