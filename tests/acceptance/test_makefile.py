"""The Makefile for a newcomer: a space in the directory's name, and foreign settings."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.patience import PATIENCE_S
from tests.root import ROOT

pytestmark = pytest.mark.install

SOURCES = (
    "Makefile",
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "installer.lock.txt",
    "reckoner",
    "producer",
    "shared",
    "workers",
)
# The build backend's packages: enough for every step of an installation, and quick to install.
BACKEND = {"hatchling", "packaging", "pathspec", "pluggy", "tomlkit", "trove-classifiers", "typing-extensions"}

# Simulates a system without Debian's package python3-venv.
PYTHON_WITHOUT_VENV = """#!/bin/sh
case "$*" in
  *ensurepip*) echo "ModuleNotFoundError: No module named 'ensurepip'" >&2; exit 1 ;;
  "-m venv"*)
    mkdir -p .venv/bin && ln -sf {python} .venv/bin/python
    echo "The virtual environment was not created successfully because ensurepip is not"
    echo "available.  On Debian/Ubuntu systems, you need to install the python3-venv"
    echo "package using the following command."
    echo "Failing command: .venv/bin/python3"
    exit 1 ;;
esac
exec {python} "$@"
"""
PYTHON_OF_VERSION = """#!/bin/sh
[ "$1" = --version ] && echo "Python {version}" && exit
exec {python} -c "import sys; sys.version_info = ({version_info}); exec(sys.argv[2])" "$@"
"""


def base_python() -> str:
    """The interpreter behind the tests' environment."""
    return str(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")


def environment(**settings: str) -> dict[str, str]:
    """This process's variables without make's own, plus `settings`."""
    inherited = {name: value for name, value in os.environ.items() if name not in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}}
    return {**inherited, "PYTHON": base_python(), **settings}


