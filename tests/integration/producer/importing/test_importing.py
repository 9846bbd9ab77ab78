"""Files of every kind become the current snapshot, and bad ones leave it as it was."""

import csv
import gzip
import io
import re
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reckoner.producer.importing import (
    MISSING,
    Columns,
    Form,
    ImportReport,
    Repeats,
    gathering,
    import_interactions,
    pipeline,
)
from reckoner.producer.importing.judging.ids import BLANKS
from reckoner.producer.importing.merging import collecting
from reckoner.producer.importing.reading import delimited
from reckoner.shared.errors import SourceError, StoreError
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND
from reckoner.shared.store.verification import verification_cache
from tests.commands import CommandLine
from tests.imports import reasons
from tests.snapshots import current, interactions, titles
from tests.tampering import flip

RATINGS = "userId,movieId,rating,timestamp\n1,10,4.0,1260759144\n1,2,3.5,1260759179\n7,10,1.0,1260759182\n"
MOVIES = 'movieId,title,genres\n2,"Jumanji, or not (1995)",Adventure\n10,Grumpy (1993),\n99,Nobody (2000),\n'


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "the store").as_uri())


def write(directory: Path, text: str | bytes, name: str = "my file ü.csv") -> Path:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def movielens(tmp_path: Path, form: str) -> Path:
    if form == "directory":
        directory = tmp_path / "ml latest"
        directory.mkdir()
        write(directory, RATINGS, "ratings.csv")
        write(directory, MOVIES, "movies.csv")
        return directory
    path = tmp_path / "ml latest.zip"
    folder = "" if form == "zip" else "./ml-latest-small/"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(f"{folder}ratings.csv", RATINGS)
        archive.writestr(f"{folder}movies.csv", MOVIES)
        archive.writestr("deeper/below/ratings.csv", "userId,movieId\n5,5\n")
        archive.writestr(f"__MACOSX/{folder}._ratings.csv", b"\xff")
    return path


@pytest.mark.parametrize("form", ["directory", "zip", "zip with folder"])
def test_movielens_is_imported_in_every_form(tmp_path: Path, store: Store, form: str) -> None:
    """Ratings do not become weights, times become milliseconds, and titles come from the other file."""
    report = import_interactions(movielens(tmp_path, form), store)
    snapshot = current(store)
    assert interactions(snapshot) == {
        ("1", "10"): (1.0, 1260759144000),
        ("1", "2"): (1.0, 1260759179000),
        ("7", "10"): (1.0, 1260759182000),
    }
    assert titles(snapshot) == {"10": "Grumpy (1993)", "2": "Jumanji, or not (1995)"}
    assert report == ImportReport(
        snapshot_id=snapshot.id,
        rows=3,
        interactions=3,
        users=2,
        items=2,
        repeated=0,
        bad_rows=0,
        left_out=0,
        rejected=[],
        unit="line",
        not_times=None,
        form=Form(compression="none", encoding="utf-8", separator=",", quote='"', header=True),
    )


def test_an_imported_snapshot_needs_no_verification_by_its_host(tmp_path: Path) -> None:
    """Its files have just been hashed, also if the store had them. After a change of a file it needs one."""
    home, path = tmp_path / "a home", write(tmp_path, "user,item\na,x\n")
    store, verified = open_store((home / "store").as_uri()), verification_cache(home)
    import_interactions(path, store)
    assert not verified.contains(store.fingerprint(KIND, current(store).id))
    assert CommandLine(home=home).call("import", str(path)).code == 0
    assert verified.contains(store.fingerprint(KIND, current(store).id))
    changed = store.fetch(KIND, current(store).id) / "user_items.npy"
    flip(changed, changed.stat().st_size - 1, 4)
    assert not verified.contains(store.fingerprint(KIND, changed.parent.name))


def test_movielens_needs_no_titles(tmp_path: Path, store: Store) -> None:
    """A directory with ratings alone is imported without titles."""
    path = movielens(tmp_path, "directory")
    (path / "movies.csv").unlink()
    import_interactions(path, store)
    assert current(store).titles is None


