"""Text files that differ only in how they are written give the same snapshot, found by looking or said by an option."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import openpyxl
import pyarrow as pa
import pytest

from reckoner.producer.importing import Columns, ImportReport, Reading, import_interactions
from reckoner.producer.importing.reading import dialect, excel
from reckoner.shared.errors import SourceError, UsageError
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from tests.commands import CommandLine
from tests.imports import reasons
from tests.snapshots import current, interactions, titles

HEADER = ("user_id", "item_id", "timestamp", "title")
NAMES = ("user", "item", "title")
ROWS = [(f"ü{n % 7}", f"i{n % 5:02}", str(1_700_000_000 + n), f"Caf\xe9 {n % 5}") for n in range(60)]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "the store").as_uri())


def text(separator: str = ",", quote: str = "", *, header: bool = True, end: str = "\n") -> str:
    """The table as text."""
    rows = [HEADER, *ROWS] if header else ROWS
    return "".join(separator.join(f"{quote}{value}{quote}" for value in row) + end for row in rows)


def imported(
    store: Store,
    path: Path,
    data: bytes,
    reading: Reading = Reading(),  # noqa: B008
    columns: Columns = Columns(),  # noqa: B008
) -> ImportReport:
    path.write_bytes(data)
    return import_interactions(path, store, reading=reading, columns=columns)


@pytest.fixture
def plain(tmp_path: Path, store: Store) -> str:
    """The snapshot of the table as plain CSV in UTF-8."""
    report = imported(store, tmp_path / "plain.csv", text().encode())
    assert (report.rows, report.bad_rows, report.users, report.items) == (60, 0, 7, 5)
    assert titles(current(store))["i03"] == "Café 3"
    return report.snapshot_id


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    ("separator", "options", "words"),
    [
        (",", [",", "comma"], "commas, utf-8"),
        (";", [";", "semicolon"], "semicolons, utf-8"),
        ("\t", ["\t", "tab", "\\t"], "tabs, utf-8"),
        ("|", ["|", "bar"], "bars, utf-8"),
        ("::", ["::"], "double colons, no quotes, utf-8"),
    ],
)
def test_separators_give_the_same_snapshot(
    tmp_path: Path, store: Store, plain: str, separator: str, options: list[str], words: str, end: str
) -> None:
    """Found, or as an option, with any line ends."""
    data = text(separator, end=end).encode()
    for reading in (Reading(), *(Reading(separator=option) for option in options)):
        report = imported(store, tmp_path / "a table", data, reading)
        assert report.snapshot_id == plain
        assert report.form is not None
        assert report.form.words() == words


@pytest.mark.parametrize("between", [" ", "   ", " \t "])
@pytest.mark.parametrize("quote", ["", '"'])
def test_blanks_separate_too(tmp_path: Path, store: Store, between: str, quote: str) -> None:
    """One or more, also around the line; within quotes they are part of the value."""
    lines = [("user", "item", "when"), ("a", "x", "1"), ("b", f"{quote}y{' z' if quote else ''}{quote}", "2")]
    data = "".join(f"  {between.join(line)}{between}\n" for line in lines).encode()
    # Tabs with blanks around them are tabs, unless an option says otherwise.
    for separator in ("blanks", " ", *([] if "\t" in between else [None])):
        report = imported(store, tmp_path / "a table", data, Reading(separator=separator))
        assert interactions(current(store)).keys() == {("a", "x"), ("b", "y z" if quote else "y")}
        assert report.bad_rows == 0


@pytest.mark.parametrize("separator", ["~", "#|#", "¦"])
def test_any_signs_can_separate(tmp_path: Path, store: Store, plain: str, separator: str) -> None:
    """If an option says so."""
    report = imported(store, tmp_path / "a table", text(separator, '"').encode(), Reading(separator=separator))
    assert report.snapshot_id == plain


@pytest.mark.parametrize(
    ("quote", "options"),
    [('"', [None, '"', "double"]), ("'", [None, "'", "single"]), ("~", ["~"]), ("", [None, "none"])],
)
def test_quotes_give_the_same_snapshot(
    tmp_path: Path, store: Store, plain: str, quote: str, options: list[str | None]
) -> None:
    """Double and single ones are found."""
    for option in options:
        report = imported(store, tmp_path / "a table", text(";", quote).encode(), Reading(quote=option))
        assert report.snapshot_id == plain


def test_without_quotes_marks_are_signs_like_others(tmp_path: Path, store: Store) -> None:
    """As in tables of databases that never quote."""
    data = b'user\titem\na\t"7 inch single\nb\t"x"\n'
    assert reasons(imported(store, tmp_path / "a", data)) == [
        ("bad", "it has a quotation mark without its partner", 1, [2])
    ]
    assert imported(store, tmp_path / "a", data, Reading(quote="none")).bad_rows == 0
    assert interactions(current(store)).keys() == {("a", '"7 inch single'), ("b", '"x"')}


@pytest.mark.parametrize(
    ("codec", "mark", "options", "found"),
    [
        ("utf-8", b"", [None, "utf-8", "UTF8"], "utf-8"),
        ("utf-8-sig", b"", [None, "utf-8", "utf-8-sig"], "utf-8"),
        ("utf-16", b"", [None, "utf-16"], "utf-16-le"),
        ("utf-16-le", b"", [None, "utf-16-le"], "utf-16-le"),
        ("utf-16-be", b"", [None, "utf-16-be"], "utf-16-be"),
        ("utf-16-be", b"\xfe\xff", [None, "utf-16", "utf-16-be"], "utf-16-be"),
        ("utf-32", b"", [None, "utf-32"], "utf-32-le"),
        ("latin-1", b"", [None, "latin-1", "cp1252", "iso-8859-15"], "latin-1"),
        ("cp850", b"", ["cp850"], "cp850"),
        ("gb18030", b"", ["gb18030"], "gb18030"),
    ],
)
def test_encodings_give_the_same_snapshot(
    tmp_path: Path, store: Store, plain: str, codec: str, mark: bytes, options: list[str | None], found: str
) -> None:
    """With and without a byte order mark."""
    for option in options:
        report = imported(store, tmp_path / "a table", mark + text(";").encode(codec), Reading(encoding=option))
        assert report.snapshot_id == plain
        assert report.form is not None
        assert option is not None or report.form.encoding == found


@pytest.mark.parametrize("place", [2, 200, 200_000])
def test_the_first_line_beyond_ascii_decides_wherever_it_is(tmp_path: Path, store: Store, place: int) -> None:
    """A byte of latin-1 in any column: it is read; said to be UTF-8, its line is bad, with its number."""
    lines = [b"user,item,more", *[b"a,x,y"] * place]
    lines[place - 1] = b"b,y,\x93caf\xe9\x94"
    path = tmp_path / "a.csv"
    for columns in (Columns(), Columns(title="more")):
        report = imported(store, path, b"\n".join(lines), columns=columns)
        assert (report.bad_rows, report.form and report.form.encoding) == (0, "latin-1")
    assert titles(current(store))["y"] == "“café”"
    report = imported(store, path, b"\n".join(lines), Reading(encoding="utf-8"))
    assert reasons(report) == [("bad", "it has a byte that is not utf-8", 1, [place])]
    assert report.rows == place


def test_a_few_invalid_bytes_among_many_characters_make_their_lines_bad(tmp_path: Path, store: Store) -> None:
    """In UTF-8 and UTF-16."""
    data = text().encode() + b"u,x,1,\xff\n" + b"u,i01,1,t\n"
    report = imported(store, tmp_path / "a.csv", data)
    assert reasons(report) == [("bad", "it has a byte that is not utf-8", 1, [62])]
    wide = text().encode("utf-16-le") + "u,x,1,".encode("utf-16-le") + b"\x00\xd8" + "\nu,i01,1,t\n".encode("utf-16-le")
    report = imported(store, tmp_path / "a.csv", wide)
    assert reasons(report) == [("bad", "it has a byte that is not utf-16-le", 1, [62])]


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def zipped(data: bytes, name: str = "tables/one.txt") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("README.md", "what it is")
        archive.writestr("__MACOSX/tables/._one.txt", b"\xff")
        archive.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("compression", "compress"),
    [
        ("none", bytes),
        ("gzip", gzip.compress),
        ("bz2", bz2.compress),
        ("xz", lzma.compress),
        ("zstd", zstd),
        ("zip", zipped),
    ],
)
def test_compressions_give_the_same_snapshot(
    tmp_path: Path, store: Store, plain: str, compression: str, compress: Callable[[bytes], bytes]
) -> None:
    """By any name, in one part or in several, found or said; and cut off they are refused."""
    data = text().encode()
    packed = compress(data)
    parts = [packed] if compression in ("none", "zip") else [packed, compress(data[:1000]) + compress(data[1000:])]
    for part in parts:
        for option in (None, compression):
            reading = Reading(compression=option)  # type: ignore[arg-type]
            assert imported(store, tmp_path / "my.data", part, reading).snapshot_id == plain
    if compression != "none":
        with pytest.raises(SourceError, match=r"^my\.data cannot be read: "):
            imported(store, tmp_path / "my.data", packed[:-10])
        with pytest.raises(SourceError, match=r"my\.data"):
            imported(store, tmp_path / "my.data", packed, Reading(compression="none"))


def test_a_member_of_a_zip_may_be_compressed(tmp_path: Path, store: Store, plain: str) -> None:
    """Once more."""
    report = imported(store, tmp_path / "a.zip", zipped(gzip.compress(text().encode()), "one.csv.gz"))
    assert (report.snapshot_id, report.form and report.form.compression) == (plain, "gzip")


def test_without_a_header_columns_have_numbers(tmp_path: Path, store: Store, plain: str) -> None:
    """Said, or found by the numbers that are given."""
    data = text(";", header=False).encode()
    columns = Columns(user="1", item="2", time="3", title="4")
    for header in (False, None):
        report = imported(store, tmp_path / "a", data, Reading(header=header), columns)
        assert report.snapshot_id == plain
        assert report.form is not None
        assert report.form.words() == "semicolons, no header, utf-8"


@pytest.mark.parametrize(
    ("data", "columns"),
    [
        (b"196\t242\t3\n186\t302\t3\n", Columns()),
        (b"196\t242\t3\n186\t302\t3\n", Columns(user="196", item="242")),
        (b"alice,teapot\nbob,kettle\nalice,kettle\n", Columns(user="alice", item="teapot")),
        (b"alice,teapot\nbob,kettle\nalice,kettle\n", Columns()),
        (b"alice,teapot\nbob,kettle\ncarol,teapot\n", Columns(item="product")),
        (b"2019-11-01 00:00:00 UTC;a\n2019-11-02 00:00:00 UTC;b\n", Columns()),
    ],
)
def test_a_first_line_that_is_no_header_is_said(tmp_path: Path, store: Store, data: bytes, columns: Columns) -> None:
    """And what to do; --header takes it as one."""
    with pytest.raises(SourceError, match=r"^a\.csv seems to have no header: its first line is .* --no-header"):
        imported(store, tmp_path / "a.csv", data, columns=columns)
    if columns.user:
        rows = data.count(b"\n") - 1
        assert imported(store, tmp_path / "a.csv", data, Reading(header=True), columns).rows == rows


HEADERLESS = [("alice", "teapot", "5"), ("bob", "kettle", "4"), ("carol", "cup", "3")]


def headerless(path: Path, form: str, rows: Sequence[tuple[str, ...]]) -> None:
    """A table without a header, as a CSV file or a workbook."""
    if form == "csv":
        path.write_text("".join(",".join(row) + "\n" for row in rows))
        return
    book = openpyxl.Workbook()
    for row in rows:
        book.worksheets[0].append(row)
    book.save(path)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
@pytest.mark.parametrize("given", [{}, {"user": "alice"}, {"item": "teapot"}, {"user": "customer", "item": "product"}])
def test_where_columns_are_missing_no_header_is_advised(
    tmp_path: Path, store: Store, form: str, given: dict[str, str]
) -> None:
    """If the names may be values of the first row; not below a header, and not if the caller says that it is one."""
    advice = r"If these are values of the first row, give the columns by number, such as --user 1 --item 2 --no-header"
    path, columns = tmp_path / f"a.{form}", Columns(**given)
    headerless(path, form, [row[:2] for row in HEADERLESS])
    with pytest.raises(SourceError, match=advice):
        import_interactions(path, store, columns=columns)
    with pytest.raises(SourceError) as caught:
        import_interactions(path, store, columns=columns, reading=Reading(header=True))
    assert "--no-header" not in str(caught.value)
    headerless(path, form, [("user", "product"), *(row[:2] for row in HEADERLESS)])
    with pytest.raises(SourceError) as caught:
        import_interactions(path, store, columns=Columns(weight="price"))
    assert "--no-header" not in str(caught.value)


@pytest.mark.parametrize("form", ["csv", "xlsx"])
def test_a_row_that_was_read_as_a_header_is_said(
    tmp_path: Path, store: Store, form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If its names are ids below, or one is a number; near the start it is refused."""
    path, columns = tmp_path / f"a.{form}", Columns(user="alice", item="teapot")
    rows = [row[:2] for row in HEADERLESS]
    for more, found in (([], None), ([("alice", "cup")], "alice"), ([("dora", "teapot")], "teapot")):
        headerless(path, form, rows + more)
        with monkeypatch.context() as patch:
            # As if the id came after the first records.
            patch.setattr(dialect, "SAMPLE_RECORDS", 2)
            patch.setattr(excel, "SAMPLE_RECORDS", 2)
            assert import_interactions(path, store, columns=columns).row_in_header == found
        if found:
            with pytest.raises(SourceError, match=r"seems to have no header: its first line is alice, teapot\."):
                import_interactions(path, store, columns=columns)
    headerless(path, form, HEADERLESS)
    assert import_interactions(path, store, columns=columns).row_in_header == "5"
    assert import_interactions(path, store, columns=columns, reading=Reading(header=True)).row_in_header is None
    by_number = import_interactions(path, store, columns=Columns(user="1", item="2"))
    assert (by_number.rows, by_number.row_in_header) == (3, None)
    headerless(path, form, [("user", "item", "2019"), *HEADERLESS, ("user", "item", "2019")])
    assert import_interactions(path, store).row_in_header == "user", "the header comes twice"
    commands = CommandLine(home=tmp_path / "home")
    said = "The first line was read as a header, but user looks like a value. If this line is a row, use --no-header."
    assert said in commands.call("import", str(path)).err


