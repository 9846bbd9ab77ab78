"""Tests of numba's disk cache, with processes of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reckoner.workers.kernels import compiled

CALLED = """
from numba import types
from {package}.compiled import compiled
@compiled(types.int64(types.int64))
def add(n):
    return n + {number}
"""
CALLING = """
from numba import types
from {package}.called import add
from {package}.compiled import compiled
@compiled(types.int64(types.int64))
def twice(n):
    return add(add(n))
"""
PROGRAM = """
from {package}.calling import twice
print(twice(0), sum(twice.stats.cache_hits.values()))
"""
PACKAGE = "kernels"


def write_kernels(folder: Path, number: int) -> None:
    """A package of two kernels in two files, of which one calls the other, compiled as ours are."""
    package = folder / PACKAGE
    package.mkdir(exist_ok=True)
    shutil.copy(compiled.__file__, package)
    (package / "__init__.py").touch()
    (package / "called.py").write_text(CALLED.format(package=PACKAGE, number=number))
    (package / "calling.py").write_text(CALLING.format(package=PACKAGE))


def run(folder: Path, **environment: str) -> tuple[int, int]:
    """What the calling kernel gives in a new process, and how many times it was loaded."""
    variables = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(package=PACKAGE)],
        cwd=folder,
        env=variables | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    answer, loaded = done.stdout.split()
    return int(answer), int(loaded)


@pytest.mark.parametrize("place", ["beside the sources", "in a place of its own"])
def test_what_was_compiled_is_loaded_until_any_kernels_source_changes(place: str, tmp_path: Path) -> None:
    """Also that of another file, whose code is part of what was compiled."""
    environment = {} if place == "beside the sources" else {"NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    write_kernels(tmp_path, 1)
    assert run(tmp_path, **environment) == (2, 0)
    assert run(tmp_path, **environment) == (2, 1)
    write_kernels(tmp_path, 10)
    assert run(tmp_path, **environment) == (20, 0)
    assert (tmp_path / "cache").exists() is bool(environment)
