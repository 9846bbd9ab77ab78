"""Pseudo-terminals: what a process shows there, and which characters must never reach them."""

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

# Joiners of letters and emoji, and signs drawn around the following digits.
KEPT = {0x200C, 0x200D, 0x6DD, 0x70F, 0x8E2, 0x110BD, 0x110CD, *range(0x600, 0x606), *range(0x890, 0x892)}
# Characters that move the cursor, end a line, change the text's direction or are invisible.
UNSAFE = [
    chr(point)
    for point in range(sys.maxunicode + 1)
    if unicodedata.category(chr(point)) in {"Cc", "Cf", "Cs", "Zl", "Zp"} and point not in KEPT
]
# All that UTF-8 can encode, in one text.
SWEEP = "".join(character for character in UNSAFE if unicodedata.category(character) != "Cs")
# The output of rich and structlog: colours, and the moves of a bar.
OWN = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r|\n")


def moving(shown: str) -> list[str]:
    """Characters in a text that could move a cursor, except our own colours and bars."""
    return sorted(set(OWN.sub("", shown)) & set(UNSAFE))


def read_to_the_end(terminal: int) -> str:
    """Read a terminal until all its writers have closed it; some systems signal that by an error."""
    shown = b""
    with contextlib.suppress(OSError):
        while part := os.read(terminal, 4096):
            shown += part
    os.close(terminal)
    return shown.decode()


def show(command: Sequence[str | Path], environ: Mapping[str, str], cwd: Path | None = None) -> tuple[int, str]:
    """Run a command on a terminal; returns its exit code and the shown text."""
    ours, its = pty.openpty()
    with subprocess.Popen(command, env=environ, cwd=cwd, stdin=subprocess.DEVNULL, stdout=its, stderr=its) as process:
        os.close(its)
        shown = read_to_the_end(ours)
    return process.returncode, shown


def show_here(arguments: Sequence[str], environ: Mapping[str, str]) -> tuple[int, str]:
    """The same for the command line in this process."""
    ours, its = pty.openpty()
    with ThreadPoolExecutor(1) as reading, mock.patch.dict(os.environ, environ, clear=True):
        shown = reading.submit(read_to_the_end, ours)
        with open(its, "w", encoding="utf-8", errors="backslashreplace") as terminal:
            code = call_with(terminal, terminal, *arguments)
        return code, shown.result()
