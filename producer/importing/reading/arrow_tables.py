"""Tables whose columns have types: Parquet, Feather, Arrow's streams, and frames of pandas, Polars and Arrow."""

import io
import os
from collections.abc import Callable, Collection, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol, TypeAlias, runtime_checkable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet

from reckoner.producer.importing.reading.forms import Form
from reckoner.producer.importing.reading.nesting import (
    column_within,
    find_within,
    lists_as_rows,
    lists_as_texts,
    without_views,
)
from reckoner.producer.importing.reading.tables import BATCH_ROWS, Batch, Refuse, require_columns, sentences
from reckoner.shared.errors import SourceError

# Footers are read whole.
MAX_FOOTER_BYTES = 64 << 20
PARQUET_MAGIC, FEATHER_MAGIC, OLD_FEATHER_MAGIC, STREAM_MAGIC = b"PAR1", b"ARROW1", b"FEA1", b"\xff" * 4

# So many rows that may have lists are read at once.
NESTED_ROWS = 4096

# Opens the batches of some columns.
Reader: TypeAlias = Callable[[Sequence[str]], AbstractContextManager[Iterator[pa.RecordBatch]]]

# What a value of a pandas frame is, if it is several.
LISTS = (list, tuple, np.ndarray)


@runtime_checkable
class Frame(Protocol):
    """A frame of pandas, Polars or Arrow: anything with Arrow's stream of record batches."""

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """The stream, as a capsule."""


class ArrowTable:
    """The rows of record batches, numbered from 1, with one for each value of a list; see `Table`.

    `wanted` columns may be values within objects, such as `user.id`.
    """

    unit: Literal["line", "row"] = "row"

    def __init__(
        self,
        name: str,
        schema: pa.Schema,
        n_rows: int | None,
        read: Reader,
        format_name: str = "",
        wanted: Sequence[str] = (),
    ) -> None:
        require_columns(name, len(schema))
        self.name = name
        self._within = find_within(schema, wanted)
        self.columns: Sequence[str] = [*schema.names, *self._within]
        self._n_rows = self.n_rows = n_rows
        self.form = Form(format=format_name) if format_name else None
        self._read = read

    def batches(self, names: Sequence[str], refuse: Refuse, whole: Collection[str] = ()) -> Iterator[Batch]:
        """See `Table.batches`."""
        done, paths = 0, {name: self._within.get(name, (name,)) for name in names}
        given, n_rows = 0, self._n_rows
        with sentences(self.name), self._read(list(dict.fromkeys(path[0] for path in paths.values()))) as found:
            for large in found:
                large.validate(full=True)
                kinds = {name: large.column(path[0]).type for name, path in paths.items()}
                is_nested = any(map(pa.types.is_nested, kinds.values()))
                # A frame may be one batch, and a list many rows.
                makes_rows = any(pa.types.is_nested(kind) for name, kind in kinds.items() if name not in whole)
                size = NESTED_ROWS if makes_rows else BATCH_ROWS
                for start in range(0, large.num_rows, size):
                    batch = large.slice(start, size)
                    lines = np.arange(done + 1, done + batch.num_rows + 1, dtype=np.int64)
                    done += batch.num_rows
                    columns = {name: column_within(batch.column(top), within) for name, (top, *within) in paths.items()}
                    plain = Batch(lines, {name: without_views(column) for name, column in columns.items()})
                    rows = lists_as_rows(lists_as_texts(plain, whole), self.name, refuse) if is_nested else plain
                    given += len(rows.lines)
                    self.n_rows = None if n_rows is None else round(n_rows * given / done)
                    yield rows


def parquet_table(path: Path, wanted: Sequence[str] = ()) -> ArrowTable:
    """The table of a Parquet file.

    Raises:
        SourceError: it is no Parquet file, or its footer is too long.
    """
    _require_footer(path)
    with sentences(path.name), _file(path) as source, pyarrow.parquet.ParquetFile(source) as file:
        require_columns(path.name, file.metadata.num_columns)
        schema, n_rows = file.schema_arrow, file.metadata.num_rows

    @contextmanager
    def read(names: Sequence[str]) -> Iterator[Iterator[pa.RecordBatch]]:
        with _file(path) as source, pyarrow.parquet.ParquetFile(source) as file:
            yield file.iter_batches(BATCH_ROWS, columns=list(names))

    return ArrowTable(path.name, schema, n_rows, read, "Parquet", wanted)


