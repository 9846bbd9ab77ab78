"""An import that a night supervises: it reports rows, ends with its supervisor, and tells what is worth another try."""

import os
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer

from reckoner.producer.cli.output import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Between two reports.
REPORT_EVERY_S = 0.5


def report_to_supervisor() -> "Callable[[int, int | None], None]":
    """End when standard input closes, as it does when the supervisor dies; returns the progress to report rows."""
    last = 0.0

    def wait() -> None:
        # Not through sys.stdin, whose lock the end of the process would wait for.
        while os.read(0, 1):
            pass
        os._exit(1)

    def report(rows: int, _: int | None) -> None:
        nonlocal last
        if time.monotonic() - last >= REPORT_EVERY_S:
            last = time.monotonic()
            print(f"rows {rows}", file=sys.stderr, flush=True)

    threading.Thread(target=wait, daemon=True).start()
    return report


@contextmanager
def exits_if_away(night: str | None) -> "Iterator[None]":
    """Tell a night by the exit code that another try may succeed: the source, Redis, the store or the memory failed."""
    from reckoner.shared.errors import SOURCE_AWAY, RedisUnavailableError, SourceAwayError, is_environment_error

    try:
        yield
    except Exception as error:
        is_away = isinstance(error, SourceAwayError | RedisUnavailableError) or is_environment_error(error)
        if night is None or not is_away:
            raise
        say(str(error) or type(error).__name__)
        raise typer.Exit(SOURCE_AWAY) from error
