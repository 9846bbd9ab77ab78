"""The entry of the history that an ended night leaves."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import msgspec
from redis.exceptions import ResponseError

from reckoner.shared.errors import WireError
from reckoner.shared.flows.nights import STAGES, Night, NightOutcome, Stage
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.serving.history import Entry, History
from reckoner.workers.runtime.history import releases
from reckoner.workers.runtime.runtime import Runtime


async def entry_of(runtime: Runtime, night: Night, outcome: NightOutcome) -> Entry:
    """The entry of a night, with the figures of its run."""
    stages = list(_stages(night))
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
        figures=await _figures(runtime, night),
        releases=await releases(runtime),
    )


def outcome_of(night: Night) -> NightOutcome:
    """What the stages of an ended night say about it."""
    outcomes = {name: stage.outcome for name, stage in night.stages.items()}
    if outcomes.get("flip") == "done":
        return "live"
    if "failed" in outcomes.values():
        return "failed"
    if "refused" in outcomes.values():
        return "refused"
    return "held" if night.options.dry and outcomes["everybody"] != "unchanged" else "unchanged"


def manifest_of(entry: Entry) -> Manifest | None:
    """The manifest of a run's entry; None if another release kept other figures."""
    with suppress(msgspec.ValidationError):
        return msgspec.convert(entry.figures, Manifest)
    return None


async def _figures(runtime: Runtime, night: Night) -> dict[str, Any]:
    """The manifest of a night's run; empty without one."""
    job = night.stages["everybody"].job if "everybody" in night.stages else ""
    # Its keys may hold anything, and the night ends without them too.
    with suppress(WireError, ResponseError):
        if job and (run := await runtime.runs.load(job)) and run.manifest:
            figures: dict[str, Any] = msgspec.to_builtins(run.manifest)
            return figures
        if job and (entry := await History(runtime.redis, runtime.keys).find(job)):
            return entry.figures
    return {}


def _stages(night: Night) -> Iterator[Stage]:
    return (night.stages[name] for name in STAGES if name in night.stages)
