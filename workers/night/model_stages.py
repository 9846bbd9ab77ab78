"""The stages that make a model: import, fit. Each goes on where a driver that died has left it."""

import asyncio
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from reckoner.shared.errors import SOURCE_AWAY, StoreError, UsageError
from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.serving.generations import base_of, generation_id
from reckoner.shared.store.fit_options import configuration, default_model, parse_options, recency_of
from reckoner.shared.store.forgotten import forgotten_users
from reckoner.shared.store.model_config import ModelConfig, fit_spec, model_id
from reckoner.shared.store.night_import import (
    begin_night_import,
    find_night_import,
    imported_source,
    is_imported,
    note_source,
)
from reckoner.shared.wire.shapes import Record
from reckoner.workers.night.importing import (
    Imported,
    appends,
    fingerprint,
    import_source,
    only_events_are_new,
    takes_events,
)
from reckoner.workers.night.work import LOOK_S, MORE_TRIES, StageFailedError, Work
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()


async def import_stage(work: Work) -> None:
    """Import the source of the settings as the current snapshot."""
    source, store = work.runtime.settings.source, work.runtime.store
    before: str | None = await work.runtime.in_store(lambda: store.current_snapshot())
    if not work.night.options.imports or not source:
        why = "No source is named in RECKONER_SOURCE." if not source else "Skipped by --no-import."
        return await work.end("skipped", why, snapshot=before or "")
    # Taken before the import: a file that changes meanwhile is imported again.
    types = work.runtime.settings.event_types
    last_event = str(await work.runtime.events.last()) if takes_events(source) else ""
    forgotten = await work.runtime.in_store(lambda: forgotten_users(store))
    # Redis may have been emptied.
    await work.runtime.events.set_forgotten(forgotten)
    now = await work.runtime.in_thread(lambda: fingerprint(source, types, last_event, forgotten.digest))
    last = await work.runtime.in_store(lambda: imported_source(store))
    has_rows = bool(before) and (before == last.made or (appends(source) and before in last.extended))
    if now and has_rows and last.fingerprint == now:
        why = "The file has not changed since it was imported."
        if last_event:
            why = "The source has not changed, and no event was recorded."
        return await work.end("unchanged", why, snapshot=before or "")
    arguments = source
    if has_rows and only_events_are_new(source, now, last.fingerprint):
        arguments += " --without-source"

    begun = await work.runtime.in_store(lambda: begin_night_import(store, work.night.id, now, before or ""))
    found = await _imported(work, arguments)
    if found is None:
        noted = await work.runtime.in_store(lambda: find_night_import(store, work.night.id)) or begun
        await work.runtime.in_store(lambda: note_source(store, noted.fingerprint, noted.made))
        if noted.made == noted.before:
            return await work.end("unchanged", "The source has no new interactions.", snapshot=noted.made)
        return await work.end("done", "It was imported before the night was interrupted.", snapshot=noted.made)
    if found.code == 0 and found.report:
        snapshot = str(found.report["snapshot"])
        await work.runtime.in_store(lambda: note_source(store, now, snapshot))
        if snapshot == before:
            return await work.end("unchanged", "The source has no new interactions.", snapshot=snapshot)
        held = f"{found.report['interactions']:,} interactions of {found.report['users']:,} users"
        return await work.end("done", f"{held}.", snapshot=snapshot)
    if refused := found.report.get("refused"):
        return await work.end("refused", f"{'; '.join(refused)}.", snapshot=str(found.report.get("snapshot", "")))
    ended = f"The import was ended by signal {-found.code}." if found.code < 0 else "The import failed."
    return await work.end("failed", found.message or ended)


async def _is_imported(work: Work) -> bool:
    """Whether a try of this night, perhaps of another driver, has made the current snapshot."""
    store = work.runtime.store

    def look() -> bool:
        begun = find_night_import(store, work.night.id)
        return begun is not None and is_imported(store, begun)

    return await work.runtime.in_store(look)


