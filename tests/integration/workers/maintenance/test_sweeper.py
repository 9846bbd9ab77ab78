"""The sweeper: it recreates lost jobs, leaves waiting ones alone, and nothing in Redis stops it."""

import asyncio
from dataclasses import replace

import pytest

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import LONGEST_LOOK_MS, Flows
from reckoner.shared.redis.keys import job_key, tries_key
from reckoner.shared.redis.refusals import Refusals
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import BasketSpec, ClickSpec, HistorySpec, SimilarSpec, UserSpec
from reckoner.workers.maintenance.sweeper import Sweeper
from tests.world import ITEMS, USERS, Generation, Hand, World, settle


async def create(hand: Hand, generation: Generation, user: str = "Ada") -> str:
    [flow] = await hand.runtime.flows.create(
        [UserSpec(user, generation.id)], [hand.runtime.keys.join_user(generation.id, user)]
    )
    return flow


async def load(hand: Hand, flow_id: str) -> Flow:
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    return flow


async def plant(hand: Hand, name: str, kind: str) -> None:
    """Put a key of another type in the place of `name`."""
    await ask(hand.redis, "DEL", name)
    if kind == "string":
        await ask(hand.redis, "HSET", name, "planted", "planted")
    else:
        await ask(hand.redis, "SET", name, "planted")


