"""A dry run says what an import would do, and writes nothing."""

import os
from pathlib import Path

import msgspec
import numpy as np
import pytest

from reckoner.producer.importing import (
    Columns,
    ImportLimits,
    Options,
    Preview,
    import_interactions,
    preview_interactions,
)
from reckoner.producer.importing.gathering import FirstRow
from reckoner.producer.importing.preview import PERIODS, Spread, Times
from reckoner.shared.store.location import open_store
from tests.commands import CommandLine

BOUGHT = """customer;product;at;stars;title;shop
a;x;2019-05-01 10:00;4;Tea pot;1
a;y;2019-06-01 10:00;5;Cup, blue;1
b;x;2020-06-01 10:00;5;Tea pot;2
NULL;x;2020-06-01 10:00;5;Tea pot;2
b;x;2020-07-01 10:00;1;Tea pot;2
c;x;never;1;Tea pot;2
"""
NAMED = ("--user", "customer", "--item", "product", "--time", "at", "--weight", "stars")


@pytest.fixture
def bought(tmp_path: Path) -> Path:
    path = tmp_path / "bought.csv"
    path.write_text(BOUGHT)
    return path


def preview(path: Path, **columns: str) -> Preview:
    return preview_interactions(path, None, Options(columns=Columns(**columns)))


def everything(directory: Path) -> dict[str, bytes | None]:
    """All paths with the bytes of the files."""
    found = sorted(directory.rglob("*"))
    return {str(path): path.read_bytes() if path.is_file() and os.access(path, os.R_OK) else None for path in found}


def test_a_preview_describes_columns_rows_and_spreads(bought: Path) -> None:
    """Every figure, from rows that can be counted by hand."""
    found = preview(bought, user="customer", item="product", time="at", weight="stars")
    assert found.columns == {"user": "customer", "item": "product", "weight": "stars", "time": "at", "title": "title"}
    assert found.other_columns == ["shop"]
    assert [(row.user, row.item, row.weight, row.title) for row in found.first_rows] == [
        ("a", "x", 4, "Tea pot"), ("a", "y", 5, "Cup, blue"), ("b", "x", 5, "Tea pot"), ("b", "x", 1, "Tea pot")
    ]  # fmt: skip
    assert [str(np.datetime64(row.time, "ms"))[:10] for row in found.first_rows][0::3] == ["2019-05-01", "2020-07-01"]
    assert (found.rows, found.interactions, found.repeated, found.left_out, found.bad_rows) == (6, 3, 1, 1, 1)
    assert (found.by_user, found.by_item, found.pairs) == (Spread(1, 2, 2), Spread(1, 2, 2), 1)
    first, last = (found.first_rows[row].time or 0 for row in (0, 3))
    assert found.times == Times(first, last, "month", {"2019-05": 1, "2019-06": 1, "2020-07": 1})
    assert (found.compared_with, found.refused) == (None, [])


def test_a_preview_has_the_figures_of_the_import(tmp_path: Path, bought: Path) -> None:
    """Whatever is in both."""
    columns = Columns(user="customer", item="product", weight="stars")
    report = import_interactions(bought, open_store((tmp_path / "store").as_uri()), columns=columns)
    found = msgspec.to_builtins(preview_interactions(bought, None, Options(columns=columns)))
    figures = msgspec.to_builtins(report)
    del figures["snapshot_id"]
    assert {name: found[name] for name in figures} == figures


