"""A delivery: whether it is wanted, its tries, its deadline, and its failures."""

import asyncio
import math
import time
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis import exceptions
from structlog.testing import capture_logs

from reckoner.shared.errors import FlowFailedError
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.redis.keys import job_key, tries_key
from reckoner.shared.redis.scripts import Cached, LeaseLostError, ask
from reckoner.shared.wire.jobs import Chunk, FlowTask, Reduce, Split
from reckoner.shared.wire.shapes import Lane, Part, Plan, Trace, UserSpec
from reckoner.workers.engine.lease import Lease
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.delivery import MAX_TRIES
from reckoner.workers.runtime.flow_tasks import arq_function_of
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.runtime.scheduling import Scheduler
from tests.world import Generation, Hand, World


@pytest.fixture
async def flow_id(hand: Hand, world: World) -> str:
    generation = await hand.adopt(world)
    join = hand.runtime.keys.join_user(generation.id, "Ada")
    return (await hand.runtime.flows.create([UserSpec("Ada", generation.id)], [join]))[0]


async def load(hand: Hand, flow_id: str) -> Flow:
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    return flow


def call_of(hand: Hand, body: Any, tries: int = 1, runtime: Runtime | None = None, lapses_at: float = math.inf) -> Any:
    """A delivery of a split whose work is `body`."""

    async def run(flow_id: str) -> None:
        lease = await hand.claim(Split(flow_id).job_id)
        lease.lapses_at = lapses_at
        ctx = {"runtime": runtime or hand.runtime, "job_try": tries, "job_deaths": 0, "lease": lease}
        await arq_function_of(Split, lambda *_: body())(ctx, flow_id)

    return run


async def test_after_its_last_try_the_flow_fails_with_the_reason(hand: Hand, flow_id: str) -> None:
    """Three deaths exhaust the tries, the flow becomes a dead letter, and what its job read is verified again."""
    await ask(hand.redis, "SET", tries_key(Split(flow_id).job_id), MAX_TRIES, "EX", 100)
    with capture_logs() as lines:
        await hand.deliver(Split(flow_id).job_id)
    assert [line["kind"] for line in lines if line["event"] == "artifact invalidated"] == ["snapshots", "models"]
    flow = await load(hand, flow_id)
    assert (flow.state, flow.reason) == ("failed", "its worker died 3 times")
    assert await ask(hand.redis, "XLEN", hand.runtime.keys.dead) == 1


async def test_what_the_claim_has_read_is_not_read_again(hand: Hand, world: World, flow_id: str) -> None:
    """Neither the flow nor its partials; each job ends in one round trip, and the last one writes the list too."""
    commands: list[str] = []
    execute: Any = hand.redis.execute_command

    async def noted(*words: Any, **options: Any) -> Any:
        commands.append(words[0])
        return await execute(*words, **options)

    jobs: list[FlowTask] = [Split(flow_id), *(Chunk(flow_id, index, 0) for index in range(3)), Reduce(flow_id, 0)]
    for job in jobs:
        lease = await hand.claim(job.job_id)
        ctx = {"runtime": hand.runtime, "job_try": 1, "job_deaths": 0, "lease": lease}
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(hand.redis, "execute_command", noted)
            await hand.worker.functions[job.name].coroutine(ctx, *msgspec.structs.astuple(job))
    assert (await load(hand, flow_id)).state == "done"
    assert await ask(hand.redis, "EXISTS", hand.runtime.keys.result(world.generations[0].id, "Ada"))
    assert "HGETALL" not in commands
    # One for each job, and the split's look at recent events. EVAL only follows one that this server had not seen.
    assert commands.count("EVALSHA") == 6
    assert "SET" not in commands


