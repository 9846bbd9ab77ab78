"""The night: each worker tries, when it starts and once a minute, to start the run of the last date that was due."""

from datetime import UTC, datetime

import structlog

from reckoner.shared.defaults import IN_FLIGHT
from reckoner.shared.nightly import last_due, parse_nightly
from reckoner.shared.periodic import run_periodically
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

TICK_S = 60.0


class NightlyTrigger:
    """The start of the nights by one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._told: tuple[str, str] | None = None
        """The date whose run was last said to wait, and for what."""

    async def run(self) -> None:
        """Start the night's run whenever it is due and has not begun, for ever; at once where there are no nights."""
        if self._runtime.settings.nightly:
            await run_periodically("the night's start", TICK_S, self.start_if_due, first_pause_s=0.0)

    async def start_if_due(self) -> None:
        """Start the run of the last date that was due, unless it has begun: the same whoever does so, and how often.

        What is missing now, as a model, is there at a later time of asking.
        """
        runtime = self._runtime
        nightly = parse_nightly(runtime.settings.nightly)
        if nightly is None:
            return
        now = datetime.fromtimestamp(await runtime.now_ms() / 1000, UTC)
        date = last_due(now, nightly).date.isoformat()
        if await runtime.runs.night(date) is not None:
            return
        newest = await runtime.results.generations.follow(runtime.keys.newest)
        if newest.record is None:
            waits = date, newest.damage or "none was fitted"
            if waits != self._told:
                log.info("nightly run postponed", date=date, reason=waits[1])
            self._told = waits
            return
        run_id, beginning = await runtime.runs.start_night(date, newest.record, runtime.settings.block_size, IN_FLIGHT)
        if beginning != "known":
            log.info(f"nightly run {beginning}", date=date, run=run_id)