async def _imported(work: Work, arguments: str) -> Imported | None:
    """Import; again a few times while the source is away, or if a signal ended the import.

    None if an earlier try made the current snapshot and could not report it: rows are appended once.
    """

    async def on_rows(rows: int) -> None:
        try:
            await work.note(progress=rows)
        except RedisError as error:
            # An import goes on without its progress.
            if not is_transient_redis_error(error):
                raise

    for tries in range(MORE_TRIES + 1):
        if await _is_imported(work):
            return None
        found = await import_source(work.night.id, arguments, on_rows)
        if 0 <= found.code != SOURCE_AWAY or tries == MORE_TRIES:
            break
        log.warning("import interrupted", night=work.night.id, code=found.code, reason=found.message)
        await work.pause(tries)
    return found


async def fit_stage(work: Work) -> None:
    """Build a model of the current snapshot, unless the newest model is that."""
    runtime, settings = work.runtime, work.runtime.settings
    newest = await runtime.results.generations.newest()
    if not work.night.options.fits:
        if newest is None:
            raise StageFailedError("No model is fitted, and --no-fit forbids one.")
        return await work.end("skipped", "Skipped by --no-fit.", generation=newest.generation)
    snapshot = await runtime.in_store(runtime.store.current_snapshot)
    if snapshot is None:
        raise StageFailedError("No snapshot is imported: see RECKONER_SOURCE and `reckoner import`.")
    live = (await runtime.results.generations.follow(runtime.keys.current)).record
    config, recency = await _configuration(runtime, live, snapshot)
    spec = fit_spec(snapshot, config, settings.list_length, recency=recency, spare=settings.spare)
    generation = generation_id(model_id(snapshot, config), spec.options, spec.spare)
    changed = ""
    if live and (before := live.options.recency or 0.0) != recency:
        changed = f" The recency is {recency:g}, and was {before:g}."
    if newest is not None and base_of(newest) == generation and not work.stage.job:
        return await work.end(
            "unchanged", "The newest model is of this snapshot.", snapshot=snapshot, generation=newest.generation
        )
    for tries in range(MORE_TRIES + 1):
        if not work.stage.job:
            join = runtime.keys.join_fit(generation)
            [flow_id] = await runtime.flows.create([spec], [join], "batch")
            await work.note(job=flow_id)
        flow = await _ended_flow(runtime, work.stage.job)
        if flow == "done":
            return await work.end(
                "done", f"Model {model_id(snapshot, config)}.{changed}", snapshot=snapshot, generation=generation
            )
        if tries == MORE_TRIES:
            break
        log.warning("fit interrupted", night=work.night.id, flow=work.stage.job, reason=flow)
        await work.pause(tries)
        await work.note(job="")
    return await work.end("failed", f"The fit failed: {flow}.", snapshot=snapshot)


async def _configuration(runtime: Runtime, live: Record | None, snapshot: str) -> tuple[ModelConfig, float]:
    """The configuration and the recency of the settings, else of the live generation, else the default.

    Settings that name no similarity change the live configuration, or the default one.
    """
    given, recency = dict[str, Any](), None
    if runtime.settings.fit:
        try:
            given, recency = parse_options(runtime.settings.fit)
        except ValueError as error:
            raise StageFailedError(f"RECKONER_FIT is invalid: {error}.") from error
    if recency is None and live:
        recency = live.options.recency or 0.0
    try:
        recency = await runtime.in_store(lambda: recency_of(runtime.store, snapshot, recency))
    except UsageError as error:
        raise StageFailedError(str(error)) from error
    try:
        if "similarity" in given:
            return configuration(given, ModelConfig()), recency
        if live:
            base = (await runtime.model(live.model)).config
        else:
            base = (await runtime.in_store(lambda: default_model(runtime.store.fetch("snapshots", snapshot)))).config
        return configuration(given, base), recency
    except msgspec.ValidationError as error:
        raise StageFailedError(f"RECKONER_FIT is invalid for the live model: {error}.") from error
    except StoreError as error:
        raise StageFailedError(
            f"The configuration of the live model is unknown, and RECKONER_FIT names no similarity: {error}"
        ) from error


async def _ended_flow(runtime: Runtime, flow_id: str) -> str:
    """Wait for the end of a flow. Returns `done`, or the reason for its failure."""
    while True:
        flow = await runtime.flows.load(flow_id)
        if flow is None:
            return "its state has expired"
        if flow.state in ("done", "failed", "cancelled"):
            return "done" if flow.state == "done" else flow.reason or flow.state
        await asyncio.sleep(LOOK_S)
