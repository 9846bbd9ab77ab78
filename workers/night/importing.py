"""Imports in a child process: an abort there is a failed import, and the worker lives on."""

import asyncio
import json
import os
import shlex
import stat
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, NamedTuple

# A child that reports nothing for so long is ended. A query may take long before its first row.
IDLE_S = 900.0


class Imported(NamedTuple):
    """How an import ended."""

    code: int
    """The exit code, negative for a signal."""
    report: dict[str, Any]
    """The report, empty without one."""
    message: str
    """The last line on standard error."""


def fingerprint(arguments: str) -> str:
    """What changes when the source does: the arguments, and the file's identity; empty unless it is a file."""
    words = shlex.split(arguments)
    try:
        found = os.stat(words[0])
    except (OSError, ValueError, IndexError):
        return ""
    if not stat.S_ISREG(found.st_mode):
        return ""
    return json.dumps([words, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns])


async def import_source(
    night: str, arguments: str, on_rows: Callable[[int], Awaitable[None]], idle_s: float = IDLE_S
) -> Imported:
    """Run `reckoner import` for a night with these arguments, split as by a shell. `on_rows` gets the number of rows.

    The child ends with this process, and is killed if it stands still for `idle_s`.
    """
    words = shlex.split(arguments)
    command = [sys.executable, "-m", "reckoner.producer", "import", *words, "--json", "--night", night]
    child = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, stderr=PIPE)
    try:
        return await _watch(child, on_rows, idle_s)
    finally:
        with suppress(ProcessLookupError):
            child.kill()
        await child.wait()


async def _watch(child: Process, on_rows: Callable[[int], Awaitable[None]], idle_s: float) -> Imported:
    assert child.stdout is not None
    assert child.stderr is not None
    reading, message = asyncio.create_task(child.stdout.read()), ""
    try:
        while True:
            async with asyncio.timeout(idle_s):
                line = await child.stderr.readline()
            if not line:
                break
            text = line.decode(errors="replace").strip()
            if text.startswith("rows "):
                await on_rows(int(text.removeprefix("rows ")))
            elif text:
                message = text
        printed = await reading
        return Imported(await child.wait(), _report(printed), message)
    except TimeoutError:
        return Imported(-9, {}, f"The import stood still for {idle_s:,.0f} s and was ended.")
    finally:
        reading.cancel()


def _report(printed: bytes) -> dict[str, Any]:
    try:
        report = json.loads(printed.splitlines()[-1])
    except (IndexError, ValueError):
        return {}
    return report if isinstance(report, dict) else {}
