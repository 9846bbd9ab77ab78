"""Converts columns to ids, weights and times, and marks invalid values."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.shared.errors import NotTimesError, SourceError

NUMBER_PATTERN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
ISO_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|$)"

# Smaller numbers are seconds, others milliseconds: 1e11 is the year 5138 or March 1973.
MILLISECONDS_FROM = 1e11
# The end of the year 9999, so that microseconds are not taken for milliseconds.
MILLISECONDS_BELOW = 253_402_300_800_000


def as_texts(array: pa.Array) -> pa.Array:
    """The values as string[n], null if missing; 7 and 7.0 become the text 7.

    Raises:
        SourceError: the column has a type without a text form, such as lists.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        return _float_texts(array.cast(pa.float64()))
    try:
        return array.cast(pa.string())
    except pa.ArrowNotImplementedError as error:
        raise SourceError(f"Columns of type {array.type} are not supported.") from error
    except pa.ArrowInvalid as error:
        raise SourceError(f"A column of type {array.type} is not UTF-8 text.") from error


def _float_texts(array: pa.Array) -> pa.Array:
    """Texts of floats; whole numbers lose the decimal point, since gaps turn integers into floats."""
    values = array.to_numpy(zero_copy_only=False)
    whole = np.isfinite(values) & (np.rint(values) == values) & (np.abs(values) < 2.0**53)
    whole_texts = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    texts = pc.if_else(pa.array(whole), whole_texts, array.cast(pa.string()))
    return pc.if_else(pa.array(np.isfinite(values)), texts, pa.scalar(None, pa.string()))


def as_numbers(array: pa.Array) -> NDArray[np.float64]:
    """The values as float64[n], NaN if not a decimal number.

    Raises:
        SourceError: the column has an unsupported type.
    """
    if _is_number(array.type):
        return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False))
    texts = pc.utf8_trim_whitespace(as_texts(array))
    digits = pc.if_else(pc.match_substring_regex(texts, NUMBER_PATTERN), pc.utf8_ltrim(texts, "+"), None)
    return np.asarray(digits.cast(pa.float64()).to_numpy(zero_copy_only=False))


def as_milliseconds(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The values as milliseconds since 1970, int64[n], and bool[n]: which are valid times.

    Each number is seconds below 1e11, else milliseconds. Texts are numbers or ISO 8601 dates, with or without a time of
    day; the default offset is UTC.

    Raises:
        NotTimesError: the column has an unsupported type.
    """
    if pa.types.is_temporal(array.type):
        return _temporal_milliseconds(array)
    try:
        numbers = as_numbers(array)
    except SourceError as error:
        raise NotTimesError(str(error)) from error
    milliseconds = np.rint(np.where(np.abs(numbers) < MILLISECONDS_FROM, numbers * 1000, numbers))
    is_time = np.abs(milliseconds) < MILLISECONDS_BELOW
    times = np.where(is_time, milliseconds, 0).astype(np.int64)
    if not _is_number(array.type):
        _read_iso(pc.utf8_trim_whitespace(as_texts(array)), times, is_time)
    return times, is_time


def _read_iso(texts: pa.Array, times: NDArray[np.int64], is_time: NDArray[np.bool_]) -> None:
    """Fill in the times written as ISO dates."""
    written = np.flatnonzero(pc.fill_null(pc.match_substring_regex(texts, ISO_PATTERN), False).to_numpy(False))
    if len(written) == 0:
        return
    dates = pd.to_datetime(texts.take(pa.array(written)).to_numpy(False), format="ISO8601", utc=True, errors="coerce")
    found = np.asarray(~dates.isna())
    written = written[found]
    times[written] = dates[found].tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    is_time[written] = True


def _temporal_milliseconds(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    try:
        milliseconds = array.cast(pa.timestamp("ms", getattr(array.type, "tz", None)), safe=False).cast(pa.int64())
    except pa.ArrowNotImplementedError as error:
        raise NotTimesError(f"A column of type {array.type} is not a time.") from error
    is_time = np.asarray(array.is_valid().to_numpy(zero_copy_only=False))
    return np.asarray(pc.fill_null(milliseconds, 0).to_numpy()), is_time


def _is_number(data_type: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(is_kind(data_type) for is_kind in kinds)
