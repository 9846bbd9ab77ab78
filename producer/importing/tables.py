"""Tables: what lies in a CSV or Parquet file, batch by batch, with the number of each row's line."""

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
# Headers and footers are read into memory whole; in a zip they may be a thousand times larger than the file.
MAX_HEADER_BYTES = 1 << 20
MAX_FOOTER_BYTES = 64 << 20
MAX_COLUMNS = 10_000


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows: `lines` int64[n], where each stands in the file, and the columns by name."""

    lines: NDArray[np.int64]
    columns: dict[str, pa.Array]


class Table(Protocol):
    """Rows, of a file or a query; `n_rows` is None when only reading it all would tell."""

    name: str
    columns: Sequence[str]
    n_rows: int | None
    unit: Literal["line", "row"]

    def batches(self, names: Sequence[str], refuse: Callable[[int, str], None]) -> Iterator[Batch]:
        """The rows in their order; `refuse(line, reason)` is called for one that has no columns at all.

        Raises:
            SourceError: they cannot be read on.
        """


class CsvTable:
    """A CSV file whose first line names the columns; every value is a text, so that an id of 007 stays 007.

    A line number counts records, the header being 1: it is the line in an editor unless a quoted value before it holds
    a newline.
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
                f"The first line of {name} has over {MAX_HEADER_BYTES:,} bytes; it must name the columns, and end."
            )
        if header is None:
            raise SourceError(f"{name} is empty.")
        if not header:
            raise SourceError(f"The first line of {name} is empty; it must name the columns.")
        require_columns(name, len(header))
        self.columns: Sequence[str] = header

    def batches(self, names: Sequence[str], refuse: Callable[[int, str], None]) -> Iterator[Batch]:
        """See `Table.batches`."""
        if not self._has_rows:
            return
        refused: list[int] = []

        def refuse_misshapen(row: pyarrow.csv.InvalidRow) -> str:
            refused.append(row.number)
            refuse(row.number, f"it has {row.actual_columns} values instead of {row.expected_columns}")
            return "skip"

        done = 0
        with sentences(self.name), self._open_file() as file, self._reader(file, names, refuse_misshapen) as reader:
            for batch in reader:
                positions = np.arange(done, done + batch.num_rows, dtype=np.int64)
                done += batch.num_rows
                # Row p stands at line p + 2 and one further for each refused line before it.
                shifts = np.array(refused, dtype=np.int64) - 2 - np.arange(len(refused))
                lines = positions + 2 + np.searchsorted(shifts, positions, side="right")
                yield Batch(lines, dict(zip(batch.schema.names, batch.columns, strict=True)))

    def _reader(
        self, file: BinaryIO, names: Sequence[str], refuse: Callable[[pyarrow.csv.InvalidRow], str]
    ) -> pyarrow.csv.CSVStreamingReader:
        return pyarrow.csv.open_csv(
            # Checks that all is UTF-8, also what is not read and what is refused.
            pa.transcoding_input_stream(file, "utf-8", "utf-8"),
            # Without threads, or a refused row would not know its number.
            read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK_BYTES),
            # Empty lines are kept, or every line after one would have a wrong number.
            parse_options=pyarrow.csv.ParseOptions(
                newlines_in_values=True, ignore_empty_lines=False, invalid_row_handler=refuse
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(names), column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )


class ParquetTable:
    """A Parquet file; a row's number counts from 1, there being no header."""

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
        """Make sure that the Parquet footer is not too long; the last eight bytes of the file tell its length.

        Raises:
            SourceError: it is.
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
    """Make sure that a file has no more columns than can be looked through.

    Raises:
        SourceError: it has.
    """
    if count > MAX_COLUMNS:
        raise SourceError(f"{name} has {count:,} columns, and at most {MAX_COLUMNS:,} can be read.")


@contextmanager
def unchanged(path: Path) -> Iterator[None]:
    """See to it that the file is the same before and after; the last line of one that grows may be half of one.

    Raises:
        SourceError: it is not.
    """

    def state() -> tuple[int, ...]:
        with sentences(path.name):
            found = path.stat()
        return found.st_ino, found.st_size, found.st_mtime_ns

    before = state()
    yield
    if state() != before:
        raise SourceError(f"{path.name} was written while it was read; import it when it is whole.")


@contextmanager
def sentences(name: str) -> Iterator[None]:
    """Turn what the readers raise about the file `name` into one sentence."""
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
        raise SourceError(f"{name} cannot be read: the zip file is encrypted or packed in an unusual way.") from error
    except csv.Error as error:
        raise SourceError(f"{name} cannot be read: {error}.") from error
    except FileNotFoundError as error:
        raise SourceError(f"{name} does not exist.") from error
    except OSError as error:
        raise SourceError(f"{name} cannot be read: {error.strerror or _first_line(error)}.") from error


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
