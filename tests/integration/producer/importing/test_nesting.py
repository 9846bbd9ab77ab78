"""Values within objects, and lists as rows, in JSON and in tables whose columns have types."""

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from reckoner.producer.importing import Columns, import_interactions
from reckoner.producer.importing.reading import nesting
from reckoner.producer.importing.reading.arrow_tables import parquet_table
from reckoner.shared.errors import SourceError
from reckoner.shared.store.location import open_store
from reckoner.shared.store.protocol import Store
from tests.imports import reasons
from tests.snapshots import current, interactions

Objects = Sequence[Mapping[str, Any]]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store((tmp_path / "the store").as_uri())


def as_json_lines(objects: Objects, folder: Path) -> Path:
    path = folder / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, objects)))
    return path


def as_json_array(objects: Objects, folder: Path) -> Path:
    path = folder / "a.json"
    path.write_text(json.dumps(objects, indent=1))
    return path


def as_parquet(objects: Objects, folder: Path) -> Path:
    pq.write_table(as_arrow(objects, folder), folder / "a.parquet")
    return folder / "a.parquet"


def as_feather(objects: Objects, folder: Path) -> Path:
    pyarrow.feather.write_feather(as_arrow(objects, folder), folder / "a.feather")
    return folder / "a.feather"


def as_arrow(objects: Objects, _folder: Path) -> pa.Table:
    names = dict.fromkeys(name for each in objects for name in each)
    return pa.table({name: pa.array([each.get(name) for each in objects]) for name in names})


def as_polars(objects: Objects, folder: Path) -> pl.DataFrame:
    return pl.DataFrame(as_arrow(objects, folder))