async def test_a_list_is_written_only_by_the_script_that_ends_its_flow(hand: Hand, world: World, flow_id: str) -> None:
    """Not for a flow that was cancelled, nor by a worker that has lost its lease."""
    await hand.deliver_all(but=lambda job: job.startswith("reduce"))
    flow, job = await load(hand, flow_id), Reduce(flow_id, 0).job_id
    cached = Cached(hand.runtime.keys.result(world.generations[0].id, "Ada"), b"a list", 60)
    frozen, lease = await hand.claim(job), await hand.claim(job)
    with pytest.raises(LeaseLostError):
        await hand.runtime.flows.finish(flow, cached=cached, lease=frozen)
    assert not await hand.runtime.flows.finish(replace(flow, round=1), cached=cached, lease=lease)
    assert await ask(hand.redis, "GET", cached.key) is None
    assert await hand.runtime.flows.finish(flow, cached=cached, lease=await hand.claim(job))
    assert await ask(hand.redis, "GET", cached.key) == b"a list"
    assert 0 < await ask(hand.redis, "TTL", cached.key) <= 60


async def test_a_planted_body_does_not_get_what_was_read_for_another_flow(hand: Hand, flow_id: str) -> None:
    """The job's id names one flow, its body another."""
    join = hand.runtime.keys.join_user("another", "Grace")
    [other] = await hand.runtime.flows.create([UserSpec("Grace", "another")], [join])
    await hand.run("split", [flow_id], Split(other).job_id)
    assert (await load(hand, flow_id)).state == "run"
    assert (await load(hand, other)).state == "split"


async def test_finished_work_is_not_judged_by_its_tries(hand: Hand, flow_id: str) -> None:
    """A chunk with a partial and a reduce of an old round succeed even on their tenth try."""
    await hand.deliver(Split(flow_id).job_id)
    await hand.deliver(Chunk(flow_id, 0, 0).job_id)
    await hand.run("chunk", [flow_id, 0, 0], Chunk(flow_id, 0, 0).job_id, tries=10)
    await hand.run("chunk", [flow_id, 99, 0], Chunk(flow_id, 99, 0).job_id, tries=10)
    await hand.run("reduce", [flow_id, 0], Reduce(flow_id, 0).job_id, tries=10)
    await hand.run("split", [flow_id], Split(flow_id).job_id, tries=10)
    assert (await load(hand, flow_id)).state == "run"
    await hand.deliver_all()
    assert (await load(hand, flow_id)).state == "done"


async def test_a_job_of_a_flow_that_is_gone_does_nothing(hand: Hand) -> None:
    """A late delivery finds no flow, and leaves no key."""
    before = await hand.dump()
    for name, arguments in [
        ("split", ["gone"]),
        ("chunk", ["gone", 0, 0]),
        ("reduce", ["gone", 0]),
        ("finish", ["gone", 0]),
    ]:
        await hand.run(name, arguments, "a job", tries=10)
    assert await hand.dump() == before


@pytest.mark.parametrize(
    "error",
    [
        exceptions.ConnectionError("gone"),
        exceptions.TimeoutError("late"),
        exceptions.OutOfMemoryError("OOM command not allowed"),
        exceptions.ReadOnlyError("READONLY"),
        exceptions.BusyLoadingError("LOADING"),
        exceptions.ResponseError("MISCONF cannot write"),
    ],
    ids=lambda error: type(error).__name__,
)
async def test_a_delivery_that_redis_ends_is_left_to_the_engine(hand: Hand, flow_id: str, error: Exception) -> None:
    """It does not count as a try; the flow goes on."""

    async def body() -> None:
        raise error

    with pytest.raises(type(error)):
        await call_of(hand, body)(flow_id)
    assert (await load(hand, flow_id)).state == "split"


async def test_a_delivery_that_cannot_have_its_turn_goes_back_to_the_queue(hand: Hand, flow_id: str) -> None:
    """Another worker may be free."""
    runtime = replace(hand.runtime, scheduler=Scheduler({"click": 1, "batch": 1}, patience_s=0.01))
    async with runtime.scheduler.turn("click"):
        with pytest.raises(NotNowError):
            await call_of(hand, lambda: runtime.kernel("click", lambda _: 1), runtime=runtime)(flow_id)
    assert Split(flow_id).job_id in await hand.queued()


