"""`reckoner store`: whose the artifact store is."""

import typer

from producer.cli.edge import complete
from producer.cli.output import print_line

group = typer.Typer(name="store", help="Decide whose the artifact store is.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(group)


@group.command()
def take() -> None:
    """Take the store over for this prefix and this Redis, whoever had it.

    A store belongs to one prefix of one Redis, and workers of others refuse
    to start on it. Take it over when that Redis is gone or was emptied.

    Example: reckoner store take
    """
    from shared.ownership import take_store
    from shared.settings import load_settings
    from shared.store import open_store, store_directory

    settings = load_settings()
    place = store_directory(settings.store_location)
    if complete(take_store(settings, open_store(settings.store_location))):
        print_line(f"The store {place} belongs to prefix {settings.prefix} of this Redis now.")
    else:
        print_line(
            f"The store {place} belongs to prefix {settings.prefix} now, of the first Redis with which it is used."
        )
