"""Freezes what counts for the users of a job beside the snapshot, so that all its chunk tasks score the same."""

from collections.abc import AsyncIterator

import numpy as np
from msgspec import UnsetType

from reckoner.shared.serving.events import BEGINNING, LAST, Mark, Recent, parse_mark
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import BasketSpec, BlockSpec, Frozen, Record, ScoringSpec, UserSpec
from reckoner.workers.runtime.masks import Mask
from reckoner.workers.runtime.runtime import Runtime


async def freeze(
    runtime: Runtime, spec: ScoringSpec, users: range, snapshot: Snapshot, record: Record
) -> Frozen | None:
    """What counts for the `users` of a job, and what is hidden; None if nothing is.

    That is now; for a block of a run, until the run has begun.
    """
    in_run = isinstance(spec, BlockSpec)
    frozen = _Freezing(snapshot, _mark(record.mark), _mark(record.events) if in_run else LAST)
    if isinstance(spec, BlockSpec):
        mask = Mask(await runtime.masks.of_run(snapshot, record), hidden=record.mask or "")
        async for recent in _of_block(runtime, users, snapshot):
            if (user := snapshot.users.find(recent.user)) is not None:
                frozen.add(user - users.start, recent)
    else:
        mask = await runtime.masks.current(snapshot, spec.filter)
        recent = await _of_job(runtime, spec)
        frozen.version = recent.version
        frozen.add(0, recent)
    hidden = None if mask.hidden == (record.mask or "") else mask.hidden
    return frozen.value(mask, hidden, with_unknown=isinstance(spec, UserSpec))


def _mark(text: str | UnsetType) -> Mark:
    return parse_mark(text) if text else BEGINNING


async def _of_block(runtime: Runtime, users: range, snapshot: Snapshot) -> AsyncIterator[Recent]:
    """What is known of a block's users beside the snapshot."""
    if users:
        async for recent in runtime.events.recent(snapshot.users[users.start], snapshot.users[users.stop - 1]):
            yield recent


async def _of_job(runtime: Runtime, spec: UserSpec | BasketSpec) -> Recent:
    """What is known of a user beside the snapshot, and the items that the job's filter leaves out."""
    found = Recent("", b"", [], [])
    if isinstance(spec, UserSpec):
        async for recent in runtime.events.recent(spec.user):
            found = recent
    return found._replace(hides=[*found.hides, *spec.filter.exclude]) if spec.filter else found


class _Freezing:
    """Collects the events of users after a mark, up to another one."""

    def __init__(self, snapshot: Snapshot, after: Mark, last: Mark) -> None:
        self.version = b""
        self._snapshot, self._after, self._last = snapshot, after, last
        self._users = list[int]()
        self._counts = list[int]()
        self._rows = list[tuple[int, float, int, bool, bool]]()
        self._unknown = set[str]()

    def add(self, user: int, recent: Recent) -> None:
        """Add a user by its number in the job, in ascending order."""
        before = len(self._rows)
        for mark, event in recent.events:
            if self._after < mark <= self._last:
                left = event.role != "signal"
                time_ms = mark.ms if event.time_ms is None else event.time_ms
                self._note(event.item, event.weight, time_ms, event.role != "exclude", left)
        for item in recent.hides:
            self._note(item, 1.0, 0, False, True)
        if len(self._rows) > before:
            self._users.append(user)
            self._counts.append(len(self._rows) - before)

    def _note(self, item: str, weight: float, time_ms: int, counts: bool, left: bool) -> None:
        index = self._snapshot.items.find(item)
        if index is not None:
            self._rows.append((index, weight, time_ms, counts, left))
        elif counts:
            self._unknown.add(item)

    def value(self, mask: Mask, hidden: str | None, *, with_unknown: bool) -> Frozen | None:
        """What was collected, and a mask with what is hidden; None for nothing."""
        unknown = sorted(self._unknown) if with_unknown else []
        if not any((self._rows, unknown, self.version, mask.part, mask.tagging, hidden is not None)):
            return None
        items, weights, times, counting, left = zip(*self._rows, strict=True) if self._rows else ((),) * 5
        return Frozen(
            version=self.version,
            users=np.array(self._users, np.uint32).tobytes(),
            counts=np.array(self._counts, np.uint32).tobytes(),
            items=np.array(items, np.uint32).tobytes(),
            weights=np.array(weights, np.float64).tobytes(),
            times=np.array(times, np.int64).tobytes(),
            counting=np.array(counting, np.bool_).tobytes(),
            left=np.array(left, np.bool_).tobytes(),
            unknown=unknown,
            mask=mask.part,
            tagging=mask.tagging,
            hidden=hidden,
        )
