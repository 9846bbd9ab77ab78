"""Reads a sheet of a workbook in a process of its own, and writes its rows as a stream of Arrow.

A reader of workbooks makes room for all cells between the first and the last one. So its process has a limit of memory,
and runs this file as a script, which loads nothing else.
"""

import contextlib
import ctypes
import itertools
import resource
import signal
import sys
from datetime import date, time
from typing import Any

import pyarrow as pa
import pyarrow.ipc

MAX_BYTES = 4 << 30
BATCH_ROWS = 16_384
# Neighbouring whole numbers from here on are the same float.
EXACT_BELOW = 2**53
# OpenDocument's reader has a limit of its own.
CELL_LIMIT = "Cell limit exceeded"
# Of the kernel's prctl.h.
PR_SET_PDEATHSIG = 1
# Exit codes.
UNREADABLE, TOO_LARGE = 3, 4


def main(path: str, sheet: str) -> int:
    """Write the rows of a sheet to standard output, and its name and first row; `sheet` is empty for the first one."""
    for limit, size in ((resource.RLIMIT_AS, MAX_BYTES), (resource.RLIMIT_CORE, 0)):
        # Some systems refuse a limit.
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(limit, (size, resource.getrlimit(limit)[1]))
    # On Linux it ends with its parent, however that ends.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    import python_calamine

    try:
        with python_calamine.CalamineWorkbook.from_path(path) as book:
            if not book.sheet_names or (sheet and sheet not in book.sheet_names):
                named = f"the sheet {sheet} (--sheet)" if sheet else "a sheet"
                print(f"does not have {named}. It has: {', '.join(book.sheet_names)}", file=sys.stderr)
                return UNREADABLE
            found = sheet or book.sheet_names[0]
            _write(found, book.get_sheet_by_name(found))
    except MemoryError:
        return TOO_LARGE
    except (python_calamine.CalamineError, ValueError, OSError) as error:
        if CELL_LIMIT in str(error):
            return TOO_LARGE
        message = next(iter(str(error).splitlines()), type(error).__name__).rstrip(".")
        print(f"cannot be read as a workbook: {message}", file=sys.stderr)
        return UNREADABLE
    return 0


def _write(name: str, sheet: Any) -> None:
    first = sheet.start[0] if sheet.start else 0
    width = sheet.end[1] - sheet.start[1] + 1 if sheet.start else 0
    schema = pa.schema([(str(place), pa.string()) for place in range(width)], {"sheet": name, "first": str(first + 1)})
    # The rows before the first cell come too.
    rows = itertools.islice(sheet.iter_rows(), first, None)
    with pa.ipc.new_stream(sys.stdout.buffer, schema) as stream:
        while some := list(itertools.islice(rows, BATCH_ROWS)):
            columns = zip(*some, strict=True)
            stream.write_batch(pa.record_batch([pa.array(map(_text, cells), pa.string()) for cells in columns], schema))


def _text(cell: Any) -> str:
    """A cell as text. A workbook has floats only: a large one without its last digits is written as such."""
    if isinstance(cell, str):
        return cell
    if isinstance(cell, bool):
        return str(cell).lower()
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell)) if abs(cell) < EXACT_BELOW else f"{cell:.15e}"
    if isinstance(cell, date | time):
        return cell.isoformat()
    return str(cell)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
