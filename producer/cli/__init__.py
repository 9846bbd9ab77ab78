"""The command line `reckoner`: one module for each noun."""

import sys

import typer

from producer.cli import workers
from producer.cli.edge import guarded

app = typer.Typer(
    name="reckoner",
    help="Keeps every user's next N recommendations ready in Redis.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
workers.register(app)


def main() -> None:
    """Run the command line."""
    sys.exit(guarded(lambda: app(standalone_mode=False)))
