"""Inputs for fuzzing: mutated valid bytes, and made-up texts and files."""

import bz2
import contextlib
import gzip
import io
import json
import lzma
import sqlite3
import tarfile
import zipfile
from collections.abc import Sequence
from functools import reduce

import openpyxl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from tests import workbooks

# Characters that break parsers: line ends, quotes, byte order and direction marks, NUL, odd digits.
NASTY = (
    "", " ", "\x00", "\n", "\r\n", ":", "'", '"', ",", "\\", "%00", "../", "-", "--", "-n", "nan", "inf", "1e999", "٣",
    "\ufeff", "\u202e", "e\u0301", "é", "🎬" * 20, "a" * 300, "b" * 2000, "ü" * 512, "item 01", "user:1", "NULL", "{}",
)  # fmt: skip
# Python decodes arguments that are not UTF-8 to lone surrogates.
texts: SearchStrategy[str] = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=20), st.text(st.characters(categories=["Cs", "Cc", "L"]), max_size=8)
)
encodable: SearchStrategy[str] = st.one_of(st.sampled_from(NASTY), st.text(max_size=20))
numbers: SearchStrategy[str] = st.one_of(
    st.integers(-5, 2000).map(str),
    st.floats().map(str),
    st.sampled_from(["", "1_000", "0x10", "1e400", "-0", "١", "17.0", "1,5", "7.65612E+16", "NULL", "20100101"]),
    st.sampled_from(["2010-01-01 00:00:00 UTC", "1/2/2010", "13/2/2010", "2/13/10 8:26 PM", "1.2.2010", "0000-00-00"]),
)


def mutate(data: bytes, change: tuple[str, int, int, bytes]) -> bytes:
    """One change at a position, modulo the length."""
    how, at, length, put = change
    at %= len(data) + 1
    match how:
        case "flip":
            return data[:at] + bytes([data[at] ^ (1 << length % 8)]) + data[at + 1 :] if at < len(data) else data
        case "insert":
            return data[:at] + put + data[at:]
        case "drop":
            return data[:at] + data[at + length :]
        case "repeat":
            return data[: at + length] + data[at:]
        case _:
            return data[:at]


changes = st.tuples(
    st.sampled_from(["flip", "insert", "drop", "repeat", "cut"]),
    st.integers(0, 1 << 20),
    st.integers(0, 64),
    st.binary(max_size=8),
)


def mutated(originals: Sequence[bytes]) -> SearchStrategy[bytes]:
    """One of the originals after up to six changes."""
    return st.builds(
        lambda data, steps: reduce(mutate, steps, data), st.sampled_from(originals), st.lists(changes, max_size=6)
    )


