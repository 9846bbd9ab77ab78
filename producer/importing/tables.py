"""Reads CSV and Parquet files batch by batch, with line numbers."""

import codecs
import csv
import io
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
from numpy.typing import NDArray

from reckoner.shared.errors import SourceError

BATCH_ROWS = 131_072
BLOCK_BYTES = 8 << 20
# Limits, since headers and footers are read whole; in a zip they may be a thousand times larger than the file.
MAX_HEADER_BYTES = 1 << 20
MAX_FOOTER_BYTES = 64 << 20
MAX_COLUMNS = 10_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows: their numbers in the file, `lines` int64[n], and the columns by name."""

    lines: NDArray[np.int64]
    columns: dict[str, pa.Array]


class Table(Protocol):
    """The rows of a file or a query; `n_rows` is None if unknown before the end."""

    name: str
    columns: Sequence[str]
    n_rows: int | None
    unit: Literal["line", "row"]

    def batches(self, names: Sequence[str], refuse: Callable[[int, str], None]) -> Iterator[Batch]:
        """The rows in order; `refuse(line, reason)` is called for a malformed line.

        Raises:
            SourceError: the source cannot be read.
        """


class CsvTable:
    """A CSV file with a header; every value is text, so that the id 007 stays 007.

    Line numbers count records, the header being 1. They differ from an editor's after a quoted newline.
    """

    n_rows: int | None = None
    unit: Literal["line", "row"] = "line"

    def __init__(self, name: str, open_file: Callable[[], BinaryIO]) -> None:
        self.name = name
        self._open_file = open_file
        with sentences(name), open_file() as file:
            start = file.read(MAX_HEADER_BYTES + 1)
            is_whole = len(start) <= MAX_HEADER_BYTES
            decoder = codecs.getincrementaldecoder("utf-8-sig")()
            text = io.StringIO(decoder.decode(start, final=is_whole), newline="")
            header = next(csv.reader(text), None)
            self._has_rows = text.read(1) != ""
        if not (is_whole or self._has_rows):
            raise SourceError(
                f"The header of {name} has over {MAX_HEADER_BYTES:,} bytes. The first line must name the columns."
            )
        if header is None:
            raise SourceError(f"{name} is empty.")
        if not header:
            raise SourceError(f"The first line of {name} is empty. It must name the columns.")
        require_columns(name, len(header))
        self.columns: Sequence[str] = header

    def batches(self, names: Sequence[str], refuse: Callable[[int, str], None]) -> Iterator[Batch]:
        """See `Table.batches`."""
        if not self._has_rows:
            return
        refused: list[int] = []

        def refuse_malformed(row: pyarrow.csv.InvalidRow) -> str:
            refused.append(row.number)
            refuse(row.number, f"it has {row.actual_columns} values instead of {row.expected_columns}")
            return "skip"

        done = 0
        with sentences(self.name), self._open_file() as file, self._reader(file, names, refuse_malformed) as reader:
            for batch in reader:
                positions = np.arange(done, done + batch.num_rows, dtype=np.int64)
                done += batch.num_rows
                # Row p is at line p + 2, plus one for each refused line before it.
                shifts = np.array(refused, dtype=np.int64) - 2 - np.arange(len(refused))
                lines = positions + 2 + np.searchsorted(shifts, positions, side="right")
                yield Batch(lines, dict(zip(batch.schema.names, batch.columns, strict=True)))

    def _reader(
        self, file: BinaryIO, names: Sequence[str], refuse: Callable[[pyarrow.csv.InvalidRow], str]
    ) -> pyarrow.csv.CSVStreamingReader:
        return pyarrow.csv.open_csv(
            # Checks unread columns and refused lines for UTF-8 too.
            pa.transcoding_input_stream(file, "utf-8", "utf-8"),
            # With threads, refused rows have no number.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            # Ignored empty lines would shift the line numbers.
            parse_options=pyarrow.csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(names), column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )


class ParquetTable:
    """A Parquet file; rows are numbered from 1."""

    unit: Literal["line", "row"] = "row"

    def __init__(self, path: Path) -> None:
        self.name = path.name
        self._path = path
        self._require_footer()
        with sentences(self.name), pyarrow.parquet.ParquetFile(path) as file:
            require_columns(self.name, file.metadata.num_columns)
            self.columns: Sequence[str] = file.schema_arrow.names
            self.n_rows: int | None = file.metadata.num_rows

    def _require_footer(self) -> None:
        """Check the length of the Parquet footer, which is in the last eight bytes of the file.

        Raises:
            SourceError: the footer is too long.
        """
        with sentences(self.name), self._path.open("rb") as file:
            file.seek(max(0, file.seek(0, io.SEEK_END) - 8))
            size = int.from_bytes(file.read(4), "little")
            size = min(size, file.seek(0, io.SEEK_END))
        if size > MAX_FOOTER_BYTES:
            raise SourceError(f"The Parquet footer of {self.name} has over {MAX_FOOTER_BYTES:,} bytes.")

    def batches(self, names: Sequence[str], refuse: Callable[[int, str], None]) -> Iterator[Batch]:
        """See `Table.batches`."""
        done = 0
        with sentences(self.name), pyarrow.parquet.ParquetFile(self._path) as file:
            for batch in file.iter_batches(BATCH_ROWS, columns=list(names)):
                batch.validate(full=True)
                lines = np.arange(done + 1, done + batch.num_rows + 1, dtype=np.int64)
                done += batch.num_rows
                yield Batch(lines, dict(zip(batch.schema.names, batch.columns, strict=True)))


def require_columns(name: str, count: int) -> None:
    """Check the number of columns.

    Raises:
        SourceError: the file has too many.
    """
    if count > MAX_COLUMNS:
        raise SourceError(f"{name} has {count:,} columns. At most {MAX_COLUMNS:,} are supported.")


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """Check that the file does not change during the block; a growing file may end in half a line.

    Raises:
        SourceError: the file changed.
    """

    def state() -> tuple[int, ...]:
        with sentences(path.name):
            found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    before = state()
    yield
    if state() != before:
        raise SourceError(f"{path.name} changed while it was read. Import it when it is complete.")


@contextmanager
def sentences(name: str) -> Iterator[None]:
    """Turn the readers' errors about the file `name` into one sentence."""
    try:
        yield
    except pa.ArrowException as error:
        if "invalid utf8" in str(error).casefold():
            raise SourceError(f"{name} is not UTF-8 text.") from error
        if "straddles two block boundaries" in str(error):
            raise SourceError(f"{name} cannot be read: one row has over {BLOCK_BYTES:,} bytes.") from error
        raise SourceError(f"{name} cannot be read: {_first_line(error)}.") from error
    except UnicodeDecodeError as error:
        raise SourceError(f"{name} is not UTF-8 text.") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise SourceError(f"{name} cannot be read: the zip file is damaged.") from error
    except (NotImplementedError, RuntimeError) as error:
        raise SourceError(
            f"{name} cannot be read: the zip file is encrypted or uses an unsupported compression."
        ) from error
    except csv.Error as error:
        raise SourceError(f"{name} cannot be read: {error}.") from error
    except FileNotFoundError as error:
        raise SourceError(f"{name} does not exist.") from error
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or _first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
