"""Hides the items that the live snapshot says are not available now, and shows them when they are.

Any number of workers may do so at once: each writes the same.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.periodic import run_periodically
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.snapshots import Snapshot
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.runtime import Runtime

LOOK_S = 1.0


class Availability:
    """Follows the availability of items from one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._looked: tuple[str, float] = "", -math.inf
        """What was done last as it is noted in Redis, by any worker, and when the next item ends, in milliseconds."""

    async def run(self) -> None:
        """Follow it for ever."""
        await run_periodically("availability of items", LOOK_S, self.follow)

    async def follow(self) -> int:
        """Hide what is not available now by the snapshot of the live generation; returns how many items have changed.

        Items whose time begins show themselves, since they are hidden until then.
        """
        runtime = self._runtime
        live = await runtime.results.generations.follow(runtime.keys.current)
        if live.record is None:
            return 0
        noted, now = (
            (await ask(runtime.redis, "GET", runtime.keys.unavailable_of) or b"").decode(errors="replace"),
            await runtime.now_ms(),
        )
        of, _, since = noted.partition(" ")
        is_same = of == live.record.snapshot and since.isdecimal()
        if is_same and self._looked[0] == noted and now < self._looked[1]:
            return 0
        try:
            snapshot = await runtime.snapshot(live.record.snapshot)
        except (ArtifactMissingError, ArtifactDamagedError, NotNowError):
            # Jobs and the scrub say so, and whoever watches the store.
            return 0
        if is_same and now < (due := _next_end(snapshot, int(since))):
            # Another worker has done it.
            self._looked = noted, due
            return 0
        changed = await (self._ended(snapshot, int(since), now) if is_same else self._replaced(snapshot, now))
        noted = f"{snapshot.id} {now}"
        await ask(runtime.redis, "SET", runtime.keys.unavailable_of, noted)
        self._looked = noted, _next_end(snapshot, now)
        return changed

    async def _ended(self, snapshot: Snapshot, since: int, now: int) -> int:
        """Hide the items whose time has ended since a moment."""
        ends = snapshot.catalogue.available_until
        if ends is None:
            return 0
        ended = np.flatnonzero((ends > since) & (ends <= now))
        return await self._runtime.results.hidden.withdraw(_names(snapshot, ended))

    async def _replaced(self, snapshot: Snapshot, now: int) -> int:
        """Hide what is not available by another snapshot, and show what is."""
        hidden, wanted = self._runtime.results.hidden, unavailable(snapshot, now)
        before = await hidden.withdrawn()
        by_time = dict[float, list[str]]()
        for item, until in wanted.items():
            if before.get(item) != until:
                by_time.setdefault(until, []).append(item)
        changed = await hidden.offer([item for item in before if item not in wanted])
        for until, items in by_time.items():
            changed += await hidden.withdraw(items, None if math.isinf(until) else int(until))
        return changed


def _next_end(snapshot: Snapshot, now: int) -> float:
    """When the next item ends after a moment, in milliseconds, infinite for never."""
    ends = snapshot.catalogue.available_until
    return math.inf if ends is None else float(ends[ends > now].min(initial=2**63 - 1))


def unavailable(snapshot: Snapshot, now: int) -> dict[str, float]:
    """The items that are not available at a moment, each until a time in milliseconds, infinite after its end."""
    begins, ends = snapshot.catalogue.available_from, snapshot.catalogue.available_until
    found = dict[str, float]()
    if begins is not None:
        later = np.flatnonzero(begins > now)
        found |= zip(_names(snapshot, later), begins[later].astype(np.float64).tolist(), strict=True)
    if ends is not None:
        found |= dict.fromkeys(_names(snapshot, np.flatnonzero(ends <= now)), math.inf)
    return found


def _names(snapshot: Snapshot, items: NDArray[np.int64]) -> Sequence[str]:
    return [snapshot.items.recall(item) for item in items.tolist()]
