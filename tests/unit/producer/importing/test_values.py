"""Columns of any type become ids, numbers and times; invalid values are marked."""

from datetime import UTC, datetime
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.producer.importing.values import as_milliseconds, as_numbers, as_texts
from reckoner.shared.errors import SourceError

NOON = 1_790_251_200_000  # 2026-09-24T12:00:00Z


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["007", "", None, "é\n\0"]), ["007", "", None, "é\n\0"]),
        (pa.array([7, -1, None]), ["7", "-1", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([1.0, 2.5, None, float("nan"), float("inf"), -0.0]), ["1", "2.5", None, None, None, "0"]),
        (pa.array([3.0], pa.float32()), ["3"]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.array([b"a"]), ["a"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array([True]), ["true"]),
        (pa.nulls(2), [None, None]),
    ],
)
def test_ids_are_the_text_of_the_value(array: pa.Array, expected: list[str | None]) -> None:
    """Texts stay as they are, and whole numbers have no decimal point, also where gaps made them floats."""
    assert as_texts(array).to_pylist() == expected


@pytest.mark.parametrize("array", [pa.array([[1]]), pa.array([{"a": 1}]), pa.array([b"\xff"])])
def test_what_has_no_text_is_refused(array: pa.Array) -> None:
    """Lists, structures, and bytes that are not UTF-8 are no ids."""
    with pytest.raises(SourceError, match=r"olumns? of type"):
        as_texts(array)


def test_numbers_are_decimal_digits() -> None:
    """Signs, fractions and exponents are read; words, other bases and gaps are not numbers."""
    good = ["1", " 2.5 ", "+3", "-4", ".5", "6.", "7e2", "8E-1"]
    assert as_numbers(pa.array(good)).tolist() == [1, 2.5, 3, -4, 0.5, 6, 700, 0.8]
    bad = ["", "nan", "inf", "0x10", "1_000", "1,5", "one", "1 2", "+-1", "e5", None]
    assert np.isnan(as_numbers(pa.array(bad))).all()
    assert np.isinf(as_numbers(pa.array(["1e999"]))).all()
    assert as_numbers(pa.array([1, 2])).tolist() == [1, 2]
    assert as_numbers(pa.array([Decimal("1.50")])).tolist() == [1.5]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_that_was_written_is_read(numbers: list[float]) -> None:
    """The shortest decimal is read back to the same number."""
    assert as_numbers(pa.array([repr(number) for number in numbers], pa.string())).tolist() == numbers


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
    times, readable = as_milliseconds(pa.array(["0", text, "x"]))
    assert times.tolist()[:2] == [0, NOON]
    assert readable.tolist() == [True, True, False]


def test_each_time_is_judged_by_itself() -> None:
    """Below 1e11 a number counts seconds and from there on milliseconds."""
    times, readable = as_milliseconds(pa.array([1, 99_999_999_999, 100_000_000_000, -5]))
    assert times.tolist() == [1000, 99_999_999_999_000, 100_000_000_000, -5000]
    assert readable.all()


@pytest.mark.parametrize(
    "text", ["", "x", "now", "today", "12:30", "2026-13-01", "2026-09-24T25:00", "24.09.2026", "1790251200000000", None]
)
def test_invalid_times_cannot_be_read(text: str | None) -> None:
    """Words, impossible dates and microseconds are invalid."""
    assert as_milliseconds(pa.array([text, "2026-09-24"], pa.string()))[1].tolist() == [False, True]


@pytest.mark.parametrize(
    "data_type",
    [pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Europe/Vienna")],
)
def test_timestamps_of_any_unit_and_zone_are_read(data_type: pa.DataType) -> None:
    """Parquet's own times need no guessing."""
    moment = datetime.fromtimestamp(NOON / 1000, UTC)
    array = pa.array([moment if data_type.tz else moment.replace(tzinfo=None), None], data_type)
    times, readable = as_milliseconds(array)
    assert times[0] == NOON
    assert readable.tolist() == [True, False]


def test_dates_are_midnight() -> None:
    """A date without a time of day is its beginning in UTC, in both forms."""
    day = NOON - 12 * 3_600_000
    for array in (pa.array([datetime(2026, 9, 24).date()]), pa.array(["2026-09-24"])):
        assert as_milliseconds(array)[0].tolist() == [day]


def test_a_time_of_day_is_no_time() -> None:
    """A column of times without dates is refused as a whole."""
    with pytest.raises(SourceError, match="is not a time"):
        as_milliseconds(pa.array([1], pa.time32("s")))