def test_names_of_columns_are_found_without_their_blanks(tmp_path: Path, store: Store) -> None:
    """In the file and in the option."""
    data = b"user , item ,rating\na,x,1\n"
    imported(store, tmp_path / "a.csv", data)
    assert interactions(current(store)).keys() == {("a", "x")}
    imported(store, tmp_path / "a.csv", data, columns=Columns(user="user ", item=" item", weight=" rating "))
    with pytest.raises(SourceError, match=r"Its columns are: user, item, rating\."):
        imported(store, tmp_path / "a.csv", data, columns=Columns(user="who"))


def test_columns_that_are_not_read_may_have_the_same_name(tmp_path: Path, store: Store) -> None:
    """As an index has, that has none."""
    assert imported(store, tmp_path / "a.csv", b",user,,item,\n0,a,b,x,c\n").rows == 1
    assert interactions(current(store)).keys() == {("a", "x")}


DATA_100K = "1\t10\t4\t881250949\n1\t2\t3\t891717742\n7\t10\t1\t878887116\n"
ITEMS_100K = "2|Jumanji, or not (1995)|01-Jan-1995||http://x|0|1\n10|Misérables (1995)|01-Jan-1995||http://x|0|0\n"
DATA_1M, ITEMS_1M = DATA_100K.replace("\t", "::"), '2::"Jumanji" (1995)::Comedy|War\n10::Misérables (1995)::Drama\n'


