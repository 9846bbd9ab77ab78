"""Other revisions of this repository, from git, and the two sides that share a Redis."""

import asyncio
import io
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

from tests.commands import CommandLine
from tests.root import ROOT
from tests.system import System, Workers


def check_out(revision: str, directory: Path) -> Path:
    """Extract a revision into a directory, and make sure that its code runs there."""
    archive = subprocess.run(["git", "archive", revision], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(directory, filter="data")
    look = "import reckoner; print(*reckoner.__path__)"
    shown = subprocess.run([sys.executable, "-c", look], cwd=directory, check=True, capture_output=True, text=True)
    assert Path(shown.stdout.strip()) == directory / "reckoner"
    return directory


class Side:
    """The workers and the command line of one revision."""

    def __init__(self, system: System, root: Path) -> None:
        self._system, self._root = system, root
        self.commands = CommandLine(root, redis_url=system.server.url, home=system.home, first_look_s=0.2)

    def start(self) -> Workers:
        """Start one worker."""
        return self._system.start_workers(root=self._root)

    async def say(self, *arguments: str) -> list[Any]:
        """The output of a command, which has to succeed without complaints."""
        found = await asyncio.to_thread(self.commands.run, *arguments, "--json")
        assert found.code == 0, (self._root, arguments, found)
        return found.objects
