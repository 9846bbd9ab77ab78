"""`reckoner store`: whose the artifact store is."""

import typer

from reckoner.producer.cli.edge import complete
from reckoner.producer.cli.output import print_line

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
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import open_store, store_directory
    from reckoner.shared.store.ownership import take_store

    settings = load_settings()
    place = store_directory(settings.store_location)
    if complete(take_store(settings, open_store(settings.store_location))):
        print_line(f"The store {place} belongs to prefix {settings.prefix} of this Redis now.")
    else:
        print_line(
            f"The store {place} belongs to prefix {settings.prefix} now, of the first Redis with which it is used."
        )
