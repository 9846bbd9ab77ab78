"""Files of one table in any format, several files of it, pipes and frames give the same snapshot."""

import gzip
import io
import json
import os
import sqlite3
import threading
import zipfile
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest

from reckoner.producer.importing import Columns, Query, Reading, find_database, import_interactions
from reckoner.shared.errors import SourceError, UsageError
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from tests import workbooks
from tests.commands import CommandLine
from tests.imports import reasons
from tests.snapshots import current, interactions

NAMES = ("user_id", "item_id", "stars", "timestamp", "title")
ROWS = [(n % 7 + 100, f"ü{n % 5:02}", 0.5 + n % 4, 1_700_000_000 + n, f"Café {n % 5}") for n in range(60)]
COLUMNS = Columns(weight="stars")
FRAME = pd.DataFrame(ROWS, columns=list(NAMES))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "the store").as_uri())


def csv_of(rows: list[tuple[Any, ...]], *, header: bool = True) -> str:
    """Rows as CSV."""
    return "".join(",".join(map(str, row)) + "\n" for row in ([NAMES] if header else []) + rows)


@pytest.fixture
def plain(tmp_path: Path, store: Store) -> str:
    """The snapshot of the table as CSV."""
    path = tmp_path / "plain.csv"
    path.write_text(csv_of(ROWS), encoding="utf-8")
    report = import_interactions(path, store, columns=COLUMNS)
    assert (report.rows, report.bad_rows, report.users, report.items) == (60, 0, 7, 5)
    return report.snapshot_id


def json_lines(rows: list[tuple[Any, ...]] = ROWS) -> str:
    return "".join(json.dumps(dict(zip(NAMES, row, strict=True)) | {"more": [{"a": 1}]}) + "\n" for row in rows)


def stream(frame: pd.DataFrame) -> bytes:
    buffer, table = io.BytesIO(), pa.Table.from_pandas(frame)
    with pyarrow.ipc.new_stream(buffer, table.schema) as writer:
        writer.write_table(table)
    return buffer.getvalue()


def written(write: Callable[[Any], object]) -> bytes:
    buffer = io.BytesIO()
    write(buffer)
    return buffer.getvalue()


