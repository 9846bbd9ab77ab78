"""Times as people and programs write them; day and month are told apart by the whole column."""

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from reckoner.producer.importing.judging.times import TimeReader, Times
from reckoner.shared.errors import NotTimesError, ReadAgainError, SourceError

NOON = 1_790_251_200_000  # 2026-09-24T12:00:00Z


def read(array: pa.Array, time_format: str | None = None) -> Times:
    return read_batches([array], time_format)[0]


def read_batches(batches: list[pa.Array], time_format: str | None = None) -> list[Times]:
    reader = TimeReader("when", time_format)
    for _ in range(3):
        try:
            times = [reader.read(batch) for batch in batches]
            reader.finish()
        except ReadAgainError:
            continue
        return times
    raise AssertionError("read again and again")


def texts(*values: str | int | None, time_format: str | None = None) -> list[str | None]:
    """The times as texts, None if invalid."""
    times = read(pa.array(list(values)), time_format)
    return [
        str(np.datetime64(int(ms), "ms")).removesuffix(".000") if ok else None for ms, ok in zip(*times, strict=True)
    ]


@pytest.mark.parametrize(
    "text",
    [
        "1790251200",
        "1790251200.0",
        "1790251200000",
        "1.7902512e9",
        "2026-09-24T12:00:00Z",
        "2026-09-24 12:00:00",
        "2026-09-24T12:00",
        "2026-09-24T14:00:00+02:00",
        "2026-09-24T05:00:00.000-0700",
        " 2026-09-24T12:00:00.000000Z ",
    ],
)
def test_a_time_is_read_in_any_of_its_forms(text: str) -> None:
    """Seconds, milliseconds and ISO 8601, with an offset or in UTC, name the same moment."""
    times, readable = read(pa.array(["0", text, "x"]))
    assert times.tolist()[:2] == [0, NOON]
    assert readable.tolist() == [True, True, False]


def test_each_time_is_judged_by_itself() -> None:
    """Below 1e11 a number counts seconds and from there on milliseconds."""
    times, readable = read(pa.array([1, 99_999_999_999, 100_000_000_000, -5]))
    assert times.tolist() == [1000, 99_999_999_999_000, 100_000_000_000, -5000]
    assert readable.all()


@pytest.mark.parametrize(
    "text",
    ["", "x", "now", "today", "12:30", "2026-13-01", "2026-09-24T25:00", "24.13.2026", "32.12.2026", "1e300", None],
)
def test_invalid_times_cannot_be_read(text: str | None) -> None:
    """Words, impossible dates and numbers without a moment are invalid."""
    assert read(pa.array([text, "2026-09-24"], pa.string()))[1].tolist() == [False, True]


@pytest.mark.parametrize(
    "data_type",
    [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Europe/Vienna")],
)
def test_timestamps_of_any_unit_and_zone_are_read(data_type: pa.DataType) -> None:
    """Parquet's own times need no guessing."""
    moment = datetime.fromtimestamp(NOON / 1000, UTC)
    array = pa.array([moment if data_type.tz else moment.replace(tzinfo=None), None], data_type)
    times, readable = read(array)
    assert times[0] == NOON
    assert readable.tolist() == [True, False]


def test_dates_are_midnight() -> None:
    """A date without a time of day is its beginning in UTC, in both forms."""
    day = NOON - 12 * 3_600_000
    for array in (pa.array([datetime(2026, 9, 24).date()]), pa.array(["2026-09-24"])):
        assert read(array)[0].tolist() == [day]


def test_a_time_of_day_is_no_time() -> None:
    """A column of times without dates is refused as a whole."""
    with pytest.raises(SourceError, match="is not a time"):
        read(pa.array([1], pa.time32("s")))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2019-11-01 00:00:00 UTC", "2019-11-01T00:00:00"),
        ("2019-11-01 00:00:00.5 +0000 UTC", "2019-11-01T00:00:00.500"),
        ("2019-11-01 00:00:00 GMT", "2019-11-01T00:00:00"),
        ("2015/06/09T19:39:37", "2015-06-09T19:39:37"),
        ("2015/06/09 19:39", "2015-06-09T19:39:00"),
        ("2010/01/02", "2010-01-02T00:00:00"),
        ("2010.01.02", "2010-01-02T00:00:00"),
        ("2010-1-2 8:26", "2010-01-02T08:26:00"),
        ("20100102T082600", "2010-01-02T08:26:00"),
        ("01.02.2010", "2010-02-01T00:00:00"),
        ("01.02.2010 08:26", "2010-02-01T08:26:00"),
        ("13/2/2010 8:26", "2010-02-13T08:26:00"),
        ("2/13/2010 8:26", "2010-02-13T08:26:00"),
        ("2/13/10 8:26", "2010-02-13T08:26:00"),
        ("13-02-2010", "2010-02-13T00:00:00"),
        ("2/13/2019 8:55:22 AM", "2019-02-13T08:55:22"),
        ("2/13/2019 12:05 PM", "2019-02-13T12:05:00"),
        ("03 13, 2014", "2014-03-13T00:00:00"),
        ("03 03, 2014", "2014-03-03T00:00:00"),
        ("Jan 2, 2010", "2010-01-02T00:00:00"),
        ("02-Jan-2010", "2010-01-02T00:00:00"),
        ("Tue, 06 Aug 2013 23:57:26 GMT", "2013-08-06T23:57:26"),
        ("Sun Jul 30 07:44:10 -0700 2017", "2017-07-30T14:44:10"),
    ],
)
def test_dates_are_read_as_they_are_written(text: str, expected: str) -> None:
    """In the forms of well-known tables, among values that are not times."""
    assert texts("x", text, "", "at 7 or 8", "y") == [None, expected, None, None, None]


