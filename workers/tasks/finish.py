"""The finish task: applies the gate to an ended run, moves the pointer and closes the run."""

from collections import Counter
from collections.abc import Mapping
from functools import partial
from typing import Any

import msgspec
import structlog

from reckoner.shared.errors import BarredError, WireError
from reckoner.shared.flows.run_state import DamagedRunError, Manifest, Run, RunOutcome
from reckoner.shared.serving.generations import counted_by
from reckoner.shared.serving.history import Entry
from reckoner.shared.wire.jobs import Finish
from reckoner.shared.wire.shapes import OUTCOME, Holding, Outcome
from reckoner.workers.engine.lease import Lease
from reckoner.workers.runtime.delivery import TRIES_EXHAUSTED, Delivery, run_uncancellable
from reckoner.workers.runtime.history import remember
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.gate import measure, refusals
from reckoner.workers.tasks.new_configuration import change_of_configuration

log = structlog.get_logger()

MAX_REASONS = 5


async def finish(ctx: dict[Any, Any], run_id: str, round_: int) -> None:
    """End a run whose blocks have all ended. It is idempotent."""
    runtime: Runtime = ctx["runtime"]
    delivery = Delivery(ctx, Finish(run_id, round_).job_id)

    async def work() -> None:
        try:
            run = await runtime.runs.load(run_id)
        except DamagedRunError as damage:
            return await runtime.runs.fail_damaged(damage, lease=delivery.lease)
        if run is None or run.state != "finish" or run.round != round_:
            return None
        delivery.run_id = run_id
        tally, reason = Tally(), TRIES_EXHAUSTED
        if not delivery.tries_exhausted:
            reason = await delivery.within_deadline(lambda: _judge(runtime, run, tally, delivery.lease)) or ""
        if reason:
            await run_uncancellable(_give_up(runtime, run, tally, reason, delivery.lease))
        return None

    await delivery.run(work)


async def _judge(runtime: Runtime, run: Run, tally: "Tally", lease: Lease) -> None:
    async for page in runtime.runs.outcome_pages(run.id):
        # Adding up a million blocks would block the event loop.
        await runtime.in_thread(partial(tally.add, page))
    manifest = tally.manifest(run, await runtime.now_ms())
    outcome: RunOutcome = "refused"
    if is_whole(manifest):
        manifest = await _at_the_gate(runtime, run, manifest)
    if is_whole(manifest) and not manifest.reasons and run.dry:
        outcome = "held"
    elif is_whole(manifest) and not manifest.reasons:
        match await runtime.runs.flip(run, lease=lease):
            case "flipped":
                outcome = "passed"
                if run.since != run.generation:
                    log.info("generation went live", run=run.id, now=run.generation, before=run.since or None)
            case "lost":
                outcome = "failed"
                manifest.reasons.append(f"the record of generation {run.generation} is gone; fit a model again")
            case "barred":
                manifest.reasons.append(str(BarredError(run.generation)))
            case _:
                outcome = "superseded"
    await _close(runtime, run, outcome, manifest, lease)


async def _refresh_changed(runtime: Runtime, generation: str) -> None:
    """Let live lists be computed again that a run has computed without what has come since it began.

    It may have written over newer lists if its generation was live before.
    """
    live = await runtime.results.generations.follow(runtime.keys.current)
    if live.record is not None and live.named == generation:
        await runtime.events.add_changed(counted_by(live.record))


async def _at_the_gate(runtime: Runtime, run: Run, manifest: Manifest) -> Manifest:
    """The manifest with the figures of the gate, and the reasons for a refusal."""
    record = await runtime.record(run.generation)
    figures = await measure(runtime, run, record)
    if figures is None:
        return manifest
    reasons, evaluation = refusals(figures, runtime.settings), ""
    change = await change_of_configuration(runtime, run, record)
    if change is not None and change.is_worse:
        reasons.append(str(change.judgement))
    elif change is not None:
        evaluation = change.evaluation
    if change is not None and reasons:
        reasons.append(str(change))
    return msgspec.structs.replace(manifest, figures=figures, reasons=reasons, evaluation=evaluation or msgspec.UNSET)


async def _give_up(runtime: Runtime, run: Run, tally: "Tally", reason: str, lease: Lease) -> None:
    """End a run that the gate could not judge, with the figures so far."""
    log.error("run finish failed", run=run.id, reason=reason)
    # A moved pointer means that the run has passed and every user is done.
    flipped = await runtime.runs.has_flipped(run.id) and await runtime.results.generations.current() == run.generation
    if flipped:
        tally.done = run.users
    tally.reasons.append(reason)
    outcome: RunOutcome = "passed" if flipped else "failed"
    await _close(runtime, run, outcome, tally.manifest(run, await runtime.now_ms()), lease)


async def _close(runtime: Runtime, run: Run, outcome: RunOutcome, manifest: Manifest, lease: Lease) -> None:
    await _refresh_changed(runtime, run.generation)
    until_ms = run.started_ms + runtime.settings.result_ttl_s * 1000
    held = Holding(manifest.users, manifest.empty, until_ms) if is_whole(manifest) else None
    if await runtime.runs.close(run, outcome, manifest, held, lease=lease):
        write = log.info if outcome in ("passed", "held") else log.warning
        figures = msgspec.to_builtins(manifest)
        del figures["tasks"]
        write(f"run {outcome}", run=run.id, generation=run.generation, **figures)
        await remember(
            runtime,
            Entry(
                id=run.id,
                kind="run",
                outcome=outcome,
                started_ms=run.started_ms,
                ended_ms=await runtime.now_ms(),
                generation=run.generation,
                reasons=manifest.reasons,
                figures=figures,
            ),
        )


def is_whole(manifest: Manifest) -> bool:
    """Whether every user of the snapshot is done."""
    return manifest.failed == 0 and manifest.done == manifest.users


class Tally:
    """The totals of a run's blocks."""

    def __init__(self) -> None:
        self.done = 0
        self.empty = 0
        self.reasons: list[str] = []
        self.tasks = Counter[str]()
        self._seen = set[int]()

    def add(self, outcomes: Mapping[bytes, bytes]) -> None:
        """Add encoded outcomes by block. Repeated blocks and invalid block numbers are ignored."""
        for field, data in outcomes.items():
            block = int(field) if field.isdigit() and len(field) < 16 else -1
            if block >= 0 and block not in self._seen:
                self._seen.add(block)
                self._add(_decode(data))

    def _add(self, outcome: Outcome) -> None:
        self.done += outcome.done
        self.empty += outcome.empty
        self.tasks.update(outcome.tasks)
        if outcome.reason and outcome.reason not in self.reasons:
            self.reasons = sorted([*self.reasons, outcome.reason])[:MAX_REASONS]

    def manifest(self, run: Run, now_ms: int) -> Manifest:
        """The manifest of the run. Users that are not done count as failed."""
        duration_s = max(now_ms - run.started_ms, 1) / 1000
        return Manifest(
            users=run.users,
            done=self.done,
            failed=run.users - self.done,
            empty=self.empty,
            duration_s=duration_s,
            users_per_second=round(self.done / duration_s, 1),
            reasons=self.reasons,
            tasks=dict(sorted(self.tasks.items())),
        )


def _decode(data: bytes) -> Outcome:
    try:
        return OUTCOME.decode(data)
    except WireError:
        return Outcome(reason="the outcome of a block is unreadable")