@pytest.mark.parametrize(("lane", "room"), [("batch", 1), ("click", 2)])
async def test_a_chunk_task_of_the_batch_lane_takes_up_room_before_it_computes(
    hand: Hand, flow_id: str, lane: Lane, room: int
) -> None:
    """Loading can take long; meanwhile its worker must not claim more than it can compute."""
    await hand.deliver(Split(flow_id).job_id)
    job, rooms = Chunk(flow_id, 0, 0), list[int]()

    async def body(runtime: Runtime, *_: Any) -> None:
        rooms.append(runtime.scheduler.room("batch"))

    lease = Lease(job.job_id, hand.runtime.keys.lane(lane), "token", 0, lambda: False)
    ctx = {"runtime": hand.runtime, "job_try": 1, "job_deaths": 0, "lease": lease}
    await arq_function_of(Chunk, body)(ctx, flow_id, 0, 0)
    assert rooms == [room]
    assert hand.runtime.scheduler.room("batch") == 2


async def test_a_cancelled_delivery_changes_nothing(hand: Hand, flow_id: str) -> None:
    """The engine knows the reason and hands the job back."""
    running = asyncio.create_task(call_of(hand, lambda: asyncio.sleep(60))(flow_id))
    await asyncio.sleep(0.05)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert (await load(hand, flow_id)).state == "split"


async def test_a_deadline_that_fires_late_still_fails_the_flow(hand: Hand, flow_id: str) -> None:
    """After a blocked event loop arq's timeout comes with ours. The flow fails instead of being retried for ever."""
    settings = msgspec.structs.replace(hand.runtime.settings, task_deadline_s=0.5)

    began = asyncio.Event()

    async def block() -> None:
        began.set()
        await asyncio.sleep(0.01)
        time.sleep(0.8)  # noqa: ASYNC251 - the event loop is what is blocked here
        await asyncio.sleep(60)

    delivery = asyncio.create_task(call_of(hand, block, runtime=replace(hand.runtime, settings=settings))(flow_id))
    await began.wait()
    await asyncio.wait_for(delivery, 0.6)
    flow = await load(hand, flow_id)
    assert (flow.state, flow.reason) == ("failed", "split ran longer than 0.5 s")


async def test_a_late_failure_does_not_end_a_flow_that_has_moved_on(hand: Hand, flow_id: str) -> None:
    """A stalled worker cannot fail the work of others."""
    await hand.deliver(Split(flow_id).job_id)
    stale = await load(hand, flow_id)
    await hand.deliver(Chunk(flow_id, 0, 0).job_id)
    assert not await hand.runtime.flows.fail(stale, "late", index=0, lease=None)
    for index in range(1, stale.tasks):
        await hand.deliver(Chunk(flow_id, index, 0).job_id)
    assert not await hand.runtime.flows.fail(stale, "late", index=1, lease=None)
    assert (await load(hand, flow_id)).state == "reduce"


@pytest.mark.parametrize("kind", ["split", "chunk", "reduce"])
async def test_a_worker_that_thaws_after_its_lease_ends_nothing(hand: Hand, flow_id: str, kind: str) -> None:
    """Another worker has the job: every write of the first one is fenced off."""
    await hand.deliver_all(but=lambda job: job.startswith(kind))
    job = (await hand.queued())[0]
    stale, frozen = await load(hand, flow_id), await hand.claim(job)
    healthy = await hand.claim(job)
    before, flows = await hand.dump({job}), hand.runtime.flows
    writes = [
        flows.fail(stale, "split ran longer than 15 s", None, lease=frozen),
        flows.finish(stale, lease=frozen),
        flows.plan(flow_id, Plan([0, 40]), lease=frozen),
        flows.store_partial(Chunk(flow_id, 0, 0), Part("0" * 64), Trace("w", 1.0, 2.0), "", lease=frozen),
        flows.rework(stale, [b"0"], [0], lease=frozen),
        flows.fail_damaged(DamagedFlowError(flow_id, "spec", b"", "", ""), lease=frozen),
    ]
    for write in writes:
        with pytest.raises(LeaseLostError):
            await write
    assert await hand.dump({job}) == before
    assert await flows.fail(stale, "the healthy one may", None, lease=healthy)


