"""The stages of a night: import, fit, everybody. Each goes on where a driver that died has left it."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec
import structlog
from redis.exceptions import RedisError

from reckoner.shared.errors import (
    SOURCE_AWAY,
    ArtifactDamagedError,
    ArtifactMissingError,
    BarredError,
    ReckonerError,
    RetryRefusedError,
    StoreError,
)
from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.flows.nights import Night, Stage, StageName, StageOutcome
from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.serving.history import History
from reckoner.shared.store.model_config import ModelConfig, fit_spec, model_id, parse_config
from reckoner.shared.wire.shapes import BlockSpec, Options, Record
from reckoner.workers.night.importing import Imported, fingerprint, import_source
from reckoner.workers.night.renewal import renew_lists
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

LOOK_S = 0.2
# The mark in the store of the file that a night imported last.
SOURCE_MARK = "imported-source"
# A stage that fails for the environment's reasons is tried again so often, after a pause that doubles.
MORE_TRIES = 3
FIRST_PAUSE_S = 5.0


class StageFailedError(ReckonerError):
    """A stage of the night failed."""


@dataclass
class Work:
    """A stage at work, and what came before it."""

    runtime: Runtime
    night: Night
    stage: Stage
    save: Callable[[Stage], Awaitable[None]]
    """Notes the stage in the night's state."""
    first_pause_s: float = FIRST_PAUSE_S

    async def note(self, **changes: Any) -> None:
        """Note changes of the stage."""
        self.stage = msgspec.structs.replace(self.stage, **changes)
        await self.save(self.stage)

    async def end(self, outcome: StageOutcome, message: str, **ids: str) -> None:
        """Note how the stage ended."""
        await self.note(outcome=outcome, message=message, ended_ms=await self.runtime.now_ms(), **ids)

    async def pause(self, tries: int) -> None:
        """Pause before another try."""
        await asyncio.sleep(self.first_pause_s * 2**tries)


async def import_stage(work: Work) -> None:
    """Import the source of the settings as the current snapshot."""
    source, store = work.runtime.settings.source, work.runtime.store
    before: str | None = await work.runtime.in_store(lambda: store.current_snapshot())
    if not work.night.options.imports or not source:
        why = "No source is named in RECKONER_SOURCE." if not source else "Skipped by --no-import."
        return await work.end("skipped", why, snapshot=before or "")
    # Taken before the import: a file that changes meanwhile is imported again.
    now = await work.runtime.in_thread(lambda: fingerprint(source))
    if now and before and await _imported_last(work.runtime) == (now, before):
        return await work.end("unchanged", "The file has not changed since it was imported.", snapshot=before)

    found = await _imported(work, source)
    if found.code == 0 and found.report:
        snapshot = str(found.report["snapshot"])
        mark = msgspec.json.encode([now, snapshot])
        await work.runtime.in_store(lambda: store.set_mark(SOURCE_MARK, mark, replace=True))
        if snapshot == before:
            return await work.end("unchanged", "The source has no new interactions.", snapshot=snapshot)
        held = f"{found.report['interactions']:,} interactions of {found.report['users']:,} users"
        return await work.end("done", f"{held}.", snapshot=snapshot)
    if refused := found.report.get("refused"):
        return await work.end("refused", f"{'; '.join(refused)}.", snapshot=str(found.report.get("snapshot", "")))
    ended = f"The import was ended by signal {-found.code}." if found.code < 0 else "The import failed."
    return await work.end("failed", found.message or ended)


async def _imported(work: Work, source: str) -> Imported:
    """Import; again a few times while the source is away, or if a signal ended the import."""

    async def on_rows(rows: int) -> None:
        try:
            await work.note(progress=rows)
        except RedisError as error:
            # An import goes on without its progress.
            if not is_transient_redis_error(error):
                raise

    for tries in range(MORE_TRIES + 1):
        found = await import_source(source, on_rows)
        if 0 <= found.code != SOURCE_AWAY or tries == MORE_TRIES:
            break
        log.warning("import interrupted", night=work.night.id, code=found.code, reason=found.message)
        await work.pause(tries)
    return found


