"""Each option of how a table is written: a file that differs only in it gives the snapshot of a plain file."""

import gzip
import io
import json
import tarfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import openpyxl
import pytest

from tests.commands import CommandLine

Row = tuple[str, str, str, str, str]
NAMES: Row = ("user", "item", "stars", "at", "title")
ROWS: Sequence[Row] = [
    (f"u{n % 7}", f"i{n % 11}", f"{n % 5}.5", f"2020-01-{n % 9 + 1:02} 10:00:00", f"Title, of {n % 11}")
    for n in range(60)
]
CHOSEN = ("--weight", "stars", "--time", "at", "--title", "title")
NUMBERS = ("--user", "1", "--item", "2", "--weight", "3", "--time", "4", "--title", "5")


def text(rows: Sequence[Row], separator: str = ";", quote: str = "") -> bytes:
    return "".join(separator.join(f"{quote}{value}{quote}" for value in row) + "\n" for row in rows).encode()


PLAIN = text([NAMES, *ROWS])


def changed(change: Callable[[Row], Row]) -> bytes:
    return text([NAMES, *map(change, ROWS)])


def in_tar(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in (("more/other.csv", b"user;item\na;x\n"), ("more/t.csv", data)):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def in_zip(data: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("other.csv", b"user;item\na;x\n")
        archive.writestr("t.csv", data)
    return buffer.getvalue()


def workbook(rows: Sequence[Row], sheet: str) -> bytes:
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    book.worksheets[0].append(["a note"])
    for row in rows:
        (book[sheet] if sheet in book.sheetnames else book.create_sheet(sheet)).append(row)
    book.save(buffer)
    return buffer.getvalue()


def nested(rows: Sequence[Row]) -> bytes:
    objects = (
        {"who": {"user": user}, "got": [{"item": item, "stars": stars}], "at": at, "title": title}
        for user, item, stars, at, title in rows
    )
    return "\n".join(map(json.dumps, objects)).encode()


def day_first(row: Row) -> Row:
    user, item, stars, at, title = row
    return user, item, stars, f"{at[8:10]}/{at[5:7]}/{at[:4]} {at[11:]}", title


UTF_16 = PLAIN.decode().encode("utf-16-le")
WRITTEN: dict[str, tuple[bytes, Sequence[str]]] = {
    "--separator": (text([NAMES, *ROWS], "|~|"), [*CHOSEN, "--separator", "|~|"]),
    "--quote": (text([NAMES, *ROWS], ",", "'"), [*CHOSEN, "--quote", "single"]),
    "--escape": (PLAIN, [*CHOSEN, "--escape", "backslash"]),
    "--encoding": (UTF_16, [*CHOSEN, "--encoding", "utf-16-le"]),
    "--header": (PLAIN, [*CHOSEN, "--header"]),
    "--no-header": (text(ROWS), [*NUMBERS, "--no-header"]),
    "--compression": (gzip.compress(PLAIN), [*CHOSEN, "--compression", "gzip"]),
    "--time-format": (changed(day_first), [*CHOSEN, "--time-format", "%d/%m/%Y %H:%M:%S"]),
    "--decimal": (
        changed(lambda row: (*row[:2], row[2].replace(".", ","), *row[3:])), [*CHOSEN, "--decimal", ","]
    ),
    "--decimal of points": (PLAIN, [*CHOSEN, "--decimal", "."]),
    "--sheet": (workbook([NAMES, *ROWS], "two"), [*CHOSEN, "--sheet", "two"]),
    "--sheet without a header": (workbook(ROWS, "two"), [*NUMBERS, "--sheet", "two", "--no-header"]),
    "--member of zip": (in_zip(PLAIN), [*CHOSEN, "--member", "t.csv"]),
    "--member of tar": (in_tar(PLAIN), [*CHOSEN, "--member", "more/t.csv"]),
    "--member in another encoding": (
        in_tar(UTF_16), [*CHOSEN, "--member", "t.csv", "--encoding", "utf-16-le", "--separator", ";"]
    ),
    "--member without a header, compressed": (
        in_zip(gzip.compress(text(ROWS))), [*NUMBERS, "--member", "t.csv", "--no-header"]
    ),
    "paths": (
        nested(ROWS),
        ["--user", "who.user", "--item", "got.item", "--weight", "got.stars", "--time", "at", "--title", "title"],
    ),
    "paths in an archive": (
        in_tar(nested(ROWS)),
        ["--member", "t.csv", "--user", "who.user", "--item", "got.item", "--weight", "got.stars", *CHOSEN[2:]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", ["a file", "a pipe"])
@pytest.mark.parametrize("name", WRITTEN)
def test_a_table_written_in_another_way_gives_the_snapshot_of_a_plain_one(tmp_path: Path, name: str, way: str) -> None:
    """With the option that says how, from a file and through standard input."""
    (tmp_path / "plain.csv").write_bytes(PLAIN)
    data, options = WRITTEN[name]
    (tmp_path / "written").write_bytes(data)
    commands = CommandLine(home=tmp_path / "home")
    [plain] = commands.call("import", str(tmp_path / "plain.csv"), *CHOSEN, "--json").objects
    source, given = (str(tmp_path / "written"), b"") if way == "a file" else ("-", data)
    [found] = commands.call("import", source, *options, "--json", given=given).objects
    assert (found["snapshot"], found["rows"], found["bad_rows"], found["left_out"]) == (plain["snapshot"], 60, 0, 0)
