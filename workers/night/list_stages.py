"""The stages that bring a model's lists to readers: everybody, gate, flip, clean-up.

A run computes all lists, and judges and publishes them in its last task; the stages follow it. Each goes on where a
driver that died has left it.
"""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple

import structlog
from msgspec.structs import replace

from reckoner.shared.errors import BarredError, RetryRefusedError
from reckoner.shared.flows.dead_letters import DeadLetter, DeadLetters
from reckoner.shared.flows.flows import CANCELLED
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.history import History
from reckoner.shared.wire.shapes import BlockSpec, Record
from reckoner.workers.maintenance.generation_cleanup import GenerationCleanup
from reckoner.workers.night.entry import manifest_of
from reckoner.workers.night.renewal import renew_live
from reckoner.workers.night.work import LOOK_S, MORE_TRIES, StageFailedError, Work
from reckoner.workers.runtime.runtime import Runtime

log = structlog.get_logger()

NOTHING_NEW, GONE = "No list is new.", "The run's figures have expired."


class RunEnd(NamedTuple):
    """How a run ended."""

    outcome: str
    reasons: Sequence[str]
    manifest: Manifest | None
    """None if it has expired, and the history lacks it too."""
    computed_ms: int | None = None
    """When the driver saw that all blocks had ended; None if it did not."""

    @property
    def failed(self) -> int:
        """The number of users without a list."""
        return self.manifest.failed if self.manifest else 0


async def everybody_stage(work: Work) -> None:
    """Compute all lists of the night's model, or renew them if they are live."""
    runtime = work.runtime
    # Not the newest one: somebody may have fitted another since.
    record = await runtime.results.generations.record(work.night.stages["fit"].generation)
    if record is None:
        raise StageFailedError("The record of the night's model is gone. Fit it again.")
    if work.stage.job:
        record = await runtime.results.generations.record(work.stage.generation) or record
    else:
        record = await runtime.runs.with_news(record)
    ids = {"snapshot": record.snapshot, "generation": record.generation}
    if not work.stage.job:
        is_live = await runtime.results.generations.current() == record.generation
        # A driver that noted the generation may have started a run, which has gone live meanwhile.
        if is_live and not work.stage.generation and await renew_live(runtime, record):
            return await work.end("unchanged", "All lists are live already. Their life was renewed.", **ids)
        await work.note(**ids)
        try:
            await work.note(job=await _start_run(work, record))
        except BarredError as error:
            return await work.end("refused", str(error))
    run = await _computed(work, record)
    if run.failed or run.outcome == "failed":
        without = f"{run.failed:,} users have no list" if run.failed else "The run failed"
        reasons = "; ".join(run.reasons) or "unknown"
        return await work.end("failed", f"{without}: {reasons.rstrip('.')}.")
    lists = f"{run.manifest.users:,} lists, {run.manifest.empty:,} of them empty." if run.manifest else GONE
    await work.end("done", lists, ended_ms=run.computed_ms or await runtime.now_ms())


async def gate_stage(work: Work) -> None:
    """Tell what the gate says about the run."""
    run, everybody = await _run(work), work.night.stages["everybody"]
    # The run went on to its gate when its last block had ended.
    work.stage = replace(work.stage, started_ms=everybody.ended_ms or work.stage.started_ms)
    if run is None:
        await work.end("unchanged", NOTHING_NEW)
    elif run.outcome == "refused":
        await work.end("refused", f"{'; '.join(run.reasons).rstrip('.')}.")
    else:
        await work.end("done", _compared(run))


async def flip_stage(work: Work) -> None:
    """Tell whether the run's lists went live."""
    run, generation = await _run(work), work.night.stages["everybody"].generation
    if run is None:
        await work.end("unchanged", NOTHING_NEW)
    elif run.outcome == "held":
        await work.end("skipped", "A dry run makes nothing live.")
    elif run.outcome == "superseded":
        await work.end("failed", "Another generation went live during the night.")
    else:
        await work.end("done", f"Generation {generation} is live.")