@pytest.mark.parametrize("form", ["directory", "zip", "file", "file.gz"])
@pytest.mark.parametrize(
    ("ratings", "items", "data", "names", "title"),
    [
        ("u.data", "u.item", DATA_100K, ITEMS_100K, "Jumanji, or not (1995)"),
        ("ratings.dat", "movies.dat", DATA_1M, ITEMS_1M, '"Jumanji" (1995)'),
    ],
)
def test_older_movielens_is_read_as_it_is(
    tmp_path: Path, store: Store, form: str, ratings: str, items: str, data: str, names: str, title: str
) -> None:
    """100K and 1M, without headers, titles in latin-1."""
    place = tmp_path / "ml"
    if form == "zip":
        place = tmp_path / "ml.zip"
        with zipfile.ZipFile(place, "w") as archive:
            archive.writestr("ml/README", "no table")
            archive.writestr(f"ml/{ratings}", data)
            archive.writestr(f"ml/{items}", names.encode("latin-1"))
    elif form == "directory":
        place.mkdir()
        (place / ratings).write_text(data)
        (place / items).write_text(names, encoding="latin-1")
    else:
        place = tmp_path / (ratings if form == "file" else f"{ratings}.gz")
        place.write_bytes(data.encode() if form == "file" else gzip.compress(data.encode()))
    report = import_interactions(place, store)
    assert (report.rows, report.bad_rows) == (3, 0)
    assert interactions(current(store)).keys() == {("1", "10"), ("1", "2"), ("7", "10")}
    assert min(time or 0 for _, time in interactions(current(store)).values()) == 878887116000
    if "file" not in form:
        assert titles(current(store)) == {"2": title, "10": "Misérables (1995)"}


