"""What a command prints: JSON a line, or tables and sentences, all made plain by `reckoner.shared.terminal`.

Results go to standard output. Standard error has the progress, as a bar on a terminal and not at all otherwise, and
what a person has to know besides.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from reckoner.shared.terminal import plain, plain_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# A table that goes into a file or a pipe is as wide as its contents.
WIDEST = 100_000
# After how many seconds a line says how far something is, and after how many more the next one does.
FIRST_LINE_S, LINES_EVERY_S = 1.0, 10.0


def say(sentence: str) -> None:
    """Print a line on standard error."""
    print(plain(sentence), file=sys.stderr, flush=True)


def counted(count: int, noun: str) -> str:
    """So many of a thing, in words."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def lasting(ms: float) -> str:
    """A duration, as exactly as somebody who looks at it wants to know it."""
    if ms < 9_950:
        return f"{ms / 1000:.1f} s"
    for unit, unit_ms, most in (("s", 1000, 120), ("min", 60_000, 120), ("h", 3_600_000, 48)):
        if ms < most * unit_ms:
            return f"{ms / unit_ms:.0f} {unit}"
    return f"{ms / 86_400_000:,.0f} d"


def moment(ms: float, *, exact: bool = False) -> str:
    """A moment in milliseconds since the epoch, in this host's time zone: to the minute, or all of it."""
    from datetime import datetime

    try:
        at = datetime.fromtimestamp(ms / 1000).astimezone()
        return at.isoformat(" ", "milliseconds") if exact else f"{at:%Y-%m-%d %H:%M}"
    except (ValueError, OverflowError, OSError):
        return "at a time that is none"


def mebibytes(count: int) -> str:
    """A number of bytes in 2^20 bytes."""
    return f"{count / 2**20:,.1f} MiB"


def print_line(text: str) -> None:
    """Print a line on standard output."""
    print(plain(text))


def print_json(value: Any) -> None:
    """Print one JSON object on a line, in UTF-8 whatever the locale is."""
    import json

    import msgspec

    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        # A path need not be UTF-8.
        text = json.dumps(value)
    sys.stdout.flush()
    sys.stdout.buffer.write(plain_json(text).encode() + b"\n")
    sys.stdout.buffer.flush()


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table; the columns in `numbers` are aligned to the right."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDEST)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def print_filled(columns: Sequence[str], rows: Sequence[Sequence[str]], *, numbers: Sequence[str] = ()) -> None:
    """Print a table without the columns that are empty, and nothing at all where there are no rows."""
    shown = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    if shown:
        print_table([columns[i] for i in shown], [[row[i] for i in shown] for row in rows], numbers=numbers)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print names with their values, one a line."""
    known = list(facts)
    width = max(len(name) for name, _ in known)
    for name, value in known:
        print_line(f"{name:<{width}}  {value}")


class Lines:
    """Progress as lines: the first after a moment, the others now and then."""

    def __init__(self) -> None:
        self._what = ""
        self._say_at = 0.0

    def show(self, what: str, unit: str, done: int, total: int | None) -> None:
        """Say that `done` of `total` are done where it is time to; a total of None is not known."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._say_at = what, now + FIRST_LINE_S
        elif now >= self._say_at:
            self._say_at = now + LINES_EVERY_S
            of = "so far" if total is None else f"of {total:,} {unit}"
            say(f"{what}: {done:,} {of}" if unit else what)


class Bar:
    """How far something is; shows nothing where standard error is no terminal."""

    def __init__(self, progress: "Progress | None" = None, task: "TaskID | None" = None) -> None:
        self._progress = progress
        self._task = task
        self._lines = Lines()

    def update(self, done: int, total: int | None) -> None:
        """Show that `done` of `total` are done; a total of None is not known yet."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def show(self, what: str, unit: str, done: int, total: int | None) -> None:
        """Show the progress of another step; without a terminal by lines now and then."""
        if self._progress is None or self._task is None:
            self._lines.show(what, unit, done, total)
        else:
            if self._progress.tasks[0].description != what:
                # Not updated: a total that is known cannot be unknown again.
                self._progress.remove_task(self._task)
                self._task = self._progress.add_task(what, total=None, unit=unit)
            self.update(done, total)

    def say(self, sentence: str) -> None:
        """Print a line on standard error, above the bar."""
        if self._progress is None:
            say(sentence)
        else:
            self._progress.console.print(plain(sentence), markup=False, emoji=False, soft_wrap=True)


@contextmanager
def progress_bar(what: str, unit: str) -> Iterator[Bar]:
    """Show a bar for `what`, counted in `unit`, until the block ends; then it is gone. Print by its `say` only."""
    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    words = TextColumn("{task.description}"), TextColumn("{task.fields[unit]}")
    columns = (words[0], BarColumn(), MofNCompleteColumn(), words[1], TimeElapsedColumn())
    console = Console(stderr=True, highlight=False)
    # Left alone, it would send what is printed on standard output to its own console.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        yield Bar(progress, progress.add_task(what, total=None, unit=unit))
