"""When the night's run is due: a time of day in a zone, and the one moment of each date that it stands for."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from typing import NamedTuple
from zoneinfo import ZoneInfo

_SHAPE = re.compile("(?P<hour>[01][0-9]|2[0-3]):(?P<minute>[0-5][0-9])(?: +(?P<zone>[^ ]+))?")
# A clock that is put back over midnight has reached tomorrow before, one that is put forward may have left out the
# night's time yesterday.
_NEAR_DAYS = (1, 0, -1, -2)


class Due(NamedTuple):
    """A night: the date whose run it is, and the moment in UTC from which that is to be started."""

    date: date
    moment: datetime


@dataclass(frozen=True)
class Nightly:
    """A time of day in a zone."""

    time: time
    zone: tzinfo

    def due_on(self, day: date) -> Due:
        """The one moment of a date: the first of two where the clock is put back over the night's time, and where it
        is put forward over it the moment that comes as long after midnight as it would have on another day.
        """
        return Due(day, datetime.combine(day, self.time, self.zone).astimezone(UTC))


def parse_nightly(text: str) -> Nightly | None:
    """Read a time and the name of a zone, UTC when there is none, as in `03:00 Europe/Berlin`; None for no text.

    Raises:
        ValueError: it is something else; the message completes a sentence, and does not show the text.
    """
    if not text:
        return None
    parts = _SHAPE.fullmatch(text.strip(" "))
    if parts is None:
        raise ValueError("it has to be a time and a time zone, such as 03:00 Europe/Berlin")
    try:
        zone: tzinfo = ZoneInfo(parts["zone"]) if parts["zone"] else UTC
    # A zone is a file that is looked for by its name, which may be no name or that of a directory.
    except (KeyError, ValueError, OSError) as error:
        raise ValueError("no time zone has this name; one that has is Europe/Berlin") from error
    return Nightly(time(int(parts["hour"]), int(parts["minute"])), zone)


def last_due(now: datetime, nightly: Nightly) -> Due:
    """The night that was due last, at or before `now`, which has a zone."""
    today = now.astimezone(nightly.zone).date()
    nights = (nightly.due_on(today + timedelta(days)) for days in _NEAR_DAYS)
    return next(night for night in nights if night.moment <= now)
