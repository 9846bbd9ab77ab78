"""`reckoner store`: changes the owner of the artifact store."""

import typer

from reckoner.producer.cli.edge import run_async
from reckoner.producer.cli.output import print_line

group = typer.Typer(name="store", help="Change the owner of the artifact store.", no_args_is_help=True)


@group.command()
def take() -> None:
    """Make this prefix of this Redis the owner of the store.

    A store belongs to one prefix of one Redis; workers of others refuse to
    start on it. Use this when the owner's Redis is gone or was emptied.

    Example: reckoner store take
    """
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import describe_store, store_of
    from reckoner.shared.store.ownership import take_store

    settings = load_settings()
    place = describe_store(settings.store_location)
    if run_async(take_store(settings, store_of(settings))):
        print_line(f"The store {place} now belongs to prefix {settings.prefix} of this Redis.")
    else:
        print_line(f"The store {place} now belongs to prefix {settings.prefix} of the first Redis that uses it.")