def _require_footer(path: Path) -> None:
    """Check the length of the Parquet footer, which is in the last eight bytes of the file.

    Raises:
        SourceError: the footer is too long.
    """
    with sentences(path.name), path.open("rb") as file:
        file.seek(max(0, file.seek(0, io.SEEK_END) - 8))
        size = int.from_bytes(file.read(4), "little")
        size = min(size, file.seek(0, io.SEEK_END))
    if size > MAX_FOOTER_BYTES:
        raise SourceError(f"The Parquet footer of {path.name} has over {MAX_FOOTER_BYTES:,} bytes.")


def feather_table(path: Path, start: bytes, wanted: Sequence[str] = ()) -> ArrowTable:
    """The table of a Feather file, which is an Arrow file, or of Arrow's stream; `start` are its first bytes.

    Raises:
        SourceError: it is damaged, or of Feather's first version.
    """
    if start.startswith(OLD_FEATHER_MAGIC):
        raise SourceError(f"{path.name} is a Feather file of version 1. Write it as version 2, or as Parquet.")
    is_stream = start.startswith(STREAM_MAGIC)

    @contextmanager
    def read(names: Sequence[str]) -> Iterator[Iterator[pa.RecordBatch]]:
        fields = [schema.get_field_index(name) for name in names]
        with _opened(path, is_stream, pyarrow.ipc.IpcReadOptions(included_fields=fields)) as file:
            yield iter(file) if is_stream else (file.get_batch(index) for index in range(file.num_record_batches))

    with sentences(path.name), _opened(path, is_stream, pyarrow.ipc.IpcReadOptions()) as file:
        schema = file.schema
        return ArrowTable(path.name, schema, None, read, "Arrow", wanted)


def _file(path: Path) -> pa.NativeFile:
    # Arrow takes a path that is not UTF-8 only as bytes.
    return pa.OSFile(os.fsencode(path))


@contextmanager
def _opened(path: Path, is_stream: bool, options: pyarrow.ipc.IpcReadOptions) -> Iterator[Any]:
    open_file = pyarrow.ipc.open_stream if is_stream else pyarrow.ipc.open_file
    with _file(path) as file, open_file(file, options=options) as reader:
        yield reader


def frame_table(frame: Frame, wanted: Sequence[str] = ()) -> ArrowTable:
    """The table of a frame; the index of pandas is no column.

    Raises:
        SourceError: a column has a type without a text form, or the frame has no columns.
    """
    name = "The frame"
    with sentences(name):
        if isinstance(frame, pd.DataFrame):
            frame = _from_pandas(frame)
        elif isinstance(frame, pa.RecordBatchReader):
            # It can be read once, and rows may be read twice.
            frame = frame.read_all()
        with pa.RecordBatchReader.from_stream(frame) as reader:
            schema = reader.schema

    @contextmanager
    def read(_names: Sequence[str]) -> Iterator[Iterator[pa.RecordBatch]]:
        with pa.RecordBatchReader.from_stream(frame) as reader:
            yield iter(reader)

    n_rows = len(frame) if isinstance(frame, Sized) else None
    return ArrowTable(name, schema, n_rows, read, wanted=wanted)


def _from_pandas(frame: pd.DataFrame) -> pa.Table:
    """The frame's columns; one with values of several types has their texts, or lists of them if some are lists."""
    arrays = list[pa.Array]()
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        try:
            arrays.append(pa.array(column, from_pandas=True))
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            arrays.append(_mixed(column))
    return pa.table(arrays, names=[str(name) for name in frame.columns])


def _mixed(column: "pd.Series[Any]") -> pa.Array:
    """The texts of values of several types; if some are lists, the others are lists of one value."""
    if not any(isinstance(value, LISTS) for value in column):
        return pa.array(column.map(str, na_action="ignore"), pa.string(), from_pandas=True)
    lists = ([*value] if isinstance(value, LISTS) else [value] for value in column)
    return pa.array([[None if _is_missing(value) else str(value) for value in some] for some in lists])


def _is_missing(value: object) -> bool:
    return bool(pd.api.types.is_scalar(value) and pd.isna(value))