def test_atomic_files_of_recbole_are_read_as_they_are(tmp_path: Path, store: Store) -> None:
    """The types in the header are not part of the names."""
    data = b"user_id:token\titem_id:token\trating:float\ttimestamp:float\n1\t10\t4\t881250949\n"
    report = imported(store, tmp_path / "ml-100k.inter", data, columns=Columns(weight="rating"))
    assert interactions(current(store)) == {("1", "10"): (4.0, 881250949000)}
    assert report.form is not None
    assert report.form.words() == "tabs, utf-8"


@pytest.mark.parametrize(
    "reading",
    [
        Reading(separator="x"),
        Reading(separator=""),
        Reading(separator="\n"),
        Reading(quote="ab"),
        Reading(quote="é"),
        Reading(encoding="utf-99"),
        Reading(encoding="base64"),
        Reading(encoding="undefined"),
    ],
)
def test_options_that_mean_nothing_are_refused(tmp_path: Path, store: Store, reading: Reading) -> None:
    """With what they could be."""
    with pytest.raises(UsageError):
        imported(store, tmp_path / "a.csv", b"user,item\na,x\n", reading)


STRAY = ['b\tx\t"heroes', 'b\ty\t"weird al" yankovic', 'b\tz\t12" mix', 'c\tz\t7"']


