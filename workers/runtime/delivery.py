"""What happens around every task: whether it is still wanted, its tries, its turn, its deadline, and its failure."""

import asyncio
import math
import random
import time
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import nullcontext
from typing import Any, TypeVar

import structlog

from reckoner.shared.errors import (
    ArtifactDamagedError,
    ArtifactMissingError,
    ReckonerError,
    StoreError,
    is_environment_error,
)
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import LeaseLostError
from reckoner.shared.wire.jobs import Chunk, FlowTask, Reduce, Split
from reckoner.workers.engine.lease import Lease
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.runtime import Runtime

MAX_TRIES = 3
SPENT = f"its worker died {MAX_TRIES} times"
# Between two tries of a job that its environment keeps from being done.
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.5, 30.0
# How long an NFS mount may go on hiding what another host has published: its `acdirmax`, unless that was set.
HIDDEN_S = 60.0

Body = Callable[[Runtime, Flow, Any, Lease], Awaitable[None]]
T = TypeVar("T")
ArqFunction = Callable[..., Coroutine[Any, Any, None]]

log = structlog.get_logger()


def delivered(task_type: type[FlowTask], body: Body) -> ArqFunction:
    """The arq function that runs `body` for each delivery of a flow's task."""

    async def deliver(ctx: dict[Any, Any], *arguments: Any) -> None:
        task = task_type(*arguments)
        delivery = Delivery(ctx, task.job_id)
        await delivery.run(lambda: _run_flow_task(delivery, task, body))

    deliver.__qualname__ = task_type.name
    return deliver


class Delivery:
    """One delivery of one job; `ctx` is what the worker calls its function with."""

    def __init__(self, ctx: dict[Any, Any], job_id: str) -> None:
        self.runtime: Runtime = ctx["runtime"]
        self.job_id = job_id
        self.tries: int = ctx["job_try"]
        """Which try this is, from 1."""
        self.deaths: int = ctx["job_deaths"]
        """How many of the tries before had no end."""
        self.of_run = ""
        """The run that its job belongs to; empty where it belongs to none."""
        self.lease: Lease = ctx["lease"]
        """The engine's hold on the job."""

    @property
    def spent(self) -> bool:
        """Whether the job was started as often as it may be, without an end."""
        return self.deaths >= MAX_TRIES

    @property
    def _comes_again(self) -> bool:
        """Whether the job is tried again if it raises now: deaths are counted apart."""
        return self.tries - self.deaths < MAX_TRIES

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work. What ends it for no fault of the job's is left to the engine."""
        self.runtime.running[self.job_id] = time.time_ns() // 1_000_000
        try:
            await work()
        finally:
            self.runtime.running.pop(self.job_id, None)

    async def within_deadline(self, work: Callable[[], Awaitable[None]]) -> str | None:
        """Do the work in time; returns why it failed for good, None when it did not."""
        deadline_s, began_s = self.runtime.settings.task_deadline_s, asyncio.get_running_loop().time()
        try:
            async with self.runtime.turns.deadline(deadline_s) as limit:
                await work()
        except (TimeoutError, asyncio.CancelledError) as error:
            if limit.expired():
                _forget_cancelling()
                if self.lease.lapsed:
                    # This process stood still: the time was not the job's, and another worker may have it by now.
                    raise LeaseLostError from error
                if await to_the_end(self.runtime.store_watch.was_away(began_s)):
                    # It may have stood still at what it reads there.
                    raise NotNowError from error
                return f"{self.job_id.partition(':')[0]} ran longer than {deadline_s:g} s"
            if isinstance(error, TimeoutError):
                await self._bear_with_environment(error)
            if isinstance(error, asyncio.CancelledError) or self._comes_again:
                raise
            return self._failed(error)
        except Exception as error:
            if is_transient_redis_error(error) or isinstance(error, NotNowError | LeaseLostError):
                raise
            await self._bear_with_environment(error)
            if self._comes_again and not isinstance(error, ReckonerError | OSError | MemoryError):
                raise
            return self._failed(error)
        return None

    async def _bear_with_environment(self, error: Exception) -> None:
        """Have the job tried again after trouble of its environment, later each time, until that has lasted too long.

        Raises:
            NotNowError: it has not, or the whole store is away, which lasts as long as it takes.
        """
        if isinstance(error, StoreError) and not await self.runtime.store_watch.look():
            # Other workers may see it. This one claims nothing until it does.
            raise NotNowError from error
        # What is missed may be on its way: hosts see a new artifact a moment later, and a damaged model is built again.
        missing = str(error.evidence.get("artifact", "")) if isinstance(error, ArtifactMissingError) else ""
        on_its_way = isinstance(error, ArtifactMissingError | ArtifactDamagedError) if self.of_run else missing
        if not is_environment_error(error) and not on_its_way:
            return
        # The blocks of a run have one patience together, or each of thousands would have its own; so have all clicks
        # that miss an artifact, which nobody may bring back.
        most_s, told = self.runtime.settings.trouble_s, (self.job_id, math.inf)
        if self.of_run:
            told = self.of_run, 2 * LONGEST_PAUSE_S
        elif missing:
            most_s, told = min(most_s, HIDDEN_S), (missing, math.inf)
        lasts_s = await self.runtime.trouble_lasts_s(*told)
        if lasts_s < most_s:
            pause_ms = int(min(max(FIRST_PAUSE_S, lasts_s / 2), LONGEST_PAUSE_S) * random.uniform(500, 1500))
            log.warning("a job waits for its environment", job=self.job_id, reason=_reason(error), again_in_ms=pause_ms)
            raise NotNowError(pause_ms) from error

    def _failed(self, error: Exception) -> str:
        """Log why the task failed for good; returns the reason."""
        reason = _reason(error)
        log.error("a task failed", job=self.job_id, reason=reason, exc_info=not isinstance(error, ReckonerError))
        return reason


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Do what was decided, also when arq's own time-out comes meanwhile, as it does behind a loop that was blocked."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            _forget_cancelling()
    return task.result()


