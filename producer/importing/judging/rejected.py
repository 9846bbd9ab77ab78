"""Rows that do not become interactions: counted by reason, and written to a file."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal, Self, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.csv
from numpy.typing import NDArray

from reckoner.producer.importing.judging.values import as_texts
from reckoner.producer.importing.reading.tables import PART_ROWS, Batch
from reckoner.shared.errors import OutputError, UsageError

Kind: TypeAlias = Literal["bad", "left_out"]

# Of each reason so many row numbers are listed, and so many reasons at most.
LISTED = 5
MAX_REASONS = 100
OTHER_REASONS = "other reasons"
SHOWN_CHARACTERS = 40
# Malformed lines wait for so many, or for so many characters, before they are written.
WAITING_LINES, WAITING_CHARACTERS = 10_000, 8 << 20


class Rejected(msgspec.Struct, kw_only=True):
    """The rows that are bad, or left out, for one reason."""

    kind: Kind
    reason: str
    rows: int = 0
    first: list[int] = []
    """The lowest row numbers."""
    value: str | None = None
    """The value of one of them, if it says more than the reason."""
    files: list[str] = []
    """The files of the first rows, if there are several files."""


class RejectedRows:
    """Counts rejected rows by reason; writes each to `file` if there is one.

    `parts` names the files of the table if it has several.
    """

    def __init__(self, file: "RejectsFile | None" = None, parts: Sequence[str] = ()) -> None:
        self._file, self._parts = file, parts
        self._found: dict[tuple[Kind, str], Rejected] = {}
        self.malformed = 0
        """The number of lines that are no rows."""

    def count(self, kind: Kind) -> int:
        """The number of rows of this kind."""
        return sum(found.rows for found in self._found.values() if found.kind == kind)

    def listed(self) -> list[Rejected]:
        """The reasons, bad rows first, the most frequent first."""
        found = sorted(self._found.values(), key=lambda found: (found.kind, -found.rows, found.first))
        return [self._placed(each) for each in found]

    def earliest(self) -> Rejected | None:
        """The reason of the first row."""
        found = min(self._found.values(), key=lambda found: found.first, default=None)
        return found and self._placed(found)

    def _placed(self, found: Rejected) -> Rejected:
        """With row numbers in their files."""
        if not self._parts:
            return found
        places = [divmod(row, PART_ROWS) for row in found.first]
        return msgspec.structs.replace(
            found, first=[row for _, row in places], files=[self._parts[part] for part, _ in places]
        )

    def add(self, line: int, reason: str, text: str) -> None:
        """Count a malformed line."""
        self.malformed += 1
        self._count("bad", reason, [line], 1, None)
        if self._file is not None:
            self._file.add_line(line, reason, text)

    def add_rows(
        self, kind: Kind, reason: str, batch: Batch, rows: NDArray[np.integer[Any]], column: str | None = None
    ) -> None:
        """Count rows of a batch; `column` has the value that explains the reason."""
        value = None if column is None else shown(batch.columns[column].slice(int(rows[0]), 1))
        self._count(kind, reason, batch.lines[rows[:LISTED]].tolist(), len(rows), value)
        if self._file is not None:
            self._file.add_rows(kind, reason, batch, rows)

    def _count(self, kind: Kind, reason: str, lines: list[int], rows: int, value: str | None) -> None:
        if len(self._found) >= MAX_REASONS and (kind, reason) not in self._found:
            reason, value = OTHER_REASONS, None
        found = self._found.setdefault((kind, reason), Rejected(kind=kind, reason=reason, value=value))
        found.rows += rows
        # Malformed lines come before the rows of their block.
        found.first = sorted(found.first + lines)[:LISTED]


def shown(value: pa.Array) -> str:
    """A value in a sentence."""
    text = as_texts(value)[0].as_py()
    return "(missing)" if not text else repr(text if len(text) <= SHOWN_CHARACTERS else text[:SHOWN_CHARACTERS] + "…")


class RejectsFile:
    """A CSV file of the rejected rows: their numbers, what and why, their values, and the text of malformed lines.

    If the table has several files, `parts`, they are named too.
    """

    def __init__(self, path: Path, sources: Sequence[Path] = (), parts: Sequence[str] = ()) -> None:
        self._path, self._parts = path, parts
        for source in sources:
            with suppress(OSError):
                if path.samefile(source):
                    raise UsageError(f"The rejected rows cannot be written to {path}: it is the source.")
        self._names: list[str] = []
        self._lines: list[tuple[int, str, str]] = []
        self._characters = 0
        self._schema = pa.schema([])
        self._file: pa.NativeFile | None = None
        self._writer: pyarrow.csv.CSVWriter | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(self, unit: str, names: Sequence[str]) -> None:
        """Begin the file, again if the source is read again; `names` are the columns of values."""
        self.close()
        self._names = list(names)
        fields = [*(["file"] if self._parts else []), unit, "kind", "reason", *self._names, "text"]
        self._schema = pa.schema([(name, pa.string()) for name in fields])
        with self._sentences():
            # Arrow takes a path that is not UTF-8 only as bytes.
            self._file = pa.OSFile(os.fsencode(self._path), "wb")
            self._writer = pyarrow.csv.CSVWriter(self._file, self._schema)

    def close(self) -> None:
        """Write what is left."""
        if self._writer is not None and self._file is not None:
            with self._sentences(), self._file:
                self._write_lines()
                self._writer.close()
            self._writer = None

    def add_line(self, line: int, reason: str, text: str) -> None:
        """Write a malformed line."""
        self._lines.append((line, reason, text))
        self._characters += len(text)
        if len(self._lines) >= WAITING_LINES or self._characters >= WAITING_CHARACTERS:
            with self._sentences():
                self._write_lines()

    def add_rows(self, kind: Kind, reason: str, batch: Batch, rows: NDArray[np.integer[Any]]) -> None:
        """Write rows of a batch."""
        taken = pa.array(rows)
        values = [as_texts(batch.columns[name].take(taken)) for name in self._names]
        with self._sentences():
            self._write_lines()
            self._write(pa.array(batch.lines[rows]), kind, pa.array([reason] * len(rows)), values, None)

    def _write_lines(self) -> None:
        if self._lines:
            lines, reasons, texts = (pa.array(column) for column in zip(*self._lines, strict=True))
            nothing = [pa.nulls(len(lines), pa.string())] * len(self._names)
            self._write(lines, "bad", reasons, nothing, texts)
            self._lines.clear()
            self._characters = 0

    def _write(
        self, lines: pa.Array, kind: Kind, reasons: pa.Array, values: list[pa.Array], texts: pa.Array | None
    ) -> None:
        n = len(lines)
        text = pa.nulls(n, pa.string()) if texts is None else texts.cast(pa.string())
        places = [lines.cast(pa.string())]
        if self._parts:
            parts, rows = np.divmod(np.asarray(lines), PART_ROWS)
            places = [pa.array([self._parts[part] for part in parts.tolist()]), pa.array(rows).cast(pa.string())]
        columns = [*places, pa.array([kind] * n), reasons, *values, text]
        if self._writer is not None:
            self._writer.write_batch(pa.record_batch(columns, schema=self._schema))

    @contextmanager
    def _sentences(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise OutputError(
                f"{self._path} cannot be written: {os.strerror(error.errno) if error.errno else error}."
            ) from error