def zipped(name: str, data: bytes) -> bytes:
    """A zip file with one member."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(name, data)
    return buffer.getvalue()


def workbook() -> bytes:
    """The table on the second sheet, below an empty row."""
    book = openpyxl.Workbook()
    book.active.append(["user", "item"])
    book.active.append(["someone", "something"])
    sheet = book.create_sheet("Sales 2026")
    for number, row in enumerate([NAMES, *ROWS], 3):
        for column, value in enumerate(row, 1):
            sheet.cell(number, column, value)
    return written(book.save)


SHEETS = {"Sales": workbooks.cells([NAMES, *ROWS]), "Others": workbooks.cells([["notes"]])}
FILES: dict[str, tuple[bytes, Reading, str]] = {
    "a.csv": (csv_of(ROWS).encode(), Reading(), "commas, utf-8"),
    "a.csv.gz": (gzip.compress(csv_of(ROWS).encode()), Reading(), "commas, utf-8, gzip"),
    "a.parquet": (written(FRAME.to_parquet), Reading(), "Parquet"),
    "a.jsonl": (json_lines().encode(), Reading(), "JSON lines, utf-8"),
    "a text": (json_lines().replace("\n", "\r\n\r\n").encode(), Reading(), "JSON lines, utf-8"),
    "a.ndjson.gz": (gzip.compress(json_lines().encode()), Reading(compression="gzip"), "JSON lines, utf-8, gzip"),
    "b.jsonl": (
        json_lines().encode("utf-8").decode("unicode-escape").encode("utf-16"),
        Reading(encoding="utf-16"),
        "JSON lines, utf-16-le",
    ),
    "a.json": (FRAME.to_json(orient="records").encode(), Reading(), "a JSON array, utf-8"),
    "b.json": (
        json.dumps(json.loads(FRAME.to_json(orient="records")), indent=2).encode(),
        Reading(),
        "a JSON array, utf-8",
    ),
    "a.feather": (written(lambda file: pyarrow.feather.write_feather(FRAME, file)), Reading(), "Arrow"),
    "a.arrows": (stream(FRAME), Reading(), "Arrow"),
    "a.xlsx": (workbook(), Reading(sheet="Sales 2026"), "sheet Sales 2026"),
    "a.xls": (workbooks.xls(SHEETS), Reading(), "sheet Sales"),
    "a.xlsb": (workbooks.xlsb(SHEETS), Reading(), "sheet Sales"),
    "a.ods": (workbooks.ods(SHEETS), Reading(), "sheet Sales"),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_snapshot(tmp_path: Path, store: Store, plain: str, name: str) -> None:
    """Found by the first bytes."""
    data, reading, words = FILES[name]
    for path in (tmp_path / name, tmp_path / "another name"):
        path.write_bytes(data)
        report = import_interactions(path, store, columns=COLUMNS, reading=reading)
        assert report.snapshot_id == plain
        assert report.rows == 60
        assert report.form is not None
        assert report.form.words() == words


@pytest.mark.parametrize("form", ["a.csv", "a.csv.gz", "a.jsonl", "a.parquet"])
def test_what_is_in_a_file_counts_before_its_name(tmp_path: Path, store: Store, plain: str, form: str) -> None:
    """Whatever suffix it has; text by the name of a zip file may be a damaged one."""
    names = ["a.json", "events.json.csv", "a.parquet", "a.pq", "a.xlsx", "a.csv"]
    for name in [*names, *(["a.zip"] if form in ("a.csv.gz", "a.parquet") else [])]:
        (tmp_path / name).write_bytes(FILES[form][0])
        assert import_interactions(tmp_path / name, store, columns=COLUMNS).snapshot_id == plain


def test_a_torn_first_line_makes_json_no_csv(tmp_path: Path, store: Store) -> None:
    """By its name and the lines that follow."""
    (tmp_path / "a.jsonl").write_text('"a", "item": "x"}\n{"user": "b", "item": "x"}\n')
    assert reasons(import_interactions(tmp_path / "a.jsonl", store)) == [("bad", "it is no JSON object", 1, [1])]


@pytest.mark.parametrize("is_array", [False, True])
@pytest.mark.parametrize("written", ["größe", "gr\\u00f6\\u00dfe"])
def test_a_column_of_json_may_begin_late(tmp_path: Path, store: Store, written: str, is_array: bool) -> None:
    """After the rows whose names are all looked at; a name that no row has is none still."""
    objects = [f'{{"user": {user}, "item": "x", "{"y" * 100}": 1}}' for user in range(33_000)]
    assert sum(map(len, objects)) > 4 << 20
    objects.append(f'{{"user": "last", "item": "x", "{written}": 2.5}}')
    path = tmp_path / "a.json"
    path.write_text(f"[{', '.join(objects)}]" if is_array else "\n".join(objects), encoding="utf-8")
    report = import_interactions(path, store, columns=Columns(weight="größe"))
    assert [(found.reason, found.rows) for found in report.rejected] == [("the weight is missing", 33_000)]
    assert interactions(current(store)) == {("last", "x"): (2.5, None)}
    with pytest.raises(SourceError, match=r"^a\.json has no column size \(--weight\)\."):
        import_interactions(path, store, columns=Columns(weight="size"))


def test_a_database_gives_the_same_snapshot(tmp_path: Path, store: Store, plain: str) -> None:
    """As the files do."""
    with sqlite3.connect(tmp_path / "shop.db") as shop:
        shop.execute(f"create table sales ({', '.join(NAMES)})")
        shop.executemany("insert into sales values (?, ?, ?, ?, ?)", ROWS)
    shop.close()
    query = Query(find_database(f"sqlite:///{tmp_path / 'shop.db'}", {}), "select * from sales")
    assert import_interactions(query, store, columns=COLUMNS).snapshot_id == plain


FRAMES: dict[str, Any] = {
    "pandas": FRAME,
    "pandas, floats": FRAME.astype({"user_id": float}),
    "pandas, objects": FRAME.astype(object),
    "pandas, mixed": FRAME.astype(object).assign(
        user_id=[user if n % 2 else str(user) for n, user in enumerate(FRAME.user_id)]
    ),
    "pandas, categories": FRAME.astype({"item_id": "category"}),
    "polars": pl.DataFrame(ROWS, schema=list(NAMES), orient="row"),
    "polars, categories": pl.DataFrame(ROWS, schema=list(NAMES), orient="row").with_columns(
        pl.col("item_id").cast(pl.Categorical)
    ),
    "arrow": pa.Table.from_pandas(FRAME),
}


@pytest.mark.parametrize("kind", FRAMES)
def test_frames_give_the_same_snapshot(store: Store, plain: str, kind: str) -> None:
    """Whatever types their columns have."""
    assert import_interactions(FRAMES[kind], store, columns=COLUMNS).snapshot_id == plain


def test_an_application_imports_into_the_store_of_the_commands(
    tmp_path: Path, plain: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which is opened without a URL."""
    from reckoner import importing

    monkeypatch.setenv("RECKONER_HOME", str(tmp_path / "home"))
    columns = importing.Columns(weight="stars")
    assert importing.import_interactions(FRAME, importing.open_store(), columns=columns).snapshot_id == plain
    assert open_store((tmp_path / "home" / "store").as_uri()).current_snapshot() == plain


