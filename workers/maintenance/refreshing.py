"""Keeps lists fresh: makes jobs for stale ones, and drops events that the live snapshots hold.

Any number of workers may do so at once: a job is joined, and what was dropped is gone.
"""

import structlog

from reckoner.shared.errors import QueueFullError, WireError
from reckoner.shared.flows.flows import FLOWS_AT_ONCE
from reckoner.shared.periodic import run_periodically
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.events import Mark, parse_mark
from reckoner.shared.serving.generations import as_id
from reckoner.shared.wire.shapes import Record, UserSpec
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

REFRESH_S, TRIM_S = 1.0, 5.0


class Refreshing:
    """Keeps lists fresh from one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

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
        while users := await runtime.events.take_stale(FLOWS_AT_ONCE):
            generation = await runtime.results.generations.current()
            if generation is None:
                return made
            specs = [UserSpec(user, generation) for user in users]
            joins = [runtime.keys.join_user(generation, user) for user in users]
            try:
                await runtime.flows.create(specs, joins, "batch", runtime.settings.max_queued)
            except QueueFullError as error:
                await runtime.events.settled(dict(list(users.items())[: len(error.taken)]))
                return made + len(error.taken)
            await runtime.events.settled(users)
            made += len(users)
        return made

    async def trim(self) -> int:
        """Drop the events that the snapshots of all generations with lists hold; returns their number.

        Any of these may go live, and leaves out then what was recorded since its snapshot.
        """
        runtime, marks, generations = self._runtime, list[Mark](), self._runtime.results.generations
        named = await ask(runtime.redis, "MGET", *runtime.keys.pointers)
        for name in {as_id(name or b"") for name in (*(await generations.lists()), *named)} - {None}:
            record = await generations.record(str(name))
            if record is not None:
                mark = _mark_of(record)
                if mark is None:
                    return 0
                marks.append(mark)
        first = await runtime.events.first()
        if not marks or first is None or first > min(marks):
            return 0
        dropped = await runtime.events.trim(min(marks))
        log.info("imported events dropped", events=dropped, mark=str(min(marks)))
        return dropped


def _mark_of(record: Record) -> Mark | None:
    try:
        return parse_mark(record.mark or "")
    except WireError:
        return None
