"""The split: plans into which chunk tasks a job is cut, and creates them."""

from shared.flow_state import Flow
from shared.wire import BlockSpec, FitSpec, Plan, Split, UserSpec
from workers.runtime import Runtime
from workers.tasks.fit import plan_fit

UNKNOWN_USER = b"unknown user"


async def split(runtime: Runtime, flow: Flow, task: Split) -> None:
    """Plan a flow; one for a user whom the snapshot does not know ends here, and leaves no key."""
    match flow.spec:
        case FitSpec():
            plan = await plan_fit(runtime, flow.spec)
        case UserSpec():
            record = await runtime.record(flow.spec.generation)
            snapshot = await runtime.snapshot(record.snapshot)
            if snapshot.users.find(flow.spec.user) is None:
                await runtime.flows.finish(flow, UNKNOWN_USER)
                return
            plan = await plan_scoring(runtime, record.model)
        case BlockSpec():
            record = await runtime.record(flow.spec.generation)
            plan = await plan_scoring(runtime, record.model)
    await runtime.flows.plan(task.flow, plan)


async def plan_scoring(runtime: Runtime, model_id: str) -> Plan:
    """The candidate ranges of a scoring job's chunk tasks."""
    model = await runtime.model(model_id)
    bounds = model.task_bounds(runtime.settings.chunks, runtime.settings.tasks_per_job)
    return Plan(bounds.tolist())