@pytest.mark.parametrize("before", [0, 2, 60_000])
@pytest.mark.parametrize("in_parts", [False, True])
def test_between_tabs_nothing_is_quoted_if_values_only_begin_with_quotes(
    tmp_path: Path, store: Store, before: int, in_parts: bool
) -> None:
    """Wherever the first of them is, also in a later file."""
    lines = ["user\titem\ttitle", *(f"a\ti{n}\t{'t' * 80}" for n in range(before))]
    path = tmp_path / "a.tsv"
    path.write_text("\n".join([*lines, *STRAY]) + "\n")
    sources = [path]
    if in_parts:
        path.write_text("\n".join(lines) + "\na\ti\tt\n")
        sources.append(tmp_path / "b.tsv")
        sources[1].write_text("\n".join([lines[0], *STRAY]) + "\n")
    expected = import_interactions([*sources], store, reading=Reading(quote="none"))
    report = import_interactions([*sources], store)
    assert (report.bad_rows, report.snapshot_id) == (0, expected.snapshot_id)
    assert report.form is not None
    assert "tabs, no quotes" in report.form.words() or in_parts
    assert titles(current(store))["y"] == '"weird al" yankovic'


@pytest.mark.parametrize(
    ("lines", "bad"),
    [
        (['a\tx\t"T"', 'b\ty\t"U', "c\tz\tV"], [3]),
        (['a\tx\t"T\nU"', "b\ty\tV"], []),
        (['a\tx\t"T\tU"', "b\ty\tV"], []),
        (['"a"\tx\t7"', "b\ty\tV"], []),
    ],
    ids=["as many are quoted", "several lines", "a tab", "quoted ids"],
)
def test_between_tabs_quotes_stay_quotes_otherwise(
    tmp_path: Path, store: Store, lines: list[str], bad: list[int]
) -> None:
    """As the option says."""
    path = tmp_path / "a.tsv"
    path.write_text("\n".join(["user\titem\ttitle", *lines]) + "\n")
    report = import_interactions(path, store)
    assert [line for found in report.rejected for line in found.first] == bad
    assert report.snapshot_id == import_interactions(path, store, reading=Reading(quote="double")).snapshot_id