def test_spreads_and_pairs_of_many_users(tmp_path: Path) -> None:
    """User n has n items: the median, the ninth of ten and the largest are known."""
    path = tmp_path / "many.csv"
    path.write_text("user,item\n" + "".join(f"u{n},i{i}\n" for n in range(1, 101) for i in range(n)))
    found = preview(path)
    assert found.by_user == Spread(50, 90, 100)
    assert found.by_item == Spread(50, 90, 100)
    assert found.pairs == sum(n * (n - 1) // 2 for n in range(1, 101))
    assert found.fit == "slim"
    assert 0 < found.fit_s < 10
    assert len(found.first_rows) == 5
    assert found.times is None


def test_times_of_many_years_are_listed_by_year_the_early_ones_together(tmp_path: Path) -> None:
    """No more lines than fit."""
    path = tmp_path / "old.csv"
    path.write_text("user,item,time\n" + "".join(f"u{year},i,{year}-03-01\n" for year in range(1990, 2020)))
    times = preview(path).times
    assert times is not None
    assert times.unit == "year"
    years = range(2020 - PERIODS, 2020)
    assert times.counts == {f"before {years[0]}": 30 - PERIODS} | {str(year): 1 for year in years}


def test_titles_of_the_other_file_are_in_the_first_rows(tmp_path: Path) -> None:
    """As MovieLens has them."""
    (tmp_path / "ratings.csv").write_text("userId,movieId,rating,timestamp\n1,10,4.0,1260759144\n")
    (tmp_path / "movies.csv").write_text("movieId,title,genres\n10,Grumpy (1993),\n")
    assert preview(tmp_path).first_rows == [FirstRow("1", "10", 1.0, 1260759144000, "Grumpy (1993)")]


def test_the_limits_are_judged_as_by_an_import(tmp_path: Path, bought: Path) -> None:
    """With what is compared."""
    many = tmp_path / "many.csv"
    many.write_text("user,item\n" + "".join(f"u{n},i{n}\n" for n in range(50)))
    store = open_store((tmp_path / "store").as_uri())
    import_interactions(many, store)
    columns = Columns(user="customer", item="product")
    report = import_interactions(bought, store, columns=columns, limits=ImportLimits())
    found = preview_interactions(bought, store, Options(columns=columns), ImportLimits())
    assert found.refused == report.refused != []
    assert found.compared_with is not None
    assert (found.compared_with.users, found.compared_with.interactions) == (50, 50)


def test_a_dry_run_writes_nothing(tmp_path: Path, bought: Path) -> None:
    """Neither without a store, nor beside one: no snapshot, no history, no owner, no home."""
    commands = CommandLine(home=tmp_path / "home")
    before = everything(tmp_path)
    ended = commands.run("import", str(bought), *NAMED, "--dry-run")
    assert (ended.code, everything(tmp_path)) == (0, before)
    assert "would pass" in ended.out
    assert "Cup, blue" in ended.out
    assert "the user is missing: NULL" in ended.err
    assert commands.call("import", str(bought), *NAMED).code == 0
    before = everything(tmp_path)
    assert commands.run("import", str(bought), *NAMED, "--dry-run", "--json").objects[0]["interactions"] == 3
    assert everything(tmp_path) == before


def test_a_dry_run_ends_as_the_import_would(tmp_path: Path) -> None:
    """With 1 if the limits refuse it, with 0 if they are overruled, and with the sentence of a source that fails."""
    commands, path = CommandLine(home=tmp_path / "home"), tmp_path / "rows.csv"
    path.write_text("user,item,time\n" + "u,i,x\n" * 30 + "v,j,2020-01-01\n")
    ended = commands.call("import", str(path), "--time", "time", "--dry-run")
    assert ended.code == 1
    assert "would be refused" in ended.out
    assert "--max-bad" in ended.err
    assert commands.call("import", str(path), "--time", "time", "--dry-run", "--force").code == 0
    path.write_text("user,item\n")
    ended = commands.call("import", str(path), "--dry-run")
    assert (ended.code, ended.err.strip()) == (1, "rows.csv has no rows.")


def test_a_night_is_no_dry_run(tmp_path: Path, bought: Path) -> None:
    """It would have nothing to fit."""
    ended = CommandLine(home=tmp_path / "home").call("import", str(bought), "--dry-run", "--night", "n1")
    assert ended.code == 2
    assert "Remove --dry-run" in ended.err
