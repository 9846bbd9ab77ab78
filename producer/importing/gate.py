"""The gate of an import: what keeps a snapshot from becoming the current one."""

from collections.abc import Iterator
from typing import NamedTuple

import msgspec
from msgspec.structs import astuple

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot

# So few rows are no reason to refuse.
FEW = 20


class ImportLimits(msgspec.Struct, frozen=True):
    """The limits of an import; shares are between 0 and 1."""

    max_bad: float = 0.01
    """The largest share of bad rows, if there are more than `FEW`."""
    min_share: float = 0.5
    """The least share of the users, items and interactions of the current snapshot, and of the live generation's."""
    live: str | None = None
    """The snapshot of the live generation, if known: several imports in a row shrink the current one in steps."""
    max_left_out: float = 0.5
    """The largest share of rows that a rule left out, if there are more than `FEW`."""


class RowCounts(msgspec.Struct, frozen=True):
    """The rows of a source, and how many of them are bad and left out."""

    rows: int
    bad: int = 0
    left_out: int = 0


NO_ROWS = RowCounts(0)


class Size(msgspec.Struct, frozen=True):
    """The size of a snapshot."""

    users: int
    items: int
    interactions: int


class Judgement(NamedTuple):
    """Why a snapshot may not become the current one, and the size it was compared with."""

    refused: list[str]
    before: Size | None


def judge(
    limits: ImportLimits, size: Size, store: Store | None, counts: RowCounts, of_items: RowCounts = NO_ROWS
) -> Judgement:
    """Compare a snapshot with the current one of `store` and with the live generation's; see `refusals`.

    `of_items` are the rows of the items file.
    """
    for_items = [*refusals_of_rows(limits, of_items, "rows of the items file")]
    if store is None:
        return Judgement(refusals(limits, size, None, counts) + for_items, None)
    current = store.current_snapshot()
    before = _size(store, current)
    damaged = current is not None and before is None and limits.min_share > 0
    if limits.live != current and (live := _size(store, limits.live)):
        before = live if before is None else Size(*map(max, astuple(before), astuple(live)))
    found = refusals(limits, size, before, counts) + for_items
    if damaged:
        found.append("the current snapshot is damaged or gone, so nothing can be compared with it (--min-share)")
    return Judgement(found, before)


def _size(store: Store, snapshot_id: str | None) -> Size | None:
    """The size of a snapshot, None if it is damaged or gone."""
    if snapshot_id is None:
        return None
    try:
        snapshot = open_snapshot(store.fetch(KIND, snapshot_id))
    except (ArtifactMissingError, ArtifactDamagedError):
        return None
    return Size(snapshot.n_users, snapshot.n_items, int(snapshot.user_items.size))


def refusals_of_rows(limits: ImportLimits, counts: RowCounts, whose: str = "rows") -> Iterator[str]:
    """Why there are too many bad rows, or rows that are left out."""
    for rows, limit, what, option in (
        (counts.bad, limits.max_bad, "bad", "--max-bad"),
        (counts.left_out, limits.max_left_out, "left out", "--max-left-out"),
    ):
        if rows > FEW and rows > limit * counts.rows:
            yield f"{rows / counts.rows:.1%} of the {whose} are {what}, the limit is {limit:.1%} ({option})"


def refusals(limits: ImportLimits, size: Size, before: Size | None, counts: RowCounts) -> list[str]:
    """Why a snapshot may not become the current one: a clause for each figure that is beyond its limit."""
    found = [*refusals_of_rows(limits, counts)]
    for name in Size.__struct_fields__ if before else ():
        now, past = getattr(size, name), getattr(before, name)
        if now < limits.min_share * past:
            found.append(
                f"{name} fell from {past:,} to {now:,}, which is {now / past:.1%}, the limit is {limits.min_share:.1%} "
                "(--min-share)"
            )
    return found
