"""The finish: judges a run that has ended, moves the pointer, cleans up, and closes it."""

from collections import Counter
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import structlog

from shared.errors import ReckonerError
from shared.flows import SLICE
from shared.identifiers import TextTable
from shared.runs import DamagedRunError, Manifest, Run, RunOutcome
from shared.wire import Finish, Outcome
from workers.delivery import SPENT, Delivery
from workers.retention import delete_unreferred
from workers.runtime import Runtime

log = structlog.get_logger()

MOST_REASONS = 5


async def finish(ctx: dict[Any, Any], run_id: str, round_: int) -> None:
    """End a run whose blocks have all ended; safe to run twice, and at any moment again."""
    runtime: Runtime = ctx["runtime"]
    delivery = Delivery(runtime, Finish(run_id, round_).job_id, ctx["job_try"])

    async def work() -> None:
        try:
            run = await runtime.runs.load(run_id)
        except DamagedRunError as damage:
            return await runtime.runs.fail_damaged(damage)
        if run is None or run.state != "finish":
            return None
        manifest = summarize(run, await runtime.runs.outcomes(run_id), await runtime.now_ms())
        reason: str | None = SPENT
        if not delivery.spent:
            reason = await delivery.within_deadline(lambda: _judge(runtime, run, manifest))
        if reason:
            log.error("a run could not be finished", run=run.id, reason=reason)
            # Once the pointer has moved only the clean-up is missing, and what that removes expires by itself.
            live = passes(manifest) and await runtime.results.current() == run.generation
            await runtime.runs.close(run, "passed" if live else "failed", manifest)
        return None

    await delivery.run(work)


async def _judge(runtime: Runtime, run: Run, manifest: Manifest) -> None:
    outcome: RunOutcome = "refused"
    if passes(manifest):
        outcome = "passed" if await runtime.runs.flip(run) == "flipped" else "superseded"
    if outcome == "passed":
        await _forget_gone_users(runtime, run)
    await runtime.runs.close(run, outcome, manifest)
    await delete_unreferred(runtime)


def passes(manifest: Manifest) -> bool:
    """The gate: every user of the snapshot is done."""
    return manifest.failed == 0 and manifest.done == manifest.users


def summarize(run: Run, outcomes: Mapping[int, Outcome], now_ms: int) -> Manifest:
    """What a run did, from how its blocks ended."""
    done = sum(outcome.done for outcome in outcomes.values())
    places = sum(outcome.places for outcome in outcomes.values())
    fresh = sum(outcome.fresh for outcome in outcomes.values())
    duration_s = max(now_ms - run.started_ms, 1) / 1000
    reasons = sorted({outcome.reason for outcome in outcomes.values() if outcome.reason})
    return Manifest(
        users=run.users,
        done=done,
        failed=run.users - done,
        empty=sum(outcome.empty for outcome in outcomes.values()),
        duration_s=duration_s,
        users_per_second=round(done / duration_s, 1),
        churn=round(fresh / places, 6) if places else None,
        reasons=reasons[:MOST_REASONS],
        tasks=dict(sorted(sum((Counter(outcome.tasks) for outcome in outcomes.values()), Counter()).items())),
    )


async def _forget_gone_users(runtime: Runtime, run: Run) -> None:
    """Drop what the generation before holds for users who are no longer in the data."""
    if not run.since or run.since == run.generation:
        return
    try:
        before, after = await runtime.record(run.since), await runtime.record(run.generation)
        if before.snapshot == after.snapshot:
            return
        gone = gone_users(
            (await runtime.snapshot(before.snapshot)).users, (await runtime.snapshot(after.snapshot)).users
        )
        # A million users are looked up before one is found gone: not on the event loop.
        while users := await runtime.in_thread(lambda: list(islice(gone, SLICE))):
            await runtime.results.drop(run.since, users)
    except ReckonerError as error:
        # What is gone cannot be compared; its results expire by themselves.
        log.warning("results of users who left could not be dropped", run=run.id, reason=str(error))


def gone_users(before: TextTable, after: TextTable) -> Iterator[str]:
    """The users of `before` who are not in `after`."""
    return (user for user in map(before.__getitem__, range(len(before))) if after.find(user) is None)
