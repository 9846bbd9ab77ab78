"""Reads times: dates as people and programs write them, and numbers since 1970."""

import warnings
from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pandas.tseries.api import guess_datetime_format

from reckoner.producer.importing.judging.values import as_booleans, as_numbers, as_plain, as_texts, cast_all, is_number
from reckoner.shared.errors import NotTimesError, ReadAgainError, SourceError

# The year first; a time of day may follow. The third form is 20100101T082600.
ISO_PATTERN = r"^([0-9]{4}([-/.])[0-9]{1,2}[-/.][0-9]{1,2}([T ]|$)|[0-9]{8}T)"
UTC_PATTERN = r"(?i)( ?[+-]00:?00)? ?\b(UTC|GMT)$"
# A number and a sign or a word, then another number.
DATE_PATTERN = r"[0-9][^0-9]+[0-9]"
# Numbers are seconds, milliseconds, microseconds or nanoseconds: from 1973 each, seconds until the year 5138.
SECONDS_BELOW, MILLISECONDS_BELOW, MICROSECONDS_BELOW, NANOSECONDS_BELOW = 1e11, 1e14, 1e17, 9.2e18
# What numbers such as 20100101 are divided by to be a date.
COMPACT_FORMATS = {"%Y%m%d": 1, "%Y%m%d%H%M%S": 1_000_000}
FIRST_YEAR, LAST_YEAR = 1900, 2100
# What pandas does not guess: years of two digits, hours from 1 to 12, and the zone before the year.
CLOCKS = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
OTHER_FORMATS = [("%a %b %d %H:%M:%S %z %Y",) * 2] + [
    (f"%m{sign}%d{sign}{year}{clock}", f"%d{sign}%m{sign}{year}{clock}")
    for sign, year, clock in product("/-.", ("%y", "%Y"), CLOCKS)
]
MAX_FORMATS, MAX_GUESSES = 8, 20
# So many texts of a shape are tried: some may be no times, such as 00/00/2010.
MAX_TEXTS = 20
ASK = "Use --time-format, such as --time-format '%d/%m/%Y %H:%M'"


class Times(NamedTuple):
    """Milliseconds since 1970, int64[n], and which of them are valid, bool[n]."""

    milliseconds: NDArray[np.int64]
    is_time: NDArray[np.bool_]


