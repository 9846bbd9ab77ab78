"""Rows are good, repeated, bad or left out, whatever file they are in: each is counted, and listed on demand."""

import csv
import sqlite3
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reckoner.producer.cli.application import app
from reckoner.producer.importing import (
    MISSING,
    Columns,
    ImportReport,
    Query,
    Repeats,
    Rules,
    find_database,
    import_interactions,
)
from reckoner.producer.importing.judging.decimals import Decimal
from reckoner.producer.importing.judging.rejected import RejectsFile
from reckoner.producer.importing.judging.weights import ADVICE
from reckoner.shared.errors import OutputError, SourceError, UsageError
from reckoner.shared.event_types import Nonpositive
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from tests.commands import CommandLine
from tests.imports import reasons
from tests.snapshots import current, interactions, titles

WEIGHTED = Columns(weight="w")


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "the store").as_uri())


def write(directory: Path, *lines: str, name: str = "rows.csv") -> Path:
    path = directory / name
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_missing_ids_are_left_out_by_name(tmp_path: Path, store: Store) -> None:
    """They would be users who tie all their items together."""
    file = write(tmp_path, "user,item", "NULL,x", "a,x", "NULL,y", ' ,"x"', "nan,\u00a0", "b,None")
    report = import_interactions(file, store)
    assert reasons(report) == [
        ("left_out", "the user is missing: NULL", 2, [2, 4]),
        ("left_out", "the user is blank", 1, [5]),
        ("left_out", "the user is missing: nan", 1, [6]),
        ("left_out", "the item is missing: None", 1, [7]),
    ]
    assert interactions(current(store)).keys() == {("a", "x")}
    report = import_interactions(file, store, rules=Rules(keep=frozenset(["NULL", "None"])))
    assert (report.left_out, report.interactions) == (2, 4)


def test_the_help_names_the_words_for_missing_values() -> None:
    """All of them."""
    help_text = next(str(command.callback.__doc__) for command in app.registered_commands if command.name == "import")
    words = help_text.partition("spelled exactly so:")[2].partition(". With --keep")[0].replace("\n", " ")
    assert {word.strip() for word in words.split(",")} == MISSING


def as_csv(frame: pd.DataFrame, directory: Path) -> Path:
    frame.to_csv(directory / "frame.csv", index=False)
    return directory / "frame.csv"


def as_parquet(frame: pd.DataFrame, directory: Path) -> Path:
    frame.to_parquet(directory / "frame.parquet")
    return directory / "frame.parquet"


def as_sqlite(frame: pd.DataFrame, directory: Path) -> Query:
    with sqlite3.connect(directory / "frame.db") as connection:
        frame.to_sql("frame", connection, index=False)
    connection.close()
    return Query(find_database(f"sqlite:///{directory / 'frame.db'}", {}), "select * from frame")


