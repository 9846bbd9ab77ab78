"""Converts columns of any type to texts and numbers."""

import binascii

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.reading.tables import EXACT_BELOW
from reckoner.shared.errors import SourceError

NUMBER_PATTERN = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?$"
UUID_BYTES = 16


def as_plain(array: pa.Array) -> pa.Array:
    """The values without a dictionary or an extension type."""
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def as_texts(array: pa.Array) -> pa.Array:
    """The values as string[n], null if missing; 7 and 7.0 become the text 7, and 16 bytes a UUID.

    Raises:
        SourceError: the column has a type without a text form, such as lists.
    """
    array = as_plain(array)
    if pa.types.is_floating(array.type):
        return _float_texts(array.cast(pa.float64()))
    if pa.types.is_fixed_size_binary(array.type) and array.type.byte_width == UUID_BYTES:
        return _uuid_texts(array)
    try:
        return array.cast(pa.string())
    except pa.ArrowNotImplementedError as error:
        raise SourceError(f"Columns of type {array.type} are not supported.") from error
    except pa.ArrowInvalid as error:
        raise SourceError(f"A column of type {array.type} is not UTF-8 text.") from error


def _float_texts(array: pa.Array) -> pa.Array:
    """Texts of floats; whole numbers lose the decimal point, since gaps turn integers into floats."""
    values = array.to_numpy(zero_copy_only=False)
    whole = np.isfinite(values) & (np.rint(values) == values) & (np.abs(values) < EXACT_BELOW)
    whole_texts = pa.array(np.where(whole, values, 0).astype(np.int64)).cast(pa.string())
    texts = pc.if_else(pa.array(whole), whole_texts, array.cast(pa.string()))
    return pc.if_else(pa.array(np.isfinite(values)), texts, pa.scalar(None, pa.string()))


def _uuid_texts(array: pa.Array) -> pa.Array:
    filled = pc.fill_null(array, bytes(UUID_BYTES)).cast(pa.binary())
    digits = np.frombuffer(binascii.hexlify(b"".join(filled.to_pylist())), dtype="S1").reshape(-1, 2 * UUID_BYTES)
    dashed = np.insert(digits, (8, 12, 16, 20), b"-", axis=1)
    texts = pa.array(np.ascontiguousarray(dashed).view(f"S{dashed.shape[1]}").ravel().astype(str), pa.string())
    return pc.if_else(array.is_valid(), texts, pa.scalar(None, pa.string()))


def as_numbers(array: pa.Array) -> NDArray[np.float64]:
    """The values as float64[n], NaN if not a decimal number.

    Raises:
        SourceError: the column has an unsupported type.
    """
    array = as_plain(array)
    if is_number(array.type):
        return np.asarray(array.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False))
    texts = as_texts(array)
    # Much faster than the pattern; a column with another value, even an empty one, takes the slow path.
    found = cast_all(texts, pa.float64())
    if found is not None:
        return _without_infinities(np.asarray(found.to_numpy(zero_copy_only=False)), texts)
    texts = pc.utf8_trim_whitespace(texts)
    digits = pc.if_else(pc.match_substring_regex(texts, NUMBER_PATTERN), pc.utf8_ltrim(texts, "+"), None)
    return np.asarray(digits.cast(pa.float64()).to_numpy(zero_copy_only=False))


def cast_all(texts: pa.Array, data_type: pa.DataType) -> pa.Array | None:
    """The texts as another type, None if one cannot be cast."""
    try:
        # A cast that fails takes long, so the first value is tried alone.
        texts.slice(0, 1).cast(data_type)
        return texts.cast(data_type)
    except pa.ArrowInvalid:
        return None


def _without_infinities(numbers: NDArray[np.float64], texts: pa.Array) -> NDArray[np.float64]:
    """Make the word for an infinity NaN; too large a number stays infinite."""
    rows = np.flatnonzero(np.isinf(numbers))
    if len(rows):
        is_word = pc.match_substring_regex(texts.take(pa.array(rows)), r"^[+-]?[iI]")
        numbers = numbers.copy()
        numbers[rows[is_word.to_numpy(zero_copy_only=False)]] = np.nan
    return numbers


def is_number(data_type: pa.DataType) -> bool:
    """Whether a type's values are numbers."""
    kinds = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal, pa.types.is_null)
    return any(is_kind(data_type) for is_kind in kinds)


def as_booleans(array: pa.Array) -> NDArray[np.bool_]:
    """bool[n]; null is False."""
    return np.asarray(pc.fill_null(array, False).to_numpy(zero_copy_only=False))
