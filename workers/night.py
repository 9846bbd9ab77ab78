"""The night: each worker tries, when it starts and once a minute, to start the run of the last date that was due."""

from datetime import UTC, datetime

import structlog

from shared.defaults import IN_FLIGHT
from shared.nightly import last_due, parse_nightly
from workers.runtime import Runtime
from workers.upkeep import again_and_again

log = structlog.get_logger()

TICK_S = 60.0


async def keep_nights(runtime: Runtime) -> None:
    """Start the night's run whenever it is due and has not begun, for ever; at once where there are no nights."""
    if runtime.settings.nightly:
        await again_and_again("the night's start", TICK_S, lambda: start_what_is_due(runtime), first_pause_s=0.0)


async def start_what_is_due(runtime: Runtime) -> None:
    """Start the run of the last date that was due, unless it has begun; it is the same whoever does so, and how often.

    What is missing now, as a model, is there at a later time of asking.
    """
    nightly = parse_nightly(runtime.settings.nightly)
    if nightly is None:
        return
    now = datetime.fromtimestamp(await runtime.now_ms() / 1000, UTC)
    date = last_due(now, nightly).date.isoformat()
    if await runtime.runs.night(date) is not None:
        return
    newest = await runtime.results.follow(runtime.keys.newest)
    if newest.record is None:
        log.info("the night's run waits for a model", date=date, reason=newest.damage or "none was fitted")
        return
    run_id, beginning = await runtime.runs.start_night(date, newest.record, runtime.settings.block_size, IN_FLIGHT)
    if beginning != "known":
        log.info(f"the night's run was {beginning}", date=date, run=run_id)
