"""`reckoner version`."""

import typer

from reckoner.producer.cli.output import print_json, print_line
from reckoner.producer.cli.users import AsJson


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(version)


def version(as_json: AsJson = False) -> None:
    """Print the version.

    Example: reckoner version
    """
    from reckoner.shared.errors import MissingExtraError
    from reckoner.shared.version import DISTRIBUTION, installed_version

    found = installed_version()
    if not found:
        raise MissingExtraError("This is not installed, so it has no version: install it with pip.")
    if as_json:
        print_json({"version": found})
    else:
        print_line(f"{DISTRIBUTION} {found}")
