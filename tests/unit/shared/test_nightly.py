"""The night's time: what it can be, and that each date has one moment, wherever and however clocks are changed."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reckoner.shared.errors import UsageError
from reckoner.shared.nightly import Due, Nightly, last_due, parse_nightly, require_date

BERLIN = ZoneInfo("Europe/Berlin")
# Half hours, both ends of the world, a change of half an hour, one at midnight, one over the date line, none at all.
ZONES = [
    "Europe/Berlin", "America/New_York", "America/Havana", "America/Sao_Paulo", "America/St_Johns", "Asia/Beirut",
    "Asia/Kolkata", "Australia/Lord_Howe", "Pacific/Apia", "Pacific/Kiritimati", "Pacific/Pago_Pago", "UTC",
]  # fmt: skip


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def night(text: str) -> Nightly:
    nightly = parse_nightly(text)
    assert nightly is not None
    return nightly


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", None),
        ("03:00 Europe/Berlin", Nightly(time(3), BERLIN)),
        ("  23:59   Europe/Berlin ", Nightly(time(23, 59), BERLIN)),
        ("00:00", Nightly(time(0), UTC)),
        ("03:00 UTC", Nightly(time(3), ZoneInfo("UTC"))),
    ],
)
def test_a_time_and_a_zone_are_read(text: str, expected: Nightly | None) -> None:
    """Without a zone the time is one of UTC; no text is no night."""
    assert parse_nightly(text) == expected


NO_TIMES = [
    "3:00", "24:00", "03:60", "03:00:00", "0300", "03:00Z", "03:00+01:00", "Europe/Berlin", " ", "03:00 a b", "٠٣:٠٠",
    "03:00\nUTC", "@daily", "0 3 * * *",
]  # fmt: skip
NO_ZONES = [
    "Europe", "Europe/Nowhere", "CEST", "/etc/passwd", "../UTC", ".", "a\0b", "x" * 5_000, "\udcff", "ユーザー",
]  # fmt: skip


@pytest.mark.parametrize("text", NO_TIMES, ids=ascii)
def test_an_invalid_time_is_refused(text: str) -> None:
    """The message shows a valid one."""
    with pytest.raises(ValueError, match=r"^expected a time and a time zone, as in 03:00 Europe/Berlin$"):
        parse_nightly(text)


@pytest.mark.parametrize("zone", NO_ZONES, ids=range(len(NO_ZONES)))
def test_an_invalid_time_zone_is_refused(zone: str) -> None:
    """A directory, a path elsewhere, and an invalid file name are no time zones."""
    with pytest.raises(ValueError, match=r"^unknown time zone; a valid one is Europe/Berlin$"):
        parse_nightly(f"03:00 {zone}")


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    """And nothing else comes of it."""
    try:
        assert parse_nightly(text) is None or text
    except ValueError:
        return


@pytest.mark.parametrize(
    ("setting", "now", "day", "moment"),
    [
        ("03:00 Europe/Berlin", "2026-11-24T02:59:59+01:00", "2026-11-23", "2026-11-23T03:00+01:00"),
        ("03:00 Europe/Berlin", "2026-11-24T03:00:00+01:00", "2026-11-24", "2026-11-24T03:00+01:00"),
        # Forward: 02:30 is left out, and comes with the clock at 03:30; back: 02:30 comes twice.
        ("02:30 Europe/Berlin", "2026-03-29T03:29:59+02:00", "2026-03-28", "2026-03-28T02:30+01:00"),
        ("02:30 Europe/Berlin", "2026-03-29T03:30:00+02:00", "2026-03-29", "2026-03-29T03:30+02:00"),
        ("02:30 Europe/Berlin", "2026-10-25T02:30:00+02:00", "2026-10-25", "2026-10-25T02:30+02:00"),
        ("02:30 Europe/Berlin", "2026-10-25T02:30:00+01:00", "2026-10-25", "2026-10-25T02:30+02:00"),
        ("02:30 Europe/Berlin", "2026-10-26T02:29:59+01:00", "2026-10-25", "2026-10-25T02:30+02:00"),
        # Another date than that of UTC, to the east and to the west.
        ("00:00 Pacific/Kiritimati", "2026-11-23T10:00:00+00:00", "2026-11-24", "2026-11-23T10:00+00:00"),
        ("23:59 Pacific/Pago_Pago", "2026-11-24T10:59:00+00:00", "2026-11-23", "2026-11-24T10:59+00:00"),
        # From 24:00 back to 23:00 there is one midnight, from 00:01 back to 23:01 there are two: the first one counts,
        # and the night of tomorrow has begun before today ends.
        ("00:00 Asia/Beirut", "2026-10-24T23:30:00+02:00", "2026-10-24", "2026-10-24T00:00+03:00"),
        ("00:00 America/St_Johns", "2010-11-06T23:30:00-03:30", "2010-11-07", "2010-11-07T00:00-02:30"),
        # The 30th of December 2011 was left out in Samoa.
        ("03:00 Pacific/Apia", "2011-12-31T03:00:00+14:00", "2011-12-31", "2011-12-30T13:00+00:00"),
        ("03:00 Pacific/Apia", "2011-12-31T02:59:59+14:00", "2011-12-29", "2011-12-29T13:00+00:00"),
    ],
)
def test_the_last_night_is_the_one_that_the_clock_on_the_wall_says(
    setting: str, now: str, day: str, moment: str
) -> None:
    """Its date is that of its zone; where the time comes not at all or twice there is one night all the same."""
    assert last_due(at(now), night(setting)) == Due(date.fromisoformat(day), at(moment))


@given(
    zone=st.sampled_from(ZONES),
    of_day=st.times().map(lambda moment: moment.replace(second=0, microsecond=0)),
    now=st.datetimes(datetime(1990, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC)),
    later=st.timedeltas(timedelta(0), timedelta(hours=30)),
)
@example("America/Havana", time(0, 30), datetime(2026, 3, 8, 5, 15, tzinfo=UTC), timedelta(minutes=20))
@example("America/Havana", time(0, 30), datetime(2026, 11, 1, 5, 15, tzinfo=UTC), timedelta(minutes=20))
@example("Pacific/Apia", time(0), datetime(2011, 12, 30, 9, 59, tzinfo=UTC), timedelta(minutes=1))
def test_every_date_is_due_once_and_in_its_order(zone: str, of_day: time, now: datetime, later: timedelta) -> None:
    """The last night lies behind, the next one ahead, and none comes again."""
    nightly = Nightly(of_day, ZoneInfo(zone))
    due, then = last_due(now, nightly), last_due(now + later, nightly)
    assert due.moment <= now < nightly.due_on(due.date + timedelta(1)).moment
    assert due.moment.second == 0
    assert due == nightly.due_on(due.date)
    assert then.date >= due.date
    # A day of 30 hours or less has two nights at most, and Samoa has left out one date.
    assert then.date - due.date <= timedelta(3)


def test_a_date_is_one_of_the_calendar() -> None:
    """What it is not, the message says, and how to write one."""
    assert require_date("2028-02-29") == "2028-02-29"
    for wrong in ("tomorrow", "2026-13-01", ""):
        with pytest.raises(UsageError, match=f"^The date '{wrong}' is invalid. Write it as in 2026-11-30.$"):
            require_date(wrong)
