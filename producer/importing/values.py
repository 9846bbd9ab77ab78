"""Values: a column as ids, weights or times, and which of its values cannot be that."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.shared.errors import NotTimesError, SourceError

NUMBER_PATTERN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
ISO_PATTERN = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|$)"

# As seconds this is the year 5138, as milliseconds March 1973: what is below is taken for seconds, the rest for
# milliseconds.
MILLISECONDS_FROM = 1e11
# The end of the year 9999; nobody's clock is there, and microseconds are not mistaken for milliseconds.
MILLISECONDS_BELOW = 253_402_300_800_000


def as_texts(array: pa.Array) -> pa.Array:
    """The values as string[n], null where there is none; 7 and 7.0 are the text 7.

    Raises:
        SourceError: the column holds lists, maps or other things without a text.
    """
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if pa.types.is_floating(array.type):
        return _float_texts(array.cast(pa.float64()))
    try:
        return array.cast(pa.string())
    except pa.ArrowNotImplementedError as error:
        raise SourceError(f"A column of type {array.type} cannot be used.") from error
    except pa.ArrowInvalid as error:
        raise SourceError(f"A column of type {array.type} does not hold UTF-8 text.") from error


def _float_texts(array: pa.Array) -> pa.Array:
    """Whole numbers that became floats because some are missing get their own text back."""
    values = array.to_numpy(zero_copy_only=False)
    whole = np.isfinite(values) & (np.rint(values) == values) & (np.abs(values) < 2.0**53)
    whole_texts = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    texts = pc.if_else(pa.array(whole), whole_texts, array.cast(pa.string()))
    return pc.if_else(pa.array(np.isfinite(values)), texts, pa.scalar(None, pa.string()))


def as_numbers(array: pa.Array) -> NDArray[np.float64]:
    """The values as float64[n], NaN for what is no number in decimal digits.

    Raises:
        SourceError: the column is of a type that holds no numbers.
    """
    if _is_number(array.type):
        return np.asarray(array.cast(pa.float64()).to_numpy(zero_copy_only=False))
    texts = pc.utf8_trim_whitespace(as_texts(array))
    digits = pc.if_else(pc.match_substring_regex(texts, NUMBER_PATTERN), pc.utf8_ltrim(texts, "+"), None)
    return np.asarray(digits.cast(pa.float64()).to_numpy(zero_copy_only=False))


def as_milliseconds(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The values as milliseconds since 1970, int64[n], and bool[n]: which could be read.

    Numbers are seconds below 1e11 and milliseconds from there on, judged one by one; texts are numbers or ISO 8601
    dates, with or without a time of day; what has no offset is UTC.

    Raises:
        NotTimesError: the column is of a type that holds no times.
    """
    if pa.types.is_temporal(array.type):
        return _temporal_milliseconds(array)
    try:
        numbers = as_numbers(array)
    except SourceError as error:
        raise NotTimesError(str(error)) from error
    milliseconds = np.rint(np.where(np.abs(numbers) < MILLISECONDS_FROM, numbers * 1000, numbers))
    readable = np.abs(milliseconds) < MILLISECONDS_BELOW
    times = np.where(readable, milliseconds, 0).astype(np.int64)
    if not _is_number(array.type):
        _read_iso(pc.utf8_trim_whitespace(as_texts(array)), times, readable)
    return times, readable


def _read_iso(texts: pa.Array, times: NDArray[np.int64], readable: NDArray[np.bool_]) -> None:
    """Fill in the times that are written as dates."""
    written = np.flatnonzero(pc.fill_null(pc.match_substring_regex(texts, ISO_PATTERN), False).to_numpy(False))
    if len(written) == 0:
        return
    dates = pd.to_datetime(texts.take(pa.array(written)).to_numpy(False), format="ISO8601", utc=True, errors="coerce")
    found = np.asarray(~dates.isna())
    written = written[found]
    times[written] = dates[found].tz_localize(None).to_numpy().astype("datetime64[ms]").astype(np.int64)
    readable[written] = True


def _temporal_milliseconds(array: pa.Array) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    try:
        milliseconds = array.cast(pa.timestamp("ms", getattr(array.type, "tz", None)), safe=False).cast(pa.int64())
    except pa.ArrowNotImplementedError as error:
        raise NotTimesError(f"A column of type {array.type} is not a time.") from error
    readable = np.asarray(array.is_valid().to_numpy(zero_copy_only=False))
    return np.asarray(pc.fill_null(milliseconds, 0).to_numpy()), readable


def _is_number(data_type: pa.DataType) -> bool:
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(is_kind(data_type) for is_kind in kinds)
