"""`reckoner fit` chooses the recency by the data, without workers."""

from pathlib import Path

import pytest

from tests.commands import CommandLine

ROWS = {"with times": "user,item,time\nu,a,1\nu,b,2\n", "without times": "user,item\nu,a\nu,b\n"}


@pytest.mark.parametrize(
    ("data", "given", "recency"),
    [
        ("with times", (), 0.25),
        ("with times", ("--recency", "0.5"), 0.5),
        ("with times", ("--recency", "0"), 0),
        ("without times", (), 0),
        ("without times", ("--recency", "0"), 0),
    ],
)
def test_the_recency_is_what_is_given_or_the_default_for_the_data(
    commands: CommandLine, tmp_path: Path, data: str, given: tuple[str, ...], recency: float
) -> None:
    """It is printed with the job."""
    source = tmp_path / "rows.csv"
    source.write_text(ROWS[data])
    assert commands.call("import", str(source)).code == 0
    [asked] = commands.call("fit", *given, "--no-wait", "--json").objects
    assert asked["recency"] == recency


def test_a_recency_needs_times(commands: CommandLine, tmp_path: Path) -> None:
    """In one sentence, and no job is made."""
    source = tmp_path / "rows.csv"
    source.write_text(ROWS["without times"])
    [imported] = commands.call("import", str(source), "--json").objects
    ended = commands.call("fit", "--recency", "0.5")
    assert (ended.code, ended.out) == (2, "")
    assert ended.err == (
        f"A recency of 0.5 needs times, and snapshot {imported['snapshot']} has none. Import times, or fit with "
        "--recency 0.\n"
    )
    [status] = commands.call("status", "--json").objects
    assert status["queued"] == 0