@pytest.mark.parametrize("place", [0, 8_000])
@pytest.mark.parametrize("separator", [",", "\t", "::"])
def test_backslashes_escape_if_a_value_says_so_wherever_it_is(
    tmp_path: Path, store: Store, place: int, separator: str
) -> None:
    """As in files of MySQL and PHP; the earlier rows are read in the same way."""
    rows = [(f"u{n % 7}", f"i{n % 5}\\{n % 3} and so on", f"{separator} of {n % 5}" + 300 * "-") for n in range(9_000)]
    rows[place] = ("u1", '7" single', "Title")
    plain = "".join(",".join('"' + value.replace('"', '""') + '"' for value in row) + "\n" for row in [NAMES, *rows])
    expected = imported(store, tmp_path / "plain.csv", plain.encode(), Reading(escape="none"))
    assert (expected.bad_rows, expected.form and expected.form.escape) == (0, "none")
    escaped = "".join(
        separator.join('"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' for value in row) + "\n"
        for row in [NAMES, *rows]
    )
    quote = '"' if separator == "::" else None
    for escape in (None, "backslash"):
        reading = Reading(quote=quote, escape=escape)
        report = imported(store, tmp_path / "escaped.csv", escaped.encode(), reading)
        assert report.snapshot_id == expected.snapshot_id
        assert report.form is not None
        assert report.form.escape == "backslash"


def test_a_backslash_at_the_end_of_a_value_is_no_escape(tmp_path: Path, store: Store) -> None:
    """Directories of Windows end with one; a doubled quote may follow one."""
    data = b'user,item,title\n"a","C:\\x\\","x"\n"b","C:\\","y"\n"c","7\\"" single","z"\n"d",12\\" single,w\n'
    report = imported(store, tmp_path / "a.csv", data)
    assert (report.bad_rows, report.form and report.form.escape) == (0, "none")
    items = {item for _, item in interactions(current(store))}
    assert items == {"C:\\x\\", "C:\\", '7\\" single', '12\\" single'}
    report = imported(store, tmp_path / "a.csv", data, Reading(escape="backslash"))
    assert report.bad_rows > 0


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_comments_before_the_table_are_skipped_and_the_lines_after_them_keep_their_numbers(
    tmp_path: Path, store: Store, plain: str, end: str
) -> None:
    """The last one may name the columns."""
    header, rows = text("\t", end=end).split(end, 1)
    comments = f"# A table{end}#{end}"
    for start in (
        f"{comments}# {header}{end}",
        f"#{header}{end}",
        f"{comments}{header}{end}",
        f"# A, b{end}{header}{end}",
    ):
        data = start + rows + "bad" + end
        report = imported(store, tmp_path / "a.txt", data.encode())
        n_lines = data.count(end)
        assert reasons(report) == [("bad", "it has 1 value instead of 4", 1, [n_lines])]
        assert report.snapshot_id == plain
    columns = Columns(user="1", item="2", time="3", title="4")
    report = imported(store, tmp_path / "a.txt", (comments + rows).encode(), Reading(header=False), columns)
    assert report.snapshot_id == plain


