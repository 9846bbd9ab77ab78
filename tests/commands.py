"""`reckoner` as a user calls it: a process with its own settings."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

from tests.patience import PATIENCE_S
from tests.root import ROOT


@dataclass(frozen=True)
class Ended:
    """The result of a command."""

    code: int
    out: str
    err: str

    @property
    def objects(self) -> list[Any]:
        """The objects printed with `--json`."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def is_defined(self) -> bool:
        """Whether it succeeded, or failed with a reason and no stack trace. (`doctor` prints what is wrong.)"""
        said = self.err.strip() or any(line.startswith(("wrong", '{"check"')) for line in self.out.splitlines())
        return self.code in {0, 1, 2} and "Traceback" not in self.err and (self.code == 0 or bool(said))


def call_here(*arguments: str, given: bytes = b"") -> Ended:
    """Call the command line in this process, with the settings of its environment."""
    out, err = (io.TextIOWrapper(io.BytesIO(), "utf-8", errors="backslashreplace") for _ in range(2))
    code = call_with(out, err, *arguments, given=given)
    for stream in (out, err):
        stream.seek(0)
    return Ended(code, out.read(), err.read())


def call_with(out: io.TextIOWrapper, err: io.TextIOWrapper, *arguments: str, given: bytes = b"") -> int:
    """Call the command line in this process with these streams as standard output and error; returns the exit code."""
    from reckoner.producer.cli.edge import run_to_exit_code

    command = _command()
    streams = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = io.TextIOWrapper(io.BytesIO(given), "utf-8"), out, err
    try:
        return run_to_exit_code(lambda: command(list(arguments), prog_name="reckoner", standalone_mode=False))
    finally:
        sys.stdin, sys.stdout, sys.stderr = streams


@cache
def _command() -> Callable[..., object]:
    """The command line, cached: typer's rebuild is half the time of a call."""
    from typer.main import get_command

    from reckoner.producer.cli.application import app

    return get_command(app)


class CommandLine:
    """The command line with given settings only, possibly of another checkout."""

    def __init__(self, root: Path = ROOT, **settings: object) -> None:
        self._root = root
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("RECKONER_")}
        self.environ = inherited | {f"RECKONER_{name.upper()}": str(value) for name, value in settings.items()}

    def run(self, *arguments: str | bytes, given: bytes = b"", environ: Mapping[str, str] | None = None) -> Ended:
        """Run a command to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "reckoner.producer", *arguments],
            cwd=self._root,
            env=self.environ | dict(environ or {}),
            input=given,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
        )
        return Ended(done.returncode, done.stdout.decode(), done.stderr.decode())

    def call(self, *arguments: str | bytes, given: bytes = b"", environ: Mapping[str, str] | None = None) -> Ended:
        """The same in this process, a hundred times as fast."""
        # In a thread, since the caller may run an event loop.
        variables = self.environ | dict(environ or {})
        with mock.patch.dict(os.environ, variables, clear=True), ThreadPoolExecutor(1) as thread:
            return thread.submit(call_here, *map(os.fsdecode, arguments), given=given).result()

    def start(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start a command; the caller ends it."""
        return subprocess.Popen(
            [sys.executable, "-m", "reckoner.producer", *arguments],
            cwd=self._root,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def modules(self, program: str, *arguments: str) -> tuple[Ended, set[str]]:
        """Run a command after the lines of `program`; returns also the modules loaded at its end."""
        lines = [
            f"import sys; sys.argv = ['reckoner', *{arguments!r}]",
            program,
            "from reckoner.producer.cli import main",
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
            timeout=PATIENCE_S,
            check=False,
        )
        *said, modules = done.stderr.splitlines()
        return Ended(done.returncode, done.stdout, "\n".join(said)), set(modules.split())
