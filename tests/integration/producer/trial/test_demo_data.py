"""Tests of the demonstration's data, read in a process of its own."""

import csv
import subprocess
import sys
from pathlib import Path


def test_the_movielens_data_are_written_as_text(tmp_path: Path) -> None:
    """100,004 interactions of 671 users and 9,066 items, seven of them without a title."""
    path = tmp_path / "the films é.csv"
    command = [sys.executable, "-m", "reckoner.producer.trial.demo_data", str(path)]
    subprocess.run(command, check=True, capture_output=True)
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 100_004
    assert len({row["user"] for row in rows}) == 671
    assert len({row["item"] for row in rows}) == 9_066
    assert sum(not row["title"] for row in rows) == 7
    assert rows[1] == {"user": "1", "item": "1029", "time": "1260759179", "title": "Dumbo (1941)"}
