"""How the tests get a program from a Debian package."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import debian


def place_program(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


def test_an_installed_program_is_used(tmp_path: Path) -> None:
    """The newest of several versions, by number; nothing is fetched or cached."""
    for version in ("9", "15"):
        place_program(tmp_path / "usr" / "lib" / version / "bin" / "program")
    found = debian.find("package", "usr/lib/*/bin/program", installed=tmp_path, cache=tmp_path / "cache")
    assert found == tmp_path / "usr" / "lib" / "15" / "bin" / "program"
    assert not (tmp_path / "cache").exists()


def test_what_was_unpacked_runs_with_its_own_libraries(tmp_path: Path) -> None:
    """Whatever the cache's directory is called, and with its arguments."""
    root = tmp_path / "a cäche" / "package"
    place_program(root / "usr" / "bin" / "program", 'echo "$LD_LIBRARY_PATH|$1"')
    place_program(root / "usr" / "lib" / "machine" / "libown.so.1")
    found = debian.find("package", "usr/bin/program", installed=tmp_path / "nowhere", cache=root.parent)
    said = subprocess.run([found, "an argument"], env={}, check=True, capture_output=True, text=True).stdout
    assert said == f"{root}/usr/lib/machine|an argument\n"


def test_a_package_without_the_program_is_reported(tmp_path: Path) -> None:
    """One sentence names both."""
    (tmp_path / "cache" / "package").mkdir(parents=True)
    with pytest.raises(debian.DebianError, match=r"^Debian's package package has no usr/bin/program here\.$"):
        debian.find("package", "usr/bin/program", installed=tmp_path / "nowhere", cache=tmp_path / "cache")


def test_a_machine_without_apt_gets_advice() -> None:
    """One sentence on standard error, exit code 1, and no output that looks like a path."""
    command = [sys.executable, debian.__file__, "package-of-nobody", "usr/bin/program-of-nobody"]
    ended = subprocess.run(command, env={"PATH": ""}, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "There is no apt here to get package-of-nobody with: install it by other means, so that it is found, or run "
        "the tests where Debian's packages are to be had.\n"
    )
