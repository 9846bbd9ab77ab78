"""`reckoner users` prints all ids, from the store only."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.snapshots import write_snapshot
from tests.commands import CommandLine
from tests.root import ROOT

WITHOUT_NUMPY = "sys.modules['numpy'] = None"
USERS = sorted(["42", "a\nline break", "ümlaut", "with a space", "\x1b[2J", *(f"user {n:05}" for n in range(30_000))])


@pytest.fixture(scope="module")
def commands(tmp_path_factory: pytest.TempPathFactory) -> CommandLine:
    """A home whose store has a snapshot of them, and no Redis."""
    home = tmp_path_factory.mktemp("a höme")
    store, everybody = DirectoryStore(home / "store"), np.arange(len(USERS))
    with store.scratch() as directory:
        snapshot = write_snapshot(
            directory, user_ids=USERS, item_ids=["a"], users=everybody, items=np.zeros_like(everybody)
        )
        store.publish("snapshots", snapshot, directory)
    store.set_current_snapshot(snapshot)
    return CommandLine(home=home)


def test_everybody_is_printed_in_order(commands: CommandLine) -> None:
    """One id a line, with control characters escaped; unchanged with --json."""
    ended = commands.call("users")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()
    assert len(lines) == len(USERS)
    assert {"a\\nline break", "\\x1b[2J", "ümlaut", "user 29999"} <= set(lines)
    assert [shown["user"] for shown in commands.call("users", "--json").objects] == USERS


def test_who_reads_no_further_ends_it_in_silence(commands: CommandLine) -> None:
    """As `head` does."""
    line = f"'{sys.executable}' -m reckoner.producer users | head -n 2; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=commands.environ, capture_output=True, text=True, check=True
    )
    assert (done.stdout.splitlines(), done.stderr) == (["\\x1b[2J", "42", "0"], "")


def test_before_an_import_there_are_no_users(tmp_path: Path) -> None:
    """The sentence says what to do."""
    ended = CommandLine(home=tmp_path).call("users")
    assert (ended.code, ended.out) == (1, "")
    assert "reckoner import" in ended.err


def test_without_numpy_the_message_says_what_to_install(commands: CommandLine) -> None:
    """The client alone is installed without numpy."""
    ended, _ = commands.modules(WITHOUT_NUMPY, "users")
    assert ended.err == "Listing users needs numpy, which is not installed: pip install 'ready-reckoner[worker]'."