def _forget_cancelling() -> None:
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()


def _reason(error: Exception) -> str:
    # Only our own messages are known to hold no secret and to be sentences.
    return (
        str(error).rstrip(".")
        if isinstance(error, ReckonerError)
        else f"{type(error).__name__} in a task; see the worker's log"
    )


async def _run_flow_task(delivery: Delivery, task: FlowTask, body: Body) -> None:
    turns, lane = delivery.runtime.turns, delivery.runtime.keys.batch
    # What a chunk task loads and opens before it computes can take a while.
    computes = isinstance(task, Chunk) and delivery.lease.queue == lane
    with turns.coming("batch") if computes else nullcontext():
        await _run_wanted(delivery, task, body)


async def _run_wanted(delivery: Delivery, task: FlowTask, body: Body) -> None:
    flows, lease = delivery.runtime.flows, delivery.lease
    try:
        flow = await _flow_of(delivery, task)
    except DamagedFlowError as damage:
        return await flows.fail_damaged(damage, lease=lease)
    if flow is None or not await _wanted(delivery, flow, task):
        return None
    delivery.of_run = flow.run
    if delivery.spent:
        reason: str | None = SPENT
    else:
        with delivery.runtime.turns.click() if flow.lane == "click" else nullcontext():
            reason = await delivery.within_deadline(lambda: _run_body(delivery, flow, task, body))
    if reason:
        index = task.index if isinstance(task, Chunk) else None
        if await to_the_end(flows.fail(flow, reason, index, lease=lease)):
            log.warning("a flow failed", flow=flow.id, reason=reason)
    return None


async def _run_body(delivery: Delivery, flow: Flow, task: FlowTask, body: Body) -> None:
    await delivery.runtime.distrust(task.job_id, delivery.deaths, flow.spec)
    await body(delivery.runtime, flow, task, delivery.lease)


async def _flow_of(delivery: Delivery, task: FlowTask) -> Flow | None:
    runtime = delivery.runtime
    # What was tried before is looked at closely.
    known = runtime.open_flows.get(task) if delivery.tries == 1 else None
    if known and runtime.keys.lane(known.lane) == delivery.lease.queue:
        return known
    flow = await runtime.flows.load(task.flow)
    if flow and flow.state == "run":
        runtime.open_flows.note(flow)
    return flow


async def _wanted(delivery: Delivery, flow: Flow, task: FlowTask) -> bool:
    match task:
        case Split():
            return flow.state == "split"
        case Chunk():
            in_round = flow.state == "run" and flow.round == task.round and task.index < flow.tasks
            # What was tried before may have got as far as its partial.
            tried = delivery.tries > 1
            return in_round and not (tried and await delivery.runtime.flows.has_partial(flow.id, task.index))
        case Reduce():
            return flow.state == "reduce" and flow.round == task.round


async def refuse(ctx: dict[Any, Any], data: bytes, reason: str) -> None:
    """What a job runs whose body is none: its bytes are counted and set aside."""
    job_id: str = ctx["job_id"]
    delivery = Delivery(ctx, job_id)

    async def set_aside() -> None:
        if await delivery.runtime.flows.refusals.string("job", job_id, job_key(job_id), data, reason):
            log.warning("a job was refused", job=job_id, size=len(data))

    await delivery.run(set_aside)
