"""Starts the nightly run: each worker tries when it starts and once a minute, so a missed start is made up for."""

from datetime import UTC, datetime

import structlog

from reckoner.shared.nightly import last_due, parse_nightly
from reckoner.shared.periodic import run_periodically
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

TICK_S = 60.0


class NightlyTrigger:
    """Starts nightly runs from one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._logged: tuple[str, str] | None = None
        """The date and the reason of the last logged postponement."""

    async def run(self) -> None:
        """Start due nightly runs, for ever. Returns at once if `nightly` is not set."""
        if self._runtime.settings.nightly:
            await run_periodically("start of the nightly run", TICK_S, self.start_if_due, first_pause_s=0.0)

    async def start_if_due(self) -> None:
        """Start the run of the last due date, unless any worker has started it or no model is fitted. Idempotent."""
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
            postponed = date, newest.damage or "no model was fitted"
            if postponed != self._logged:
                log.info("nightly run postponed", date=date, reason=postponed[1])
            self._logged = postponed
            return
        run_id, beginning = await runtime.runs.start_night(date, newest.record, runtime.settings.block_size or None)
        if beginning != "known":
            log.info(f"nightly run {beginning}", date=date, run=run_id)
