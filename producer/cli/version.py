"""`reckoner version`."""

import typer

from producer.cli.output import print_json, print_line
from producer.cli.users import AsJson

DISTRIBUTION = "ready-reckoner"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(version)


def version(as_json: AsJson = False) -> None:
    """Print the version.

    Example: reckoner version
    """
    from importlib import metadata

    from shared.errors import MissingExtraError

    try:
        found = metadata.version(DISTRIBUTION)
    except metadata.PackageNotFoundError as error:
        raise MissingExtraError("This is not installed, so it has no version: install it with pip.") from error
    if as_json:
        print_json({"version": found})
    else:
        print_line(f"{DISTRIBUTION} {found}")
