"""A cancelled job ends for all its callers, at any stage, and leaves nothing behind."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import FlowCancelledError, FlowUnknownError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.redis.keys import job_key, leases_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.jobs import Chunk
from reckoner.shared.wire.shapes import Best, Trace
from reckoner.workers.engine.claims import Claims, Settled
from reckoner.workers.engine.lease import Lease
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.system import eventually
from tests.world import ITEMS, USERS, Generation, Hand, World

NO_ARRAYS = Best(b"", b"", b"", b"")


@pytest.fixture
async def made(hand: Hand, world: World) -> Generation:
    """A generation without workers."""
    return await hand.adopt(world)


@pytest.fixture
async def reckoner(redis_url: str, prefix: str, made: Generation) -> AsyncIterator[OpenReckoner]:
    async with OpenReckoner(redis_url, prefix=prefix) as client, asyncio.timeout(PATIENCE_S):
        yield client


@pytest.fixture
def commands(redis_url: str, prefix: str, tmp_path: Path, made: Generation) -> CommandLine:
    return CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path)


async def asked_for(reckoner: OpenReckoner, user: str = USERS[0]) -> str:
    job = (await reckoner.enqueue(user, fresh=True)).job
    assert job is not None
    return job


async def state_of(reckoner: OpenReckoner, job: str) -> str:
    return (await reckoner.job(job)).flow.state


async def left(reckoner: OpenReckoner) -> list[int]:
    """The numbers of queued jobs, leases and live flows."""
    keys = reckoner.keys
    return [
        int(await ask(reckoner.redis, "ZCARD", key))
        for key in (*keys.lanes, *map(leases_key, keys.lanes), *keys.all_live)
    ]


async def under_way(reckoner: OpenReckoner, count: int) -> list[str]:
    """The unfinished flows, once there are `count`."""

    async def look() -> list[bytes] | None:
        found: list[bytes] = await ask(reckoner.redis, "ZUNION", 2, *reckoner.keys.all_live)
        return found if len(found) == count else None

    return [member.decode().removeprefix("flow:") for member in await eventually(look)]


@pytest.mark.parametrize("kept", ["split", "chunk", "reduce"])
async def test_it_ends_in_every_state(reckoner: OpenReckoner, hand: Hand, kept: str) -> None:
    """Its jobs are removed, late deliveries change nothing, and a new request gets a new job."""
    job = await asked_for(reckoner)
    await hand.deliver_all(but=lambda name: name.startswith(kept))
    jobs = {name: (name.split(":")[0], name.split(":")[1:]) for name in await hand.queued()}
    assert await reckoner.cancel(job)
    assert await left(reckoner) == [0] * 6
    assert not await ask(hand.redis, "EXISTS", reckoner.keys.partials(job), *map(job_key, jobs))
    report = await reckoner.job(job)
    assert (report.flow.state, report.flow.reason) == ("cancelled", "it was cancelled")
    for name, (kind, arguments) in jobs.items():
        await hand.run(kind, [job, *map(int, arguments[1:])], name)
    assert await state_of(reckoner, job) == "cancelled"
    assert await left(reckoner) == [0] * 6
    assert await ask(hand.redis, "XLEN", reckoner.keys.dead) == 0
    again = await asked_for(reckoner)
    assert again != job
    await hand.deliver_all()
    assert await state_of(reckoner, again) == "done"


async def test_what_a_worker_runs_of_it_has_no_lease_any_more(reckoner: OpenReckoner, hand: Hand) -> None:
    """The renewal is refused; later writes are refused too."""
    job = await asked_for(reckoner)
    await hand.deliver_all(but=lambda name: name.startswith("chunk"))
    claims = Claims(hand.redis, hand.worker.keys, 5.0)  # type: ignore[attr-defined]
    claimed = [found.job_id.decode() for found in (await claims.claim("a token", 2, [2, 2], alone=True)).jobs]
    assert len(claimed) == 2
    assert await reckoner.cancel(job)
    assert await left(reckoner) == [0] * 6
    leases = [hand_lease(reckoner, name) for name in claimed]
    assert await claims.renew(reckoner.keys.batch, leases) == [0, 1]
    assert (
        await hand.runtime.flows.store_partial(Chunk(job, 0, 0), NO_ARRAYS, Trace("w", 1.0, 2.0), "", lease=None)
        == "late"
    )
    assert await claims.settle(reckoner.keys.batch, [Settled(name, "a token", "back") for name in claimed]) == 0
    assert await left(reckoner) == [0] * 6


def hand_lease(reckoner: OpenReckoner, job_id: str) -> Lease:
    return Lease(job_id, reckoner.keys.batch, "a token", 0, lambda: False)


async def test_all_waiting_callers_are_notified(reckoner: OpenReckoner, redis_url: str) -> None:
    """With one sentence, in every call of every client."""
    async with OpenReckoner(redis_url, prefix=reckoner.keys.prefix) as other:
        user = f"The job for user {USERS[0]} was cancelled."
        calls = {
            reckoner.recommend(USERS[0]): user,
            reckoner.recommend_many(USERS[:1]): user,
            other.recommend(USERS[0]): user,
            reckoner.recommend_for(ITEMS[:2]): "The job for the basket was cancelled.",
            other.similar(ITEMS[0]): "The question was cancelled.",
        }
        waiting = [asyncio.create_task(call) for call in calls]
        for job in await under_way(reckoner, 3):
            assert await other.cancel(job)
        for end, said in zip(await asyncio.gather(*waiting, return_exceptions=True), calls.values(), strict=True):
            assert isinstance(end, FlowCancelledError)
            assert str(end) == said


async def test_what_has_ended_or_never_was_is_not_cancelled(reckoner: OpenReckoner, hand: Hand) -> None:
    """Cancelling an ended job changes nothing."""
    done, cancelled = await asked_for(reckoner), await asked_for(reckoner, USERS[1])
    assert await reckoner.cancel(cancelled)
    await hand.deliver_all()
    before = await hand.dump()
    assert [await reckoner.cancel(job) for job in (done, cancelled)] == [False, False]
    assert await hand.dump() == before
    for strange in ("nope", "*", "ünknown\n"):
        with pytest.raises(FlowUnknownError):
            await reckoner.cancel(strange)


@pytest.mark.parametrize("kept", ["split", "chunk", "reduce"])
async def test_concurrent_ends_end_it_once(reckoner: OpenReckoner, hand: Hand, kept: str) -> None:
    """Two cancels and a finish at the same moment end it once."""
    job = await asked_for(reckoner)
    await hand.deliver_all(but=lambda name: name.startswith(kept))
    flow = await reckoner.flows.load(job)
    assert flow is not None
    others = [Flows(hand.redis, reckoner.keys, 10.0) for _ in range(2)]
    ends = await asyncio.gather(reckoner.cancel(job), others[0].cancel(flow), others[1].finish(flow, lease=None))
    assert sorted(ends) == [False, False, True]
    assert await state_of(reckoner, job) == ("done" if ends[2] else "cancelled")


async def test_a_cancelled_block_counts_as_failed(reckoner: OpenReckoner, hand: Hand) -> None:
    """The run continues with its other blocks, and readers keep the previous generation."""
    run, _ = await reckoner.operator.start_run(1, 2)
    block = next(name.split(":")[1] for name in await hand.queued())
    assert await reckoner.cancel(block)
    await hand.deliver_all()
    ended = (await reckoner.operator.run(run)).run
    assert (ended.outcome, ended.blocks) == ("refused", len(USERS))
    assert ended.manifest is not None
    assert (ended.manifest.failed, ended.manifest.reasons) == (1, ["it was cancelled"])


async def test_a_cancelled_run_begins_no_more_blocks(reckoner: OpenReckoner, hand: Hand) -> None:
    """Running blocks are cancelled, the gate is checked at once, and the next run is new."""
    run, _ = await reckoner.operator.start_run(1, 2)
    await hand.deliver((await hand.queued())[0])
    assert await reckoner.cancel(run)
    assert [name.partition(":")[0] for name in await hand.queued()] == ["finish"]
    assert not await reckoner.cancel(run)
    await hand.deliver_all()
    ended = (await reckoner.operator.run(run)).run
    assert ended.outcome == "refused"
    assert ended.manifest is not None
    assert (ended.manifest.done, ended.manifest.reasons) == (1, ["it was cancelled"])
    assert not await reckoner.cancel(run)
    assert await left(reckoner) == [0] * 6
    again, is_new = await reckoner.operator.start_run(1, 2)
    assert is_new
    await hand.deliver_all()
    assert (await reckoner.operator.run(again)).run.outcome == "passed"


async def test_a_run_whose_last_blocks_are_cancelled_does_not_pass(reckoner: OpenReckoner, hand: Hand) -> None:
    """All blocks have started by then."""
    run, _ = await reckoner.operator.start_run(3, 2)
    assert await reckoner.cancel(run)
    await hand.deliver_all()
    ended = (await reckoner.operator.run(run)).run
    assert (ended.outcome, ended.blocks, ended.next_block) == ("refused", 2, 2)


async def test_a_cancelled_fit_can_be_asked_for_again(reckoner: OpenReckoner, hand: Hand, world: World) -> None:
    """The cancelled fit publishes no model."""
    wanted = world.unfitted
    world.store.delete("models", wanted.record.model)
    job, model = await reckoner.operator.fit(wanted.record.snapshot, wanted.config, 5)
    await hand.deliver_all(but=lambda name: name.startswith("reduce"))
    assert await reckoner.cancel(job)
    await hand.deliver_all()
    assert model not in {entry.id for entry in world.store.entries("models")}
    again, _ = await reckoner.operator.fit(wanted.record.snapshot, wanted.config, 5)
    await hand.deliver_all()
    assert await state_of(reckoner, again) == "done"
    world.store.delete("models", model)


DAMAGES: list[tuple[str, Callable[[str], list[str]]]] = [
    ("a state that is none", lambda key: ["HSET", key, "state", "asleep"]),
    ("a spec that is none", lambda key: ["HSET", key, "spec", "no spec"]),
    ("no round", lambda key: ["HDEL", key, "round"]),
]


@pytest.mark.parametrize(("what", "damage"), DAMAGES, ids=[what for what, _ in DAMAGES])
async def test_what_cannot_be_read_can_be_cancelled(
    reckoner: OpenReckoner, hand: Hand, what: str, damage: Callable[[str], list[str]]
) -> None:
    """Its bytes are set aside, and its callers are notified."""
    waiting = asyncio.create_task(reckoner.recommend(USERS[0]))
    [job] = await under_way(reckoner, 1)
    await ask(hand.redis, *damage(reckoner.keys.flow(job)))
    assert await reckoner.cancel(job), what
    with pytest.raises(FlowCancelledError):
        await waiting
    assert await ask(hand.redis, "HGETALL", reckoner.keys.refused) == ({} if what == "no round" else {b"flow": b"1"})
    await hand.deliver_all()
    assert await left(reckoner) == [0] * 6


async def test_commands_cancel(reckoner: OpenReckoner, commands: CommandLine, hand: Hand) -> None:
    """A waiting command exits with 1; an error with one id does not stop the others."""
    waiting = commands.start("enqueue", USERS[0], "--wait")
    try:
        [job] = await under_way(reckoner, 1)
        ended = await asyncio.to_thread(commands.run, "cancel", "nope", job)
        assert (ended.code, ended.out) == (1, f"Job {job} is cancelled.\n")
        assert ended.err == "Unknown job nope: it never existed, or its record has expired.\n"
        _, said = await asyncio.to_thread(waiting.communicate, timeout=PATIENCE_S)
        assert (waiting.returncode, said.splitlines()[-1]) == (1, f"The job for user {USERS[0]} was cancelled.")
    finally:
        waiting.kill()
    again = await asyncio.to_thread(commands.run, "cancel", job, "--json")
    assert (again.code, again.objects) == (1, [{"job": job, "cancelled": False, "state": "cancelled"}])
    assert again.err == f"Job {job} had already ended as cancelled.\n"
    [told] = commands.call("job", job, "--json").objects
    assert (told["state"], told["reason"]) == ("cancelled", "it was cancelled")
    assert commands.call("cancel", b"\xff").code == 2


async def test_commands_cancel_a_run_and_its_blocks(reckoner: OpenReckoner, commands: CommandLine, hand: Hand) -> None:
    """The message names the effect on the run."""
    waiting = commands.start("batch", "--block", "1", "--in-flight", "2")
    try:
        found = await eventually(hand.queued)
        flow = await reckoner.flows.load(found[0].split(":")[1])
        assert isinstance(flow, Flow)
        one = await asyncio.to_thread(commands.run, "cancel", flow.id)
        assert one.out == f"Job {flow.id} is cancelled; run {flow.run} counts block {flow.block} as failed.\n"
        whole = await asyncio.to_thread(commands.run, "cancel", flow.run)
        assert whole.out == f"Run {flow.run} is cancelled: it starts no more blocks and does not go live.\n"
        again = await asyncio.to_thread(commands.run, "cancel", flow.run, "--json")
        assert (again.code, again.objects) == (1, [{"run": flow.run, "cancelled": False, "state": "finish"}])
        await hand.deliver_all()
        _, said = await asyncio.to_thread(waiting.communicate, timeout=PATIENCE_S)
        assert (waiting.returncode, said.splitlines()[-1].partition(":")[0]) == (1, "Refused")
    finally:
        waiting.kill()
