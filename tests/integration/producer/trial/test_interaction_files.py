"""`import` reads files of synthetic interactions, which are complete or do not exist."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from reckoner.producer.importing import import_interactions
from reckoner.producer.trial.interaction_files import write_interactions
from reckoner.producer.trial.synthesis import Block, Size, synthesise
from reckoner.shared.errors import OutputError, UsageError
from reckoner.shared.store.location import open_store
from tests.snapshots import current, interactions

SIZE = Size(users=50, items=40, interactions=600)


def pairs() -> dict[tuple[str, str], tuple[float, int]]:
    """The imported interactions: weight and time in milliseconds by pair."""
    return {
        (str(user), str(item)): (1.0, 1000 * time)
        for block in synthesise(SIZE, 1)
        for user, item, time in zip(*(array.tolist() for array in block), strict=True)
    }


@pytest.mark.parametrize("name", ["made.csv", "made.parquet", "made.pq"])
def test_import_reads_the_written_file(tmp_path: Path, name: str) -> None:
    """Every pair with its time, and nothing else."""
    found: list[int] = []
    written = write_interactions(tmp_path / name, synthesise(SIZE, 1), found.append)
    store = open_store((tmp_path / "store").as_uri())
    report = import_interactions(tmp_path / name, store)
    assert (report.interactions, report.users, report.items, report.bad_rows) == (600, 50, 40, 0)
    assert interactions(current(store)) == pairs()
    assert written == (tmp_path / name).stat().st_size
    assert found == [600]


def test_a_csv_file_has_nothing_but_names_and_numbers(tmp_path: Path) -> None:
    """So that its bytes do not depend on pyarrow."""
    write_interactions(tmp_path / "made.csv", synthesise(SIZE, 1), lambda _: None)
    lines = (tmp_path / "made.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "user,item,time"
    assert len(lines) == 601
    assert all(number.isdecimal() for line in lines[1:] for number in line.split(","))


def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """It may be somebody's own."""
    (tmp_path / "ratings.csv").write_text("mine")
    with pytest.raises(OutputError, match=r"ratings\.csv already exists\. Remove it, or use another name\."):
        write_interactions(tmp_path / "ratings.csv", synthesise(SIZE, 1), lambda _: None)
    assert (tmp_path / "ratings.csv").read_text() == "mine"


@pytest.mark.parametrize("name", ["made.csv", "made.parquet"])
def test_an_interruption_leaves_no_file(tmp_path: Path, name: str) -> None:
    """Such as Ctrl-C after the first block."""

    def interrupted() -> Iterator[Block]:
        yield from synthesise(SIZE, 1)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_interactions(tmp_path / name, interrupted(), lambda _: None)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "error", "sentence"),
    [
        ("made.txt", UsageError, "The name must end in .csv or .parquet."),
        ("nowhere/made.csv", OutputError, "cannot be written: No such file or directory."),
    ],
)
def test_what_cannot_be_written_is_one_sentence(
    tmp_path: Path, name: str, error: type[Exception], sentence: str
) -> None:
    """It names the file."""
    with pytest.raises(error) as refused:
        write_interactions(tmp_path / name, synthesise(SIZE, 1), lambda _: None)
    assert str(tmp_path / name) in str(refused.value)
    assert str(refused.value).endswith(sentence)