def test_a_column_may_be_named_with_its_sign_of_a_comment(tmp_path: Path, store: Store) -> None:
    """As it is in the file."""
    report = imported(store, tmp_path / "a.csv", b"#who,what\na,x\n", columns=Columns(user="#who", item="what"))
    assert report.interactions == 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_the_first_line_of_a_spreadsheet_names_the_separator(
    tmp_path: Path, store: Store, plain: str, end: str
) -> None:
    """With and without a header; --separator counts more."""
    data = f"sep=;{end}{text(';', end=end)}bad{end}"
    for reading in (Reading(), Reading(separator=";")):
        report = imported(store, tmp_path / "a.csv", data.encode("utf-8-sig"), reading)
        assert reasons(report) == [("bad", "it has 1 value instead of 4", 1, [63])]
        assert report.snapshot_id == plain
    columns = Columns(user="1", item="2")
    report = imported(store, tmp_path / "a.csv", b"sep=;\na;x,1\nb;x,2\n", Reading(header=False), columns)
    assert interactions(current(store)) == {("a", "x,1"): (1.0, None), ("b", "x,2"): (1.0, None)}


def test_the_command_says_what_it_found(tmp_path: Path) -> None:
    """In a line, and as JSON; the options override it."""
    commands, path = CommandLine(home=tmp_path / "home"), tmp_path / "a.txt.gz"
    path.write_bytes(gzip.compress(text(";").encode("latin-1")))
    ended = commands.call("import", str(path))
    assert "\nread      semicolons, latin-1, gzip, 60 rows\n" in ended.out
    options = ["--separator", "semicolon", "--quote", "none", "--encoding", "cp1252", "--compression", "gzip"]
    for more in ([], options):
        [record] = commands.call("import", str(path), "--json", *more).objects
        assert record["form"] == {
            "format": "",
            "files": 1,
            "compression": "gzip",
            "encoding": "latin-1",
            "separator": ";",
            "quote": "" if more else '"',
            "header": True,
            "escape": "none",
        }
    path.write_text("7;8\n9;8\n")
    arguments = ["--user", "1", "--item", "2", "--no-header", "--force"]
    assert "read      semicolons, no header, utf-8, 2 rows" in commands.call("import", str(path), *arguments).out


def test_the_command_names_the_option_for_files_that_quote_nothing(tmp_path: Path) -> None:
    """With it each row is read."""
    commands, path = CommandLine(home=tmp_path / "home"), tmp_path / "a.csv"
    path.write_text('user,item\na,"heroes\nb,x\n')
    advice = "If this file quotes nothing, and quotation marks are ordinary characters, use --quote none.\n"
    ended = commands.call("import", str(path))
    assert ended.err == f"1 row bad: it has a quotation mark without its partner (line 2)\n{advice}"
    ended = commands.call("import", str(path), "--quote", "none")
    assert (ended.code, ended.err) == (0, "")
    assert "holds     2 interactions" in ended.out


def test_options_of_text_are_not_for_other_sources(tmp_path: Path) -> None:
    """Parquet and databases say so."""
    commands, path = CommandLine(home=tmp_path / "home"), tmp_path / "a.parquet"
    path.write_bytes(b"PAR1")
    ended = commands.call("import", str(path), "--separator", ";")
    assert (ended.code, "--separator is not for a Parquet file" in ended.err) == (2, True)
    ended = commands.call("import", "sqlite:///a.db", "--query", "select 1", "--no-header")
    assert (ended.code, "is not for a query" in ended.err) == (2, True)