FRAMES = {
    "whole": pd.DataFrame({"user": [17850, 12347], "item": [1, 2], "time": [1790251200, 1790251201]}),
    "gaps": pd.DataFrame({"user": [17850.0, None], "item": [1.0, 2.0], "time": [1790251200123, 1790251201000]}),
    "parts": pd.DataFrame({"user": [17850.0, 0.5], "item": [1.0, 2.25], "time": [1790251200000001, 1790251201000000]}),
    # A later row tells which is the day.
    "texts": pd.DataFrame(
        {"user": ["NULL", "007", "a"], "item": [" x", "\u00a0", "x"], "time": ["1/2/2010", "13/2/2010", "3/4/2010"]}
    ),
    "moments": pd.DataFrame(
        {
            "user": ["a", "b"],
            "item": ["C1", "2.0"],
            "time": pd.to_datetime(["2019-11-01 01:02:03", "2019-11-02 00:00:00"]),
        }
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_a_frame_gives_one_snapshot_in_every_form(tmp_path: Path, store: Store, name: str) -> None:
    """With the same ids, times and counts."""
    found = [import_interactions(form(FRAMES[name], tmp_path), store) for form in (as_csv, as_parquet, as_sqlite)]
    assert len({report.snapshot_id for report in found}) == 1
    assert len({(report.rows, report.interactions, report.bad_rows, report.left_out) for report in found}) == 1
    assert current(store).user_times is not None


def test_a_frame_with_whole_numbers_is_imported_without_zeros(tmp_path: Path, store: Store) -> None:
    """As 17850 and 17850.0 are one user, and the report says so."""
    ids = {"17850", "12347"}
    for lines in (["17850,1", "12347,2"], ["17850.0,1", "12347.0,2"], ["17850,1", "12347.0,2"]):
        report = import_interactions(write(tmp_path, "user,item", *lines), store)
        assert {user for user, _ in interactions(current(store))} == ids
        assert report.without_zeros == ({} if lines[1] == "12347,2" else {"user": report.without_zeros["user"]})


@pytest.mark.parametrize("data_type", [pa.float64(), pa.float32()])
def test_ids_that_a_float_cannot_hold_are_refused(tmp_path: Path, store: Store, data_type: pa.DataType) -> None:
    """Neighbouring ids would become one user without a word."""
    pq.write_table(
        pa.table({"user": pa.array([76561197960287930.0], data_type), "item": ["x"]}), tmp_path / "steam.parquet"
    )
    with pytest.raises(SourceError, match="Write the user column as integers or text"):
        import_interactions(tmp_path / "steam.parquet", store)


RATINGS = ["user,item,w", "a,x,12", "a,x,-12", "a,y,5", "b,x,0", "b,y,", "b,z,NULL", "c,x,3", "c,x,-1", "d,x,-2"]


@pytest.mark.parametrize(
    ("rule", "repeats", "kept", "expected"),
    [
        (
            "drop",
            "last",
            {("a", "x"): 12, ("a", "y"): 5, ("c", "x"): 3},
            [
                ("left_out", "the weight is below zero", 3, [3, 9, 10]),
                ("left_out", "the weight is missing", 2, [6, 7]),
                ("left_out", "the weight is zero", 1, [5]),
            ],
        ),
        (
            "subtract",
            "sum",
            {("a", "y"): 5, ("c", "x"): 2},
            [
                ("left_out", "the weights of the user and the item sum to zero or below", 4, [2, 3, 5, 10]),
                ("left_out", "the weight is missing", 2, [6, 7]),
            ],
        ),
        (
            "bad",
            "last",
            {("a", "x"): 12, ("a", "y"): 5, ("c", "x"): 3},
            [
                ("bad", "the weight is below zero", 3, [3, 9, 10]),
                ("bad", "the weight is missing", 2, [6, 7]),
                ("bad", "the weight is zero", 1, [5]),
            ],
        ),
    ],
)
def test_weights_of_zero_or_below_follow_the_rule(
    tmp_path: Path, store: Store, rule: Nonpositive, repeats: Repeats, kept: dict[tuple[str, str], float], expected: Any
) -> None:
    """Left out, subtracted from the pair's sum, or bad; users without an interaction are gone."""
    report = import_interactions(
        write(tmp_path, *RATINGS), store, columns=WEIGHTED, repeats=repeats, rules=Rules(nonpositive=rule)
    )
    assert {pair: weight for pair, (weight, _) in interactions(current(store)).items()} == kept
    assert reasons(report) == expected
    assert report.users == len({user for user, _ in kept})


def test_a_snapshot_has_no_trace_of_cancelled_pairs(tmp_path: Path, store: Store) -> None:
    """It is that of the other rows alone, also with sums that are not exact."""
    others = ["user,item,w,title", "b,y,1,Y", "d,z,2,Z"]
    wanted = import_interactions(write(tmp_path, *others), store, columns=WEIGHTED, repeats="sum").snapshot_id
    alone = write(tmp_path, "user,item,w", "a,x,0.1", "a,x,0.2", "a,x,-0.3")
    rules = Rules(nonpositive="subtract")
    with pytest.raises(SourceError, match="sum to zero"):
        import_interactions(alone, store, columns=WEIGHTED, repeats="sum", rules=rules)
    cancelled = ["a,x,0.1,X", "a,x,0.2,X", "a,x,-0.3,X", "b,z,-4,", "c,y,1,", "c,y,-1,"]
    file = write(tmp_path, *others, *cancelled)
    report = import_interactions(file, store, columns=WEIGHTED, repeats="sum", rules=rules)
    assert (report.snapshot_id, report.left_out, report.repeated) == (wanted, 6, 0)


def test_rows_that_all_cancel_are_no_import(tmp_path: Path, store: Store) -> None:
    """One sentence says why."""
    file = write(tmp_path, "user,item,w", "a,x,1", "a,x,-1")
    with pytest.raises(SourceError, match=r"has no good row\. The first one is line 2: the weights .* sum to zero"):
        import_interactions(file, store, columns=WEIGHTED, repeats="sum", rules=Rules(nonpositive="subtract"))
    with pytest.raises(UsageError, match="--nonpositive subtract needs --repeats sum"):
        import_interactions(file, store, columns=WEIGHTED, rules=Rules(nonpositive="subtract"))


def test_other_numbers_are_bad_and_say_why(tmp_path: Path, store: Store) -> None:
    """A comma may stand for thousands too, so it is not guessed where points are."""
    lines = ["user,item,w", 'a,x,"3,5"', 'a,x,"1,234.50"', 'a,x,"1.234,50"', "a,x,many", "a,x,1e39", "a,y,1"]
    report = import_interactions(write(tmp_path, *lines), store, columns=WEIGHTED)
    assert reasons(report) == [
        ("bad", f"the weight has a comma; {ADVICE}", 3, [2, 3, 4]),
        ("bad", "the weight is not a number", 1, [5]),
        ("bad", "the weight is too large", 1, [6]),
    ]
    assert [found.value for found in report.rejected] == ["'3,5'", "'many'", "'1e39'"]


TIMES = ["2026-01-01", "", " ", "NULL", "\\N", "soon"]
NUMBERS = [1_700_000_000, None, None, None, None, 1e30]


@pytest.mark.parametrize("write_times", [as_csv, as_parquet, as_sqlite])
@pytest.mark.parametrize("times", [TIMES, NUMBERS], ids=["texts", "numbers"])
def test_rows_without_a_time_are_left_out_if_times_are_wanted(
    tmp_path: Path, store: Store, times: list[Any], write_times: Any
) -> None:
    """And bad if it cannot be read; a column that was only guessed is ignored."""
    frame = pd.DataFrame({"user": list("abcdef"), "item": "x", "time": times})
    source, first = write_times(frame, tmp_path), 2 if write_times is as_csv else 1
    report = import_interactions(source, store, columns=Columns(time="time"))
    assert reasons(report) == [
        ("bad", "the time is invalid", 1, [first + 5]),
        ("left_out", "the time is missing", 4, [first + number for number in range(1, 5)]),
    ]
    report = import_interactions(source, store)
    assert (report.interactions, report.not_times) == (6, "time")
    assert str(report.why_not_times).endswith("With --time time such rows are left out")


def test_titles_that_are_missing_are_none_and_a_column_of_them_is_said(tmp_path: Path, store: Store) -> None:
    """By the same words as ids; the last title that is none of them counts."""
    rows = ["a,x,Tea", "b,x,NULL", "c,x,", "d,y,NaN"]
    report = import_interactions(write(tmp_path, "user,item,title", *rows), store)
    assert (titles(current(store)), report.no_titles) == ({"x": "Tea", "y": None}, None)
    report = import_interactions(write(tmp_path, "user,item,title", *rows[1:]), store)
    assert (current(store).titles, report.no_titles) == (None, "title")
    ended = CommandLine(home=tmp_path / "home").call("import", str(tmp_path / "rows.csv"))
    assert "No item has a title: column title has only missing values.\n" in ended.err


COMMAS = ["user;item;w", "a;x;4,5", "a;y;3", "b;x; 0,25", "b;y;1,125", "c;x;-2,5", "c;y;", "d;x;1,5e1"]


def test_decimal_commas_are_found_and_said(tmp_path: Path, store: Store) -> None:
    """They give the snapshot that points give, and the reasons of it."""
    points = import_interactions(write(tmp_path, *(line.replace(",", ".") for line in COMMAS)), store, columns=WEIGHTED)
    report = import_interactions(write(tmp_path, *COMMAS), store, columns=WEIGHTED)
    assert report.snapshot_id == points.snapshot_id
    assert reasons(report) == reasons(points)
    assert (report.decimal_comma, points.decimal_comma) == ("4,5", None)
    ended = CommandLine(home=tmp_path / "home").call("import", str(tmp_path / "rows.csv"), "--weight", "w")
    assert "The weights have decimal commas, such as 4,5.\n" in ended.err


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
@pytest.mark.parametrize(
    ("weights", "sign", "read"),
    [
        (["1,234", "2", "2,5"], None, [1.234, 2, 2.5]),
        (["2,5", "2", "1.234"], None, [None, 2, 1.234]),
        (["2,5", "2", "1,234,567"], None, [None, 2, None]),
        (["1,234", "2", "3,125"], None, [None, 2, None]),
        (["1,234", "2", "3,125"], ",", [1.234, 2, 3.125]),
        (["2,5", "2", "3,5"], ".", [None, 2, None]),
        (["2,5", "2", "1.5"], ",", [2.5, 2, None]),
        (["2,5", "2", "1.234,5"], ",", [2.5, 2, None]),
        (["2,5", "2", "many"], None, [2.5, 2, None]),
    ],
)
def test_decimal_commas_are_found_by_the_whole_column(
    store: Store, weights: list[str], sign: Decimal | None, read: list[float | None], batch_rows: int
) -> None:
    """A comma before three digits may separate thousands: the other values tell, or the option does."""
    table = pa.table({"user": ["a"] * 3, "item": ["0", "1", "2"], "w": weights})
    frame = pa.Table.from_batches(table.to_batches(batch_rows))
    report = import_interactions(frame, store, columns=WEIGHTED, rules=Rules(decimal=sign))
    found = {item: weight for (_, item), (weight, _) in interactions(current(store)).items()}
    assert [found.get(str(place)) for place in range(3)] == [
        weight if weight is None else pytest.approx(weight) for weight in read
    ]
    assert report.bad_rows == read.count(None)


def test_day_and_month_are_told_apart_by_the_column_or_asked_for(tmp_path: Path, store: Store) -> None:
    """A guessed column is skipped if they cannot be, and the report says why."""
    file = write(tmp_path, "user,item,time", "a,x,1/2/2010", "b,x,3/2/2010")
    report = import_interactions(file, store)
    assert report.not_times == "time"
    assert "may have the day or the month first" in str(report.why_not_times)
    with pytest.raises(SourceError, match="--time-format"):
        import_interactions(file, store, columns=Columns(time="time"))
    import_interactions(file, store, rules=Rules(time_format="%d/%m/%Y"))
    assert interactions(current(store))["a", "x"] == (1.0, 1264982400000)
    with pytest.raises(SourceError, match="The first one is"):
        import_interactions(file, store, rules=Rules(time_format="%d.%m.%Y"))
    more = write(tmp_path, "user,item,time", "a,x,1/2/2010", "b,x,13/2/2010")
    import_interactions(more, store)
    assert interactions(current(store))["a", "x"] == (1.0, 1264982400000)


def test_an_id_with_a_large_share_is_named(tmp_path: Path, store: Store) -> None:
    """It may stand for all who are not known."""
    rows = [f"u{n},i{n % 50}" for n in range(2000)] + [f"guest,i{n}" for n in range(200)]
    report = import_interactions(write(tmp_path, "user,item", *rows), store)
    assert [(found.kind, found.id, found.interactions) for found in report.suspects] == [("user", "guest", 200)]
    assert report.suspects[0].share == pytest.approx(200 / 2200)
    assert import_interactions(write(tmp_path, "user,item", *rows[:2050]), store).suspects == []


def test_rejected_rows_are_written_with_their_values(tmp_path: Path, store: Store) -> None:
    """With line, kind and reason; malformed lines with their text; once, though the table is read again."""
    path = tmp_path / "rejected rows.csv"
    lines = [
        "user,item,w,other",
        "1.0,x,1,",
        "2.0,x",
        'NULL,"a, ""b""\nc",1,',
        "2.0,y,-1,",
        "2.0,y,1,",
        "b,y,no,",
        'c,"torn,1,',
    ]
    report = import_interactions(
        write(tmp_path, *lines),
        store,
        columns=WEIGHTED,
        repeats="sum",
        rules=Rules(nonpositive="subtract"),
        rejects=path,
    )
    with path.open(encoding="utf-8", newline="") as file:
        found = sorted(csv.reader(file))
    assert found == [
        ["3", "bad", "it has 2 values instead of 4", "", "", "", "2.0,x"],
        ["4", "left_out", "the user is missing: NULL", "NULL", 'a, "b"\nc', "1", ""],
        ["6", "left_out", "the weights of the user and the item sum to zero or below", "2.0", "y", "-1", ""],
        ["7", "left_out", "the weights of the user and the item sum to zero or below", "2.0", "y", "1", ""],
        ["8", "bad", "the weight is not a number", "b", "y", "no", ""],
        ["9", "bad", "it has a quotation mark without its partner", "", "", "", 'c,"torn,1,'],
        ["line", "kind", "reason", "user", "item", "w", "text"],
    ]
    assert report.bad_rows + report.left_out == len(found) - 1


def test_malformed_lines_are_written_before_the_end(tmp_path: Path) -> None:
    """Ten thousand at a time, or fewer if they are long, so that they do not fill the memory."""
    path = tmp_path / "rejects.csv"
    for n, text in ((10_000, "x"), (9, "x" * (1 << 20))):
        with RejectsFile(path) as rejects:
            rejects.start("line", ["user", "item"])
            for line in range(n):
                rejects.add_line(line, "it is no row", text)
            assert path.stat().st_size > 100_000
        with path.open(newline="") as file:
            assert sum(1 for _ in file) == n + 1


def test_rejects_are_written_nowhere_else(tmp_path: Path, store: Store) -> None:
    """Not over the source, and a place that cannot be written is refused before reading."""
    file = write(tmp_path, "user,item", "a,x")
    database = as_sqlite(FRAMES["whole"], tmp_path)
    for source, path in ((file, file), (database, database.database.path)):
        with pytest.raises(UsageError, match="it is the source"):
            import_interactions(source, store, rejects=path)
    with pytest.raises(OutputError, match="No such file or directory"):
        import_interactions(file, store, rejects=tmp_path / "nowhere" / "rejects.csv")
    assert file.read_text() == "user,item\na,x\n"


def test_too_many_rows_left_out_are_refused(tmp_path: Path) -> None:
    """Unless --max-left-out or --force says otherwise; the report is short."""
    commands = CommandLine(home=tmp_path / "home")
    file = write(tmp_path, "user,item", "a,x", *["NULL,x"] * 24, "b,y", *[",x"] * 5)
    ended = commands.call("import", str(file))
    assert ended.code == 1
    assert ended.err.splitlines() == [
        "24 rows left out: the user is missing: NULL (lines 3, 4, 5, 6, 7, ...)",
        "5 rows left out: the user is empty (lines 28, 29, 30, 31, 32)",
        "Refused: 93.5% of the rows are left out, the limit is 50.0% (--max-left-out). The current snapshot stays. Use "
        "--force to import it anyway.",
    ]
    assert "rows      31, 29 left out\n" in ended.out
    for option in (["--max-left-out", "0.95"], ["--force"], ["--keep", "NULL, None"]):
        assert commands.call("import", str(file), *option).code == 0


values = st.sampled_from(["a", "b", "1", "2.0", "NULL", "", " ", "x" * 1025, "1e+20"])
weights = st.sampled_from(["1", "2.5", "0", "-1", "-2.5", "", "NULL", "many", "1,5", "1e39", "1e-60"])
times = st.sampled_from(["7", "2010-01-01", "1/2/2010", "13/2/2010", "1.2.2010", "20100101", "", "x"])


@given(
    st.lists(st.tuples(values, values, weights, times), max_size=12),
    st.sampled_from([("drop", "last"), ("drop", "sum"), ("subtract", "sum"), ("bad", "max")]),
    st.sampled_from([None, "time"]),
)
@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_row_is_accounted_for(
    tmp_path: Path,
    store: Store,
    rows: list[tuple[str, str, str, str]],
    rule: tuple[Nonpositive, Repeats],
    time: str | None,
) -> None:
    """Rows in are good, repeated, bad or left out, and the rejected ones are written, each once."""
    path, rejects = tmp_path / "rows.csv", tmp_path / "rejects.csv"
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([("user", "item", "w", "time"), *rows, ("u", "i", "1", "7")])
    try:
        report: ImportReport = import_interactions(
            path,
            store,
            columns=Columns(weight="w", time=time),
            repeats=rule[1],
            rules=Rules(nonpositive=rule[0]),
            rejects=rejects,
        )
    except SourceError:
        # Its days and months cannot be told apart.
        assert time is not None
        return
    reasons(report)
    assert report.rows == len(rows) + 1
    assert report.interactions == len(interactions(current(store)))
    with rejects.open(newline="") as file:
        lines = [int(row[0]) for row in list(csv.reader(file))[1:]]
    assert len(set(lines)) == len(lines) == report.bad_rows + report.left_out
    good = len(rows) + 1 - len(lines)
    assert report.repeated == good - report.interactions