FORMS = [as_json_lines, as_json_array, as_parquet, as_feather, as_arrow, as_polars]
ROWS = [(f"u{n % 7}", n % 5, 1.5 + n, 1_700_000_000 + n) for n in range(30)]
NESTED: dict[str, tuple[Objects, Columns]] = {
    "objects": (
        [
            {"user": {"id": user}, "item": item, "event": {"value": {"stars": stars}, "at": at}}
            for user, item, stars, at in ROWS
        ],
        Columns(user="user.id", weight="event.value.stars", time="event.at"),
    ),
    "lists": (
        [
            {
                "user": user,
                "time": [at for each, *_, at in ROWS if each == user],
                "items": [{"id": [item], "stars": stars} for each, item, stars, _ in ROWS if each == user],
            }
            for user in sorted({user for user, *_ in ROWS})
        ],
        Columns(item="items.id", weight="items.stars"),
    ),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("kind", NESTED)
def test_nested_values_give_the_snapshot_of_a_flat_table(
    tmp_path: Path, store: Store, kind: str, form: Callable[[Objects, Path], Any]
) -> None:
    """Values within objects by their path, and a row for each value of lists, also within lists of objects."""
    flat = tmp_path / "flat.csv"
    flat.write_text("user,item,stars,time\n" + "".join(",".join(map(str, row)) + "\n" for row in ROWS))
    expected = import_interactions(flat, store, columns=Columns(weight="stars"))
    objects, columns = NESTED[kind]
    report = import_interactions(form(objects, tmp_path), store, columns=columns)
    assert (report.snapshot_id, report.rows) == (expected.snapshot_id, expected.rows)


@pytest.mark.parametrize("form", FORMS)
def test_lists_of_one_row_have_one_length_or_none(
    tmp_path: Path, store: Store, form: Callable[[Objects, Path], Any]
) -> None:
    """An empty list is one missing value, and lists of several lengths are a bad row."""
    objects: Objects = [
        {"user": "a", "item": ["x", "y"], "weight": [1, 2]},
        {"user": "b", "item": [], "weight": []},
        {"user": "c", "item": ["x", "y"], "weight": [1]},
        {"user": "d", "item": ["x", None], "weight": [3, 4]},
        {"user": "e", "item": None, "weight": None},
    ]
    report = import_interactions(form(objects, tmp_path), store, columns=Columns(weight="weight"))
    assert reasons(report) == [
        ("bad", nesting.UNEQUAL_LISTS, 1, [3]),
        ("left_out", "the item is empty", 3, [2, 4, 5]),
    ]
    assert {pair: weight for pair, (weight, _) in interactions(current(store)).items()} == {
        ("a", "x"): 1, ("a", "y"): 2, ("d", "x"): 3,
    }  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_an_object_as_a_value_is_refused_with_advice(
    tmp_path: Path, store: Store, form: Callable[[Objects, Path], Any]
) -> None:
    """By the name of a value in it."""
    objects = [{"user": {"id": 1}, "item": "x"}, {"user": {"id": 2}, "item": "y"}]
    with pytest.raises(SourceError, match=r"is an object[.;] [Nn]ame one of its values, such as user\.id\.$"):
        import_interactions(form(objects, tmp_path), store)
    with pytest.raises(SourceError, match=r"has no column user\.name \(--user\)\."):
        import_interactions(form(objects, tmp_path), store, columns=Columns(user="user.name"))


@pytest.mark.parametrize("form", FORMS)
def test_a_name_with_a_dot_counts_before_a_value_within(
    tmp_path: Path, store: Store, form: Callable[[Objects, Path], Any]
) -> None:
    """As it is written."""
    objects = [{"user": {"id": 1}, "user.id": 2, "item": "x"}]
    import_interactions(form(objects, tmp_path), store, columns=Columns(user="user.id"))
    assert set(interactions(current(store))) == {("2", "x")}


def test_a_value_within_may_begin_late(tmp_path: Path, store: Store) -> None:
    """As a column may; objects without it have a missing value."""
    path = tmp_path / "a.jsonl"
    lines = [f'{{"who": null, "item": "x", "{"y" * 100}": {n}}}\n' for n in range(30_000)]
    path.write_text("".join(lines) + '{"who": {"id": "last"}, "item": "x"}\n{"who": "me", "item": "x"}\n')
    report = import_interactions(path, store, columns=Columns(user="who.id"))
    assert [(found.reason, found.rows) for found in report.rejected] == [("the user is empty", 30_001)]
    assert set(interactions(current(store))) == {("last", "x")}


def test_a_list_that_would_be_too_many_rows_is_bad(
    tmp_path: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its length, or by what the other values take that are repeated."""
    monkeypatch.setattr("reckoner.producer.importing.reading.nesting.MAX_VALUES", 3)
    monkeypatch.setattr("reckoner.producer.importing.reading.json_lines.MAX_REPEATED", 100)
    objects = [
        {"user": "a", "item": [1, 2, 3]},
        {"user": "b", "item": [1, 2, 3, 4]},
        {"user": "c" * 40, "item": [1, 2, 3]},
        {"user": "d" * 40, "item": [1, 2]},
    ]
    report = import_interactions(as_json_lines(objects, tmp_path), store)
    assert reasons(report) == [("bad", nesting.TOO_LONG_LISTS, 2, [2, 3])]
    assert report.interactions == 5


def test_the_total_of_lists_counts_their_rows(tmp_path: Path) -> None:
    """So a progress bar ends at its end: the total is an estimate before, and right after the last batch."""
    table = pa.table({"user": ["a"] * 10_000, "item": [["x"], ["x", "y", "z"]] * 5_000})
    pq.write_table(table, tmp_path / "a.parquet")
    found = parquet_table(tmp_path / "a.parquet")
    for _ in range(2):
        done = 0
        for batch in found.batches(["user", "item"], lambda *_: None):
            done += len(batch.lines)
            assert found.n_rows == 20_000
        assert done == 20_000


def test_a_frame_may_have_lists_among_single_values(tmp_path: Path, store: Store) -> None:
    """As JSON may; their texts are no ids."""
    objects: Objects = [{"user": 1, "item": ["x", 2, None]}, {"user": "b", "item": "y"}, {"user": "c", "item": None}]
    expected = import_interactions(as_json_lines(objects, tmp_path), store)
    report = import_interactions(pd.DataFrame(objects), store)
    assert set(interactions(current(store))) == {("1", "x"), ("1", "2"), ("b", "y")}
    assert (report.snapshot_id, report.rows, report.left_out) == (expected.snapshot_id, 5, 2)
