"""`reckoner users`: prints the ids of all users."""

from reckoner.producer.cli.arguments import AsJson
from reckoner.producer.cli.edge import say_if_interrupted
from reckoner.producer.cli.output import print_result


def users(as_json: AsJson = False) -> None:
    """Print the ids of all users of the current snapshot, one a line, in byte order.

    Reads the store only, not Redis.
    Control characters in ids are printed as escapes.

    Example: reckoner users | head -n 3
    """
    from reckoner.shared.errors import MissingExtraError, NothingImportedError
    from reckoner.shared.settings import load_settings
    from reckoner.shared.store.location import store_of
    from reckoner.shared.store.ownership import require_prefix

    settings = load_settings()
    store = store_of(settings)
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
            "Listing users needs numpy, which is not installed: pip install 'ready-reckoner[worker]'."
        ) from error
    with say_if_interrupted("Stopped."):
        for page in open_snapshot(store.fetch("snapshots", snapshot_id)).users.pages():
            for user in page:
                print_result({"user": user.decode()}, user.decode(), as_json)