def test_named_columns_are_used(tmp_path: Path, store: Store) -> None:
    """Names are taken as given, and the weight column counts once it is named."""
    path = write(tmp_path, "who,what,how much,when,called\na,x,2.5,2026-09-24,X\nb,x,1,2026-09-25,\n")
    columns = Columns(user="who", item="what", weight="how much", time="when", title="called")
    import_interactions(path, store, columns=columns)
    snapshot = current(store)
    assert interactions(snapshot) == {("a", "x"): (2.5, 1790208000000), ("b", "x"): (1.0, 1790294400000)}
    assert titles(snapshot) == {"x": "X"}


@pytest.mark.parametrize(
    "header", ["user,item", "userId,itemId", "user_id,item_id", "UserID,MovieID", "\ufeffuser,item"]
)
def test_usual_names_are_found(tmp_path: Path, store: Store, header: str) -> None:
    """The usual names are found in any case, also after a byte order mark."""
    import_interactions(write(tmp_path, f"{header}\na,x\n"), store)
    assert interactions(current(store)) == {("a", "x"): (1.0, None)}


def test_ids_of_a_csv_file_stay_texts(tmp_path: Path, store: Store) -> None:
    """Leading zeros, decimal points among other texts, blanks and words like those for missing values stay."""
    import_interactions(write(tmp_path, "user,item\n007,1.0\n7,Na\nnone, x \n"), store)
    assert interactions(current(store)).keys() == {("007", "1.0"), ("7", "Na"), ("none", " x ")}


def is_unchanged(text: str) -> bool:
    number = re.fullmatch(r"-?[0-9]+\.0*|-?[0-9](\.[0-9]+[eE]\+?|[eE]\+)[0-9]+", text)
    return text.strip(BLANKS) not in {"", *MISSING} and not number


ids = st.text(
    st.one_of(st.characters(codec="utf-8"), st.sampled_from("\n\r\0\",'\t é😀")), min_size=1, max_size=8
).filter(is_unchanged)


@given(st.sets(st.tuples(ids, ids), min_size=1), st.sampled_from(["csv", "parquet"]))
@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_id_is_kept_unchanged(tmp_path: Path, store: Store, pairs: set[tuple[str, str]], form: str) -> None:
    """Any text is a valid id and stays unchanged, unless it is missing or a number with a point."""
    path = tmp_path / f"pairs.{form}"
    if form == "csv":
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerows([("user", "item"), *pairs])
    else:
        pq.write_table(pa.table({"user": [user for user, _ in pairs], "item": [item for _, item in pairs]}), path)
    import_interactions(path, store)
    assert interactions(current(store)).keys() == pairs


def test_parquet_is_imported(tmp_path: Path, store: Store) -> None:
    """Integers, gaps, dictionaries and timestamps give the ids, times and titles that they mean."""
    table = pa.table(
        {
            "user": pa.array([1, 2, None], pa.int32()),
            "item": pa.array([7.0, None, 8.0]),
            "timestamp": pa.array([1260759144000, 0, 0], pa.timestamp("ms", "UTC")),
            "title": pa.array(["Seven", "", None]).dictionary_encode(),
        }
    )
    pq.write_table(table, tmp_path / "rows.parquet")
    report = import_interactions(tmp_path / "rows.parquet", store)
    assert interactions(current(store)) == {("1", "7"): (1.0, 1260759144000)}
    assert titles(current(store)) == {"7": "Seven"}
    assert (report.unit, report.without_zeros) == ("row", {"item": "7.0"})
    assert reasons(report) == [
        ("left_out", "the item is empty", 1, [2]),
        ("left_out", "the user is empty", 1, [3]),
    ]


@pytest.mark.parametrize(
    ("repeats", "weight", "expected"),
    [
        ("last", "w", (2.0, 9000)),
        ("sum", "w", (10.0, 9000)),
        ("max", "w", (5.0, 9000)),
        ("last", None, (1.0, 9000)),
        ("sum", None, (3.0, 9000)),
        ("max", None, (1.0, 9000)),
    ],
)
def test_repeated_pairs_become_one(
    tmp_path: Path, store: Store, repeats: Repeats, weight: str | None, expected: tuple[float, int]
) -> None:
    """The last by time, the sum or the greatest counts; without weights the sum is how often."""
    path = write(tmp_path, "user,item,w,time\na,x,5,1\na,x,2,9\na,x,3,8\nb,x,1,1\n")
    report = import_interactions(path, store, columns=Columns(weight=weight), repeats=repeats)
    assert interactions(current(store))["a", "x"] == expected
    assert (report.rows, report.interactions, report.repeated) == (4, 2, 2)