def test_a_reader_of_arrow_is_read_twice_if_need_be(store: Store) -> None:
    """A date among the times is found in the second row only, and the column was guessed."""
    table = pa.table({"user": ["a", "b"], "item": ["x", "y"], "time": ["1700000000", "no time"]})
    report = import_interactions(table.to_reader(1), store)
    assert (report.interactions, report.not_times) == (2, "time")


@pytest.mark.parametrize("source", [pl.LazyFrame({"user": ["a"]}), 7, None])
def test_what_is_no_source_is_refused(store: Store, source: Any) -> None:
    """By its type."""
    with pytest.raises(UsageError, match=f"^A {type(source).__name__} cannot be imported"):
        import_interactions(source, store)


def test_json_ids_are_those_of_csv(tmp_path: Path, store: Store) -> None:
    """Numbers are read as they are written; Python's NaN, null, and a name that is not there are missing values."""
    (tmp_path / "a.jsonl").write_text(
        '{"user": 12345678901234567890123, "item": 1.50}\n{"item": "x", "user": true}\n'
        '{"user": NaN, "item": "x"}\n{"user": null, "item": "x"}\n{"item": "x"}\n'
    )
    report = import_interactions(tmp_path / "a.jsonl", store)
    assert reasons(report) == [("left_out", "the user is empty", 3, [3, 4, 5])]
    assert set(interactions(current(store))) == {("12345678901234567890123", "1.50"), ("true", "x")}


