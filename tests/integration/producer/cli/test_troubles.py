"""Every command ends with a sentence and an exit code, whatever happens to streams, files and signals."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.root import ROOT


@pytest.fixture
def commands(tmp_path: Path) -> CommandLine:
    return CommandLine(home=tmp_path / "a höme")


def shell(commands: CommandLine, line: str, full: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command in a shell, with `reckoner` for the command line and $FULL for a file that cannot grow."""
    environ = commands.environ | {"PYTHON": sys.executable, "FULL": str(full)}
    line = line.replace("reckoner", '"$PYTHON" -m reckoner.producer', 1)
    return subprocess.run(
        ["sh", "-c", f"ulimit -f 0; {line}"],
        cwd=ROOT,
        env=environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('reckoner version --json > "$FULL"', "The output cannot be written: File too large.\n"),
        ('reckoner version > "$FULL"', "The output cannot be written: File too large.\n"),
        ('reckoner --help > "$FULL"', "The output cannot be written: File too large.\n"),
        (
            "reckoner version >&-",
            "Standard output is closed. Redirect it to a file or to /dev/null.\n",
        ),
        ("reckoner get - <&-", "Standard input is closed, so - cannot read users from it.\n"),
        ("reckoner get 1 2>&-", ""),
    ],
)
def test_streams_that_are_full_or_closed_are_no_trace(
    commands: CommandLine, tmp_path: Path, line: str, said: str
) -> None:
    """One sentence, unless there is nowhere to say it, and exit code 1."""
    done = shell(commands, line, tmp_path / "full")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", said)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ("get", "--users-file", "/nowhere/users"),
            "The file /nowhere/users cannot be read: No such file or directory.\n",
        ),
        (("get", "--users-file", "/"), "The file / cannot be read: Is a directory.\n"),
        (("import", "/nowhere/ratings.csv"), "/nowhere/ratings.csv does not exist.\n"),
    ],
)
def test_a_file_that_is_not_there_is_a_failure(commands: CommandLine, arguments: tuple[str, ...], said: str) -> None:
    """The usage was right, so the exit code is 1."""
    ended = commands.call(*arguments)
    assert (ended.code, ended.out, ended.err) == (1, "", said)


def test_ctrl_c_while_it_is_loaded_is_no_trace(commands: CommandLine) -> None:
    """Even at the start it exits with 130 and prints nothing."""
    program = (
        "import sys\n"
        "class Interrupt:\n"
        "    def find_spec(self, name, *others):\n"
        "        if name == 'typer':\n"
        "            raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Interrupt())"
    )
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\nfrom reckoner.producer.cli import main\nmain()"],
        cwd=ROOT,
        env=commands.environ,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")
