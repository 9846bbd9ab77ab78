"""The entry of the history that an ended night leaves."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from reckoner.shared.errors import WireError
from reckoner.shared.flows.nights import STAGES, Night, NightOutcome, Stage
from reckoner.shared.serving.history import Entry
from reckoner.workers.runtime.history import releases
from reckoner.workers.runtime.runtime import Runtime


async def entry_of(runtime: Runtime, night: Night, outcome: NightOutcome) -> Entry:
    """The entry of a night, with the figures of its run."""
    stages, figures = list(_stages(night)), dict[str, Any]()
    # Its keys may hold anything, and the night ends without them too.
    with suppress(WireError, ResponseError):
        everybody = night.stages.get("everybody")
        run = await runtime.runs.load(everybody.job) if everybody and everybody.job else None
        figures = msgspec.to_builtins(run.manifest) if run and run.manifest else {}
    return Entry(
        id=night.id,
        kind="night",
        outcome=outcome,
        started_ms=night.started_ms,
        ended_ms=await runtime.now_ms(),
        starter=night.starter,
        date=night.date,
        # Those of the last stage that had any.
        snapshot=next((stage.snapshot for stage in reversed(stages) if stage.snapshot), ""),
        generation=next((stage.generation for stage in reversed(stages) if stage.generation), ""),
        reasons=[f"{stage.name}: {stage.message}" for stage in stages if stage.outcome in ("refused", "failed")],
        stages=[msgspec.to_builtins(stage) for stage in stages],
        figures=figures,
        releases=await releases(runtime),
    )


def outcome_of(night: Night) -> NightOutcome:
    """What the stages of an ended night say about it."""
    outcomes = {stage.outcome for stage in night.stages.values()}
    if "failed" in outcomes:
        return "failed"
    if "refused" in outcomes:
        return "refused"
    if night.stages["everybody"].outcome == "unchanged":
        return "unchanged"
    return "held" if night.options.dry else "live"


def _stages(night: Night) -> Iterator[Stage]:
    return (night.stages[name] for name in STAGES if name in night.stages)
