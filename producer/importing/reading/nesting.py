"""Values within objects, and lists as rows: `user.id` is the id in `user`, and an item `["a", "b"]` is two rows."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reckoner.producer.importing.reading.tables import Batch, Refuse
from reckoner.shared.errors import SourceError

# The names from the column to the value.
Path: TypeAlias = tuple[str, ...]

UNEQUAL_LISTS, TOO_LONG_LISTS = "its lists have different lengths", "its lists are too long"
# The text of a list begins with this sign, and its values are separated by it.
LIST = "\x1f"
# A list of JSON has at most so many values.
MAX_VALUES = 1_000_000


def find_within(schema: pa.Schema, wanted: Iterable[str]) -> dict[str, Path]:
    """The wanted names that are no columns but values within them."""
    paths = {name: tuple(name.split(".")) for name in wanted if name not in schema.names}
    return {
        name: (first, *names)
        for name, (first, *names) in paths.items()
        if (place := schema.get_field_index(first)) >= 0 and names and _has(schema.field(place).type, names)
    }


def _has(data_type: pa.DataType, names: Sequence[str]) -> bool:
    while _is_list(data_type):
        data_type = data_type.value_type
    if not names:
        return True
    if not pa.types.is_struct(data_type) or data_type.get_field_index(names[0]) < 0:
        return False
    return _has(data_type.field(names[0]).type, names[1:])


def _is_list(data_type: pa.DataType) -> bool:
    kinds = (
        *(pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list),
        *(pa.types.is_list_view, pa.types.is_large_list_view),
    )
    return any(is_kind(data_type) for is_kind in kinds)


def column_within(column: pa.Array, names: Sequence[str]) -> pa.Array:
    """The values within the objects of a column, or within those of its lists."""
    if not names:
        return column
    if _is_list(column.type):
        offsets = np.concatenate(([0], np.cumsum(_lengths(column)))).astype(np.int32)
        return pa.ListArray.from_arrays(pa.array(offsets), column_within(pc.list_flatten(column), names))
    return column_within(pc.struct_field(column, names[0]), names[1:])


def lists_as_rows(batch: Batch, source: str, refuse: Refuse) -> Batch:
    """The batch with a row for each value of a list; an empty list is one missing value.

    Raises:
        SourceError: a column of the file `source` has objects.
    """
    lists = {name: column for name, column in batch.columns.items() if _is_list(column.type)}
    if lists:
        lengths = np.array([_lengths(column) for column in lists.values()])
        is_equal = (lengths == lengths[0]).all(axis=0)
        for row in np.flatnonzero(~is_equal):
            refuse(int(batch.lines[row]), UNEQUAL_LISTS, "")
        n_rows = np.where(is_equal, np.maximum(lengths[0], 1), 0)
        rows = np.repeat(np.arange(len(batch.lines)), n_rows)
        within = np.arange(len(rows)) - np.repeat(np.cumsum(n_rows) - n_rows, n_rows)
        columns = {
            name: _values(column, rows, within) if name in lists else column.take(pa.array(rows))
            for name, column in batch.columns.items()
        }
        return lists_as_rows(Batch(batch.lines[rows], columns), source, refuse)
    for name, column in batch.columns.items():
        if pa.types.is_struct(column.type) and column.type.num_fields:
            value = f"{name}.{column.type.field(0).name}"
            raise SourceError(f"The {name} of {source} is an object. Name one of its values, such as {value}.")
    return batch


def lists_as_texts(batch: Batch, names: Collection[str]) -> Batch:
    """The batch with a text for each list of single values in some columns: see `LIST`."""
    columns = {
        name: _joined(column)
        if name in names and _is_list(column.type) and not pa.types.is_nested(column.type.value_type)
        else column
        for name, column in batch.columns.items()
    }
    return Batch(batch.lines, columns)


def _joined(column: pa.Array) -> pa.Array:
    values = without_views(pc.list_flatten(column)).cast(pa.string())
    offsets = np.concatenate(([0], np.cumsum(_lengths(column)))).astype(np.int32)
    lists = pa.ListArray.from_arrays(pa.array(offsets), pc.fill_null(values, ""))
    return pc.binary_join_element_wise("", pc.binary_join(lists, LIST), LIST)


def list_as_text(value: Any) -> Any:
    """The text of a list of JSON with single values: see `LIST`. Any other value stays."""
    if not isinstance(value, list) or any(isinstance(each, list | Mapping) for each in value):
        return value
    texts = ("" if each is None else str(each).lower() if isinstance(each, bool) else str(each) for each in value)
    return LIST + LIST.join(texts)


def _values(column: pa.Array, rows: Any, within: Any) -> pa.Array:
    """Of the list of each row the value at the place `within`, null if the list is empty."""
    lengths = _lengths(column)
    places = (np.cumsum(lengths) - lengths)[rows] + within
    return without_views(pc.list_flatten(column)).take(pa.array(places, mask=lengths[rows] == 0))


def without_views(column: pa.Array) -> pa.Array:
    """The column, with Arrow's usual texts instead of views."""
    if pa.types.is_dictionary(column.type) and pa.types.is_string_view(column.type.value_type):
        return pa.DictionaryArray.from_arrays(column.indices, column.dictionary.cast(pa.string()))
    return column.cast(pa.string()) if pa.types.is_string_view(column.type) else column


def _lengths(column: pa.Array) -> Any:
    return pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False)


def value_within(value: Any, names: Sequence[str]) -> Any:
    """The value within an object of JSON, or the values within a list of objects; None if there is none."""
    if not names:
        return value
    if isinstance(value, list):
        return [value_within(each, names) for each in value]
    return value_within(value.get(names[0]), names[1:]) if isinstance(value, Mapping) else None


def has_within(value: Any, names: Sequence[str]) -> bool:
    """Whether an object of JSON, or one of a list, has such a value."""
    if isinstance(value, list):
        return any(has_within(each, names) for each in value)
    return not names or (isinstance(value, Mapping) and names[0] in value and has_within(value[names[0]], names[1:]))


def values_as_rows(values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The rows of an object's values, one for each value of its lists; an empty list is one missing value.

    Raises:
        ValueError: its lists have different lengths, or are too long.
    """
    lists = [value for value in values if isinstance(value, list)]
    if not lists:
        return [tuple(values)]
    if any(len(value) != len(lists[0]) for value in lists):
        raise ValueError(UNEQUAL_LISTS)
    if len(lists[0]) > MAX_VALUES:
        raise ValueError(TOO_LONG_LISTS)
    n_rows = max(1, len(lists[0]))
    columns = ((value or [None]) if isinstance(value, list) else [value] * n_rows for value in values)
    return [row for found in zip(*columns, strict=True) for row in values_as_rows(found)]