async def test_a_job_that_waits_is_not_lost(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """However often it is swept; sweeps of it back off up to ten minutes."""
    flow, before, delays = await create(hand, await hand.adopt(world)), await hand.queued(), []
    for _ in range(14):
        await hand.make_due()
        assert await sweeper.sweep() == 0
        score = await ask(hand.redis, "ZSCORE", hand.runtime.keys.live_of("click"), f"flow:{flow}")
        delays.append(score - await hand.runtime.now_ms())
    assert await hand.queued() == before
    assert 1_500 < delays[0] <= 2_000
    assert delays[1] > 1.5 * delays[0]
    assert LONGEST_LOOK_MS - 1_000 < delays[-1] <= LONGEST_LOOK_MS
    assert (await load(hand, flow)).state == "split"


@pytest.mark.parametrize("stage", ["split", "run", "reduce"])
@pytest.mark.parametrize("lost", ["member", "body"])
async def test_a_lost_job_is_created_again(hand: Hand, world: World, sweeper: Sweeper, stage: str, lost: str) -> None:
    """At every stage, at its old score, and the flow ends done."""
    flow = await create(hand, await hand.adopt(world))
    while (await load(hand, flow)).state != stage:
        await hand.deliver((await hand.queued())[0])
    for job in await hand.queued():
        await ask(hand.redis, *(("ZREM", hand.runtime.keys.click, job) if lost == "member" else ("DEL", job_key(job))))
    await hand.make_due()
    assert await sweeper.sweep() > 0
    await hand.deliver_all()
    assert (await load(hand, flow)).state == "done"


async def test_a_check_renews_the_keys_of_an_unfinished_flow(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """The flow, its partials, its join and its jobs: a flow that waits for over a week loses nothing."""
    generation, keys = await hand.adopt(world), hand.runtime.keys
    flow = await create(hand, generation)
    await hand.deliver(Split(flow).job_id)
    await hand.deliver((await hand.queued())[0])
    names = [keys.flow(flow), keys.partials(flow), keys.tasks(flow), keys.join_user(generation.id, "Ada")]
    names += [job_key(job) for job in await hand.queued()]
    for name in names:
        assert await ask(hand.redis, "PEXPIRE", name, 1_000)
    await hand.make_due()
    await sweeper.sweep()
    assert all([await ask(hand.redis, "PTTL", name) > 6 * 86_400_000 for name in names])


class NotedFlows(Flows):
    """Flows that note which kinds of them are looked at."""

    noted: list[str]

    async def mend(self, flow: Flow) -> int:
        self.noted.append(str(flow.spec.__struct_config__.tag))
        return await super().mend(flow)


async def test_clicks_are_checked_first(hand: Hand, world: World) -> None:
    """Clients wait for users, baskets and questions, not for blocks or fits."""
    generation, keys = await hand.adopt(world), hand.runtime.keys
    flows = NotedFlows(hand.redis, keys, 1.0)
    flows.noted = []
    await hand.runtime.runs.start(generation.record, 6, 1)
    await flows.create([world.unfitted.fit], [keys.join_fit("x")], "batch")
    specs: list[ClickSpec] = [
        UserSpec("Ada", generation.id),
        BasketSpec(ITEMS[:2], generation.id),
        SimilarSpec(ITEMS[0], None, generation.id, 3),
        HistorySpec("Ada", generation.id, 3),
    ]
    await flows.create(specs, [f"{keys.joins}{number}" for number in range(len(specs))])
    await hand.make_due()
    await Sweeper(replace(hand.runtime, flows=flows)).sweep()
    assert set(flows.noted[:4]) == {"user", "basket", "similar", "history"}
    assert set(flows.noted[4:]) == {"block", "fit"}


async def test_one_sweeps_at_a_time(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """Under a lock that its holder releases; a lock without expiry is ignored."""
    flow = await create(hand, await hand.adopt(world))
    await ask(hand.redis, "ZREM", hand.runtime.keys.click, Split(flow).job_id)
    await hand.make_due()
    lock = hand.runtime.keys.sweeper
    await ask(hand.redis, "SET", lock, "another", "PX", 4_000)
    assert await sweeper.sweep() == 0
    assert await ask(hand.redis, "GET", lock) == b"another"
    for planted in ("SET", "HSET"):
        await ask(hand.redis, "DEL", lock)
        await ask(hand.redis, planted, lock, *(["another"] if planted == "SET" else ["a", "b"]))
        await hand.make_due()
        await ask(hand.redis, "ZREM", hand.runtime.keys.click, Split(flow).job_id)
        assert await sweeper.sweep() == 1
    assert not await ask(hand.redis, "EXISTS", lock)


async def test_invalid_members_hide_no_flow(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """Six hundred entries that are no flow's and no run's, UTF-8 or not, come before a lost job; those that can be none
    are counted, and a flow's other keys are not taken for a flow.
    """
    flow, keys = await create(hand, await hand.adopt(world)), hand.runtime.keys
    await ask(hand.redis, "ZREM", keys.click, Split(flow).job_id)
    for number in range(600):
        member = [b"\xff%d", b"flow:\xff%d", b"flow:gone%d", b"run:gone%d", b"planted:%d"][number % 5] % number
        for live in keys.all_live:
            await ask(hand.redis, "ZADD", live, 0, member)
    await ask(
        hand.redis, "ZADD", keys.live_of("click"), 0, "", 0, "flow:", 0, f"flow:{flow}:partials", 1, f"flow:{flow}"
    )
    await ask(hand.redis, "HSET", keys.partials(flow), "0", "a partial")
    assert await settled_sweeps(sweeper, 10) == 1
    assert await ask(hand.redis, "ZUNION", 2, *keys.all_live) == [f"flow:{flow}".encode()]
    assert await ask(hand.redis, "HGETALL", keys.partials(flow)) == {b"0": b"a partial"}
    assert await ask(hand.redis, "HGETALL", keys.refused) == {b"member": b"723"}


async def settled_sweeps(sweeper: Sweeper, count: int) -> int:
    """How many jobs so many sweeps make: each ends when its time is up."""
    return sum([await sweeper.sweep() for _ in range(count)])


async def test_an_impossibly_late_check_is_due_now(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """An impossible score would hide a lost job. A run among the clicks moves to its own set."""
    keys = hand.runtime.keys
    await hand.adopt(world)
    generation = await hand.adopt(world, 1)
    flow = await create(hand, generation)
    run_id, _ = await hand.runtime.runs.start(generation.record, 6, 1)
    for live in keys.all_live:
        for member in await ask(hand.redis, "ZRANGE", live, 0, -1):
            await ask(hand.redis, "ZADD", live, "inf", member)
    await ask(hand.redis, "ZADD", keys.live_of("click"), "9e14", f"run:{run_id}")
    await ask(hand.redis, "DEL", *keys.lanes)
    assert await settled_sweeps(sweeper, 3) == 2
    assert await ask(hand.redis, "ZRANGE", keys.live_of("click"), 0, -1) == [f"flow:{flow}".encode()]
    assert f"run:{run_id}".encode() in await ask(hand.redis, "ZRANGE", keys.live_of("batch"), 0, -1)


async def test_a_lost_click_is_found_before_all_batch_jobs(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """Five thousand flows of the batch lane are due for longer; the next sweep finds it, and one that has raised a
    flow of theirs.
    """
    generation, keys = await hand.adopt(world), hand.runtime.keys
    many = [f"user {number}" for number in range(5000)]
    joins = [keys.join_user(generation.id, user) for user in many]
    flows = await hand.runtime.flows.create([UserSpec(user, generation.id) for user in many], joins, "batch")
    lost = [await create(hand, generation), await create(hand, generation, many[-1])]
    assert lost[1] == flows[-1]
    await ask(hand.redis, "ZREM", keys.click, *(Split(flow).job_id for flow in lost))
    for lane in ("batch", "click"):
        for member in await ask(hand.redis, "ZRANGE", keys.live_of(lane), 0, -1):
            await ask(hand.redis, "ZADD", keys.live_of(lane), 2 if lane == "click" else 1, member)
    assert await sweeper.sweep() == 2


async def test_all_due_flows_are_checked(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """However many, in sweeps of bounded time."""
    generation, keys = await hand.adopt(world), hand.runtime.keys
    many = [f"user {number}" for number in range(1500)]
    joins = [keys.join_user(generation.id, user) for user in many]
    await hand.runtime.flows.create([UserSpec(user, generation.id) for user in many], joins, "batch")
    await hand.make_due()
    await ask(hand.redis, "DEL", keys.batch)
    made = 0
    while await ask(hand.redis, "ZCOUNT", keys.live_of("batch"), "-inf", 1):
        made += await sweeper.sweep()
    assert made == len(await ask(hand.redis, "ZRANGE", keys.batch, 0, -1)) == 1500


@pytest.mark.parametrize(
    "victim", ["flow", "partials", "tasks", "join", "job", "queue", "live", "dead", "refused", "tries"]
)
async def test_a_key_of_another_type_blocks_no_request(hand: Hand, world: World, sweeper: Sweeper, victim: str) -> None:
    """The key is quarantined, and new requests are served."""
    generation, keys = await hand.adopt(world), hand.runtime.keys
    flow, neighbour = await create(hand, generation), await create(hand, generation, "usér")
    await hand.deliver(Split(flow).job_id)
    job = next(job for job in await hand.queued() if flow in job)
    names = {
        "flow": keys.flow(flow), "partials": keys.partials(flow), "tasks": keys.tasks(flow),
        "live": keys.live_of("click"),
        "join": keys.join_user(generation.id, "Ada"), "job": job_key(job), "tries": tries_key(job),
        "queue": keys.click, "dead": keys.dead, "refused": keys.refused,
    }  # fmt: skip
    await plant(hand, names[victim], "string" if victim in ("join", "job", "tries") else "other")
    # A worker that meets what ends it is started again, and sets it aside before its first claim.
    await Refusals(hand.redis, keys).foreign_jobs()
    for _ in range(3):
        await hand.make_due()
        await sweeper.sweep()
    await settle(hand, sweeper.sweep)
    await create(hand, generation)
    await create(hand, generation, "usér")
    await settle(hand, sweeper.sweep)
    state = await hand.dump()
    assert state[keys.result(generation.id, "Ada")] == generation.lists["Ada"]
    assert state[keys.result(generation.id, "usér")] == generation.lists["usér"]
    if victim not in ("queue", "live"):
        assert (await load(hand, neighbour)).state == "done"


@pytest.mark.parametrize("victim", ["run", "flight", "blocks"])
async def test_a_run_survives_or_ends_when_its_keys_have_another_type(
    hand: Hand, world: World, sweeper: Sweeper, victim: str
) -> None:
    """Its bookkeeping is recreated; without its state it is gone, and the next run starts over."""
    await hand.adopt(world)
    generation, keys = await hand.adopt(world, 1), hand.runtime.keys
    run_id, _ = await hand.runtime.runs.start(generation.record, 1, 2)
    await hand.deliver((await hand.queued())[0])
    await plant(hand, getattr(keys, victim)(run_id), "other")
    for _ in range(4):
        await hand.make_due()
        await sweeper.sweep()
    await settle(hand, sweeper.sweep)
    if victim == "run":
        run_id, new = await hand.runtime.runs.start(generation.record, 1, 2)
        assert new
        await settle(hand, sweeper.sweep)
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    assert run.outcome == "passed"
    state = await hand.dump()
    assert all(state[keys.result(generation.id, user)] == generation.lists[user] for user in USERS)


async def test_sweepers_side_by_side_make_each_job_once(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """The lock may lapse under a slow sweep: two at once do no harm."""
    generation = await hand.adopt(world)
    flows = [await load(hand, await create(hand, generation, user)) for user in USERS]
    await ask(hand.redis, "DEL", hand.runtime.keys.click)
    made = await asyncio.gather(*(hand.runtime.flows.mend(flow) for flow in flows for _ in range(3)))
    assert sum(made) == len(USERS) == len(await hand.queued())


async def test_a_planted_partial_costs_only_a_round(hand: Hand, world: World, sweeper: Sweeper) -> None:
    """No chunk task is repeated; the next sweep closes the round."""
    generation, keys = await hand.adopt(world), hand.runtime.keys
    flow = await create(hand, generation)
    await hand.deliver_all(but=lambda job: job.startswith("reduce:"))
    await ask(hand.redis, "HSET", keys.partials(flow), b"\xff", b"planted")
    await hand.deliver_all()
    assert (await load(hand, flow)).state == "run"
    await hand.make_due()
    await sweeper.sweep()
    await hand.deliver_all(but=lambda job: job.startswith("chunk:"))
    assert (await load(hand, flow)).state == "done"
    assert await ask(hand.redis, "HGETALL", keys.refused) == {b"partial": b"1"}
