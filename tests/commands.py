"""`reckoner` as a user calls it: a process of its own, with settings of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).absolute().parent.parent
# A command ends within this, or never.
END_S = 60.0


@dataclass(frozen=True)
class Ended:
    """What a command left."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """What it printed with `--json`."""
        return [json.loads(line) for line in self.out.splitlines()]


class CommandLine:
    """The command line under some settings, without those of whoever runs the tests; of another checkout if need be."""

    def __init__(self, root: Path = ROOT, **settings: object) -> None:
        self._root = root
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECKONER_")}
        self.environ = inherited | {f"RECKONER_{name.upper()}": str(value) for name, value in settings.items()}

    def run(self, *arguments: str | bytes, given: bytes = b"", environ: Mapping[str, str] | None = None) -> Ended:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "producer", *arguments],
            cwd=self._root,
            env=self.environ | dict(environ or {}),
            input=given,
            capture_output=True,
            timeout=END_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command; whoever does ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "producer", *arguments],
            cwd=self._root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def modules(self, program: str, *arguments: str) -> tuple[Ended, set[str]]:
        """Run a command behind the lines of `program`; returns also which modules it had at its end."""
        lines = [
            f"import sys; sys.argv = ['reckoner', *{arguments!r}]",
            program,
            "from producer.cli import main",
            "try:",
            "    main()",
            "finally:",
            "    print(*[name for name, module in sys.modules.items() if module], file=sys.stderr)",
        ]
        done = subprocess.run(
            [sys.executable, "-c", "\n".join(lines)],
            cwd=self._root,
            env=self.environ,
            capture_output=True,
            text=True,
            timeout=END_S,
            check=False,
        )
        *said, modules = done.stderr.splitlines()
        return Ended(done.returncode, done.stdout, "\n".join(said)), set(modules.split())