async def _imported_last(runtime: Runtime) -> tuple[str, str] | None:
    """The fingerprint of the file that a night imported last, and its snapshot; None if unknown."""
    data = await runtime.in_store(lambda: runtime.store.mark(SOURCE_MARK))
    try:
        return msgspec.json.decode(data, type=tuple[str, str]) if data else None
    except msgspec.MsgspecError:
        return None


async def fit_stage(work: Work) -> None:
    """Build a model of the current snapshot, unless the newest model is that."""
    runtime = work.runtime
    newest = await runtime.results.generations.newest()
    if not work.night.options.fits:
        if newest is None:
            raise StageFailedError("No model is fitted, and --no-fit forbids one.")
        return await work.end("skipped", "Skipped by --no-fit.", generation=newest.generation)
    snapshot = await runtime.in_store(runtime.store.current_snapshot)
    if snapshot is None:
        raise StageFailedError("No snapshot is imported: see RECKONER_SOURCE and `reckoner import`.")
    config = await _configuration(runtime)
    length = runtime.settings.list_length
    generation = generation_id(model_id(snapshot, config), Options(length))
    if newest is not None and newest.generation == generation and not work.stage.job:
        return await work.end(
            "unchanged", "The newest model is of this snapshot.", snapshot=snapshot, generation=generation
        )
    for tries in range(MORE_TRIES + 1):
        if not work.stage.job:
            join = runtime.keys.join_fit(generation)
            [flow_id] = await runtime.flows.create([fit_spec(snapshot, config, length)], [join], "batch")
            await work.note(job=flow_id)
        flow = await _ended_flow(runtime, work.stage.job)
        if flow == "done":
            return await work.end(
                "done", f"Model {model_id(snapshot, config)}.", snapshot=snapshot, generation=generation
            )
        if tries == MORE_TRIES:
            break
        log.warning("fit interrupted", night=work.night.id, flow=work.stage.job, reason=flow)
        await work.pause(tries)
        await work.note(job="")
    return await work.end("failed", f"The fit failed: {flow}.", snapshot=snapshot)


async def everybody_stage(work: Work) -> None:
    """Compute all lists of the newest generation, up to the gate and the flip, or renew them if they are live."""
    runtime = work.runtime
    # Not the newest one: somebody may have fitted another since.
    record = await runtime.results.generations.record(work.night.stages["fit"].generation)
    if record is None:
        raise StageFailedError("The record of the night's model is gone. Fit it again.")
    ids = {"snapshot": record.snapshot, "generation": record.generation}
    if not work.stage.job:
        if await runtime.results.generations.current() == record.generation and await _renewed(runtime, record):
            return await work.end("unchanged", "All lists are live already. Their life was renewed.", **ids)
        try:
            run_id, _ = await runtime.runs.start(
                record, runtime.settings.block_size or None, dry=work.night.options.dry
            )
        except BarredError as error:
            return await work.end("refused", str(error), **ids)
        await work.note(job=run_id, **ids)
    run = await _computed(work, record)
    outcome, message = _VERDICTS[run.outcome]
    reasons = "; ".join(run.reasons) or "not every user is done"
    await work.end(outcome, message.format(generation=record.generation, reasons=reasons))


_VERDICTS: dict[str, tuple[StageOutcome, str]] = {
    "passed": ("done", "Generation {generation} is live."),
    "held": ("done", "Generation {generation} passed the gate. A dry run makes nothing live."),
    "refused": ("refused", "{reasons}."),
    "superseded": ("failed", "Another generation went live during the night."),
    "failed": ("failed", "The run failed: {reasons}."),
}

STAGES: dict[StageName, Callable[[Work], Awaitable[None]]] = {
    "import": import_stage,
    "fit": fit_stage,
    "everybody": everybody_stage,
}


