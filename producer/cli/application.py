"""The command line: registers all commands and runs one to its exit code."""

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
    users,
    version,
    workers,
)
from reckoner.producer.cli.edge import run_to_exit_code
from reckoner.producer.cli.output import say
from reckoner.shared.terminal import show_trace

app = typer.Typer(
    name="reckoner",
    help="Keeps every user's next N recommendations ready in Redis.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
# In the order in which a new user needs them.
for noun in (
    importing, users, fit, enqueue, get, show, similar, batch, job, cancel, status, lanes, drain, dead, doctor,
    store, config, workers, demo, synth, version,
):  # fmt: skip
    noun.register(app)


def run() -> int:
    """Run the command and return its exit code."""
    sys.excepthook = show_trace
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as this process lives
    if sys.stdout is None:
        say("Standard output is closed. Redirect it to a file or to /dev/null.")
        return 1
    # The locale may not be able to encode a title.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    return run_to_exit_code(lambda: app(sys.argv[1:] or ["--help"], prog_name="reckoner", standalone_mode=False))
