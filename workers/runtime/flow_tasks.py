"""Runs the tasks of flows: checks that a task is still wanted, runs it, and fails its flow if it fails."""

import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any

import structlog

from reckoner.shared.errors import ReckonerError
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.metrics.table import JOB_WORK
from reckoner.shared.redis.keys import job_key
from reckoner.shared.tracing import NO_SPAN, span
from reckoner.shared.wire.jobs import Chunk, FlowTask, Reduce, Split
from reckoner.workers.engine.lease import Lease
from reckoner.workers.runtime.delivery import TRIES_EXHAUSTED, Delivery, run_uncancellable
from reckoner.workers.runtime.history import remember_fit
from reckoner.workers.runtime.runtime import Runtime

Body = Callable[[Runtime, Flow, Any, Lease], Awaitable[None]]
ArqFunction = Callable[..., Coroutine[Any, Any, None]]

log = structlog.get_logger()


def arq_function_of(task_type: type[FlowTask], body: Body) -> ArqFunction:
    """The arq function that runs `body` for a flow's task."""

    async def deliver(ctx: dict[Any, Any], *arguments: Any) -> None:
        task = task_type(*arguments)
        delivery = Delivery(ctx, task.job_id)
        await delivery.run(lambda: _run(delivery, task, body))

    deliver.__qualname__ = task_type.name
    return deliver


async def refuse(ctx: dict[Any, Any], data: bytes, reason: str) -> None:
    """The arq function for invalid jobs: count the bytes and store them as a dead letter."""
    job_id: str = ctx["job_id"]
    delivery = Delivery(ctx, job_id)

    async def set_aside() -> None:
        if await delivery.runtime.flows.refusals.string("job", job_id, job_key(job_id), data, reason):
            log.warning("job refused", job=job_id, size=len(data), reason=reason)

    await delivery.run(set_aside)


async def _run(delivery: Delivery, task: FlowTask, body: Body) -> None:
    if delivery.lease.job_id != task.job_id:
        # Its body was planted: the claim has read for another flow.
        delivery.lease.prefetched = None
    # A task takes up room while it loads, or this worker would claim more than it can compute.
    computes = not isinstance(task, Reduce) and delivery.lease.queue == delivery.runtime.keys.batch
    with delivery.runtime.scheduler.announced("batch") if computes else nullcontext():
        await _run_if_wanted(delivery, task, body)


async def _run_if_wanted(delivery: Delivery, task: FlowTask, body: Body) -> None:
    flows, lease = delivery.runtime.flows, delivery.lease
    try:
        flow = await _load_flow(delivery, task)
    except DamagedFlowError as damage:
        return await flows.fail_damaged(damage, lease=lease)
    if flow is None or not await _is_wanted(delivery, flow, task):
        return None
    delivery.run_id = flow.run
    if delivery.tries_exhausted:
        reason: str | None = TRIES_EXHAUSTED
    else:
        with delivery.runtime.scheduler.click() if flow.lane == "click" else nullcontext():
            reason = await delivery.within_deadline(lambda: _run_body(delivery, flow, task, body))
    if reason:
        index = task.index if isinstance(task, Chunk) else None
        if await run_uncancellable(flows.fail(flow, reason, index, lease=lease)):
            log.warning("flow failed", flow=flow.id, reason=reason)
            await remember_fit(delivery.runtime, flow, reason)
    if delivery.tries_exhausted:
        with suppress(ReckonerError, OSError):
            # Without a model or a store there is nothing to verify.
            await delivery.runtime.invalidate_given_up(task.job_id, flow.spec)
    return None


async def _run_body(delivery: Delivery, flow: Flow, task: FlowTask, body: Body) -> None:
    runtime, began_s = delivery.runtime, time.monotonic()
    try:
        with _traced(delivery, flow, task):
            await runtime.invalidate_after_deaths(delivery.deaths, flow.spec)
            await body(runtime, flow, task, delivery.lease)
    finally:
        runtime.counters.count(JOB_WORK, flow.kind, by=time.monotonic() - began_s)


def _traced(delivery: Delivery, flow: Flow, task: FlowTask) -> AbstractContextManager[Any]:
    """A span of the task, if the job's caller has a trace."""
    if not flow.traceparent:
        return NO_SPAN
    attributes: dict[str, str | int] = {"job": flow.id, "kind": flow.kind, "lane": flow.lane, "try": delivery.tries}
    if isinstance(task, Chunk):
        attributes["chunk"] = task.index
    return span(task.name, flow.traceparent, "CONSUMER", attributes)


async def _load_flow(delivery: Delivery, task: FlowTask) -> Flow | None:
    runtime = delivery.runtime
    # A retry reads the flow again.
    known = runtime.open_flows.get(task) if delivery.tries == 1 else None
    if known and runtime.keys.lane(known.lane) == delivery.lease.queue:
        return known
    hash_read = delivery.lease.prefetched if isinstance(task, Split) else None
    flow = runtime.flows.decode(task.flow, hash_read) if hash_read else await runtime.flows.load(task.flow)
    if flow and flow.state == "run":
        runtime.open_flows.note(flow)
    return flow


async def _is_wanted(delivery: Delivery, flow: Flow, task: FlowTask) -> bool:
    match task:
        case Split():
            return flow.state == "split"
        case Chunk():
            in_round = flow.state == "run" and flow.round == task.round and task.index < flow.tasks
            # An earlier try may have stored the partial.
            retried = delivery.tries > 1
            return in_round and not (retried and await delivery.runtime.flows.has_partial(flow.id, task.index))
        case Reduce():
            return flow.state == "reduce" and flow.round == task.round
