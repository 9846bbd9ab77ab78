"""Our modules are started from our packages, wherever one is."""

import subprocess
import sys
from pathlib import Path

import pytest

from reckoner.shared.interpreter import ROOT, module_command


def test_a_module_of_the_current_directory_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A project may well have a package of the same name."""
    (tmp_path / "shared.py").write_text("raise SystemExit('theirs')")
    monkeypatch.chdir(tmp_path)
    command = module_command("reckoner.shared.interpreter", "--option", "a value")
    assert command == [sys.executable, "-P", "-m", "reckoner.shared.interpreter", "--option", "a value"]
    assert subprocess.run(command, check=False).returncode == 0


def test_ours_in_the_current_directory_need_no_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkout works as it is."""
    monkeypatch.chdir(ROOT)
    assert module_command("reckoner.workers") == [sys.executable, "-m", "reckoner.workers"]


def test_a_current_directory_that_is_gone_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else may have removed it meanwhile."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert module_command("reckoner.workers") == [sys.executable, "-P", "-m", "reckoner.workers"]
