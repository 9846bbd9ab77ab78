"""Terminals: a process whose standard output and error are one, what it shows there, and what must never reach it."""

import contextlib
import os
import pty
import re
import subprocess
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

from tests.commands import call_with

# What joins letters and emoji, and the signs that are drawn around the digits behind them.
KEPT = {0x200C, 0x200D, 0x6DD, 0x70F, 0x8E2, 0x110BD, 0x110CD, *range(0x600, 0x606), *range(0x890, 0x892)}
# Each character that moves the cursor, ends a line, turns the direction of writing or cannot be seen.
UNSAFE = [
    chr(point)
    for point in range(sys.maxunicode + 1)
    if unicodedata.category(chr(point)) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and point not in KEPT
]
# All of them that can be written as UTF-8, in one text. No character that is left of it makes a sequence with another.
SWEEP = "".join(character for character in UNSAFE if unicodedata.category(character) != "Cs")
# What rich and structlog write themselves: colours, and the moves of a bar.
OWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n")


def moving(shown: str) -> list[str]:
    """What is in a text, beside the colours and bars that are our own, that could move a cursor."""
    return sorted(set(OWN.sub("", shown)) & set(UNSAFE))


def read_to_the_end(terminal: int) -> str:
    """What was written to a terminal until nobody had it open any more, which some systems tell by an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown.decode()


def show(command: Sequence[str | Path], environ: Mapping[str, str], cwd: Path | None = None) -> tuple[int, str]:
    """Run a command on a terminal; returns its exit code and what it shows."""
    ours, its = pty.openpty()
    with subprocess.Popen(command, env=environ, cwd=cwd, stdin=subprocess.DEVNULL, stdout=its, stderr=its) as process:
        os.close(its)
        shown = read_to_the_end(ours)
    return process.returncode, shown


def show_here(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """The same of the command line, called in this process: for what depends on no process of its own."""
    ours, its = pty.openpty()
    with ThreadPoolExecutor(1) as reading, mock.patch.dict(os.environ, environ, clear=True):
        shown = reading.submit(read_to_the_end, ours)
        with open(its, "w", encoding="utf-8", errors="backslashreplace") as terminal:
            code = call_with(terminal, terminal, *arguments)
        return code, shown.result()
