"""The gate of an import: what keeps a snapshot from becoming the current one."""

import msgspec

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot

# So many bad rows are listed, so fewer are no reason to refuse.
LISTED = 20


class ImportLimits(msgspec.Struct, frozen=True):
    """The limits of an import; shares are between 0 and 1."""

    max_bad: float = 0.01
    """The largest share of bad rows, if there are more than `LISTED`."""
    min_share: float = 0.5
    """The least share of the current snapshot's users, items and interactions."""


class Size(msgspec.Struct, frozen=True):
    """The size of a snapshot."""

    users: int
    items: int
    interactions: int


def judge(limits: ImportLimits, size: Size, store: Store, rows: int, bad_rows: int) -> list[str]:
    """Compare a snapshot with the current one of `store`; see `refusals`."""
    try:
        before = _current_size(store)
    except (ArtifactMissingError, ArtifactDamagedError):
        found = refusals(limits, size, None, rows, bad_rows)
        if limits.min_share > 0:
            found.append("the current snapshot is damaged or gone, so nothing can be compared with it (--min-share)")
        return found
    return refusals(limits, size, before, rows, bad_rows)


def _current_size(store: Store) -> Size | None:
    current = store.current_snapshot()
    if current is None:
        return None
    snapshot = open_snapshot(store.fetch(KIND, current))
    return Size(snapshot.n_users, snapshot.n_items, int(snapshot.user_items.size))


def refusals(limits: ImportLimits, size: Size, before: Size | None, rows: int, bad_rows: int) -> list[str]:
    """Why a snapshot may not become the current one: a clause for each figure that is beyond its limit."""
    found = list[str]()
    if bad_rows > LISTED and bad_rows > limits.max_bad * rows:
        found.append(f"{bad_rows / rows:.1%} of the rows are bad, the limit is {limits.max_bad:.1%} (--max-bad)")
    for name in Size.__struct_fields__ if before else ():
        now, past = getattr(size, name), getattr(before, name)
        if now < limits.min_share * past:
            found.append(
                f"{now:,} {name} are {now / past:.1%} of the {past:,} before, at least {limits.min_share:.1%} are "
                "wanted (--min-share)"
            )
    return found
