"""Adds what has ended to the history, in Redis and in the store."""

from contextlib import suppress

import msgspec
import structlog
from redis.exceptions import RedisError, ResponseError

from reckoner.shared.errors import WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.flows.nights import Nights
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.serving.history import ENTRY, Entry, History, entry_file
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.wire.shapes import FitSpec
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()


async def remember(runtime: Runtime, entry: Entry) -> None:
    """Add what has ended, with what started it and the workers' releases. A failure is logged, and harmless."""
    try:
        starter = entry.starter or await _starter(runtime, entry.id)
        entry = msgspec.structs.replace(entry, starter=starter, releases=await releases(runtime))
        await History(runtime.redis, runtime.keys).remember(entry)
    except RedisError as error:
        log.warning("history not kept", kind=entry.kind, id=entry.id, reason=str(error))
    await keep(runtime, entry)


async def keep(runtime: Runtime, entry: Entry) -> None:
    """Keep an entry in the store. A failure is logged, and harmless."""
    try:
        await runtime.in_store(lambda: runtime.store.keep_history(entry_file(entry), ENTRY.encode(entry)))
    except Exception as error:
        log.warning("history not kept in the store", kind=entry.kind, id=entry.id, reason=str(error))


async def releases(runtime: Runtime) -> list[str]:
    """The releases of the live workers; empty if their heartbeats are unreadable."""
    with suppress(WireError, ResponseError):
        alive = await Heartbeats(runtime.redis, runtime.keys).alive()
        return sorted({worker.beat.version for worker in alive if worker.beat})
    return []


async def _starter(runtime: Runtime, job: str) -> str:
    """The id of the night under way if the job is its, else `command`."""
    nights = Nights(runtime.redis, runtime.keys)
    with suppress(WireError, ResponseError):
        night_id = await nights.under_way()
        night = await nights.load(night_id) if night_id else None
        if night is not None and any(stage.job == job for stage in night.stages.values()):
            return night.id
    return "command"


async def remember_fit(runtime: Runtime, flow: Flow, failure: str = "") -> None:
    """Remember how a fit ended, unless it made no generation. Other flows are left out."""
    spec = flow.spec
    if not isinstance(spec, FitSpec) or spec.only_model:
        return
    try:
        model = model_id(spec.snapshot, config_of(spec))
    except WireError:
        # It failed for its configuration.
        model = ""
    await remember(
        runtime,
        Entry(
            id=flow.id,
            kind="fit",
            outcome="failed" if failure else "done",
            started_ms=flow.created_ms,
            ended_ms=await runtime.now_ms(),
            snapshot=spec.snapshot,
            model=model,
            generation=generation_id(model, spec.options, spec.spare) if model else "",
            reasons=[failure] if failure else [],
        ),
    )
