"""The supported Pythons on this machine."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.patience import PATIENCE_S

VERSIONS = tuple(f"3.{minor}" for minor in range(11, 15))
RUNNING = f"3.{sys.version_info.minor}"


def interpreters() -> dict[str, str]:
    """Their paths by version: the running one, those on the path and those of pyenv."""
    found = {RUNNING: str(Path(sys.base_prefix) / "bin" / f"python{RUNNING}")}
    for version in VERSIONS:
        for python in _candidates(version):
            # A shim may be on the path without its Python.
            command = [python, "-I", "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            seen = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
            if seen.stdout.strip() == version:
                found.setdefault(version, python)
    return found


def _candidates(version: str) -> Iterator[str]:
    """Possible paths of a version."""
    if on_path := shutil.which(f"python{version}"):
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from map(str, sorted(pyenv.glob(f"versions/{version}.*/bin/python{version}")))
