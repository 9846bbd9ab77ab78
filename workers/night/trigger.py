"""Begins the night when it is due: each worker tries when it starts and once a minute, so that none is missed."""

from datetime import UTC, datetime

import structlog

from reckoner.shared.flows.nights import NightOptions, Nights
from reckoner.shared.nightly import last_due, parse_nightly
from reckoner.shared.periodic import run_periodically
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

TICK_S = 60.0


class NightlyTrigger:
    """Begins nights from one worker process."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._nights = Nights(runtime.redis, runtime.keys)
        self._postponed = ""
        """The date of the last logged postponement."""

    async def run(self) -> None:
        """Begin due nights, for ever. Returns at once if `nightly` is not set."""
        if self._runtime.settings.nightly:
            await run_periodically("start of the night", TICK_S, self.begin_if_due, first_pause_s=0.0)

    async def begin_if_due(self) -> None:
        """Begin the night of the last due date, unless it has begun, or there is nothing to begin with. Idempotent."""
        runtime = self._runtime
        nightly = parse_nightly(runtime.settings.nightly)
        if nightly is None:
            return
        now = datetime.fromtimestamp(await runtime.now_ms() / 1000, UTC)
        date = last_due(now, nightly).date.isoformat()
        if not runtime.settings.source and await runtime.in_store(runtime.store.current_snapshot) is None:
            if date != self._postponed:
                log.info("night postponed", date=date, reason="nothing is imported, and RECKONER_SOURCE is empty")
            self._postponed = date
            return
        night, beginning = await self._nights.begin(date, "settings", NightOptions())
        if beginning == "started":
            log.info("night started", date=date, night=night)