def test_bad_lines_of_json_are_counted(tmp_path: Path, store: Store) -> None:
    """By reason, with an editor's line numbers; values that are not wanted may be anything."""
    path = tmp_path / "a.jsonl"
    path.write_bytes(
        b'{"user": "\xc3\xbc", "item": "x", "other": {"b": [1]}}\n\n{"user": "a", "item"\n[1]\n'
        b'{"user": {"id": 1}, "item": "x"}\n{"user": "\xff", "item": "x"}\n{"user": "\\ud800", "item": "x"}\n'
    )
    assert reasons(import_interactions(path, store)) == [
        ("bad", "it is no JSON object", 3, [3, 4, 7]),
        ("bad", "its user is an object; name one of its values, such as user.id", 1, [5]),
        ("bad", "it has a byte that is not utf-8", 1, [6]),
    ]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a.json", b"[1]\n", "a.json is not JSON lines: no line is an object with names."),
        ("a.json", b'[{"user": 1}, {"us', "a.json is not a JSON array: Input data was truncated."),
        ("a.json", b"[]", "a.json has no rows."),
        ("a.jsonl", b"", "a.jsonl is empty."),
        ("a.feather", b"FEA1....", "a.feather is a Feather file of version 1. Write it as version 2, or as Parquet."),
        ("a.xls", bytes.fromhex("d0cf11e0a1b11ae1") * 99, "a.xls cannot be read as a workbook: "),
        ("a.feather", FILES["a.feather"][0].replace(b"user_id", b"user_\xff\xff"), "a.feather is not UTF-8 text."),
        ("a.csv", b"SQLite format 3\0" * 9, "a.csv is a SQLite database. Import it as sqlite:///PATH with --query."),
        ("a.csv", bytes(257) + b"ustar", "a.csv cannot be read: the tar file is damaged or cut off."),
        ("a", b"%PDF-1.7\n%\xff", "a is a PDF file. Write its table as CSV or Parquet."),
        ("a", written(lambda file: FRAME.to_orc(file)), "a is an ORC file. Write its table as CSV or Parquet."),
        ("a.csv", b"7z\xbc\xaf\x27\x1c\0\4", "a.csv is a 7z archive. Unpack it, and import the table in it."),
        ("a.csv.lz4", b"\x04\x22\x4d\x18", "a.csv.lz4 is an lz4 file. Unpack it, and import the table in it."),
        ("a.zip", zipped("a.parquet", FRAME.to_parquet()), "a.parquet in a.zip is a Parquet file. Unpack it first."),
        ("a.csv", b"user,item\0,\x01\x02\na,x\n", "a.csv is not a text file."),
        ("a.csv", b"ORC\n1\n", "a.csv has no user column"),
        ("a.feather.gz", gzip.compress(b"ARROW1...."), "a.feather.gz is a compressed Arrow file. Decompress it first."),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path: Path, store: Store, name: str, data: bytes, said: str) -> None:
    """In a sentence."""
    (tmp_path / name).write_bytes(data)
    with pytest.raises(SourceError) as caught:
        import_interactions(tmp_path / name, store)
    assert str(caught.value).startswith(said)


def test_rows_of_a_sheet_have_a_spreadsheets_numbers(tmp_path: Path) -> None:
    """The first sheet is taken, and said; large numbers have lost digits, and are bad."""
    book = openpyxl.Workbook()
    book.active.title = "Orders"
    for row in [[], ["customer", "item"], [1, "x"], [76561197960287930, "x"], [None, "y"]]:
        book.active.append(row)
    path, commands = tmp_path / "a.xlsx", CommandLine(home=tmp_path / "home")
    book.save(path)
    ended = commands.call("import", str(path), "--user", "customer")
    assert ended.code == 0
    assert "\nread      sheet Orders, 3 rows\n" in ended.out
    assert "1 row bad: the user is a rounded number; write all its digits (row 4)" in ended.err
    assert "1 row left out: the user is empty (row 5)" in ended.err
    ended = commands.call("import", str(path), "--sheet", "Sales")
    assert (ended.code, ended.err) == (1, "a.xlsx does not have the sheet Sales (--sheet). It has: Orders.\n")
    ended = commands.call("import", str(path), "--no-header", "--user", "1", "--item", "2", "--json")
    assert ended.objects[0]["rows"] == 4