async def test_a_deadline_that_passed_while_the_process_stood_still_is_not_the_jobs(hand: Hand, flow_id: str) -> None:
    """A frozen worker has lost its lease too: the job is retried, and does not fail."""
    settings = msgspec.structs.replace(hand.runtime.settings, task_deadline_s=0.5)
    runtime = replace(hand.runtime, settings=settings)
    with pytest.raises(LeaseLostError):
        await call_of(hand, lambda: asyncio.sleep(60), runtime=runtime, lapses_at=0.0)(flow_id)
    assert (await load(hand, flow_id)).state == "split"


async def test_a_task_that_takes_too_long_fails_its_flow(hand: Hand, flow_id: str) -> None:
    """With the deadline in the reason, and the kernel's stop flag set."""
    settings = msgspec.structs.replace(hand.runtime.settings, task_deadline_s=0.5)
    runtime, seen = replace(hand.runtime, settings=settings), list[int]()

    def kernel(stop: Any) -> int | None:
        while not stop[0]:
            pass
        seen.append(1)
        return None

    await call_of(hand, lambda: runtime.kernel("batch", kernel), runtime=runtime)(flow_id)
    flow = await load(hand, flow_id)
    assert (flow.state, flow.reason) == ("failed", "split ran longer than 0.5 s")
    assert seen == [1]


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (FlowFailedError("One of our own sentences."), "One of our own sentences"),
        (ValueError("a secret"), "ValueError in a task; see the worker's log"),
        (TimeoutError("a secret"), "TimeoutError in a task; see the worker's log"),
    ],
)
async def test_the_reason_of_a_failure_holds_no_secret(hand: Hand, flow_id: str, error: Exception, reason: str) -> None:
    """Only messages of our own errors are shown; of others only the type. The log says the same."""

    async def body() -> None:
        raise error

    with capture_logs() as lines:
        await call_of(hand, body, tries=MAX_TRIES)(flow_id)
    assert (await load(hand, flow_id)).reason == reason
    found = {line["event"]: line.get("reason") for line in lines}
    assert found == {"task failed": reason, "flow failed": reason}


async def test_bytes_that_are_no_job_are_refused_and_counted(hand: Hand, flow_id: str) -> None:
    """The bytes become a dead letter, the queue goes on, and the overwritten job is recreated."""
    job, bomb = Split(flow_id).job_id, b"\x80\x05cposix\nsystem\n"
    await ask(hand.redis, "SET", job_key(job), bomb, "EX", 100)
    assert await hand.deliver(job) == "refuse"
    assert await ask(hand.redis, "HGETALL", hand.runtime.keys.refused) == {b"job": b"1"}
    [(_, letter)] = await ask(hand.redis, "XRANGE", hand.runtime.keys.dead, "-", "+")
    assert (letter[b"data"], letter[b"id"]) == (bomb, job.encode())
    assert await hand.runtime.flows.mend(await load(hand, flow_id)) == 1
    await hand.deliver_all()
    assert (await load(hand, flow_id)).state == "done"


async def test_an_unknown_user_leaves_no_result(hand: Hand, world: World) -> None:
    """The split ends the flow with a defined answer and leaves no key."""
    generation: Generation = await hand.adopt(world)
    for user in ("nobody", "", "x" * 1024, "\N{PILE OF POO}:*"):
        join = hand.runtime.keys.join_user(generation.id, user)
        [flow_id] = await hand.runtime.flows.create([UserSpec(user, generation.id)], [join])
        await hand.deliver_all()
        flow = await load(hand, flow_id)
        assert (flow.state, flow.answer) == ("done", b"unknown user")
        assert not await ask(hand.redis, "EXISTS", hand.runtime.keys.result(generation.id, user), join)
