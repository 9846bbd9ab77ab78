"""A file with an endless header, row or footer is refused before it takes memory, even inside a zip."""

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from reckoner.producer.importing import import_interactions
from reckoner.shared.errors import SourceError
from reckoner.shared.store.location import open_store
from tests import workbooks
from tests.commands import CommandLine
from tests.imports import reasons
from tests.root import ROOT

SIZE = 512 << 20
# What importing takes with all its libraries, and far less than what the files below would.
MAX_MB = 600
# Runs a command to its end, and says how much memory it had at its peak.
MEASURED = """
import resource, subprocess, sys
ended = subprocess.run(sys.argv[1:], stderr=subprocess.PIPE, text=True)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
print(ended.returncode, peak >> (20 if sys.platform == "darwin" else 10))
print(ended.stderr, end="")
"""


def zipped(path: Path, start: bytes, filling: bytes, size: int = SIZE) -> Path:
    """A zip with ratings of `start` and then `filling`, compressed a thousand times."""
    part = filling * ((1 << 20) // len(filling))
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("ratings.csv", "w") as member:
        member.write(start)
        for _ in range(size >> 20):
            member.write(part)
    return path


@pytest.mark.parametrize(
    ("start", "filling", "said"),
    [
        (b"user", b"x,", "has over 1,048,576 bytes. The first line must name the columns."),
        (b"user", b",", "has over 1,048,576 bytes. The first line must name the columns."),
        (b"user", b"x", "has over 1,048,576 bytes. The first line must name the columns."),
        (b'"user', b"\n", "opens a quotation mark that is never closed. Use --quote none."),
        (b"user,item\n", b"x", "cannot be read: one row has over 8,388,608 bytes."),
    ],
    ids=["a header", "its columns", "a name", "a name in quotes", "a row"],
)
def test_what_has_no_end_is_refused_in_little_memory(tmp_path: Path, start: bytes, filling: bytes, said: str) -> None:
    """Half a gigabyte of it, in a zip of half a megabyte."""
    path = zipped(tmp_path / "ratings.zip", start, filling)
    assert path.stat().st_size < 8 << 20
    command = [sys.executable, "-m", "reckoner.producer", "import", str(path)]
    environ = CommandLine(home=tmp_path / "home").environ
    measured = subprocess.run(
        [sys.executable, "-c", MEASURED, *command], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
    )
    figures, sentence = measured.stdout.splitlines()
    code, peak_mb = map(int, figures.split())
    assert code == 1
    assert said in sentence
    assert peak_mb < MAX_MB


def refusal(path: Path, tmp_path: Path) -> str:
    with pytest.raises(SourceError) as caught:
        import_interactions(path, open_store((tmp_path / "store").as_uri()))
    return str(caught.value)


def test_ten_thousand_columns_are_read_and_one_more_is_not(tmp_path: Path) -> None:
    """In a CSV file and in a Parquet file."""
    csv, parquet = tmp_path / "wide.csv", tmp_path / "wide.parquet"
    names = ["user", "item", *(f"c{number}" for number in range(9_998))]
    for more in ([], ["one more"]):
        csv.write_text(",".join(names + more) + "\n" + ",".join(["1"] * len(names + more)) + "\n")
        pq.write_table(pa.table({name: ["1"] for name in names + more}), parquet)
        for path in (csv, parquet):
            if more:
                said = f"{path.name} has 10,001 columns. At most 10,000 are supported."
                assert refusal(path, tmp_path) == said
            else:
                assert import_interactions(path, open_store((tmp_path / "store").as_uri())).interactions == 1


def test_a_parquet_file_with_a_long_footer_is_not_opened(tmp_path: Path) -> None:
    """Its last bytes tell the length of the footer."""
    path = tmp_path / "long.parquet"
    with path.open("wb") as file:
        file.write(b"PAR1")
        file.truncate(100 << 20)
        file.seek(0, 2)
        file.write((99 << 20).to_bytes(4, "little") + b"PAR1")
    assert refusal(path, tmp_path) == "The Parquet footer of long.parquet has over 67,108,864 bytes."


def test_a_long_array_is_not_read(tmp_path: Path) -> None:
    """It would take several times its bytes."""
    path = tmp_path / "long.json"
    with path.open("wb") as file:
        file.write(b'[{"user": 1, "item": 2}')
        for _ in range(129):
            file.write((b" " * 1023 + b"\n") * 1024)
        file.write(b"]")
    assert refusal(path, tmp_path) == "long.json is an array of over 134,217,728 bytes. Write it as JSON lines."


def test_a_header_of_a_megabyte_is_read(tmp_path: Path) -> None:
    """With a character of several bytes where the first megabyte ends."""
    path = tmp_path / "header.csv"
    for before in range(4):
        header = f"user,item,{'x' * (100_000 + before)}," + ",".join("é" * 50_000 for _ in range(9))
        path.write_text(f"{header}\n" + ",".join(["1"] * 12) + "\n", encoding="utf-8-sig")
        assert import_interactions(path, open_store((tmp_path / "store").as_uri())).interactions == 1


FAR = (1_048_575, 16_383)
TABLE = workbooks.cells([["user", "item"], ["a", "x"]])


def xlsx(sheets: dict[str, workbooks.Cells]) -> bytes:
    book, buffer = openpyxl.Workbook(), io.BytesIO()
    book.remove(book.active)
    for name, cells in sheets.items():
        sheet = book.create_sheet(name)
        for (row, column), value in cells.items():
            sheet.cell(row + 1, column + 1, value)
    book.save(buffer)
    return buffer.getvalue()


# A cell in the last row and the last column that a file can name. Of .xls, more than Excel writes.
KINDS = {
    "xlsx": (xlsx, FAR),
    "xlsb": (workbooks.xlsb, FAR),
    "ods": (workbooks.ods, FAR),
    "xls": (workbooks.xls, (65_535, 65_535)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_sheet_with_a_far_cell_is_not_read(tmp_path: Path, kind: str) -> None:
    """Its reader would make room for billions of cells, and end the process."""
    write, far = KINDS[kind]
    path = tmp_path / f"far.{kind}"
    path.write_bytes(write({"Sales": {**TABLE, far: 1}}))
    assert refusal(path, tmp_path) == (
        f"far.{kind} reaches over too many rows and columns. Delete the cells far from the table, or write it as CSV."
    )


@pytest.mark.parametrize(("kind", "far"), [("xlsx", FAR), ("xlsb", FAR), ("xls", (65_535, 255))])
def test_another_sheet_may_have_a_far_cell(tmp_path: Path, kind: str, far: tuple[int, int]) -> None:
    """Of .xls all sheets are read, but Excel writes at most 65,536 rows and 256 columns."""
    path = tmp_path / f"other.{kind}"
    path.write_bytes(KINDS[kind][0]({"Sales": TABLE, "Others": {**TABLE, far: 1}}))
    assert import_interactions(path, open_store((tmp_path / "store").as_uri())).interactions == 1


def test_a_sheet_may_begin_anywhere_and_have_colours_far_away(tmp_path: Path) -> None:
    """A cell with a colour only is none, and rows keep their numbers."""
    path, book = tmp_path / "far.xlsx", openpyxl.Workbook()
    for row, values in enumerate([["user", "item"], ["a", "x"], ["", "y"]], 1_000_000):
        for column, value in enumerate(values, 1_000):
            book.active.cell(row, column, value)
    book.active["A1"].fill = book.active["XFD1048576"].fill = openpyxl.styles.PatternFill("solid", "FF0000")
    book.save(path)
    report = import_interactions(path, open_store((tmp_path / "store").as_uri()))
    assert reasons(report) == [("left_out", "the user is empty", 1, [1_000_002])]
    assert report.interactions == 1