class TimeReader:
    """Reads the times of one column, batch by batch; the default offset is UTC.

    Day and month are told apart by the whole column. 20100101 is a date if most numbers of the first batch are.
    """

    def __init__(self, name: str, time_format: str | None = None) -> None:
        self.name = name
        self._format = time_format
        self._compact: str | None = None
        self._is_epoch = False
        self._formats: list[tuple[str, str]] = []
        self._day_first: bool | None = None
        self._guesses = 0
        self._tried = set[str]()
        self._unclear: tuple[str, bool] | None = None
        """The first time that could be either, and whether it was read with the day first."""

    def read(self, column: pa.Array) -> Times:
        """The times of the next batch.

        Raises:
            NotTimesError: the column has an unsupported type, or some days are first and others second.
            ReadAgainError: earlier values were read with the month first, but the day is.
        """
        column = as_plain(column)
        if pa.types.is_temporal(column.type):
            return _temporal(column)
        try:
            texts = None if is_number(column.type) and self._format is None else as_texts(column)
        except SourceError as error:
            raise NotTimesError(str(error)) from error
        if self._format is not None:
            return _by_format(pc.utf8_trim_whitespace(texts), self._format)
        if texts is not None and (found := _iso_fast(texts)) is not None:
            return found
        times = self._numbers(column)
        if texts is not None and not times.is_time.all():
            self._read_texts(texts, times)
        return times

    def finish(self) -> None:
        """Check the decisions at the end of the column.

        Raises:
            NotTimesError: day and month cannot be told apart.
        """
        if self._unclear is not None and not self._unclear[1]:
            raise NotTimesError(
                f"In column {self.name}, {self._unclear[0]!r} may have the day or the month first, and no value tells "
                f"which. {ASK}."
            )

    def _numbers(self, column: pa.Array) -> Times:
        numbers = as_numbers(column)
        is_finite = np.isfinite(numbers)
        if self._compact is None and not self._is_epoch and numbers[is_finite].any():
            self._compact = _compact_format(numbers[is_finite & (numbers != 0)])
            self._is_epoch = self._compact is None
        if self._compact is None:
            return _since_1970(column, numbers)
        is_compact = is_finite & _is_compact(numbers, self._compact)
        digits = pa.array(np.where(is_compact, numbers, 0).astype(np.int64)).cast(pa.string())
        found = _by_format(digits, self._compact)
        return Times(found.milliseconds, found.is_time & is_compact)

    def _read_texts(self, texts: pa.Array, times: Times) -> None:
        """Fill in the times that are not numbers."""
        texts = pc.replace_substring_regex(pc.utf8_trim_whitespace(texts), UTC_PATTERN, "Z")
        is_iso = as_booleans(pc.match_substring_regex(texts, ISO_PATTERN)) & ~times.is_time
        rows = np.flatnonzero(is_iso)
        _fill(times, rows, _by_format(texts.take(pa.array(rows)), "ISO8601"))
        is_date = as_booleans(pc.match_substring_regex(texts, DATE_PATTERN))
        rows = np.flatnonzero(is_date & ~is_iso & ~times.is_time)
        for number in range(MAX_FORMATS):
            some = texts.take(pa.array(rows))
            if number == len(self._formats) and len(rows):
                self._guess(some)
            if len(rows) == 0 or number >= len(self._formats):
                return
            _fill(times, rows, self._by_pair(some, *self._formats[number]))
            rows = rows[~times.is_time[rows]]

    def _guess(self, texts: pa.Array) -> None:
        """Add the format of the most frequent shape that is a date."""
        all_shapes = pc.replace_substring_regex(texts, "[0-9]+", "0")
        for shape in sorted(all_shapes.value_counts().to_pylist(), key=lambda shape: -shape["counts"]):
            distinct = texts.filter(pc.equal(all_shapes, shape["values"])).unique()
            places = np.unique(np.linspace(0, len(distinct) - 1, MAX_TEXTS).astype(np.int64))
            some = [text for text in distinct.take(pa.array(places)).to_pylist() if text not in self._tried]
            if not some:
                continue
            self._guesses += 1
            if self._guesses > MAX_GUESSES:
                return
            if (found := next((pair for pair in _guessed(some) if pair not in self._formats), None)) is not None:
                self._formats.append(found)
                return
            self._tried.update(some)

    def _by_pair(self, texts: pa.Array, month_format: str, day_format: str) -> Times:
        """Read by the format with the month first or the day first."""
        if month_format == day_format:
            return _by_format(texts, day_format)
        if self._day_first is not None:
            return self._by_decided(
                texts, *((day_format, month_format) if self._day_first else (month_format, day_format))
            )
        by_month, by_day = _by_format(texts, month_format), _by_format(texts, day_format)
        only_month, only_day = by_month.is_time & ~by_day.is_time, by_day.is_time & ~by_month.is_time
        for told, day_first in ((only_month.any(), False), (only_day.any(), True)):
            if told:
                self._decide(day_first)
        unclear = np.flatnonzero(by_month.is_time & by_day.is_time & (by_month.milliseconds != by_day.milliseconds))
        # With dots, the day is first unless the column says otherwise.
        has_dots = day_format.startswith("%d.")
        if self._day_first is None and len(unclear):
            self._unclear = self._unclear or (texts[int(unclear[0])].as_py(), has_dots)
        return by_day if self._day_first or (self._day_first is None and has_dots) else by_month

    def _by_decided(self, texts: pa.Array, time_format: str, other_format: str) -> Times:
        times = _by_format(texts, time_format)
        if _by_format(texts.filter(pa.array(~times.is_time)), other_format).is_time.any():
            self._decide(not self._day_first)
        return times

    def _decide(self, day_first: bool) -> None:
        if self._day_first is (not day_first):
            raise NotTimesError(f"In column {self.name}, some times have the day first and others the month. {ASK}.")
        self._day_first = day_first
        if self._unclear is not None:
            was_read_by, self._unclear = self._unclear[1], None
            if was_read_by != day_first:
                raise ReadAgainError