def test_the_last_title_that_is_not_empty_counts(tmp_path: Path, store: Store) -> None:
    """Titles go by the order of the file, whatever row is kept."""
    path = write(tmp_path, "user,item,time,title\na,x,9,old\na,x,1,new\nb,x,1,\nb,y,1,\n")
    import_interactions(path, store)
    assert titles(current(store)) == {"x": "new", "y": None}


def test_bad_rows_are_counted_and_named(tmp_path: Path, store: Store) -> None:
    """Each bad row is shown with its line and its reason, and the good ones are imported."""
    longest = "é" * 512
    lines = [
        "user,item,w,time",
        f"a,{longest},1,1",
        ",x,1,1",
        "a,,1,1",
        f"a,{longest}b,1,1",
        "a,x,0,1",
        "a,x,-1,1",
        "a,x,nan,1",
        "a,x,1e39,1",
        "a,x,1e-60,1",
        "a,x,,1",
        "a,x,1,yesterday",
        "a,x,1,",
        "a,x,1",
        "",
        "a,x,1,1,1",
        "b,y,1,1",
    ]
    report = import_interactions(write(tmp_path, "\r\n".join(lines)), store, columns=Columns(weight="w", time="time"))
    assert interactions(current(store)).keys() == {("a", longest), ("b", "y")}
    assert reasons(report) == [
        ("bad", "the item is over 1,024 bytes", 1, [5]),
        ("bad", "the weight is too large", 1, [9]),
        ("bad", "the weight is too small", 1, [10]),
        ("bad", "the time is invalid", 1, [12]),
        ("bad", "it has 3 values instead of 4", 1, [14]),
        ("bad", "it has 5 values instead of 4", 1, [16]),
        ("left_out", "the weight is missing", 2, [8, 11]),
        ("left_out", "the user is empty", 1, [3]),
        ("left_out", "the item is empty", 1, [4]),
        ("left_out", "the weight is zero", 1, [6]),
        ("left_out", "the weight is below zero", 1, [7]),
        ("left_out", "the time is missing", 1, [13]),
        ("left_out", "user and item are missing", 1, [15]),
    ]
    assert [found.value for found in report.rejected][:4] == [None, "'1e39'", "'1e-60'", "'yesterday'"]
    assert (report.rows, report.bad_rows, report.left_out, report.interactions) == (16, 6, 8, 2)


