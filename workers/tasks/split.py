"""The split: plans into which chunk tasks a job is cut, and creates them; what needs none it answers itself."""

from shared.flow_state import Flow
from shared.redis.scripts import Lease
from shared.wire import (
    REPLY,
    BasketSpec,
    BlockSpec,
    FitSpec,
    HistorySpec,
    Plan,
    ScoringSpec,
    SimilarSpec,
    Split,
    UserSpec,
)
from workers.runtime import Runtime
from workers.tasks.chunk import known_items
from workers.tasks.fit import plan_fit
from workers.tasks.question import answer_question

UNKNOWN_USER = b"unknown user"


async def split(runtime: Runtime, flow: Flow, task: Split, lease: Lease | None) -> None:
    """Plan a flow; a question, and a job for a user whom the snapshot does not know, end here and leave no key."""
    match flow.spec:
        case SimilarSpec() | HistorySpec():
            reply = await answer_question(runtime, flow.spec)
            await runtime.flows.finish(flow, REPLY.encode(reply), lease=lease)
            return
        case FitSpec():
            plan: Plan | None = await plan_fit(runtime, flow.spec)
        case UserSpec() | BlockSpec() | BasketSpec():
            plan = await plan_scoring(runtime, flow.spec)
    if plan is None:
        await runtime.flows.finish(flow, UNKNOWN_USER, lease=lease)
    else:
        await runtime.flows.plan(task.flow, plan, lease)


async def plan_scoring(runtime: Runtime, spec: ScoringSpec) -> Plan | None:
    """The candidate ranges of a scoring job's chunk tasks: none for a basket of unknown items, whose list is empty.

    There is no plan for a user whom the snapshot does not know.
    """
    record = await runtime.record(spec.generation)
    snapshot = await runtime.snapshot(record.snapshot)
    if isinstance(spec, UserSpec) and snapshot.users.find(spec.user) is None:
        return None
    if isinstance(spec, BasketSpec) and not (await runtime.in_thread(lambda: known_items(spec, snapshot))).size:
        return Plan([0])
    model = await runtime.model(record.model)
    return Plan(model.task_bounds(runtime.settings.chunks, runtime.settings.tasks_per_job).tolist())
