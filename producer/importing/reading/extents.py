"""Finds how far the cells of Excel's sheets reach, before a reader makes room for all cells between them."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path

from reckoner.producer.importing.reading.tables import sentences
from reckoner.shared.errors import SourceError

# The reader of workbooks takes some 40 bytes for each cell between the first and the last one, also for an empty one.
MAX_CELLS = 50_000_000
CHUNK_BYTES = 1 << 20
# Cells as nearly all writers write them, and whatever may be one.
CELL, MAYBE_CELL = re.compile(rb'<c r="([A-Z]{1,6})([0-9]{1,10})"'), re.compile(rb"[<:]c[\s/>]")
# A tag of a row or of a cell, its attributes, and whether it is empty.
TAG = re.compile(rb"<(/?)(?:\w+:)?(row|c)\b([^>]*?)(/?)>")
REFERENCE = re.compile(rb"\sr\s*=\s*[\"']([A-Za-z]{0,6})([0-9]{1,10})[\"']")


def require_small_sheets(path: Path) -> None:
    """Check how far the sheets of a workbook reach, if they are XML in a zip file.

    The dimensions that a sheet tells of itself are not used: they may be missing or wrong.

    Raises:
        SourceError: a sheet has too many rows times columns, or cannot be read.
    """
    if not zipfile.is_zipfile(path):
        return
    with sentences(path.name), zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            if name.casefold().endswith(".xml") and "worksheets" in name.casefold():
                _require_small(path, archive, name)


def _require_small(path: Path, archive: zipfile.ZipFile, name: str) -> None:
    if _is_small(archive, name):
        return
    row = column = 0
    rows, columns = _Range(), _Range()
    for data in _chunks(archive, name):
        for end, tag, attributes, empty in TAG.findall(data):
            found = REFERENCE.search(attributes)
            if tag == b"row":
                if end or empty:
                    row, column = row + 1, 0
                elif found:
                    row = int(found[2]) - 1
            elif not end:
                here, column = (int(found[2]) - 1, _number(found[1]) - 1) if found else (row, column)
                # A cell without a value, which may have a colour, is no cell for the reader.
                if not empty:
                    rows.add(here)
                    columns.add(column)
                column += 1
        if rows.size * columns.size > MAX_CELLS:
            raise SourceError(
                f"A sheet of {path.name} reaches over {rows.size:,} rows and {columns.size:,} columns. Delete the "
                "cells far from the table, or write it as CSV."
            )


def _is_small(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether all cells tell their places as usual, and none is far: ten times faster than to follow them."""
    last_row, columns = 0, set[bytes]()
    for data in _chunks(archive, name):
        cells = CELL.findall(data)
        if len(cells) != len(MAYBE_CELL.findall(data)):
            return False
        columns.update(column for column, _ in cells)
        last_row = max(last_row, max((int(row) for row in {row for _, row in cells}), default=0))
    return last_row * max(map(_number, columns), default=0) <= MAX_CELLS


class _Range:
    """The numbers from the lowest to the highest one."""

    def __init__(self) -> None:
        self._low, self._high = 0, -1

    @property
    def size(self) -> int:
        """How many they are."""
        return self._high - self._low + 1

    def add(self, number: int) -> None:
        """Reach to this number."""
        is_first = self._high < self._low
        self._low = number if is_first else min(self._low, number)
        self._high = max(self._high, number)


def _chunks(archive: zipfile.ZipFile, name: str) -> Iterator[bytes]:
    """The bytes of a member, with no tag in two chunks."""
    rest = b""
    with archive.open(name) as member:
        while chunk := member.read(CHUNK_BYTES):
            data = rest + chunk
            cut = max(data.rfind(b"<"), 0)
            yield data[:cut]
            # No tag is that long.
            rest = data[cut:] if len(data) - cut < CHUNK_BYTES else b""
    yield rest


def _number(letters: bytes) -> int:
    """The number of a column, from 1: A is 1, AA is 27."""
    number = 0
    for letter in letters.upper():
        number = number * 26 + letter - 64
    return number