async def _configuration(runtime: Runtime) -> ModelConfig:
    """The configuration of the settings, else of the live model, else the default."""
    if runtime.settings.fit:
        try:
            return parse_config(runtime.settings.fit)
        except ValueError as error:
            raise StageFailedError(f"RECKONER_FIT is invalid: {error}.") from error
    live = (await runtime.results.generations.follow(runtime.keys.current)).record
    try:
        return (await runtime.model(live.model)).config if live else ModelConfig()
    except StoreError as error:
        raise StageFailedError(
            f"The configuration of the live model is unknown, and RECKONER_FIT is empty: {error}"
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


class RunEnd(NamedTuple):
    """How a run ended."""

    outcome: str
    reasons: Sequence[str]
    failed: int
    """The number of users without a list."""


async def _ended_run(runtime: Runtime, run_id: str, generation: str) -> RunEnd:
    """Wait for the end of a run. Its state lives for an hour afterwards, the history for longer."""
    while (run := await runtime.runs.load(run_id)) is not None:
        if run.state == "ended":
            manifest = run.manifest
            return RunEnd(run.outcome, manifest.reasons if manifest else (), manifest.failed if manifest else 0)
        await asyncio.sleep(LOOK_S)
    entry = await History(runtime.redis, runtime.keys).find(run_id)
    if entry is not None:
        return RunEnd(entry.outcome, entry.reasons, 0)
    if await runtime.results.generations.current() == generation:
        return RunEnd("passed", (), 0)
    raise StageFailedError(f"The state of run {run_id} has expired.")


async def _computed(work: Work, record: Record) -> RunEnd:
    """Wait for the end of the stage's run. Its failed blocks, else all, are computed again a few times."""
    for tries in range(MORE_TRIES + 1):
        run = await _ended_run(work.runtime, work.stage.job, record.generation)
        if run.outcome != "refused" or not run.failed or tries == MORE_TRIES:
            break
        await work.pause(tries)
        if not await _retry_blocks(work.runtime, work.stage.job):
            await work.note(job=await _start_run(work, record))
    return run


async def _start_run(work: Work, record: Record) -> str:
    settings, dry = work.runtime.settings, work.night.options.dry
    return (await work.runtime.runs.start(record, settings.block_size or None, dry=dry))[0]


async def _retry_blocks(runtime: Runtime, run_id: str) -> int:
    """Compute the failed blocks of an ended run again. Returns their number."""
    letters, retried = DeadLetters(runtime.redis, runtime.flows), 0
    async for page in letters.pages():
        for letter in page:
            if isinstance(letter.spec, BlockSpec) and letter.spec.run == run_id:
                try:
                    await letters.retry(letter.id)
                except RetryRefusedError as error:
                    log.warning("block not computed again", run=run_id, block=letter.block, reason=str(error))
                else:
                    retried += 1
    if retried:
        log.info("failed blocks are computed again", run=run_id, blocks=retried)
    return retried


async def _renewed(runtime: Runtime, record: Record) -> bool:
    """Renew the lists of the live generation and of the previous one. False if the live one is not whole."""
    holding = (await runtime.results.generations.holdings()).get(record.generation)
    whole = holding is not None and await renew_lists(runtime, record, holding)
    await _renew_previous(runtime)
    return whole


async def renew_current(runtime: Runtime) -> None:
    """Renew the lists that readers have: a night that makes nothing live must not let them expire."""
    generations = runtime.results.generations
    live = (await generations.follow(runtime.keys.current)).record
    if live is not None:
        await _renewed(runtime, live)


async def _renew_previous(runtime: Runtime) -> None:
    """Renew the lists of the previous generation, if they are whole and its users known."""
    generations = runtime.results.generations
    previous = (await generations.follow(runtime.keys.previous)).record
    holding = (await generations.holdings()).get(previous.generation) if previous else None
    if previous is not None and holding is not None:
        with suppress(ArtifactMissingError, ArtifactDamagedError):
            await renew_lists(runtime, previous, holding)