def make(where: Path, *arguments: str, environ: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["make", *arguments],
        cwd=where,
        env=environ or environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def place_executable(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The project's files without an environment; the demonstration's lock holds only the build backend."""
    target = tmp_path / "new comer é"
    target.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, target / name, ignore=ignored, symlinks=True)
        else:
            shutil.copy(ROOT / name, target / name)
    entries = re.split(r"(?m)^(?! )", (ROOT / "demo.lock.txt").read_text())
    (target / "demo.lock.txt").write_text("".join(entry for entry in entries if entry.split("==")[0] in BACKEND))
    shutil.copy(target / "demo.lock.txt", target / "dev.lock.txt")
    return target


def test_make_alone_names_every_target(clone: Path) -> None:
    """`make` alone lists all targets."""
    phony = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert phony is not None
    shown = make(clone)
    assert shown.returncode == 0
    assert {line.split()[0] for line in shown.stdout.splitlines() if line.startswith("  ")} == set(phony[1].split())


def test_an_installation_ignores_the_callers_settings(clone: Path, tmp_path: Path) -> None:
    """It installs into .venv, compiled, whatever the caller's settings; an installed package is kept."""
    elsewhere = tmp_path / "elsewhere"
    bystander = environment(
        PYTHONDONTWRITEBYTECODE="1",
        PYTHONPATH=str(elsewhere),
        VIRTUAL_ENV=str(elsewhere),
        PIP_TARGET=str(elsewhere),
        UV_TARGET=str(elsewhere),
        UV_CONSTRAINT=str(elsewhere),
    )
    first = make(clone, ".venv/demo.installed", environ=bystander)
    assert first.returncode == 0, first.stderr
    assert "pip installs instead" not in first.stdout
    assert not elsewhere.exists()
    assert list((clone / ".venv").glob("lib/python*/site-packages/hatchling/__pycache__/*.pyc"))
    located = subprocess.run(
        [clone / ".venv/bin/python", "-c", "import reckoner; print(reckoner.__file__)"],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert Path(located.stdout.strip()) == clone / "reckoner" / "__init__.py"

    assert "up to date" in make(clone, ".venv/demo.installed").stdout

    # The other lock on top: nothing is installed twice, and a working .venv is kept.
    (clone / ".venv" / "kept").touch()
    second = make(clone, ".venv/dev.installed")
    assert second.returncode == 0, second.stderr
    assert (clone / ".venv" / "kept").exists()
    assert " + hatchling" in first.stdout + first.stderr
    assert " + hatchling" not in second.stdout + second.stderr
    assert "up to date" in make(clone, ".venv/demo.installed").stdout

    # A change of the lock or the project is installed. The clock may be set back: use the stamp's time.
    newer = (clone / ".venv" / "demo.installed").stat().st_mtime + 1
    os.utime(clone / "pyproject.toml", (newer, newer))
    assert "Install (demo.lock.txt)" in make(clone, ".venv/demo.installed").stdout

    # A .venv without its interpreter is recreated.
    (clone / ".venv/bin/python").unlink()
    again = make(clone, ".venv/demo.installed")
    assert again.returncode == 0, again.stderr
    assert not (clone / ".venv" / "kept").exists()


def test_without_uv_pip_installs_the_same_and_checks_hashes(clone: Path) -> None:
    """Without uv, pip installs the same. Both refuse content whose hash is not in the lock."""
    installer = clone / "installer.lock.txt"
    installer.write_text(re.sub(r"sha256:..", "sha256:zz", installer.read_text()).replace("zz", "00"))
    lock = clone / "demo.lock.txt"
    honest = lock.read_text()
    lock.write_text(re.sub(r"sha256:..", "sha256:00", honest))
    refused = make(clone, ".venv/demo.installed")
    assert refused.returncode != 0
    assert "DO NOT MATCH THE HASHES" in refused.stderr
    assert not (clone / ".venv" / "demo.installed").exists()

    lock.write_text(honest)
    installed = make(clone, ".venv/demo.installed")
    assert installed.returncode == 0, installed.stderr
    assert "pip installs instead" in installed.stdout
    assert list((clone / ".venv").glob("lib/python*/site-packages/hatchling/__pycache__/*.pyc"))
    assert (clone / ".venv/bin/reckoner").exists()


def test_a_missing_python3_venv_gets_a_hint(clone: Path, tmp_path: Path) -> None:
    """One sentence says what to install, and the partial environment is removed."""
    place_executable(tmp_path / "bin" / "python3", PYTHON_WITHOUT_VENV.format(python=base_python()))
    environ = environment(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", PYTHON="python3")
    ended = make(clone, "demo", environ=environ)
    assert ended.returncode != 0
    package = f"python3.{sys.version_info.minor}-venv"
    assert ended.stderr.splitlines()[0] == (
        f"This Python lacks the package python3-venv. As root, run apt install {package}, then run make again."
    )
    assert "Traceback" not in ended.stderr
    assert not (clone / ".venv").exists()


@pytest.mark.parametrize("version", ["3.10.13", "3.15.0"])
def test_a_python_that_does_not_fit_is_named(clone: Path, tmp_path: Path, version: str) -> None:
    """One sentence names the found version and the supported ones."""
    text = PYTHON_OF_VERSION.format(python=base_python(), version=version, version_info=", ".join(version.split(".")))
    place_executable(tmp_path / "bin" / "python3", text)
    environ = environment(PATH=f"{tmp_path / 'bin'}:{os.environ['PATH']}", PYTHON="python3")
    ended = make(clone, "demo", environ=environ)
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[0].startswith(f"Python {version} is not supported. Install Python 3.11 to 3.14")


def test_a_missing_python_is_named(clone: Path) -> None:
    """One sentence says that it is missing and what to do."""
    ended = make(clone, "demo", environ=environment(PYTHON="python3-of-nobody"))
    assert ended.returncode != 0
    assert ended.stderr.splitlines()[0].startswith("python3-of-nobody was not found. Install Python 3.11 to 3.14")


def test_tests_do_not_see_the_callers_settings(clone: Path) -> None:
    """Tests must not touch the caller's Redis."""
    shown = make(clone, "--dry-run", "test-quick", environ=environment(RECKONER_REDIS_URL="redis://somebodys"))
    assert "env -u RECKONER_REDIS_URL .venv/bin/pytest" in shown.stdout