@pytest.mark.parametrize(
    ("name", "option", "said"),
    [
        ("a.jsonl", ["--separator", ";", "--sheet", "A"], "--sheet is for workbooks, and a.jsonl is not one."),
        ("a.jsonl", ["--quote", "none", "--no-header"], "--quote and --header are not for JSON."),
        ("a.xlsx", ["--encoding", "latin-1"], "--encoding is not for a workbook."),
        ("a.feather", ["--no-header"], "--header is not for an Arrow file."),
        ("a.csv.gz", ["--sheet", "A"], "--sheet is for workbooks, and a.csv.gz is not one."),
    ],
)
def test_options_for_other_formats_are_refused(tmp_path: Path, name: str, option: list[str], said: str) -> None:
    """Instead of being ignored."""
    (tmp_path / name).write_bytes(FILES[name][0])
    ended = CommandLine(home=tmp_path / "home").call("import", str(tmp_path / name), *option)
    assert (ended.code, ended.err) == (2, said + "\n")


def parts(folder: Path, form: str) -> list[Path]:
    """The table in three parts, beside files that are none."""
    paths = [folder / f"date=2019-10-0{number}" / f"part-0000{number}{form}" for number in (1, 2, 3)]
    for number, path in enumerate(paths):
        path.parent.mkdir(parents=True)
        rows = ROWS[20 * number :][:20]
        if form == ".csv":
            path.write_text(csv_of(rows))
        elif form == ".snappy.parquet":
            pq.write_table(pa.Table.from_pandas(pd.DataFrame(rows, columns=list(NAMES))), path)
        else:
            path.write_bytes(gzip.compress(json_lines(rows).encode()))
        (path.parent / "_SUCCESS").write_bytes(b"")
        (path.parent / f".{path.name}.crc").write_bytes(b"crc")
        (path.parent / f"part-0001{number}{form}").write_bytes(b"")
    (folder / "README.md").write_text("# Parts")
    return paths


def test_a_bad_date_in_front_is_one_bad_row_in_each_format(tmp_path: Path, store: Store) -> None:
    """However long the batches are: each format has others."""
    times = ["00/00/2010 0:00", *(f"{1 + n % 12}/{1 + n % 28}/2010 8:26" for n in range(149_999))]
    frame = pd.DataFrame({"user": np.arange(150_000) % 5_000, "item": np.arange(150_000) % 7, "at": times})
    frame.to_csv(tmp_path / "a.csv", index=False)
    frame.to_parquet(tmp_path / "a.parquet")
    reports = [
        import_interactions(tmp_path / name, store, columns=Columns(time="at")) for name in ("a.csv", "a.parquet")
    ]
    assert [report.bad_rows for report in reports] == [1, 1]
    assert reports[0].snapshot_id == reports[1].snapshot_id


@pytest.mark.parametrize("form", [".csv", ".snappy.parquet", ".json.gz"])
def test_several_files_are_one_table(tmp_path: Path, store: Store, plain: str, form: str) -> None:
    """Named one by one, by a pattern or by their folder; without hidden and empty files, and markers of Spark."""
    folder = tmp_path / "my parts"
    paths = parts(folder, form)
    sources: list[Any] = [paths, folder, f"{folder}/*/part*{form}", [f"{folder}/*1", f"{folder}/*2", paths[2]]]
    for source in sources:
        report = import_interactions(source, store, columns=COLUMNS)
        assert (report.snapshot_id, report.rows) == (plain, 60)
        assert report.form is not None
        assert report.form.words().startswith("3 files, ")


def test_links_to_folders_are_followed_once(tmp_path: Path, store: Store) -> None:
    """Not to a folder above, nor to one that is visited itself; and no file is read twice."""
    folder, outside = tmp_path / "events", tmp_path / "outside"
    for place in (folder / "day=2", outside / "deep", tmp_path / ".hidden"):
        place.mkdir(parents=True)
        (place / "part.csv").write_text(f"user,item\n{place.name},x\n")
    links = {
        "a-latest": folder / "day=2", "again": outside, "b-again": outside, "deeper": outside / "deep",
        "self": folder, "up": tmp_path, "day=2/up": folder, "hidden": tmp_path / ".hidden",
        "a-part.csv": folder / "day=2" / "part.csv",
    }  # fmt: skip
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (outside / "back").symlink_to(folder)
    report = import_interactions(folder, store, repeats="sum")
    assert (report.rows, report.form and report.form.files) == (3, 3)
    assert interactions(current(store)).keys() == {("day=2", "x"), ("deep", "x"), (".hidden", "x")}


