"""The contents of a snapshot, for tests of imports."""

from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import Snapshot, open_snapshot


def current(store: Store) -> Snapshot:
    """The current snapshot of a store, with every byte checked."""
    snapshot_id = store.current_snapshot()
    assert snapshot_id is not None
    return open_snapshot(store.fetch("snapshots", snapshot_id), verify=True)


def interactions(snapshot: Snapshot) -> dict[tuple[str, str], tuple[float, int | None]]:
    """The weight and the time of each (user, item)."""
    found = {}
    for user in range(snapshot.n_users):
        for i in range(snapshot.user_ptr[user], snapshot.user_ptr[user + 1]):
            weight = 1.0 if snapshot.user_weights is None else float(snapshot.user_weights[i])
            time = None if snapshot.user_times is None else int(snapshot.user_times[i])
            found[snapshot.users[user], snapshot.items[int(snapshot.user_items[i])]] = (weight, time)
    return found


def left_out(snapshot: Snapshot) -> set[tuple[str, str]]:
    """The (user, item) pairs that lists leave out."""
    ptr, items = snapshot.left_out
    return {
        (snapshot.users[user], snapshot.items[int(item)])
        for user in range(snapshot.n_users)
        for item in items[ptr[user] : ptr[user + 1]]
    }


def titles(snapshot: Snapshot) -> dict[str, str | None]:
    """The title of each item."""
    return {snapshot.items[item]: snapshot.title(item) for item in range(snapshot.n_items)}
