"""Prints JSON lines, tables and sentences, all escaped by `reckoner.shared.terminal`.

Results go to standard output. Messages go to standard error, and so does a progress bar if that is a terminal.
"""

import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from reckoner.shared.terminal import plain, plain_json

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# In a file or a pipe a table is as wide as its contents.
WIDEST = 100_000
# Seconds until the first progress line, and between later ones.
FIRST_LINE_S, LINES_EVERY_S = 1.0, 10.0


def say(sentence: str) -> None:
    """Print a line on standard error."""
    print(plain(sentence), file=sys.stderr, flush=True)


def print_line(text: str) -> None:
    """Print a line on standard output."""
    print(plain(text))


def print_json(value: Any) -> None:
    """Print a JSON object on one line, always in UTF-8."""
    import json

    import msgspec

    try:
        text = msgspec.json.encode(value).decode()
    except UnicodeEncodeError:
        # A path may contain bytes that are not UTF-8.
        text = json.dumps(value)
    sys.stdout.flush()
    sys.stdout.buffer.write(plain_json(text).encode() + b"\n")
    sys.stdout.buffer.flush()


def print_result(record: Any, sentence: str, as_json: bool) -> None:
    """Print a result as a JSON object or as a line."""
    if as_json:
        print_json(record)
    else:
        print_line(sentence)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print a table; the columns in `numbers` are right-aligned, those in `whole` are never wrapped."""
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        justify: Literal["left", "right"] = "right" if column in numbers else "left"
        table.add_column(column, justify=justify, overflow="fold", no_wrap=column in whole)
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDEST)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        print(line.rstrip())


def print_nonempty_columns(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: Sequence[str] = (),
    whole: Sequence[str] = (),
) -> None:
    """Print a table without its empty columns; prints nothing without rows."""
    shown = [i for i in range(len(columns)) if any(row[i] for row in rows)]
    if shown:
        shown_rows = [[row[i] for i in shown] for row in rows]
        print_table([columns[i] for i in shown], shown_rows, numbers=numbers, whole=whole)


def print_facts(facts: Iterable[tuple[str, str]]) -> None:
    """Print one name and value a line."""
    known = list(facts)
    width = max(len(name) for name, _ in known)
    for name, value in known:
        print_line(f"{name:<{width}}  {value}")


class Lines:
    """Progress as lines: the first after a second, then every ten."""

    def __init__(self) -> None:
        self._what = ""
        self._say_at = 0.0

    def show(self, what: str, unit: str, done: int, total: int | None) -> None:
        """Print the progress if a line is due; `total` is None if unknown."""
        now = time.monotonic()
        if what != self._what:
            self._what, self._say_at = what, now + FIRST_LINE_S
        elif now >= self._say_at:
            self._say_at = now + LINES_EVERY_S
            of = "so far" if total is None else f"of {total:,} {unit}"
            say(f"{what}: {done:,} {of}" if unit else what)


class Bar:
    """A progress bar on standard error; hidden if that is not a terminal."""

    def __init__(self, progress: "Progress | None" = None, task: "TaskID | None" = None) -> None:
        self._progress = progress
        self._task = task
        self._lines = Lines()

    def update(self, done: int, total: int | None) -> None:
        """Show the progress; `total` is None while unknown."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def show(self, what: str, unit: str, done: int, total: int | None) -> None:
        """Show the progress of another step; without a terminal, in lines."""
        if self._progress is None or self._task is None:
            self._lines.show(what, unit, done, total)
        else:
            if self._progress.tasks[0].description != what:
                # A new task, since rich cannot reset a known total to unknown.
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
    """Show a bar for `what`, counted in `unit`, during the block. Print with its `say` only."""
    if not sys.stderr.isatty():
        yield Bar()
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    words = TextColumn("{task.description}"), TextColumn("{task.fields[unit]}")
    columns = (words[0], BarColumn(), MofNCompleteColumn(), words[1], TimeElapsedColumn())
    console = Console(stderr=True, highlight=False)
    # By default rich would redirect standard output to its console.
    with Progress(*columns, console=console, transient=True, redirect_stdout=False) as progress:
        yield Bar(progress, progress.add_task(what, total=None, unit=unit))
