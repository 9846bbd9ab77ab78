"""Rows that are appended give the snapshot of an import of all rows at once."""

import csv
import sqlite3
import tempfile
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckoner.producer.importing import (
    Columns,
    ImportLimits,
    ImportReport,
    Options,
    Query,
    Repeats,
    Rules,
    earlier,
    find_database,
    import_interactions,
    preview_interactions,
)
from reckoner.shared.errors import ArtifactDamagedError, SourceAwayError, SourceError, UsageError
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND
from tests.commands import CommandLine
from tests.imports import reasons
from tests.snapshots import current, interactions, titles
from tests.tampering import flip

HEADER = ["user", "item", "weight", "time", "title"]
# Sums of eighths are exact; the ids sort otherwise than they come.
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["7", "10", "a", "Ü", "z z"]),
        st.sampled_from(["1", "02", "x", "é"]),
        st.integers(1, 40).map(lambda eighths: str(eighths / 8)),
        st.integers(1_600_000_000, 1_600_000_003).map(str),
        st.sampled_from(["", "tea", "cup"]),
    ),
    min_size=1,
    max_size=30,
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "store").as_uri())


def write(path: Path, names: Sequence[str], rows: Sequence[Sequence[str]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([names, *rows])
    return path


def put(tmp_path: Path, store: Store, text: str, **options: Any) -> ImportReport:
    """Import or append a file with this text."""
    path = tmp_path / "rows.csv"
    path.write_text(text, encoding="utf-8")
    return import_interactions(path, store, **options)


@settings(max_examples=12, deadline=None)
@given(rows=ROWS, cuts=st.lists(st.integers(0, 30), min_size=1, max_size=3), extra=st.sets(st.sampled_from(HEADER[2:])))
@pytest.mark.parametrize("rule", ["last", "sum", "max"])
def test_parts_give_the_snapshot_of_all_rows(
    rule: Repeats, rows: list[tuple[str, ...]], cuts: list[int], extra: set[str]
) -> None:
    """For each rule, with and without weights, times and titles, in any number of parts, also empty ones."""
    names = [name for name in HEADER if name in ("user", "item") or name in extra]
    kept = [[row[HEADER.index(name)] for name in names] for row in rows]
    columns = Columns(weight="weight" if "weight" in extra else None)
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patched:
        patched.setattr(earlier, "AT_ONCE", 3)
        root = Path(directory)
        whole, store = (open_store((root / name).as_uri()) for name in ("whole", "parts"))
        at_once = import_interactions(write(root / "all.csv", names, kept), whole, columns=columns, repeats=rule)
        # The first part has a row, since there would be nothing to append to.
        bounds = [0, *sorted({max(1, min(cut, len(kept))) for cut in cuts}), len(kept)]
        before = 0
        for start, end in pairwise(bounds):
            part = write(root / "part.csv", names, kept[start:end])
            report = import_interactions(part, store, columns=columns, repeats=rule, append=True)
            reasons(report)
            assert report.earlier == before
            before = report.interactions
        assert store.current_snapshot() == whole.current_snapshot() == at_once.snapshot_id


@settings(max_examples=10, deadline=None)
@given(eighths=st.lists(st.integers(1, 10**6), min_size=2, max_size=20), cut=st.integers(1, 19))
def test_sums_of_any_fractions_differ_in_the_last_digit_at_most(eighths: list[int], cut: int) -> None:
    """A snapshot holds float32, so a sum is rounded once for each append."""
    rows = [["u", "i", str(number / 1000)] for number in eighths]
    with tempfile.TemporaryDirectory() as directory:
        store, path = open_store((Path(directory) / "store").as_uri()), Path(directory) / "rows.csv"
        for part in (rows[:cut], rows[cut:]):
            write(path, HEADER[:3], part)
            import_interactions(path, store, columns=Columns(weight="weight"), repeats="sum", append=True)
        [(weight, _)] = interactions(current(store)).values()
    assert weight == pytest.approx(sum(eighths) / 1000, rel=3e-7)


def test_the_latest_title_stays_and_a_new_one_replaces_it(tmp_path: Path, store: Store) -> None:
    """A file without titles takes none away."""
    put(tmp_path, store, "user,item,title\na,x,Tea\nb,y,Cup\n")
    put(tmp_path, store, "user,item\nc,x\n", append=True)
    put(tmp_path, store, "user,item,title\nc,y,Mug\nc,z,\n", append=True)
    assert titles(current(store)) == {"x": "Tea", "y": "Mug", "z": None}


def test_what_the_snapshot_has_is_needed(tmp_path: Path, store: Store) -> None:
    """Weights and times; what it lacks is refused if it was named, and left out if it was guessed."""
    put(tmp_path, store, "user,item,stars,time\na,x,3,2020-01-01\n", columns=Columns(weight="stars"))
    before = store.current_snapshot()
    with pytest.raises(SourceError, match="The current snapshot has weights, so new rows need them"):
        put(tmp_path, store, "user,item,time\nb,x,2020-01-02\n", append=True)
    with pytest.raises(SourceError, match=r"has times, but rows\.csv has no time column"):
        put(tmp_path, store, "user,item,stars\nb,x,3\n", columns=Columns(weight="stars"), append=True)
    assert store.current_snapshot() == before
    put(tmp_path, store, "user,item,time\nb,x,2020-01-02\n", append=True, repeats="sum")
    assert [weight for weight, _ in interactions(current(store)).values()] == [3, 1]
    report = put(tmp_path, store, "user,item,time\nb,y,never\nb,z,2020-01-02\n", append=True, repeats="sum")
    assert reasons(report) == [("bad", "the time is invalid", 1, [2])]
    put(tmp_path, store, "user,item\na,x\n")
    with pytest.raises(SourceError, match="has no times, so none can be appended"):
        put(tmp_path, store, "user,item,time\nb,x,2020-01-02\n", columns=Columns(time="time"), append=True)
    report = put(tmp_path, store, "user,item,time\nb,x,2020-01-02\n", append=True)
    assert (report.not_times, report.why_not_times) == ("time", "The current snapshot has no times")
    assert interactions(current(store)) == {("a", "x"): (1.0, None), ("b", "x"): (1.0, None)}


def test_ids_are_read_as_the_snapshot_has_them(tmp_path: Path, store: Store) -> None:
    """Zeros after the point stay where another id is no number, go where all are, and are refused if none can tell."""
    put(tmp_path, store, "user,item\n17850.0,x\nabc,x\n")
    put(tmp_path, store, "user,item\n17850.0,y\n", append=True)
    assert {user for user, _ in interactions(current(store))} == {"17850.0", "abc"}
    put(tmp_path, store, "user,item\n17850.0,x\n9.0,x\n")
    put(tmp_path, store, "user,item\n17850.0,y\n", append=True)
    put(tmp_path, store, "user,item\nabc,y\n", append=True)
    assert {user for user, _ in interactions(current(store))} == {"17850", "9", "abc"}
    # The exception that the help names: at once, abc would keep the zeros of the others.
    put(tmp_path, store, "user,item\n17850.0,x\n9.0,x\n17850.0,y\nabc,y\n")
    assert {user for user, _ in interactions(current(store))} == {"17850.0", "9.0", "abc"}
    put(tmp_path, store, "user,item\n17850,x\n")
    for text in ("17850.0,y\nabc,y\n", "abc,y\n17850.0,y\n"):
        with pytest.raises(SourceError, match=r"17850.0 may be the user 17850 of the current snapshot"):
            put(tmp_path, store, "user,item\n" + text, append=True)


def test_ids_of_the_snapshot_are_no_missing_values(tmp_path: Path, store: Store) -> None:
    """They were kept once."""
    put(tmp_path, store, "user,item\nNULL,x\na,x\n", rules=Rules(keep=frozenset({"NULL"})))
    report = put(tmp_path, store, "user,item\nNULL,y\nb,x\n", append=True)
    assert reasons(report) == [("left_out", "the user is missing: NULL", 1, [2])]
    assert {user for user, _ in interactions(current(store))} == {"NULL", "a", "b"}


def test_nothing_is_subtracted_from_a_snapshot(tmp_path: Path, store: Store) -> None:
    """Of -12 and +12 in two files, 12 would be left: also the first file is refused, and the preview."""
    rules, columns = Rules(nonpositive="subtract"), Columns(weight="n")
    for _ in range(2):
        with pytest.raises(UsageError, match="--nonpositive subtract cannot be used with --append"):
            put(tmp_path, store, "user,item,n\na,x,12\n", columns=columns, repeats="sum", rules=rules, append=True)
        put(tmp_path, store, "user,item,n\na,x,3\n", columns=columns)
    options = Options(columns=columns, repeats="sum", rules=rules, append=True)
    with pytest.raises(UsageError, match="Import all rows at once"):
        preview_interactions(tmp_path / "rows.csv", store, options)


def test_nothing_new_gives_the_same_snapshot(tmp_path: Path, store: Store) -> None:
    """A header alone, and rows that are all left out."""
    first = put(tmp_path, store, "user,item\na,x\nb,y\n")
    for text in ("user,item\n", "user,item\n,x\n", "user,item\na,x\n"):
        report = put(tmp_path, store, text, append=True, limits=ImportLimits())
        assert (report.snapshot_id, report.refused) == (first.snapshot_id, [])


def test_the_limits_hold_for_new_rows(tmp_path: Path, store: Store) -> None:
    """Bad ones are compared with new ones alone."""
    put(tmp_path, store, "user,item\n" + "".join(f"u{n},x\n" for n in range(9_000)))
    before = store.current_snapshot()
    text = "user,item\n" + "".join(f"{'u' * 1025},x\n" for _ in range(21)) + "a,x\n"
    assert "--max-bad" in put(tmp_path, store, text, append=True, limits=ImportLimits()).refused[0]
    assert store.current_snapshot() == before


def test_a_damaged_snapshot_is_not_appended_to(tmp_path: Path) -> None:
    """It would get a right hash again."""
    store = DirectoryStore(tmp_path / "store")
    report = put(tmp_path, store, "user,item\na,x\n")
    flip(store.fetch(KIND, report.snapshot_id) / "user_items.npy", 129, 0)
    with pytest.raises(ArtifactDamagedError):
        put(tmp_path, store, "user,item\nb,x\n", append=True)


def test_an_import_in_between_is_not_lost(tmp_path: Path, store: Store) -> None:
    """Of two at once, one is to be repeated."""
    put(tmp_path, store, "user,item\na,x\n")
    other = put(tmp_path, open_store((tmp_path / "store").as_uri()), "user,item\nb,x\n").snapshot_id
    put(tmp_path, store, "user,item\na,x\n")

    def interfere(_rows: int, _total: int | None) -> None:
        store.set_current_snapshot(other)

    with pytest.raises(SourceAwayError, match="Append the rows again"):
        put(tmp_path, store, "user,item\nc,x\n", append=True, progress=interfere)
    assert store.current_snapshot() == other


def test_a_preview_of_an_append_shows_what_it_would_hold(tmp_path: Path, store: Store) -> None:
    """Old and new interactions together."""
    put(tmp_path, store, "user,item\na,x\nb,x\n")
    path = write(tmp_path / "new.csv", HEADER[:2], [["a", "x"], ["c", "x"]])
    found = preview_interactions(path, store, Options(append=True), ImportLimits())
    assert (found.earlier, found.rows, found.repeated, found.interactions, found.refused) == (2, 2, 1, 3, [])
    assert [row.user for row in found.first_rows] == ["a", "c"]


class Shop:
    """An SQLite database of purchases."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with sqlite3.connect(path) as connection:
            connection.execute("create table bought (user, item, time)")

    def buy(self, *rows: tuple[str, str, str | int]) -> None:
        with sqlite3.connect(self.path) as connection:
            connection.executemany("insert into bought values (?, ?, ?)", rows)

    def query(self, text: str) -> Query:
        return Query(find_database(f"sqlite:///{self.path}", {}), text)


@pytest.mark.parametrize(
    ("condition", "times"),
    [
        ("time > :since", ["2020-01-01 10:00:00", "2020-01-02 10:00:00.250", "2020-01-02 10:00:00.251"]),
        ("time > :since", ["2020-01-01 10:00:00", "2020-01-02 10:00:00.250123", "2020-01-02 10:00:00.251"]),
        ("time > :since", ["2020-01-01 10:00:00", "2020-01-02 10:00:00.000", "2020-01-02 10:00:00.001"]),
        ("time > :since", ["2020-01-01 10:00:00", "2020-01-02 10:00:00.000000", "2020-01-02 10:00:01"]),
        ("time > :since", ["2020-01-01 10:00:00", "2020-01-02 10:00:00+00:00", "2020-01-02 10:00:01+00:00"]),
        ("time >= (:since_ms + 1) * 1000", [1_577_872_800_000_000, 1_577_872_801_001_999, 1_577_872_801_002_000]),
        ("datetime(time) > :since", ["2020-01-01T10:00:00Z", "2020-01-02T10:00:00Z", "2020-01-02T10:00:01Z"]),
        ("time > :since_ms", [1_577_872_800_000, 1_577_872_801_001, 1_577_872_801_002]),
        ("time > :since_ms / 1000", [1_577_872_800, 1_577_872_801, 1_577_872_802]),
        (":since_ms < 1000 * strftime('%s', time) -- :since's", ["2020-01-01", "2020-01-02", "2020-01-03"]),
    ],
)
def test_since_gives_what_is_newer(tmp_path: Path, store: Store, condition: str, times: list[str | int]) -> None:
    """All at first; then nothing, then one row, whatever form the times have."""
    shop = Shop(tmp_path / "shop.db")
    query = shop.query(f"select user, item, time from bought where {condition}")
    shop.buy(("a", "x", times[0]), ("b", "x", times[1]))
    assert import_interactions(query, store, append=True, since=True).rows == 2
    assert import_interactions(query, store, append=True, since=True).rows == 0
    shop.buy(("c", "x", times[2]))
    report = import_interactions(query, store, append=True, since=True)
    assert (report.rows, report.interactions) == (1, 3)


def test_only_parameters_are_bound() -> None:
    """Not what is in texts, quoted names, comments and casts."""
    same = "select ':since', \":since\", 'it''s :since', x::since -- :since\n/* :since */, :since_x"
    query = Query(find_database("sqlite:///x.db", {}), same + ", :since, :since_ms")
    assert query.since(1_000).text == same + ", '1970-01-01 00:00:01.000999', 1000"
    assert query.since(1_001).text == same + ", '1970-01-01 00:00:01.001999', 1001"
    assert query.since(None).text == same + ", '0001-01-01 00:00:00.000999', -62135596800000"
    assert np.datetime64("0001-01-01", "ms").astype(int) == -62135596800000
    Query(query.database, same).require_no_parameter()
    with pytest.raises(UsageError, match="needs :since or :since_ms"):
        Query(query.database, same).since(1)


def test_since_is_refused_where_it_means_nothing(tmp_path: Path, store: Store) -> None:
    """A file, an import of all rows, a snapshot without times, and a query whose parameter would be null."""
    put(tmp_path, store, "user,item\na,x\n")
    query = Shop(tmp_path / "shop.db").query("select user, item, time from bought where time > :since")
    for source, append in ((tmp_path / "rows.csv", True), (query, False)):
        with pytest.raises(UsageError, match="--since needs --append and --query"):
            import_interactions(source, store, append=append, since=True)
    with pytest.raises(SourceError, match="has no times"):
        import_interactions(query, store, append=True, since=True)
    with pytest.raises(UsageError, match="Use --append --since, which give it a value"):
        import_interactions(query, store)


def test_the_command_appends(tmp_path: Path) -> None:
    """And says what there was before."""
    commands, shop = CommandLine(home=tmp_path / "home"), Shop(tmp_path / "shop.db")
    arguments = ("import", f"sqlite:///{shop.path}", "--append", "--since", "--query")
    query = "select user, item, time from bought where time > :since"
    shop.buy(("a", "x", "2020-01-01"), ("b", "x", "2020-01-02"))
    assert commands.call(*arguments, query).code == 0
    shop.buy(("c", "x", "2020-01-03"))
    ended = commands.call(*arguments, query)
    assert ended.code == 0
    assert "holds     3 interactions" in ended.out
    assert "before    2 interactions" in ended.out
