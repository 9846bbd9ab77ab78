"""Reads a sheet of a workbook: Excel's, old and new, and OpenDocument's."""

import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.ipc

from reckoner.producer.importing.reading import sheet_process
from reckoner.producer.importing.reading.columns import Columns
from reckoner.producer.importing.reading.dialect import SAMPLE_RECORDS, find_names
from reckoner.producer.importing.reading.forms import Form, Reading
from reckoner.producer.importing.reading.tables import Batch, Refuse, require_columns
from reckoner.shared.errors import MissingExtraError, SourceError

OLD_EXCEL_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
# The member of a zip file that makes it a workbook.
WORKBOOKS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")


class ExcelTable:
    """The rows of a sheet below the one that names the columns; they have a spreadsheet's numbers.

    Values become texts, as in a CSV file of the sheet.
    """

    unit: Literal["line", "row"] = "row"
    columns: Sequence[str]

    def __init__(self, path: Path, reading: Reading, columns: Columns) -> None:
        rows = _read(path, reading.sheet)
        found, self._first = rows.schema.metadata[b"sheet"].decode(), int(rows.schema.metadata[b"first"])
        self.name = f"Sheet {found} of {path.name}"
        if rows.num_rows == 0:
            raise SourceError(f"{self.name} is empty.")
        require_columns(self.name, rows.num_columns)
        first, *others = zip(*(column[:SAMPLE_RECORDS].to_pylist() for column in rows.columns), strict=True)
        sample = [[value.encode() for value in row] for row in others]
        header, self.columns = find_names(first, sample, self.name, reading, columns)
        self.form = Form(format=f"sheet {found}", header=header)
        self._rows = rows.slice(1) if header else rows
        self._first += header
        self.n_rows: int | None = self._rows.num_rows

    def batches(self, names: Sequence[str], refuse: Refuse, whole: Collection[str] = ()) -> Iterator[Batch]:
        """See `Table.batches`."""
        places, row = {name: self.columns.index(name) for name in names}, self._first
        for batch in self._rows.to_batches():
            yield Batch(
                np.arange(row, row + batch.num_rows), {name: batch.column(place) for name, place in places.items()}
            )
            row += batch.num_rows


def _read(path: Path, sheet: str | None) -> pa.Table:
    """The rows of the sheet as texts; see `sheet_process`."""
    if importlib.util.find_spec("python_calamine") is None:
        raise MissingExtraError(
            "Importing a workbook needs python_calamine, which is not installed: pip install 'ready-reckoner[data]'."
        )
    command = [sys.executable, "-P", sheet_process.__file__, os.fspath(path), sheet or ""]
    rows, environ = None, os.environ | {"PYTHONIOENCODING": "utf-8"}
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, env=environ) as reader,
    ):
        try:
            with pa.ipc.open_stream(reader.stdout) as stream:
                rows = stream.read_all()
        except pa.ArrowException:
            # Its exit code says why.
            pass
        except BaseException:
            # Python does not wait for it after Ctrl-C.
            reader.kill()
            reader.wait()
            raise
        code = reader.wait()
        said.seek(0)
        message = said.read().decode(errors="replace").strip()
    if code == sheet_process.UNREADABLE:
        raise SourceError(f"{path.name} {message}.")
    if code == sheet_process.TOO_LARGE or code < 0:
        raise SourceError(
            f"{path.name} reaches over too many rows and columns. Delete the cells far from the table, or write it as "
            "CSV."
        )
    if code or rows is None:
        last = message.splitlines()[-1] if message else f"exit code {code}"
        raise SourceError(f"{path.name} cannot be read as a workbook: {last}.")
    return rows