def test_line_numbers_hold_over_many_blocks(tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Malformed lines before, in and after a block do not shift line numbers, and the first are listed."""
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 64)
    bad = {line: ("x" if line % 7 else ",y") for line in range(5, 400) if line % 5 == 0 or line % 7 == 0}
    lines = ["user,item", *(bad.get(line, f"u{line},i") for line in range(2, 400))]
    seen: list[tuple[int, int | None]] = []
    report = import_interactions(
        write(tmp_path, "\n".join(lines)), store, progress=lambda rows, total: seen.append((rows, total))
    )
    short = [line for line in sorted(bad) if line % 7]
    empty = [line for line in sorted(bad) if line % 7 == 0]
    assert reasons(report) == [
        ("bad", "it has 1 value instead of 2", len(short), short[:5]),
        ("left_out", "the user is empty", len(empty), empty[:5]),
    ]
    assert report.rows == 398
    assert {current(store).users.find(f"u{line}") for line in bad} == {None}
    assert len(seen) > 5
    assert [rows for rows, _ in seen] == sorted(rows for rows, _ in seen)
    assert all(total and rows <= total <= 400 for rows, total in seen), "the share of bytes gives the bar an end"
    assert seen[-1][0] == seen[-1][1]


@pytest.mark.parametrize("times", [pa.array([7, None]), pa.array(["7", "soon"]), pa.array([7, 8], pa.time32("s"))])
def test_a_guessed_time_column_makes_no_row_bad(tmp_path: Path, store: Store, times: pa.Array) -> None:
    """A guessed column is skipped and reported if one value is not a time; a named column is used."""
    path = tmp_path / "some.parquet"
    pq.write_table(pa.table({"user": ["a", "b"], "item": ["x", "y"], "Time": times}), path)
    report = import_interactions(path, store)
    assert (report.rows, report.bad_rows, report.not_times) == (2, 0, "Time")
    assert current(store).user_times is None
    if not pa.types.is_temporal(times.type):
        report = import_interactions(path, store, columns=Columns(time="Time"))
        assert report.bad_rows + report.left_out == 1


def test_a_row_that_is_bad_anyway_says_nothing_about_times(tmp_path: Path, store: Store) -> None:
    """Other values of a bad row do not count, so the time column stays valid."""
    report = import_interactions(write(tmp_path, "user,item,time\na,x,1\n,,\n"), store)
    assert (report.left_out, report.not_times) == (1, None)
    assert current(store).user_times is not None


def test_a_guessed_time_column_without_times_is_skipped(tmp_path: Path, store: Store) -> None:
    """A named one is used."""
    path = write(tmp_path, "user,item,timestamp\na,x,\nb,y,\n")
    report = import_interactions(path, store)
    assert current(store).user_times is None
    assert (report.rows, report.bad_rows) == (2, 0)
    with pytest.raises(SourceError, match="no good row"):
        import_interactions(path, store, columns=Columns(time="timestamp"))


def test_the_same_file_gives_the_same_snapshot(tmp_path: Path, store: Store) -> None:
    """Importing twice changes nothing."""
    path = movielens(tmp_path, "zip")
    first, second = import_interactions(path, store), import_interactions(path, store)
    assert first == second
    assert len(list(store.entries("snapshots"))) == 1


def zip_of(entries: dict[str, str], cut: int | None = None) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(name, text)
    return buffer.getvalue()[:cut]


def tar_of(text: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("ratings.csv")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def encrypted_zip() -> bytes:
    data = bytearray(zip_of({"ratings.csv": RATINGS}))
    for flags in (6, data.index(b"PK\x01\x02") + 8):
        data[flags] |= 1
    return bytes(data)


def latin_parquet() -> bytes:
    buffer = io.BytesIO()
    pq.write_table(pa.table({"user": ["caf~"], "item": ["1"]}), buffer, compression="none")
    return buffer.getvalue().replace(b"caf~", b"caf\xe9")


def damaged_zip() -> bytes:
    data = bytearray(zip_of({"ratings.csv": RATINGS * 100}))
    data[60] ^= 0xFF
    return bytes(data)


@pytest.mark.parametrize(
    ("name", "contents", "sentence"),
    [
        ("empty.csv", b"", r"^empty\.csv is empty\.$"),
        ("blank.csv", b"\n\nuser,item\n", r"^The first line of blank\.csv is empty\. It must name the columns\.$"),
        ("header.csv", b"user,item\n", r"^header\.csv has no rows\.$"),
        ("header.csv", b"user,item", r"^header\.csv has no rows\.$"),
        (
            "bad.csv",
            b"user,item\n,x\n",
            r"^bad\.csv has no good row\. .* is line 2: the user is empty\.$",
        ),
        (
            "names.csv",
            b"a,b\n1,2\n",
            r"^names\.csv has no user column .* columns are: a, b\. .* --user\. If these are values of the",
        ),
        ("twice.csv", b"user,item,user\n1,2,3\n", r"^twice\.csv has more than one column user\.$"),
        ("latin.parquet", latin_parquet(), r"^latin\.parquet is not UTF-8 text\.$"),
        (
            "lines.csv",
            b'users,"the\nitem"\n1,2\n',
            r"^lines\.csv has no user column .* columns are: users, the item\. ",
        ),
        (
            "open.csv",
            b'user,"item\n1,2\n',
            r"^The first line of open\.csv opens a quotation mark that is never closed\. Use --quote none\.$",
        ),
        (
            "numbers.csv",
            b"1,10,4.5\n1,11,3\n",
            r"^numbers\.csv seems to have no header: its first line is 1, 10, 4\.5\. .* --user 1 --item 2 --no-header",
        ),
        ("nothing.zip", zip_of({"readme.txt": ""}), r"^nothing\.zip has no table in it\.$"),
        (
            "two.zip",
            zip_of({"a.csv": "", "b/c.csv": ""}),
            r"^two\.zip has 2 files: a\.csv, b/c\.csv\. Name the table, such as --member a\.csv\.$",
        ),
        (
            "cut.csv.gz",
            gzip.compress(RATINGS.encode() * 100)[:-20],
            r"^cut\.csv\.gz cannot be read: its compressed data ",
        ),
        (
            "tar.gz",
            gzip.compress(tar_of(RATINGS)[:530]),
            r"^tar\.gz cannot be read: the tar file is damaged",
        ),
        ("tar.zip", zip_of({"a.tar": tar_of(RATINGS).decode()}), r"^a\.tar in tar\.zip is a tar archive\. Unpack it"),
        ("rows.parquet.gz", gzip.compress(b"PAR1" + bytes(99)), r"^rows\.parquet\.gz is a compressed Parquet file"),
        ("cut.zip", zip_of({"ratings.csv": RATINGS}, 50), r"^cut\.zip cannot be read: the zip file is damaged\.$"),
        ("no.zip", b"hello", r"^no\.zip has no user column"),
        (
            "locked.zip",
            encrypted_zip(),
            r"^ratings\.csv in locked\.zip cannot be read: the zip file is encrypted .*\.$",
        ),
        ("long.csv", b"user,item\n1," + b"2" * 20_000_000, r"^long\.csv cannot be read: one row has over .* bytes\.$"),
        ("hurt.zip", damaged_zip(), r"^ratings\.csv in hurt\.zip cannot be read: its compressed data "),
        ("no.parquet", b"PAR1hello", r"^no\.parquet cannot be read: .*\.$"),
        ("cut.parquet", b"PAR1" + bytes(100), r"^cut\.parquet cannot be read: .*\.$"),
    ],
    # Archives hold the time, and what is collected twice has to be the same.
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else None,
)
def test_what_cannot_be_imported_is_one_sentence(
    tmp_path: Path, store: Store, name: str, contents: bytes, sentence: str
) -> None:
    """The sentence names the file and what is wrong, and the current snapshot stays."""
    before = import_interactions(movielens(tmp_path, "directory"), store).snapshot_id
    with pytest.raises(SourceError, match=sentence) as caught:
        import_interactions(write(tmp_path, contents, name), store)
    assert "\n" not in str(caught.value)
    assert store.current_snapshot() == before


def test_a_missing_source_is_reported_in_a_sentence(tmp_path: Path, store: Store) -> None:
    """A missing file, a directory without ratings, and a missing column are named."""
    with pytest.raises(SourceError, match=r"nowhere\.csv does not exist\.$"):
        import_interactions(tmp_path / "nowhere.csv", store)
    with pytest.raises(SourceError, match=r"^The directory .* has no tables\.$"):
        import_interactions(tmp_path, store)
    with pytest.raises(SourceError, match=r"has no column stars \(--weight\)\. Its columns are: user, item\.$"):
        import_interactions(write(tmp_path, "user,item\n1,2\n"), store, columns=Columns(weight="stars"))


def test_weights_that_add_up_too_high_are_refused(tmp_path: Path, store: Store) -> None:
    """A sum that float32 cannot hold would be infinite, and is refused."""
    path = write(tmp_path, "user,item,w\na,x,3e38\na,x,3e38\n")
    with pytest.raises(SourceError, match="exceed the maximum of float32"):
        import_interactions(path, store, columns=Columns(weight="w"), repeats="sum")
    assert store.current_snapshot() is None


@pytest.mark.parametrize("name", ["user_items.npy", "manifest.json"])
@pytest.mark.parametrize("how", ["cut", "flipped", "gone"])
def test_a_damaged_snapshot_is_made_whole_by_importing_it_again(
    tmp_path: Path, store: Store, name: str, how: str
) -> None:
    """The same data give the same snapshot, after any damage to its files."""
    path = movielens(tmp_path, "zip")
    before = import_interactions(path, store).snapshot_id
    file = store.fetch("snapshots", before) / name
    data = file.read_bytes()
    file.unlink()
    if how != "gone":
        file.write_bytes(data[:-2] if how == "cut" else data[:-2] + bytes([data[-2] ^ 1]) + data[-1:])
    assert import_interactions(path, store).snapshot_id == before
    store.verify("snapshots", before)


def test_a_snapshot_that_cannot_be_published_does_not_become_current(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Making it current comes last."""
    before = import_interactions(movielens(tmp_path, "zip"), store).snapshot_id

    def refuse(*_: object) -> None:
        raise StoreError

    monkeypatch.setattr(store, "publish", refuse)
    with pytest.raises(StoreError):
        import_interactions(write(tmp_path, "user,item\n1,2\n"), store)
    assert store.current_snapshot() == before


@pytest.mark.parametrize(("damage", "options"), [("gone", ["--force"]), ("damaged", ["--min-share", "0"])])
def test_without_a_readable_current_snapshot_an_import_needs_force(
    tmp_path: Path, damage: str, options: list[str]
) -> None:
    """There is nothing to compare with, so anything could become the current one."""
    commands, store = CommandLine(home=tmp_path), open_store((tmp_path / "store").as_uri())
    file = write(tmp_path, "user_id,item_id\n1,a\n2,a\n")
    assert commands.call("import", str(file)).code == 0
    before = str(store.current_snapshot())
    if damage == "gone":
        store.delete(KIND, before)
    else:
        (store.fetch(KIND, before) / "manifest.json").write_text("{}")
    write(tmp_path, "user_id,item_id\n1,b\n2,b\n")
    ended = commands.call("import", str(file))
    assert ended.code == 1
    assert "Refused: the current snapshot is damaged or gone, so nothing can be compared with it" in ended.err
    assert store.current_snapshot() == before
    assert commands.call("import", str(file), *options).code == 0
    assert store.current_snapshot() != before


def test_an_import_is_done_though_the_history_cannot_be_written(tmp_path: Path) -> None:
    """It says so."""
    commands, store = CommandLine(home=tmp_path), open_store((tmp_path / "store").as_uri())
    file = write(tmp_path, "user_id,item_id\n1,a\n2,a\n")
    assert commands.call("import", str(file)).code == 0
    history = tmp_path / "store" / "history"
    shutil.rmtree(history)
    history.write_text("")
    write(tmp_path, "user_id,item_id\n1,b\n2,b\n")
    before, ended = store.current_snapshot(), commands.call("import", str(file), "--json")
    assert (ended.code, store.current_snapshot()) == (0, ended.objects[0]["snapshot"])
    assert store.current_snapshot() != before
    assert "The history in the store lacks this import. The store" in ended.err


def test_an_import_gives_a_sign_of_life_before_each_step(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the number of rows; each step may take minutes."""
    steps = list[object]()

    def noted(name: str, work: Any) -> Any:
        def step(*arguments: Any, **named: Any) -> Any:
            steps.append(name)
            return work(*arguments, **named)

        return step

    for module, name in ((gathering, "_collect_titles"), (collecting, "merge_repeats"), (pipeline, "write_snapshot")):
        monkeypatch.setattr(module, name, noted(name, getattr(module, name)))
    monkeypatch.setattr(store, "publish", noted("publish", store.publish))
    import_interactions(movielens(tmp_path, "zip"), store, progress=lambda rows, _: steps.append(rows))
    wanted = ["_collect_titles", "merge_repeats", "write_snapshot", "publish"]
    assert [step for step in steps if isinstance(step, str)] == wanted
    assert all(steps[steps.index(step) - 1] == 3 for step in wanted)
    assert steps[-1] == 3, "its files are hashed now"


def test_a_refused_snapshot_is_kept_beside_the_current_one(tmp_path: Path) -> None:
    """Until --force, or another --min-share, says otherwise."""
    commands, store = CommandLine(home=tmp_path), open_store((tmp_path / "store").as_uri())
    file = write(tmp_path, "user_id,item_id\n" + "".join(f"{user},a\n" for user in range(5)))
    assert commands.call("import", str(file)).code == 0
    before = store.current_snapshot()
    write(tmp_path, "user_id,item_id\n1,a\n2,a\n")
    ended = commands.call("import", str(file))
    assert ended.code == 1
    assert "Refused: users fell from 5 to 2, which is 40.0%, " in ended.err
    assert "not the current one" in ended.out
    assert store.current_snapshot() == before
    [refused] = {entry.id for entry in store.entries(KIND)} - {before}
    for options in (["--force"], ["--min-share", "0.4"]):
        store.set_current_snapshot(str(before))
        ended = commands.call("import", str(file), *options)
        assert (ended.code, store.current_snapshot()) == (0, refused)