@pytest.mark.parametrize("bad", ["00/00/2010 0:00", "12/40/2010 8:00", "99/99/99 9:99"])
@pytest.mark.parametrize("good", ["2/13/2010 8:26", "2/13/10 8:26"])
def test_a_bad_date_in_front_hides_no_other(bad: str, good: str) -> None:
    """Of the same shape, in the first place and in every batch, also when it has been a batch by itself."""
    times = read_batches([pa.array([bad]) for _ in range(30)] + [pa.array([bad, good, bad, good])])
    assert [found.is_time.tolist() for found in times] == [[False]] * 30 + [[False, True, False, True]]
    assert read(pa.array([*(f"{day}/{day}/2010" for day in range(40, 49)), good])).is_time.tolist() == [False] * 9 + [
        True
    ]


@pytest.mark.parametrize("text", ["12/1/2010 8:26", "12-01-2010", "1/2/10", "03 04, 2014"])
def test_day_and_month_that_cannot_be_told_apart_are_asked_for(text: str) -> None:
    """By a sentence that names the option."""
    with pytest.raises(NotTimesError, match=rf"In column when, '{text}' may have .* --time-format"):
        texts(text, "6/6/2010")


@pytest.mark.parametrize(("telling", "expected"), [("13/12/2010", "2010-01-12"), ("12/13/2010", "2010-12-01")])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_one_value_tells_day_and_month_of_the_column(telling: str, expected: str, place: int) -> None:
    """Wherever it is: the column is read again if an earlier batch was read otherwise."""
    batches = [pa.array(["12/1/2010"]), pa.array(["12/1/2010"])]
    batches.insert(place, pa.array([telling]))
    times = read_batches(batches)
    days = {str(np.datetime64(int(found.milliseconds[0]), "ms"))[:10] for found in times}
    assert days == {expected, "2010-12-13"}


@pytest.mark.parametrize("values", [("13/12/2010", "12/13/2010"), ("12/13/2010 8:26", "13/12/2010")])
def test_a_column_with_both_orders_is_refused(values: tuple[str, str]) -> None:
    """With the option that reads one of them."""
    with pytest.raises(NotTimesError, match="some times have the day first and others the month"):
        texts(*values)
    assert texts("13/12/2010", "12/13/2010", time_format="%d/%m/%Y") == ["2010-12-13T00:00:00", None]


def test_a_given_format_is_the_only_one() -> None:
    """For texts and for numbers."""
    assert texts("03.02.2010", "2010-02-03", None, time_format="%m.%d.%Y") == ["2010-03-02T00:00:00", None, None]
    assert texts(201002, 20100, time_format="%Y%m") == ["2010-02-01T00:00:00", None]


@pytest.mark.parametrize("as_text", [False, True])
def test_numbers_are_dates_if_most_are(as_text: bool) -> None:
    """20100101 is a date, with or without a time of day; among counters it is a number of seconds."""
    for values, expected in (
        ([20100101, 0, 20101231, 20101301], ["2010-01-01T00:00:00", None, "2010-12-31T00:00:00", None]),
        ([20100101082600, 20100102000000], ["2010-01-01T08:26:00", "2010-01-02T00:00:00"]),
        ([20100101, 20100050, 20100051], ["1970-08-21T15:21:41", "1970-08-21T15:20:50", "1970-08-21T15:20:51"]),
    ):
        assert texts(*(map(str, values) if as_text else values)) == expected


@pytest.mark.parametrize("data_type", [pa.int64(), pa.string(), pa.uint64(), pa.decimal128(38, 5)])
def test_numbers_are_seconds_or_parts_of_them(data_type: pa.DataType) -> None:
    """By their size, exact to the millisecond."""
    values = [1790251200, 1790251200123, 1790251200123999, 1790251200123999999]
    times = read(pa.array(values).cast(data_type))
    assert times.milliseconds.tolist() == [NOON, NOON + 123, NOON + 123, NOON + 123]
    assert times.is_time.all()
    assert not read(pa.array([1e19, 1e300, -1e19])).is_time.any()


def test_gaps_do_not_slow_down_to_nothing() -> None:
    """Missing times are invalid, and the others keep their form."""
    assert texts("2010-01-01", None, "") == ["2010-01-01T00:00:00", None, None]
    assert texts(None, None) == [None, None]
