"""`reckoner synth` as a user calls it: its file can be imported and has the same bytes on a lesser processor."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tests.commands import CommandLine

WITHOUT_ARRAYS = "sys.modules.update(dict.fromkeys(['numpy', 'pandas', 'pyarrow']))"


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(home=tmp_path / "home")


def test_synthetic_data_are_imported(commands: CommandLine, tmp_path: Path) -> None:
    """With the requested users, items and interactions, and no bad row."""
    made = commands.run("synth", str(tmp_path / "made.parquet"), "--like", "ml-1m")
    assert (made.code, made.err) == (0, "")
    assert "1,000,209 interactions of 6,040 users with 3,706 items" in made.out
    imported = commands.run("import", str(tmp_path / "made.parquet"), "--json")
    assert (imported.code, imported.err) == (0, "")
    (shown,) = imported.objects
    assert (shown["interactions"], shown["users"], shown["items"]) == (1_000_209, 6_040, 3_706)
    assert (shown["repeated"], shown["bad_rows"]) == (0, 0)


def test_a_lesser_processor_makes_the_same_bytes(commands: CommandLine, tmp_path: Path) -> None:
    """Without numpy's optional instructions."""
    size = ("--users", "4000", "--items", "2000", "--interactions", "300000")
    features = np.show_config(mode="dicts")["SIMD Extensions"]["found"]
    hashes = set()
    for name, environ in {"all": {}, "least": {"NPY_DISABLE_CPU_FEATURES": " ".join(features)}}.items():
        made = commands.run("synth", str(tmp_path / f"{name}.csv"), *size, environ=environ)
        assert made.code == 0, made.err
        hashes.add(hashlib.sha256((tmp_path / f"{name}.csv").read_bytes()).hexdigest())
    assert len(hashes) == 1


def test_each_option_beside_like_overrides_one_number(commands: CommandLine, tmp_path: Path) -> None:
    """Another number of interactions keeps users and items; another seed makes another file."""
    arguments = ("--like", "ml-1m", "--interactions", "50000", "--json")
    first = commands.call("synth", str(tmp_path / "first.csv"), *arguments)
    second = commands.call("synth", str(tmp_path / "second.csv"), *arguments, "--seed", "7")
    assert (first.code, second.code) == (0, 0)
    (shown,) = first.objects
    assert (shown["users"], shown["items"], shown["interactions"], shown["seed"]) == (6_040, 3_706, 50_000, 1)
    assert shown["bytes"] == (tmp_path / "first.csv").stat().st_size
    assert (tmp_path / "first.csv").read_bytes() != (tmp_path / "second.csv").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("--users", "3"),
            "The size is incomplete. Give --like ml-1m, --like ml-20m, or --items and --interactions.",
        ),
        (
            ("--users", "3", "--items", "4", "--interactions", "13"),
            "Invalid size: 13 interactions are too many: 3 users and 4 items have 12 pairs.",
        ),
    ],
)
def test_what_cannot_be_made_is_one_sentence(
    commands: CommandLine, tmp_path: Path, arguments: tuple[str, ...], sentence: str
) -> None:
    """And no file."""
    ended = commands.call("synth", str(tmp_path / "made.csv"), *arguments)
    assert (ended.code, ended.out, ended.err) == (2, "", f"{sentence}\n")
    assert not (tmp_path / "made.csv").exists()


def test_the_extra_that_is_missing_is_named(commands: CommandLine, tmp_path: Path) -> None:
    """Where only the client is installed."""
    ended, _ = commands.modules(WITHOUT_ARRAYS, "synth", str(tmp_path / "made.csv"), "--like", "ml-1m")
    assert ended.code == 1
    assert ended.err == "Making data needs numpy, which is not installed: pip install 'ready-reckoner[data]'."