def test_parts_may_have_no_header(tmp_path: Path, store: Store, plain: str) -> None:
    """Then none has; a part of one row is separated as the first."""
    bounds = [0, 30, 31, 60]
    for number, (start, end) in enumerate(pairwise(bounds)):
        (tmp_path / f"xa{number}").write_text(csv_of(ROWS[start:end], header=False))
    columns = Columns(user="1", item="2", weight="3", time="4", title="5")
    for reading in (Reading(), Reading(header=False)):
        report = import_interactions(f"{tmp_path}/xa?", store, columns=columns, reading=reading)
        assert report.snapshot_id == plain


def test_what_a_later_file_tells_holds_for_all(tmp_path: Path, store: Store) -> None:
    """Only the second and the last have backslashes before quotation marks."""
    for name, item in (("a", "x"), ("b", '7\\" single'), ("c", "x"), ("d", '12\\" single')):
        (tmp_path / f"{name}.csv").write_text(f'"user","item"\n"{name}","{item}"\n')
    report = import_interactions(f"{tmp_path}/*.csv", store)
    assert report.bad_rows == 0
    assert set(interactions(current(store))) == {("a", "x"), ("b", '7" single'), ("c", "x"), ("d", '12" single')}


def test_the_last_file_wins(tmp_path: Path, store: Store) -> None:
    """Rows are in the order of the arguments."""
    for name, weight in (("a", 1), ("b", 2)):
        (tmp_path / f"{name}.csv").write_text(f"user,item,w\nu,i,{weight}\n")
    for order, weight in (("ab", 2), ("ba", 1)):
        import_interactions([tmp_path / f"{name}.csv" for name in order], store, columns=Columns(weight="w"))
        assert interactions(current(store)) == {("u", "i"): (weight, None)}


