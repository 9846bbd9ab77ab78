"""`reckoner demo`: runs the whole system on real data, then removes everything."""

import os
import shutil
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from reckoner.producer.cli.output import Bar, print_line, print_table, progress_bar, say
from reckoner.producer.cli.tasks import print_shares, print_tasks

if TYPE_CHECKING:
    from reckoner.producer.cli.interruption import Interruption
    from reckoner.producer.trial.demo import Demo, Demonstration

NEXT = (
    ("up", "Redis, two workers and the page, until Ctrl-C"),
    ("import PATH", "your interactions, a CSV or Parquet file"),
    ("fit", "build the model"),
    ("batch", "compute every user's list"),
    ("get USER", "read one of them"),
)
STOPPED = "Stopped. Everything was removed."
LOOK_S = 0.1


def demo(
    page: Annotated[
        bool, typer.Option("--page", help="Serve the page and the HTTP API afterwards, until Ctrl-C.")
    ] = False,
) -> None:
    """Run a demonstration on real data.

    Starts an embedded Redis and two workers in a temporary directory, imports
    the MovieLens ratings and computes every user's list. Everything is removed
    at the end.

    Example: reckoner demo
    """
    from tempfile import TemporaryDirectory

    from reckoner.producer.cli.interruption import Interrupted, Interruption
    from reckoner.producer.cli.serve import require_http
    from reckoner.producer.trial.demo import Demo

    if page:
        require_http("The page")
    began = time.monotonic()
    print_line("Ready Reckoner: a demonstration with the ratings of MovieLens")
    print_line("")
    sys.stdout.flush()
    with Interruption() as interruption:
        try:
            with (
                TemporaryDirectory(prefix="reckoner-demo-", ignore_cleanup_errors=True) as home,
                Demo(Path(home), interruption.check) as running,
            ):
                _print(interruption.run(running.run(lambda what, unit: _stage(began, what, unit))))
                if page:
                    _serve(running, interruption)
                else:
                    _print_next()
            if page:
                say(STOPPED)
            else:
                interruption.check()
        except Interrupted as interrupted:
            say(STOPPED)
            raise typer.Exit(interrupted.exit_code) from interrupted


class _Stage:
    """A stage of the demonstration, with a progress bar."""

    def __init__(self, bar: Bar) -> None:
        self.update = bar.update
        self.show = bar.show
        self.summary = ""

    def finish(self, summary: str) -> None:
        """Set the line that is printed when the stage has ended."""
        self.summary = summary


@contextmanager
def _stage(began: float, what: str, unit: str) -> Iterator[_Stage]:
    with progress_bar(what, unit) as bar:
        stage = _Stage(bar)
        yield stage
    print_line(f"{time.monotonic() - began:6.1f} s  {stage.summary}")
    sys.stdout.flush()


def _print(shown: "Demonstration") -> None:
    user = shown.answer.user
    print_line("")
    print_line(f"User {user} recently watched")
    for title in shown.watched:
        print_line(f"  {title}")
    print_line("")
    print_line(f"Recommendations for user {user}")
    rows = [
        (str(place), entry.title or entry.item, f"{entry.score or 0:.4f}", entry.because_title or entry.because or "")
        for place, entry in enumerate(shown.answer.items, 1)
    ]
    print_table(("", "title", "score", "because you watched"), rows, numbers=("", "score"))
    _print_how_it_ran(shown)


def _serve(running: "Demo", interruption: "Interruption") -> None:
    """Serve the page until a signal."""
    from reckoner.producer.cli.interruption import Interrupted
    from reckoner.producer.cli.serve import served_beside

    with suppress(Interrupted), served_beside(running.settings, running.url) as url:
        print_line("")
        print_line(f"serving {url}")
        sys.stdout.flush()
        while True:
            interruption.check()
            running.check()
            time.sleep(LOOK_S)


def _print_next() -> None:
    print_line("")
    print_line("Next, with your own data")
    command = _command()
    width = max(len(words) for words, _ in NEXT)
    for words, what in NEXT:
        print_line(f"  {command} {words:<{width}}  {what}")
    print_line("")
    print_line("This demonstration with its page, until Ctrl-C")
    print_line(f"  {command} demo --page")


def _print_how_it_ran(shown: "Demonstration") -> None:
    flow, run, manifest = shown.job.flow, shown.run, shown.run.manifest
    took_ms = (flow.ended_ms or flow.created_ms) - flow.created_ms
    print_line("")
    print_line(f"User {shown.answer.user}'s job: {flow.tasks} chunk tasks, {took_ms} ms from enqueue to cached")
    print_tasks(shown.job)
    if manifest is None:
        return
    print_line("")
    print_line(
        f"All users: {manifest.users:,} users in {run.blocks} jobs, {manifest.duration_s:.2f} s, "
        f"{manifest.users_per_second:,.0f} users per second"
    )
    print_shares(manifest.tasks)


def _command() -> str:
    """The command to type, as this command line was called."""
    called = sys.argv[0]
    if os.path.basename(called) != "reckoner":
        return "python -m reckoner.producer"
    found = shutil.which("reckoner")
    return "reckoner" if found and os.path.samefile(found, called) else os.path.relpath(called)
