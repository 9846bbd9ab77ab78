"""Writes exported batches as Parquet, CSV or JSON lines."""

from typing import TYPE_CHECKING, Any, BinaryIO, Literal, Protocol

import msgspec
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet

from reckoner.shared.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

Format = Literal["parquet", "csv", "jsonl"]
SUFFIXES: dict[str, Format] = {
    ".parquet": "parquet", ".pq": "parquet", ".csv": "csv", ".jsonl": "jsonl", ".ndjson": "jsonl"
}  # fmt: skip
# Readers of Parquet want groups of many rows; this many take some 30 MB.
GROUP_ROWS = 250_000


class Writer(Protocol):
    """Writes batches to a file, which stays open."""

    def write(self, batch: pa.RecordBatch) -> None:
        """Write a batch."""

    def close(self) -> None:
        """Write what is left."""


def format_of(destination: str) -> Format:
    """The format that the name of a file or an object says.

    Raises:
        UsageError: it says none.
    """
    for suffix, name in SUFFIXES.items():
        if destination.endswith(suffix):
            return name
    raise UsageError(f"The name {destination} has no known ending: {', '.join(SUFFIXES)}. Rename it, or give --format.")


def open_writer(name: Format, file: BinaryIO, schema: pa.Schema) -> Writer:
    """A writer of batches with these columns.

    The bytes depend only on the rows, those of a Parquet file also on the version of pyarrow.
    """
    writers: dict[Format, Callable[[BinaryIO, pa.Schema], Writer]] = {
        "parquet": _Parquet, "csv": _Csv, "jsonl": _JsonLines
    }  # fmt: skip
    return writers[name](file, schema)


class _Parquet:
    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._writer = pyarrow.parquet.ParquetWriter(file, schema, compression="zstd")
        self._waiting = list[pa.RecordBatch]()

    def write(self, batch: pa.RecordBatch) -> None:
        self._waiting.append(batch)
        if sum(map(len, self._waiting)) >= GROUP_ROWS:
            self._write_group()

    def _write_group(self) -> None:
        if self._waiting:
            self._writer.write_table(pa.Table.from_batches(self._waiting))
            self._waiting.clear()

    def close(self) -> None:
        self._write_group()
        self._writer.close()


class _Csv:
    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        # Written by hand, since pyarrow would quote the names.
        file.write(",".join(schema.names).encode() + b"\n")
        options = pyarrow.csv.WriteOptions(include_header=False)
        self._writer = pyarrow.csv.CSVWriter(file, schema, write_options=options)

    def write(self, batch: pa.RecordBatch) -> None:
        self._writer.write_batch(batch)

    def close(self) -> None:
        self._writer.close()


class _JsonLines:
    def __init__(self, file: BinaryIO, schema: pa.Schema) -> None:
        self._file = file
        # What stands before each value.
        self._names = [f'{"," if at else "{"}"{name}":' for at, name in enumerate(schema.names)]

    def write(self, batch: pa.RecordBatch) -> None:
        parts: list[Any] = []
        for name, column in zip(self._names, batch.columns, strict=True):
            parts += [name, column.cast(pa.string())] if pa.types.is_floating(column.type) else [_fields(name, column)]
        lines = pc.binary_join_element_wise(*parts, "}\n", "")
        if len(lines):
            # The lines stand one after the other there.
            self._file.write(memoryview(lines.buffers()[2])[: pc.sum(pc.binary_length(lines)).as_py()])

    def close(self) -> None:
        pass


def _fields(name: str, column: pa.Array) -> pa.StringArray:
    """The name and each value as JSON; of equal values one is encoded."""
    encoded = column.dictionary_encode("encode")
    texts = [name + msgspec.json.encode(value).decode() for value in encoded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(encoded.indices)