def test_a_bad_row_names_its_file(tmp_path: Path) -> None:
    """On the screen, as JSON, and in the file of rejected rows."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for name in "abc":
        (folder / f"{name}.csv").write_text("user,item\na,x\nb\n" + ("c\n,y\n" if name == "c" else ""))
    commands, rejects = CommandLine(home=tmp_path / "home"), tmp_path / "rejects.csv"
    ended = commands.call("import", str(folder), "--rejects", str(rejects))
    reason = "it has 1 value instead of 2"
    assert f"4 rows bad: {reason} (line 3 of a.csv, line 3 of b.csv, line 3 of c.csv, line 4 of c.csv)" in ended.err
    assert rejects.read_text().splitlines() == [
        '"file","line","kind","reason","user","item","text"',
        *(f'"{name}.csv","{line}","bad","{reason}",,,"{text}"' for name, line, text in [("a", 3, "b"), ("b", 3, "b")]),
        *(f'"c.csv","{line}","bad","{reason}",,,"{text}"' for line, text in [(3, "b"), (4, "c")]),
        '"c.csv","5","left_out","the user is empty","","y",',
    ]
    [record] = commands.call("import", str(folder), "--json").objects
    assert record["rejected"][0]["files"] == ["a.csv", "b.csv", "c.csv", "c.csv"]
    assert record["rejected"][0]["first"] == [3, 3, 3, 4]
    (folder / "a.csv").write_text("user,item\na\n")
    (folder / "b.csv").unlink()
    (folder / "c.csv").write_text("user,item\nb\n")
    ended = commands.call("import", str(folder))
    assert ended.err == f"The table of 2 files has no good row. The first one is line 2 of a.csv: {reason}.\n"


@pytest.mark.parametrize(
    ("sources", "said", "code"),
    [
        (["a.csv", "b.parquet"], "a.csv and b.parquet are of different kinds. Import one kind at a time.", 1),
        (["a.csv", "a.csv"], "a.csv is named twice. Name it once.", 2),
        (["a.csv", "c.csv"], "c.csv lacks the column user of a.csv, or has two of that name. All files need", 1),
        (["a.csv", "d.csv"], "d.csv does not exist.", 1),
        (["*.tsv"], "No file has a name like *.tsv.", 1),
        (["empty"], "The directory empty has no tables.", 1),
        (["a.csv", "movielens"], "movielens has a table of titles. Import it by itself.", 1),
        (["a.csv", "sqlite:///a.db"], "A database is imported by itself. Name one source.", 2),
        (["a.csv\0"], "A path cannot be empty, and cannot have the character NUL.", 2),
        ([""], "A path cannot be empty, and cannot have the character NUL.", 2),
        (["\0"], "A path cannot be empty, and cannot have the character NUL.", 2),
    ],
)
def test_sources_that_do_not_go_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sources: list[str], said: str, code: int
) -> None:
    """They are refused in a sentence."""
    monkeypatch.chdir(tmp_path)
    Path("a.csv").write_text("user,item\na,x\n")
    Path("c.csv").write_text("who,what\na,x\n")
    pq.write_table(pa.table({"user": ["a"], "item": ["x"]}), "b.parquet")
    Path("empty").mkdir()
    Path("movielens").mkdir()
    Path("movielens/ratings.csv").write_text("userId,movieId\n1,2\n")
    Path("movielens/movies.csv").write_text("movieId,title\n2,T\n")
    ended = CommandLine(home=tmp_path / "home").call("import", *sources)
    assert ended.code == code
    assert ended.err.startswith(said)


def test_standard_input_and_pipes_are_files(tmp_path: Path, store: Store, plain: str) -> None:
    """They are kept, since a table may be read twice; then nothing of them is left."""
    data, fifo = gzip.compress(csv_of(ROWS).encode()), tmp_path / "my pipe"
    commands = CommandLine(home=tmp_path / "home")
    for name in ("-", "/dev/stdin"):
        [record] = commands.run("import", name, "--weight", "stars", "--json", given=data).objects
        assert record["snapshot"] == plain
    os.mkfifo(fifo)
    writer = threading.Thread(target=fifo.write_bytes, args=[data])
    writer.start()
    report = import_interactions(fifo, store, columns=COLUMNS)
    writer.join()
    assert report.snapshot_id == plain
    assert not any(path.is_file() and path.read_bytes() == data for path in (tmp_path / "the store").rglob("*"))
    ended = commands.run("import", "-", given=b"")
    assert (ended.code, ended.err) == (1, "standard input is empty.\n")


def test_a_pipe_among_parts_is_not_waited_for(tmp_path: Path, store: Store) -> None:
    """And a link to nowhere is no part that is silently left out."""
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "a.csv").write_text("user,item\na,x\n")
    os.mkfifo(tmp_path / "parts" / "b.csv")
    for source in (tmp_path / "parts", f"{tmp_path}/parts/*"):
        assert import_interactions(source, store).rows == 1
    (tmp_path / "parts" / "c.csv").symlink_to("nowhere")
    with pytest.raises(SourceError, match=r"^c\.csv does not exist\.$"):
        import_interactions(tmp_path / "parts", store)


def test_a_closed_standard_input_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    """Not as a trace."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(SourceError, match=r"^The standard input is closed\.$"):
        import_interactions("-", store)


def test_a_night_keeps_its_standard_input(tmp_path: Path) -> None:
    """By any name."""
    open_store((tmp_path / "home" / "store").as_uri())
    commands = CommandLine(home=tmp_path / "home")
    for name in ("-", "/dev/stdin"):
        ended = commands.run("import", name, "--night", "n-1", given=b"user,item\na,x\n")
        assert (ended.code, ended.err) == (2, "A night cannot import standard input. Name a file.\n")
