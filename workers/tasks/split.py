"""The split task: plans a job's chunk tasks and creates them, or does the whole job itself."""

import math
from dataclasses import replace

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.scripts import Cached
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import (
    REPLY,
    UNKNOWN_USER,
    BasketSpec,
    BlockSpec,
    EvaluationSpec,
    FitSpec,
    HistorySpec,
    Plan,
    ScoringSpec,
    SimilarSpec,
    UserSpec,
)
from reckoner.workers.engine.lease import Lease
from reckoner.workers.kernels.scoring.score import ADDITIONS_PER_MS
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.tasks.block import compute_block
from reckoner.workers.tasks.chunk import histories_of, known_items, users_of
from reckoner.workers.tasks.evaluate import plan_evaluation
from reckoner.workers.tasks.fit import plan_fit
from reckoner.workers.tasks.freezing import freeze
from reckoner.workers.tasks.question import answer_question


async def split(runtime: Runtime, flow: Flow, task: Split, lease: Lease) -> None:
    """Plan a flow. Questions, jobs of unknown users, and blocks that fit one task end here."""
    match flow.spec:
        case SimilarSpec() | HistorySpec():
            reply = await answer_question(runtime, flow.spec)
            await runtime.flows.finish(flow, REPLY.encode(reply), lease=lease)
            return
        case FitSpec():
            plan: Plan | None = await plan_fit(runtime, flow, flow.spec)
        case EvaluationSpec():
            plan = await plan_evaluation(runtime, flow.spec)
        case UserSpec() | BlockSpec() | BasketSpec():
            plan = await plan_scoring(runtime, flow.spec, flow.block or 0)
    if plan is None:
        assert isinstance(flow.spec, UserSpec)
        # A visitor who has logged in has nothing left.
        no_list = Cached(runtime.keys.result(flow.spec.generation, flow.spec.user), b"", 0)
        await runtime.flows.finish(flow, UNKNOWN_USER, cached=no_list, lease=lease)
    elif isinstance(flow.spec, BlockSpec) and len(plan.bounds) == 2:
        outcome = await compute_block(runtime, flow.spec, flow.block or 0, plan.frozen, lease)
        await runtime.flows.finish(flow, outcome=outcome, lease=lease)
    elif await runtime.flows.plan(task.flow, plan, lease=lease) and len(plan.bounds) > 1:
        runtime.open_flows.note(replace(flow, state="run", plan=plan))


async def plan_scoring(runtime: Runtime, spec: ScoringSpec, block: int) -> Plan | None:
    """The candidate ranges of a scoring job's chunk tasks, and what counts beside the snapshot.

    The plan of a basket without known items, or of a user with nothing but events of unknown items, has no ranges: the
    list is empty. An unknown user without events, and a forgotten
    one, has no plan, None.
    """
    record = await runtime.record(spec.generation)
    snapshot = await runtime.snapshot(record.snapshot)
    if isinstance(spec, BasketSpec) and not (await runtime.in_thread(lambda: known_items(spec, snapshot)))[0].size:
        return Plan([0])
    if isinstance(spec, UserSpec) and await runtime.events.forgotten_among([spec.user]):
        return None
    users = range(0) if isinstance(spec, BasketSpec) else users_of(spec, block, snapshot)
    frozen = await freeze(runtime, spec, users, snapshot, record)
    if isinstance(spec, UserSpec) and not users and not (frozen and any(frozen.counting)):
        return Plan([0], frozen=frozen) if frozen and frozen.version else None
    model, chunks, tasks = await runtime.model(record.model), runtime.settings.chunks, runtime.settings.tasks_per_job
    if isinstance(spec, BlockSpec):
        held, task_ms = histories_of(spec, block, snapshot).held, runtime.settings.batch_task_ms
        tasks = tasks_of_block(model.most_additions(held.size), chunks, task_ms)
        if tasks > 1:
            # Count only if the bound is too high. It takes long for a large block, so not on the event loop.
            tasks = tasks_of_block(await runtime.in_thread(lambda: model.additions(held)), chunks, task_ms)
    return Plan(model.task_bounds(chunks, tasks).tolist(), frozen=frozen)


def tasks_of_block(additions: int, chunks: int, task_ms: float) -> int:
    """The number of chunk tasks of a block, each of about `task_ms`; at least 1 and at most `chunks`.

    It is a power of two, so that few different ranges are laid out. Each task reads all histories, so more cost more.
    """
    tasks = min(additions / (ADDITIONS_PER_MS * task_ms), chunks)
    return min(1 << round(math.log2(max(tasks, 1))), chunks)