def right_files() -> list[bytes]:
    """Valid Parquet, Feather and zip files, a workbook, JSON, and text files in the forms that people have."""
    rows = [(f"user {n % 7}", f"item {n % 5:02}", n % 3 + 1, 1_700_000_000 + n, f"Title {n}") for n in range(40)]
    header = ("userId", "movieId", "rating", "timestamp", "title")
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    parquet, archive, single = io.BytesIO(), io.BytesIO(), io.BytesIO()
    table, feather = pa.table({name: pa.array(values) for name, values in columns.items()}), io.BytesIO()
    pa.parquet.write_table(table, parquet)
    pa.feather.write_feather(table, feather)
    nested, baskets = io.BytesIO(), io.BytesIO()
    pa.parquet.write_table(pa.Table.from_pylist(made_nested(rows)), nested)
    book, workbook = openpyxl.Workbook(), io.BytesIO()
    for row in (header, *rows[:5]):
        book.worksheets[0].append(row)
    book.save(workbook)
    csv = text_of([header, *rows], ",")
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("ml/ratings.csv", csv)
        members.writestr("ml/movies.csv", "movieId,title\nitem 01,A title\n")
    with tarfile.open(fileobj=baskets, mode="w") as tar:
        for name, text in {"a.csv": csv, "b.jsonl": json.dumps(made_nested(rows)[0])}.items():
            info = tarfile.TarInfo(name)
            info.size = len(text.encode())
            tar.addfile(info, io.BytesIO(text.encode()))
    with zipfile.ZipFile(single, "w", zipfile.ZIP_DEFLATED) as members:
        members.writestr("one.tsv", text_of([header, *rows], "\t"))
    titled = [(*row[:4], f'{row[4]}, "the\nséquel"\r\nof {row[0]}') for row in rows]
    texts = [
        csv.encode(),
        text_of([header, *titled], ";", quote=True).encode("latin-1"),
        text_of([header, *titled], ",", quote=True).encode(),
        text_of([header, *titled], ";", quote=True).replace('""', '\\"').encode(),
        text_of([header, *((*row[:2], f"{row[2]},5", *row[3:]) for row in rows)], ";").encode(),
        text_of([header, *((*row[:4], f'"{row[4]}" and more') for row in rows)], "\t").encode(),
        b"# A table\n#\n" + text_of([header, *rows], "\t").encode(),
        b"sep=;\r\n" + text_of([header, *rows], ";").encode(),
        text_of([header, *rows], "|").encode("utf-16"),
        text_of(rows, "::").encode(),
        text_of([("user_id:token", "item_id:token", "rating:float"), *(row[:3] for row in rows)], "\t").encode(),
    ]
    objects = [json.dumps(dict(zip(header, row, strict=True)), ensure_ascii=False) for row in titled]
    texts += ["\n".join(objects).encode(), f"[{', '.join(objects)}]".encode("utf-16")]
    texts += ["\n".join(map(json.dumps, made_nested(rows))).encode()]
    sheets = {"Ratings": workbooks.cells([header, *rows[:5]]), "Others": workbooks.cells([["notes"]])}
    packed = [gzip.compress(texts[1]), bz2.compress(texts[0]), lzma.compress(texts[2])]
    packed += [zstd(texts[0]), zstd(texts[-1]), zstd(texts[0][:500]) + zstd(texts[0][500:])]
    return [
        *texts,
        *packed,
        parquet.getvalue(),
        feather.getvalue(),
        nested.getvalue(),
        baskets.getvalue(),
        gzip.compress(baskets.getvalue()),
        workbook.getvalue(),
        workbooks.xls(sheets),
        workbooks.xlsb(sheets),
        workbooks.ods(sheets),
        archive.getvalue(),
        single.getvalue(),
    ]


def made_nested(rows: Sequence[tuple[object, ...]]) -> list[dict[str, object]]:
    """Objects with an object and lists of values and of objects."""
    return [
        {"user": {"id": row[0]}, "time": [row[3], None], "item": [{"id": row[1], "rating": 2.5}, {"id": row[4]}]}
        for row in rows
    ]


def zstd(data: bytes) -> bytes:
    """The data as one frame of zstd."""
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def database(rows: Sequence[Sequence[object]]) -> bytes:
    """A SQLite database with a table of columns without types."""
    with contextlib.closing(sqlite3.connect(":memory:")) as connection:
        connection.execute("create table events (user, item, weight, time, title)")
        connection.executemany("insert into events values (?, ?, ?, ?, ?)", rows)
        connection.commit()
        return connection.serialize()


def right_databases() -> list[bytes]:
    """Databases of one page and of several, with all types."""
    mixed = [("a", 1, 1.5, "2026-11-30", None), (2, "x", None, 1_700_000_000, "T"), (b"\xff", 2.0, 3, None, "é")]
    return [database(mixed), database([(f"user {n % 7}", n % 50, n % 3 + 1, n, f"Title {n}") for n in range(400)])]


def text_of(rows: Sequence[Sequence[object]], separator: str, *, quote: bool = False) -> str:
    """Rows as text, with all values in double quotes or none."""
    values = ([str(value) for value in row] for row in rows)
    if quote:
        values = (['"' + value.replace('"', '""') + '"' for value in row] for row in values)
    return "".join(separator.join(row) + "\n" for row in values)


def made_csv(header: Sequence[str], rows: Sequence[Sequence[str]], separator: str, end: str, encoding: str) -> bytes:
    """A table of texts as a CSV file, without quoting."""
    lines = [separator.join(header), *(separator.join(row) for row in rows)]
    return end.join(lines).encode(encoding, errors="surrogatepass" if encoding == "utf-8" else "replace")


def made_json(rows: Sequence[dict[str, object]], encoding: str, *, is_array: bool) -> bytes:
    """Objects as JSON lines, or as an array."""
    objects = [json.dumps(row, ensure_ascii=False) for row in rows]
    text = f"[{', '.join(objects)}]" if is_array else "\n".join(objects)
    return text.encode(encoding, errors="surrogatepass" if encoding == "utf-8" else "replace")


