"""The command line with all its commands, and how it is run to an exit code."""

import os
import sys

import typer

from reckoner.producer.cli import (
    batch,
    cancel,
    config,
    dead,
    demo,
    doctor,
    drain,
    enqueue,
    everybody,
    fit,
    get,
    importing,
    job,
    lanes,
    show,
    similar,
    status,
    store,
    synth,
    version,
    workers,
)
from reckoner.producer.cli.edge import guarded
from reckoner.producer.cli.output import say
from reckoner.shared.terminal import show_trace

app = typer.Typer(
    name="reckoner",
    help="Keeps every user's next N recommendations ready in Redis.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
# In the order in which somebody meets them.
for noun in (
    importing, everybody, fit, enqueue, get, show, similar, batch, job, cancel, status, lanes, drain, dead, doctor,
    store, config, workers, demo, synth, version,
):  # fmt: skip
    noun.register(app)


def run() -> int:
    """Run the command that was called; returns the exit code."""
    sys.excepthook = show_trace
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as this process lives
    if sys.stdout is None:
        say("Standard output is closed: send it to a file, or to /dev/null when nobody is to read it.")
        return 1
    # A title that the locale cannot write is no reason to stop.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return guarded(lambda: app(sys.argv[1:] or ["--help"], prog_name="reckoner", standalone_mode=False))