async def clean_up_stage(work: Work) -> None:
    """Delete the lists that are neither live, nor the previous ones, nor the newest ones. It fails no night."""
    runtime = work.runtime
    before = await _old(runtime)
    try:
        await GenerationCleanup(runtime).delete_old()
    except Exception as error:
        log.warning("clean-up left to the background", night=work.night.id, reason=str(error))
    left = await _old(runtime)
    if left:
        await work.end("done", f"Old generations left to the background: {len(left):,}.")
    elif before:
        await work.end("done", f"Old generations deleted: {len(before):,}.")
    else:
        await work.end("unchanged", "There is no old generation.")


def _compared(run: RunEnd) -> str:
    """What the gate that let a run pass has compared."""
    if run.manifest is None:
        return GONE
    figures, evaluation = run.manifest.figures, run.manifest.evaluation
    if figures is None:
        return "Nothing to compare with."
    few = figures.churn is None
    found = (
        "Only the users were compared: few live lists are cached." if few else "All figures are within their limits."
    )
    return f"{found} {evaluation or ''}".rstrip()


async def _old(runtime: Runtime) -> set[bytes]:
    """The generations with lists that no pointer names."""
    held, pointers = await runtime.results.generations.lists(), await ask(runtime.redis, "MGET", *runtime.keys.pointers)
    return held.keys() - set(pointers)


async def _run(work: Work) -> RunEnd | None:
    """The end of the night's run; None if none was needed."""
    everybody = work.night.stages["everybody"]
    return await _ended_run(work.runtime, everybody.job, everybody.generation) if everybody.job else None


async def _ended_run(runtime: Runtime, run_id: str, generation: str) -> RunEnd:
    """Wait for the end of a run. Its state lives for an hour afterwards, the history for longer."""
    computed_ms: int | None = None
    while (run := await runtime.runs.load(run_id)) is not None:
        if run.state == "finish" and computed_ms is None:
            computed_ms = await runtime.now_ms()
        if run.state == "ended":
            return RunEnd(run.outcome, run.manifest.reasons if run.manifest else (), run.manifest, computed_ms)
        await asyncio.sleep(LOOK_S)
    entry = await History(runtime.redis, runtime.keys).find(run_id)
    if entry is not None:
        return RunEnd(entry.outcome, entry.reasons, manifest_of(entry))
    if await runtime.results.generations.current() == generation:
        return RunEnd("passed", (), None)
    raise StageFailedError(f"The state of run {run_id} has expired.")


async def _computed(work: Work, record: Record) -> RunEnd:
    """Wait for the end of the stage's run. Its failed blocks, else all, are computed again a few times."""
    for tries in range(MORE_TRIES + 1):
        run = await _ended_run(work.runtime, work.stage.job, record.generation)
        bad = run.failed or run.outcome == "failed"
        if not bad or CANCELLED in run.reasons or tries == MORE_TRIES:
            break
        await work.pause(tries)
        if not await _retry_blocks(work.runtime, work.stage.job, run):
            await work.note(job=await _start_run(work, record))
    return run


async def _start_run(work: Work, record: Record) -> str:
    settings, dry = work.runtime.settings, work.night.options.dry
    return (await work.runtime.runs.start(record, settings.block_size or None, dry=dry))[0]


async def _retry_blocks(runtime: Runtime, run_id: str, run: RunEnd) -> bool:
    """Compute the failed blocks of an ended run again; False if not all of them have dead letters."""
    letters, found = DeadLetters(runtime.redis, runtime.flows), dict[int, DeadLetter]()
    async for page in letters.pages():
        found |= {
            letter.block: letter
            for letter in page
            if isinstance(letter.spec, BlockSpec) and letter.spec.run == run_id and letter.block is not None
        }
    users = sum(
        min(letter.spec.block_size, run.manifest.users - block * letter.spec.block_size)
        for block, letter in found.items()
        if isinstance(letter.spec, BlockSpec) and run.manifest
    )
    if users < run.failed or not found:
        return False
    for block, letter in found.items():
        try:
            await letters.retry(letter.id)
        except RetryRefusedError as error:
            log.warning("block not computed again", run=run_id, block=block, reason=str(error))
            return False
    log.info("failed blocks are computed again", run=run_id, blocks=len(found))
    return True
