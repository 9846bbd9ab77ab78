"""`reckoner users`: the ids of everybody in the data."""

import typer

from reckoner.producer.cli.edge import stopped
from reckoner.producer.cli.output import print_json, print_line
from reckoner.producer.cli.users import AsJson


def register(app: typer.Typer) -> None:
    """Add the command, whose module is named for what it lists: `users` has those that other commands are given."""
    app.command()(users)


def users(as_json: AsJson = False) -> None:
    """Print the ids of all users of the current snapshot, one a line, in the order of their bytes.

    They are read from the store as they are printed; Redis is not asked.
    A control character in an id is printed as an escape.

    Example: reckoner users | head -n 3
    """
    from reckoner.shared.errors import MissingExtraError, NothingImportedError
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import open_store
    from reckoner.shared.store.ownership import require_prefix

    settings = load_settings()
    store = open_store(settings.store_location)
    require_prefix(settings, store)
    snapshot_id = store.current_snapshot()
    if snapshot_id is None:
        raise NothingImportedError
    try:
        from reckoner.shared.store.snapshots import open_snapshot
    except ModuleNotFoundError as error:
        if error.name != "numpy":
            raise
        raise MissingExtraError(
            "Listing users reads the store, which needs numpy: pip install 'ready-reckoner[worker]'."
        ) from error
    with stopped("Stopped."):
        for page in open_snapshot(store.fetch("snapshots", snapshot_id)).users.pages():
            for user in page:
                if as_json:
                    print_json({"user": user.decode()})
                else:
                    print_line(user.decode())
