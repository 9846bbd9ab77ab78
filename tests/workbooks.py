"""Writes small workbooks of the kinds that openpyxl does not write: Excel's binary ones, and OpenDocument's."""

import io
import struct
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

# The cells of each sheet, by row and column from 0.
Cells: TypeAlias = Mapping[tuple[int, int], Any]
SECTOR = 512


def cells(rows: Sequence[Sequence[Any]]) -> dict[tuple[int, int], Any]:
    """The cells of a table."""
    return {(row, column): value for row, values in enumerate(rows) for column, value in enumerate(values)}


def xlsb(sheets: Mapping[str, Cells]) -> bytes:
    """A workbook as `.xlsb`."""
    numbers = range(1, len(sheets) + 1)
    kind = "http://schemas.openxmlformats.org/officeDocument/2006/relationships/worksheet"
    relations = "".join(
        f'<Relationship Id="rId{number}" Type="{kind}" Target="worksheets/sheet{number}.bin"/>' for number in numbers
    )
    found = b"".join(
        _part(0x9C, struct.pack("<II", 0, number) + _wide(f"rId{number}") + _wide(name))
        for number, name in enumerate(sheets, 1)
    )
    namespace = "http://schemas.openxmlformats.org/package/2006/relationships"
    members = {
        "xl/_rels/workbook.bin.rels": f'<Relationships xmlns="{namespace}">{relations}</Relationships>'.encode(),
        "xl/workbook.bin": _part(0x83) + _part(0x8F) + found + _part(0x90) + _part(0x84),
    }
    for number, sheet in enumerate(sheets.values(), 1):
        members[f"xl/worksheets/sheet{number}.bin"] = _xlsb_sheet(sheet)
    return _zipped(members)


def _xlsb_sheet(sheet: Cells) -> bytes:
    data, last_row = [_part(0x81), _part(0x94, bytes(16)), _part(0x91)], -1
    for (row, column), value in sorted(sheet.items()):
        if row != last_row:
            data.append(_part(0, struct.pack("<I", row) + bytes(13)))
            last_row = row
        is_text = isinstance(value, str)
        shown = _wide(value) if is_text else struct.pack("<d", value)
        data.append(_part(6 if is_text else 5, struct.pack("<II", column, 0) + shown))
    return b"".join([*data, _part(0x92), _part(0x82)])


def _part(kind: int, data: bytes = b"") -> bytes:
    kinds = bytes([kind]) if kind < 0x80 else bytes([kind & 0x7F | 0x80, kind >> 7])
    size = len(data)
    sizes = bytes([size]) if size < 0x80 else bytes([size & 0x7F | 0x80, size >> 7])
    return kinds + sizes + data


def _wide(text: str) -> bytes:
    return struct.pack("<I", len(text)) + text.encode("utf-16-le")


def xls(sheets: Mapping[str, Cells]) -> bytes:
    """A workbook as `.xls`: one stream in a compound file."""
    bodies = [_xls_sheet(sheet) for sheet in sheets.values()]
    names = [_short(name, "<B") for name in sheets]
    at = len(_record(0x809, bytes(16))) + sum(len(_record(0x85, bytes(6) + name)) for name in names) + 4
    start = _record(0x809, struct.pack("<HHHHII", 0x600, 5, 0, 0, 0, 0))
    for name, body in zip(names, bodies, strict=True):
        start += _record(0x85, struct.pack("<IH", at, 0) + name)
        at += len(body)
    return _compound(b"".join([start, _record(0x0A), *bodies]))


def _xls_sheet(sheet: Cells) -> bytes:
    data = [_record(0x809, struct.pack("<HHHHII", 0x600, 0x10, 0, 0, 0, 0))]
    for (row, column), value in sorted(sheet.items()):
        is_text = isinstance(value, str)
        shown = _short(value, "<H") if is_text else struct.pack("<d", value)
        data.append(_record(0x204 if is_text else 0x203, struct.pack("<HHH", row, column, 0) + shown))
    return b"".join([*data, _record(0x0A)])


def _record(kind: int, data: bytes = b"") -> bytes:
    return struct.pack("<HH", kind, len(data)) + data


def _short(text: str, size: str) -> bytes:
    return struct.pack(size, len(text)) + b"\1" + text.encode("utf-16-le")


def _compound(stream: bytes) -> bytes:
    """A compound file with the stream `Workbook`: its table of sectors, its directory, the stream."""
    n = max(8, -(-len(stream) // SECTOR))
    n_tables = -(-(n + 2) // 126)
    chain = [0xFFFFFFFD] * n_tables + [0xFFFFFFFE] + [n_tables + 2 + place for place in range(n - 1)] + [0xFFFFFFFE]
    chain += [0xFFFFFFFF] * (128 * n_tables - len(chain))
    header = bytes.fromhex("d0cf11e0a1b11ae1") + bytes(16) + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + bytes(6)
    header += struct.pack("<IIIIIIIII", 0, n_tables, n_tables, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<109I", *range(n_tables), *[0xFFFFFFFF] * (109 - n_tables))
    entries = _entry("Root Entry", 5, 1, 0xFFFFFFFE, 0)
    entries += _entry("Workbook", 2, 0xFFFFFFFF, n_tables + 1, n * SECTOR) + bytes(256)
    return header + struct.pack(f"<{len(chain)}I", *chain) + entries + stream.ljust(n * SECTOR, b"\0")


def _entry(name: str, kind: int, child: int, start: int, size: int) -> bytes:
    text = name.encode("utf-16-le") + b"\0\0"
    places = struct.pack("<HBBIII", len(text), kind, 1, 0xFFFFFFFF, 0xFFFFFFFF, child)
    return text.ljust(64, b"\0") + places + bytes(36) + struct.pack("<IQ", start, size)


def ods(sheets: Mapping[str, Cells]) -> bytes:
    """A workbook as `.ods`."""
    spaces = " ".join(
        f'xmlns:{name}="urn:oasis:names:tc:opendocument:xmlns:{name}:1.0"' for name in ("office", "table", "text")
    )
    tables = "".join(
        f'<table:table table:name="{name}">{_ods_rows(sheet)}</table:table>' for name, sheet in sheets.items()
    )
    content = (
        f"<office:document-content {spaces}><office:body><office:spreadsheet>{tables}</office:spreadsheet>"
        "</office:body></office:document-content>"
    )
    return _zipped(
        {
            "mimetype": b"application/vnd.oasis.opendocument.spreadsheet",
            "META-INF/manifest.xml": b"<manifest/>",
            "content.xml": content.encode(),
        }
    )


def _ods_rows(sheet: Cells) -> str:
    rows, next_row = list[str](), 0
    for row in sorted({row for row, _ in sheet}):
        if row > next_row:
            rows.append(
                f'<table:table-row table:number-rows-repeated="{row - next_row}"><table:table-cell/></table:table-row>'
            )
        shown, next_column, next_row = list[str](), 0, row + 1
        for column in sorted(column for at, column in sheet if at == row):
            value = sheet[row, column]
            if column > next_column:
                shown.append(f'<table:table-cell table:number-columns-repeated="{column - next_column}"/>')
            kind = f'"float" office:value="{value}"' if isinstance(value, int | float) else '"string"'
            shown.append(f"<table:table-cell office:value-type={kind}><text:p>{value}</text:p></table:table-cell>")
            next_column = column + 1
        rows.append(f"<table:table-row>{''.join(shown)}</table:table-row>")
    return "".join(rows)


def _zipped(members: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()
