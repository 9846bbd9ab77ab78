"""The command line `reckoner`: one module for each noun.

They import what they need when they are called, so that `--help` answers at once and no command has in memory what it
does not use.
"""

import sys

import typer

from producer.cli import batch, demo, enqueue, fit, get, importing, job, status, version, workers
from producer.cli.edge import guarded

app = typer.Typer(
    name="reckoner",
    help="Keeps every user's next N recommendations ready in Redis.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
# In the order in which somebody meets them.
for noun in (importing, fit, enqueue, get, batch, job, status, workers, demo, version):
    noun.register(app)


def main() -> None:
    """Run the command line."""
    # A title that the locale cannot write is no reason to stop.
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    sys.exit(guarded(lambda: app(sys.argv[1:] or ["--help"], prog_name="reckoner", standalone_mode=False)))
