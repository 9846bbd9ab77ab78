"""An application whose own packages are called `shared`, `workers` and `producer` uses the installed wheel."""

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

from tests.processes import environment
from tests.root import ROOT

pytestmark = pytest.mark.install

APPLICATION = '''
"""Keeps a shop's lists ready."""

import asyncio
from contextlib import aclosing

import producer
import shared
import workers
from reckoner import Answer, Entry, Reckoner, RedisUnavailableError, UsageError


async def items(reckoner: Reckoner, user: str) -> list[str]:
    """What a user is shown."""
    answer: Answer = await reckoner.get(user, timeout=1.0)
    entries: list[Entry] = answer.items
    return [entry.item for entry in entries]


async def main() -> None:
    """Ask where nobody listens."""
    async with aclosing(Reckoner("redis://127.0.0.1:1")) as reckoner:
        try:
            await items(reckoner, "somebody")
        except (RedisUnavailableError, UsageError) as error:
            print(type(error).__name__)


print(shared.NAME, workers.NAME, producer.NAME)
asyncio.run(main())
'''
WRONG = """
from reckoner import Reckoner


async def ask(reckoner: Reckoner) -> int:
    await reckoner.drain([])
    return await reckoner.get("somebody")
"""


@pytest.fixture
def python(tmp_path: Path) -> str:
    """A Python that has the wheel installed, and what it needs from this one's packages."""
    place = tmp_path / "environment"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", place], check=True)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path / "wheel")]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = (tmp_path / "wheel").glob("*.whl")
    [packages] = place.glob("lib/python3*/site-packages")
    zipfile.ZipFile(wheel).extractall(packages)
    (packages / "needed.pth").write_text(sysconfig.get_path("purelib"))
    return str(place / "bin" / "python")


def test_an_application_with_packages_of_the_same_names_uses_the_wheel(python: str, tmp_path: Path) -> None:
    """Each imports its own. The types pass mypy's strict mode, and a missing attribute is reported."""
    application = tmp_path / "application"
    for name in ("shared", "workers", "producer"):
        (application / name).mkdir(parents=True)
        (application / name / "__init__.py").write_text(f'"""The shop\'s own."""\n\nNAME = "the shop\'s {name}"\n')
    (application / "main.py").write_text(APPLICATION)
    (application / "wrong.py").write_text(WRONG)
    ran = subprocess.run(
        [python, "main.py"], cwd=application, env=environment(), capture_output=True, text=True, check=True
    )
    assert ran.stdout.splitlines() == [
        "the shop's shared the shop's workers the shop's producer",
        "RedisUnavailableError",
    ]
    mypy = [
        sys.executable,
        "-m",
        "mypy",
        "--strict",
        "--python-executable",
        python,
        "--cache-dir",
        str(tmp_path / "cache"),
    ]
    checked = subprocess.run([*mypy, "main.py"], cwd=application, capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    refused = subprocess.run([*mypy, "wrong.py"], cwd=application, capture_output=True, text=True, check=False)
    assert '"Reckoner" has no attribute "drain"' in refused.stdout
    assert 'Incompatible return value type (got "Answer", expected "int")' in refused.stdout
