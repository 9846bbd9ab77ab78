"""Imports in a child process: an abort there is a failed import, and the worker lives on."""

import asyncio
import glob
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
# The options of `reckoner import` without a value.
FLAGS = (
    *("--append", "--since", "--force", "--header", "--no-header", "--dry-run", "--json"),
    *("--events", "--source-has-events", "--without-source"),
)


class Imported(NamedTuple):
    """How an import ended."""

    code: int
    """The exit code, negative for a signal."""
    report: dict[str, Any]
    """The report, empty without one."""
    message: str
    """The last line on standard error."""


def fingerprint(arguments: str, event_types: str = "", last_event: str = "", forgotten: str = "") -> str:
    """What changes when the source does: the arguments, all files that they name, in order, and the event types.

    Unless rows are appended, also the forgotten users, by their digest: rows are not appended twice for their sake.
    Where recorded events are imported too, or the source has them, also the id of the last one. Empty unless the source
    is of files and events only.
    """
    try:
        words = shlex.split(arguments)
        found = [_states(word) for word in _sources(words)]
    except (OSError, ValueError):
        return ""
    if not all(found) or not (found or "--events" in words):
        return ""
    files = json.dumps([words, found, *filter(None, [event_types, forgotten * (not appends(arguments))])])
    return f"{files} {last_event}" if takes_events(arguments) else files


def takes_events(arguments: str) -> bool:
    """Whether the import depends on recorded events."""
    return not {"--events", "--source-has-events"}.isdisjoint(shlex.split(arguments))


def appends(arguments: str) -> bool:
    """Whether the import appends the rows of a source."""
    return "--append" in shlex.split(arguments)


def only_events_are_new(arguments: str, now: str, before: str) -> bool:
    """Whether the files of an import that appends are those of the one before, by fingerprint: events alone are new."""
    is_of_both = appends(arguments) and "--events" in shlex.split(arguments)
    return is_of_both and bool(now) and now.rpartition(" ")[0] == before.rpartition(" ")[0]


def _sources(words: list[str]) -> list[str]:
    """The words that are neither options nor their values, and the file of items."""
    found, rest = list[str](), iter(words)
    for word in rest:
        option, _, value = word.partition("=")
        if not word.startswith("--"):
            found.append(word)
        elif option == "--items":
            found.append(value or next(rest, ""))
        elif "=" not in word and word not in FLAGS:
            next(rest, None)
    return found


def _states(word: str) -> list[tuple[str, int, int, int, int]]:
    """The identities of the files that a word names by itself, as a folder, or as a pattern.

    Raises:
        ValueError: it names what has no lasting identity: a pipe, or an object in S3.
    """
    if word.startswith("s3://"):
        raise ValueError
    names = [word] if os.path.exists(word) else sorted(glob.glob(word, recursive=True))
    files = [file for name in names for file in _files(name)]
    states = [(file, os.stat(file)) for file in files]
    if not all(stat.S_ISREG(state.st_mode) for _, state in states):
        raise ValueError
    return [(file, state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns) for file, state in states]


def _files(name: str) -> list[str]:
    """A file by itself, or all files below a folder."""
    if not os.path.isdir(name):
        return [name]
    return sorted(os.path.join(folder, file) for folder, _, files in os.walk(name) for file in files)


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