cells: SearchStrategy[object] = st.one_of(
    st.none(), st.integers(-(2**63), 2**63 - 1), st.floats(), encodable, numbers, st.binary(max_size=9)
)
made_databases: SearchStrategy[bytes] = st.lists(
    st.tuples(
        *[st.none() | st.integers(-(2**63), 2**63 - 1) | st.floats() | encodable | numbers | st.binary(max_size=9)] * 5
    ),
    max_size=12,
).map(database)
QUERIES = (
    "select * from events",
    "select user, item, weight, time from events where time > :since",
    "select user, item, :since_ms as time from events",
    "select item as user, user as item, sum(weight) as weight from events group by 1, 2",
    "select a.user, b.item from events a, events b",
    "select user, item from events order by time limit 3",
    "select user, user, item from events",
    "select user, item from missing",
    "delete from events",
    "select 1; select 2",
)
queries: SearchStrategy[str] = st.integers(0, 9).flatmap(lambda n: st.sampled_from(QUERIES) if n else texts)
columns = st.sampled_from(
    ["user", "item", "user.id", "item.id", "item.rating", "userId", "movieId", "rating", "timestamp", "title", "weight"]
)
values: SearchStrategy[object] = st.recursive(
    texts | numbers | st.none() | st.booleans() | st.integers() | st.floats(),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
    max_leaves=3,
)
made_objects: SearchStrategy[bytes] = st.builds(
    made_json,
    st.lists(st.dictionaries(columns | texts, values, max_size=5), max_size=12),
    st.sampled_from(["utf-8", "utf-16", "latin-1"]),
    is_array=st.booleans(),
)
made_files: SearchStrategy[bytes] = made_objects | st.builds(
    made_csv,
    st.lists(columns | texts, max_size=5),
    st.lists(st.lists(texts | numbers, max_size=5), max_size=12),
    st.sampled_from([",", ";", "\t", "|", "::", " "]),
    st.sampled_from(["\n", "\r\n", "\r", ""]),
    st.sampled_from(["utf-8", "utf-16", "utf-16-be", "latin-1"]),
)
written: SearchStrategy[list[str]] = st.one_of(
    st.sampled_from([["--no-header", "--user", "1", "--item", "2"], ["--header"], ["--no-header"]]),
    st.tuples(st.just("--separator"), texts | st.sampled_from([";", "::", "tab", "blanks"])).map(list),
    st.tuples(st.just("--quote"), texts | st.sampled_from(["none", "single"])).map(list),
    st.tuples(st.just("--escape"), st.sampled_from(["none", "backslash"])).map(list),
    st.tuples(st.just("--encoding"), texts | st.sampled_from(["utf-8", "utf-16", "latin-1", "utf-7"])).map(list),
    st.tuples(st.just("--sheet"), texts).map(list),
    st.tuples(st.just("--member"), texts | st.sampled_from(["a.csv", "b.jsonl"])).map(list),
    st.sampled_from([["--user", "user.id", "--item", "item.id", "--weight", "item.rating"]]),
    st.tuples(st.just("--compression"), st.sampled_from(["none", "gzip", "bz2", "xz", "zstd", "zip"])).map(list),
)
ruled: SearchStrategy[list[str]] = st.one_of(
    st.tuples(st.just("--keep"), texts | st.sampled_from(["NULL", "NaN,None"])).map(list),
    st.sampled_from(
        [["--nonpositive", "bad"], ["--nonpositive", "subtract", "--repeats", "sum", "--weight", "rating"]]
    ),
    st.tuples(st.just("--decimal"), st.sampled_from([",", "."])).map(list),
    st.tuples(st.just("--time-format"), texts | st.sampled_from(["%d.%m.%Y", "%Y", "%s"])).map(list),
    st.sampled_from(
        [
            ["--append"],
            ["--append", "--repeats", "sum"],
            ["--append", "--nonpositive", "subtract", "--repeats", "sum"],
            ["--since"],
            ["--dry-run"],
        ]
    ),
    st.sampled_from([["--max-left-out", "1"], ["--max-bad", "1"], ["--rejects", "rejects.csv"]]),
    st.tuples(st.sampled_from(["--user", "--item", "--weight", "--time", "--title", "--repeats"]), columns | texts).map(
        list
    ),
)


def joined(options: SearchStrategy[list[str]]) -> SearchStrategy[list[str]]:
    """Up to three options with their values, half of the time with --force, as the snapshots are very small."""
    force = st.sampled_from([[], ["--force"]])
    pairs = st.tuples(force, st.lists(options, max_size=3)).map(lambda given: [given[0], *given[1]])
    return pairs.map(lambda pairs: [part for pair in pairs for part in pair])


import_options = joined(written | ruled)
query_options = joined(ruled)
