"""When the nightly run is due: a time of day in a time zone, one moment for each date."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

from reckoner.shared.errors import UsageError

_SHAPE = re.compile("(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?: +(?P<zone>[^ ]+))?")
# A clock change across midnight may repeat a date or skip its time.
_NEAR_DAYS = (1, 0, -1, -2)


class Due(NamedTuple):
    """A nightly run: its date, and the moment in UTC when it is due."""

    date: date
    moment: datetime


@dataclass(frozen=True)
class Nightly:
    """A time of day in a time zone."""

    time: time
    zone: tzinfo

    def due_on(self, day: date) -> Due:
        """The due moment of a date: the first of two where the clock is put back over this time.

        Where the clock is put forward over it: as long after midnight as on any other day.
        """
        return Due(day, datetime.combine(day, self.time, self.zone).astimezone(UTC))


def require_date(text: str) -> str:
    """Return the date, as in `2026-11-30`.

    Raises:
        UsageError: the text is not a date.
    """
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError as error:
        raise UsageError(f"The date {text!r} is invalid. Write it as in 2026-11-30.") from error


def parse_nightly(text: str) -> Nightly | None:
    """Parse a time and an optional time zone (default UTC), as in `03:00 Europe/Berlin`; None for an empty text.

    Raises:
        ValueError: the text is invalid; the message is a clause without the text.
    """
    if not text:
        return None
    parts = _SHAPE.fullmatch(text.strip(" "))
    if parts is None:
        raise ValueError("expected a time and a time zone, as in 03:00 Europe/Berlin")
    try:
        zone: tzinfo = ZoneInfo(parts["zone"]) if parts["zone"] else UTC
    # ZoneInfo opens a file of this name: it may be a directory, or no file name.
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("unknown time zone; a valid one is Europe/Berlin") from error
    return Nightly(time(int(parts["hour"]), int(parts["minute"])), zone)


def last_due(now: datetime, nightly: Nightly) -> Due:
    """The latest night that was due at or before `now`, an aware datetime."""
    today = now.astimezone(nightly.zone).date()
    nights = (nightly.due_on(today + timedelta(days)) for days in _NEAR_DAYS)
    return next(night for night in nights if night.moment <= now)
