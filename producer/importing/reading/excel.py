"""Reads a sheet of a workbook: Excel's, old and new, and OpenDocument's."""

from collections.abc import Iterator, Sequence
from datetime import date, time
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa

from reckoner.producer.importing.reading.dialect import Form
from reckoner.producer.importing.reading.extents import require_small_sheets
from reckoner.producer.importing.reading.tables import EXACT_BELOW, Batch, Refuse, require_columns
from reckoner.shared.errors import MissingExtraError, SourceError

OLD_EXCEL_MAGIC = bytes.fromhex("d0cf11e0a1b11ae1")
# The member of a zip file that makes it a workbook.
WORKBOOKS = ("xl/workbook.xml", "xl/workbook.bin", "content.xml")
# From here on, neighbouring whole numbers are the same float.


class ExcelTable:
    """The rows of a sheet below the one that names the columns; they have a spreadsheet's numbers.

    Values become texts, as in a CSV file of the sheet.
    """

    unit: Literal["line", "row"] = "row"

    def __init__(self, path: Path, sheet: str | None, *, header: bool) -> None:
        found, rows, first = _read(path, sheet)
        self.name = f"Sheet {found} of {path.name}"
        if not rows:
            raise SourceError(f"{self.name} is empty.")
        self.form = Form(format=f"sheet {found}", header=header)
        self._first, self._rows = (first + 1, rows[1:]) if header else (first, rows)
        self.columns: Sequence[str] = [
            _text(cell).strip() if header else str(number) for number, cell in enumerate(rows[0], 1)
        ]
        require_columns(self.name, len(self.columns))
        self.n_rows: int | None = len(self._rows)

    def batches(self, names: Sequence[str], refuse: Refuse) -> Iterator[Batch]:
        """See `Table.batches`."""
        places = {name: self.columns.index(name) for name in names}
        yield Batch(
            np.arange(self._first, self._first + len(self._rows)),
            {name: pa.array([_text(row[at]) for row in self._rows], pa.string()) for name, at in places.items()},
        )


def _read(path: Path, sheet: str | None) -> tuple[str, list[list[Any]], int]:
    """The name of the sheet, its rows, and the number of the first one that is not empty."""
    try:
        import python_calamine
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Importing a workbook needs {error.name}, which is not installed: pip install 'ready-reckoner[data]'."
        ) from error
    require_small_sheets(path)
    try:
        with python_calamine.CalamineWorkbook.from_path(path) as book:
            if not book.sheet_names or (sheet is not None and sheet not in book.sheet_names):
                named = "a sheet" if sheet is None else f"the sheet {sheet} (--sheet)"
                raise SourceError(f"{path.name} does not have {named}. It has: {', '.join(book.sheet_names)}.")
            found = book.sheet_names[0] if sheet is None else sheet
            rows = book.get_sheet_by_name(found)
            return found, rows.to_python(), 1 + (rows.start[0] if rows.start else 0)
    except (python_calamine.CalamineError, ValueError, OSError) as error:
        message = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        raise SourceError(f"{path.name} cannot be read as a workbook: {message}.") from error


def _text(cell: Any) -> str:
    """A cell as text. A workbook has floats only: a large one without its last digits is written as such."""
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell)) if abs(cell) < EXACT_BELOW else f"{cell:.15e}"
    if isinstance(cell, date | time):
        return cell.isoformat()
    return str(cell)
