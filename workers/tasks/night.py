"""The night: a tick that starts the run of the last date that was due and has none yet."""

from datetime import UTC, datetime
from typing import Any

import structlog

from shared.defaults import IN_FLIGHT
from shared.nightly import last_due, parse_nightly
from workers.delivery import Delivery
from workers.runtime import Runtime

log = structlog.get_logger()


async def night(ctx: dict[Any, Any]) -> None:
    """One tick, of any worker and at any moment again; what it finds missing is made up for by the next one."""
    runtime: Runtime = ctx["runtime"]
    delivery = Delivery(ctx, ctx["job_id"])

    async def work() -> None:
        if reason := await delivery.within_deadline(lambda: _start_what_is_due(runtime)):
            log.error("the night's run could not be started", reason=reason)

    await delivery.run(work)


async def _start_what_is_due(runtime: Runtime) -> None:
    nightly = parse_nightly(runtime.settings.nightly)
    if nightly is None:
        log.warning("a tick of the night came to a worker without RECKONER_NIGHTLY: all workers need the same")
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