def _temporal(array: pa.Array) -> Times:
    try:
        milliseconds = array.cast(pa.timestamp("ms", getattr(array.type, "tz", None)), safe=False).cast(pa.int64())
    except pa.ArrowNotImplementedError as error:
        raise NotTimesError(f"A column of type {array.type} is not a time.") from error
    return Times(np.asarray(pc.fill_null(milliseconds, 0).to_numpy()), np.asarray(array.is_valid().to_numpy(False)))


def _iso_fast(texts: pa.Array) -> Times | None:
    """The times of a column without gaps in ISO 8601, all with an offset or all without; else None."""
    if len(texts) == 0 or texts.null_count:
        return None
    if texts[0].as_py().endswith(" UTC"):
        texts = pc.replace_substring(texts, " UTC", "Z")
    for zone in (None, "UTC"):
        if (found := cast_all(texts, pa.timestamp("us", zone))) is not None:
            return _temporal(found)
    return None


def _by_format(texts: pa.Array, time_format: str) -> Times:
    parsed = pd.to_datetime(texts.to_numpy(zero_copy_only=False), format=time_format, utc=True, errors="coerce")
    is_time = np.asarray(~parsed.isna())
    milliseconds = parsed.tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    return Times(np.where(is_time, milliseconds, 0), is_time)


def _fill(times: Times, rows: NDArray[np.int64], found: Times) -> None:
    times.milliseconds[rows], times.is_time[rows] = found


def _since_1970(column: pa.Array, numbers: NDArray[np.float64]) -> Times:
    """Each number by its size."""
    size = np.where(np.isfinite(numbers), np.abs(numbers), np.inf)
    milliseconds = np.rint(np.where(size < SECONDS_BELOW, numbers * 1000, numbers))
    is_time = size < MILLISECONDS_BELOW
    times = np.where(is_time, milliseconds, 0).astype(np.int64)
    rows = np.flatnonzero((size >= MILLISECONDS_BELOW) & (size < NANOSECONDS_BELOW))
    if len(rows):
        whole, is_micro = _exact(column.take(pa.array(rows)), numbers[rows]), size[rows] < MICROSECONDS_BELOW
        times[rows] = whole // np.where(is_micro, 1_000, 1_000_000)
        is_time[rows] = True
    return Times(times, is_time)


def _exact(column: pa.Array, numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    """The whole part of large numbers; a float would lose digits of nanoseconds."""
    try:
        texts = column if is_number(column.type) else pc.utf8_trim_whitespace(as_texts(column))
        return np.asarray(texts.cast(pa.int64()).to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        return np.floor(numbers).astype(np.int64)


def _compact_format(numbers: NDArray[np.float64]) -> str | None:
    """The format of dates written as numbers, if most numbers are such dates."""
    for compact in COMPACT_FORMATS:
        if 2 * np.count_nonzero(_is_compact(numbers, compact)) > len(numbers):
            return compact
    return None


def _is_compact(numbers: NDArray[np.float64], compact: str) -> NDArray[np.bool_]:
    """Which numbers have the year, the month and the day of a date in their digits."""
    dates = np.floor(numbers / COMPACT_FORMATS[compact])
    years, months, days = dates // 10_000, dates // 100 % 100, dates % 100
    is_date = (years >= FIRST_YEAR) & (years <= LAST_YEAR) & (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    return np.asarray(is_date & (numbers == np.floor(numbers)))


def _guessed(texts: list[str]) -> Iterator[tuple[str, str]]:
    """The formats with the month first and with the day first that may read some of these texts."""
    for text in texts:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            guess = guess_datetime_format(text)
        if guess is not None and "%Y" in guess and "%d" in guess:
            swapped = guess.translate(str.maketrans("dm", "md")) if "%m" in guess else guess
            yield (guess, swapped) if guess.find("%m") < guess.find("%d") else (swapped, guess)
    for pair in OTHER_FORMATS:
        if any(_by_format(pa.array(texts), one).is_time.any() for one in pair):
            yield pair
