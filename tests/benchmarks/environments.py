"""Environments for the peers, inside `.venv`, which `make clean` removes."""

import os
import subprocess
import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

from tests.interpreters import interpreters

PLACE = Path(__file__).absolute().parent.parent.parent / ".venv" / "peers"
INSTALL_S = 300.0


class NoEnvironmentError(Exception):
    """A peer cannot be installed; the sentence says why."""


def peer_python(name: str, version: str, *requirements: str) -> Path:
    """The Python of a peer's environment, created if missing.

    Raises:
        NoEnvironmentError: this Python is missing, or the peer does not install.
    """
    python = PLACE / name / "bin" / "python"
    stamp = PLACE / name / f"{'-'.join(requirements)}.installed"
    if stamp.exists():
        return python
    base = interpreters().get(version)
    if base is None:
        raise NoEnvironmentError(f"there is no Python {version} on this machine")
    _uv("venv", "--clear", "--python", base, str(PLACE / name))
    _uv("pip", "install", "--python", str(python), *requirements)
    stamp.touch()
    return python


def python_with(name: str, requirement: str, version: str = "3.11") -> Path:
    """The running Python if it has a peer, or else the one of the peer's environment; see `peer_python`."""
    return Path(sys.executable) if find_spec(name) else peer_python(name, version, requirement)


def installed(python: Path, package: str) -> str:
    """A package and its version in a peer's environment."""
    (places,) = python.parent.parent.glob("lib/python*/site-packages")
    (found,) = distributions(name=package, path=[str(places)])
    return f"{package} {found.version}"


def _uv(*arguments: str) -> None:
    command = [str(Path(sys.prefix) / "bin" / "uv"), "--no-config", "--quiet", *arguments]
    # Use an installed Python only, and fetch none.
    environ = os.environ | {"UV_PYTHON_DOWNLOADS": "never"}
    try:
        done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NoEnvironmentError(f"uv cannot be run here: {error}") from error
    if done.returncode:
        raise NoEnvironmentError(f"uv {arguments[0]} says: {' '.join(done.stderr.split())[:300]}")
