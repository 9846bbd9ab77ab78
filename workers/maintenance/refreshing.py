"""Keeps lists fresh: makes jobs for stale ones, and drops events that the live snapshots hold.

Any number of workers may do so at once: a job is joined, and what was dropped is gone.
"""

import structlog

from reckoner.shared.errors import QueueFullError, WireError
from reckoner.shared.flows.flows import FLOWS_AT_ONCE
from reckoner.shared.periodic import run_periodically
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.events import BEGINNING, Mark, parse_mark
from reckoner.shared.serving.generations import as_id
from reckoner.shared.wire.shapes import Record, UserSpec
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

REFRESH_S, TRIM_S = 1.0, 5.0
# The difference of two hosts' clocks that does no harm.
SKEW_MS = 3_600_000


class Refreshing:
    """Keeps lists fresh from one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._trimmed: tuple[Mark, int] | None = None

    async def run_refresh(self) -> None:
        """Make jobs for stale lists, for ever."""
        await run_periodically("refresh of stale lists", REFRESH_S, self.refresh)

    async def run_trim(self) -> None:
        """Drop events that the live snapshots hold, for ever."""
        await run_periodically("dropping of imported events", TRIM_S, self.trim)

    async def refresh(self) -> int:
        """Show items again whose time is over; make jobs for the stale lists that the batch lane has room for.

        Returns:
            The number of jobs.
        """
        runtime, made = self._runtime, 0
        await runtime.results.hidden.expire()
        while stale := await runtime.events.take_stale(FLOWS_AT_ONCE):
            generation = await runtime.results.generations.current()
            if generation is None:
                break
            users = {name: user for name in stale if (user := as_user(name)) is not None}
            specs = [UserSpec(user, generation) for user in users.values()]
            joins = [runtime.keys.join_user(generation, user) for user in users.values()]
            try:
                await runtime.flows.create(specs, joins, "batch", runtime.settings.max_queued)
                taken = len(users)
            except QueueFullError as error:
                taken = len(error.taken)
            waiting = set(list(users)[taken:])
            await runtime.events.settled({name: at for name, at in stale.items() if name not in waiting})
            made += taken
            if waiting or len(stale) < FLOWS_AT_ONCE:
                break
        return made

    async def trim(self) -> int:
        """Drop the events that the snapshots of all generations with lists hold; returns their number.

        Any of these may go live, and leaves out then what was recorded since its snapshot. Users of whom nothing is
        left are dropped too, once all these generations are newer than their last change.
        """
        runtime, records, generations = self._runtime, list[Record](), self._runtime.results.generations
        named = await ask(runtime.redis, "MGET", *runtime.keys.pointers)
        for name in {as_id(name or b"") for name in (*(await generations.lists()), *named)} - {None}:
            record = await generations.record(str(name))
            if record is not None:
                records.append(record)
        if not records:
            return 0
        oldest = min(map(_mark_of, records)), min(record.made_ms for record in records) - SKEW_MS
        first = await runtime.events.first()
        if oldest == self._trimmed and (first is None or first > oldest[0]):
            return 0
        dropped = await runtime.events.trim(*oldest)
        self._trimmed = oldest
        if dropped:
            log.info("imported events dropped", events=dropped, mark=str(oldest[0]))
        return dropped


def as_user(name: bytes) -> str | None:
    """The user of a name; None for bytes that are no text, which somebody planted."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return None


def _mark_of(record: Record) -> Mark:
    try:
        return parse_mark(record.mark or str(BEGINNING))
    except WireError:
        return BEGINNING
