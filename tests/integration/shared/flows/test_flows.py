"""Flows: one for everybody who asks, ended once, counted once, and a full Redis stops them without harm."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from importlib.resources import files

import pytest
from redis import exceptions

from reckoner.shared.flows.dead_letters import DeadLetters
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.run_state import DamagedRunError
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import MAX_REWORK
from reckoner.shared.settings import Settings
from reckoner.shared.wire.jobs import Chunk, Reduce, Split
from reckoner.shared.wire.shapes import (
    MAX_BASKET_BYTES,
    MAX_ITEMS,
    PARTIAL,
    SPEC,
    BasketSpec,
    Best,
    Part,
    Plan,
    Trace,
    UserSpec,
)
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.process.wiring import connect_worker
from tests.conftest import StartServer
from tests.world import USERS, Generation, Hand, World, begin_reduce, settle

NOTHING = Best(b"", b"", b"", b"")
PLACE = "a place"
TRACE = Trace("w", 1.0, 2.0)


async def create(hand: Hand, user: str = "u", generation: str = "g") -> str:
    [flow] = await hand.runtime.flows.create(
        [UserSpec(user, generation)], [hand.runtime.keys.join_user(generation, user)]
    )
    return flow


async def load(hand: Hand, flow_id: str) -> Flow:
    flow = await hand.runtime.flows.load(flow_id)
    assert flow is not None
    return flow


async def dead(hand: Hand) -> list[dict[bytes, bytes]]:
    return [letter for _, letter in await ask(hand.redis, "XRANGE", hand.runtime.keys.dead, "-", "+")]


async def test_a_hundred_simultaneous_requests_share_one_flow(hand: Hand, redis_url: str) -> None:
    """Later requests join it too, over any connection."""
    join = hand.runtime.keys.join_user("g", "u")
    pools = [connect(redis_url) for _ in range(10)]
    flows = [Flows(pool, hand.runtime.keys, 10.0) for pool in pools for _ in range(10)]
    answers = await asyncio.gather(*(flow.create([UserSpec("u", "g")], [join]) for flow in flows))
    assert len({flow for [flow] in answers}) == 1
    assert len(await hand.queued()) == 1
    assert len(await ask(hand.redis, "ZUNION", 2, *hand.runtime.keys.all_live)) == 1
    for pool in pools:
        await pool.aclose()


async def test_a_flow_that_has_ended_is_not_joined(hand: Hand) -> None:
    """Even if its join key is left: a new caller would get an end that came before its request."""
    first = await create(hand)
    assert await create(hand) == first
    await ask(hand.redis, "HSET", hand.runtime.keys.flow(first), "join", "")
    await hand.runtime.flows.fail(await load(hand, first), "failed by the test", lease=None)
    assert await ask(hand.redis, "GET", hand.runtime.keys.join_user("g", "u")) == first.encode()
    assert await create(hand) != first


async def test_a_join_that_leads_to_no_flow_is_not_joined(hand: Hand) -> None:
    """What was planted where its flow would be stopped each one who asked for the user, for a week."""
    keys = hand.runtime.keys
    await ask(hand.redis, "SET", keys.join_user("g", "u"), "planted")
    await ask(hand.redis, "SET", keys.flow("planted"), "no flow")
    flow = await load(hand, await create(hand))
    assert flow.state == "split"
    assert await create(hand) == flow.id


@pytest.mark.parametrize("which", range(4))
async def test_nothing_is_created_where_not_all_of_it_can_be(hand: Hand, which: int) -> None:
    """A key of another type stops the script before it has written: nobody joins a flow that nobody looks at."""
    name = (*hand.runtime.keys.lanes, *hand.runtime.keys.all_live)[which]
    await ask(hand.redis, "SET", name, "planted", "EX", 100)
    before = await hand.dump()
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        await create(hand)
    assert await hand.dump() == before


async def test_many_are_created_in_slices_and_in_order(hand: Hand) -> None:
    """1,203 users, one of them twice: ids in the order asked, each user one flow."""
    users = [str(number) for number in range(1202)] + ["7"]
    joins = [hand.runtime.keys.join_user("g", user) for user in users]
    ids = await hand.runtime.flows.create([UserSpec(user, "g") for user in users], joins)
    assert ids[-1] == ids[7]
    assert len(set(ids)) == len(await hand.queued()) == 1202
    loaded = await hand.runtime.flows.load_many(ids[:3])
    assert [flow.spec for flow in loaded if isinstance(flow, Flow)] == [UserSpec(user, "g") for user in "012"]


async def test_a_flow_goes_its_way_once(hand: Hand) -> None:
    """split, run, reduce, done: each change happens once, and a second one changes nothing."""
    flows, flow = hand.runtime.flows, await create(hand)
    assert await flows.plan(flow, Plan([0, 20, 40]), lease=None)
    assert not await flows.plan(flow, Plan([0, 40]), lease=None)
    assert await flows.store_partial(Chunk(flow, 0, 0), NOTHING, TRACE, PLACE, lease=None) == "stored"
    assert await flows.store_partial(Chunk(flow, 0, 0), Part("0" * 64), TRACE, PLACE, lease=None) == "stored"
    assert await flows.partials(flow) == {b"0": PARTIAL.encode(NOTHING, PLACE)}
    assert await flows.store_partial(Chunk(flow, 1, 1), NOTHING, TRACE, PLACE, lease=None) == "late"
    assert await flows.store_partial(Chunk(flow, 1, 0), NOTHING, TRACE, PLACE, lease=None) == "last"
    assert await flows.store_partial(Chunk(flow, 1, 0), NOTHING, TRACE, PLACE, lease=None) == "late"
    assert Reduce(flow, 0).job_id in await hand.queued()
    seen = await load(hand, flow)
    assert (seen.state, seen.tasks, await flows.traces(flow)) == ("reduce", 2, {0: TRACE, 1: TRACE})
    assert await flows.rework(seen, [b"1"], [1], lease=None) == "again"
    assert not await flows.finish(seen, b"of a round that is over", lease=None)
    assert await flows.store_partial(Chunk(flow, 1, 0), NOTHING, TRACE, PLACE, lease=None) == "late"
    assert await flows.store_partial(Chunk(flow, 1, 1), NOTHING, TRACE, PLACE, lease=None) == "last"
    assert not await flows.finish(seen, b"of a round that is over", lease=None)
    seen = await load(hand, flow)
    assert await flows.finish(seen, b"answer", lease=None)
    assert not await flows.finish(seen, b"another", lease=None)
    assert not await flows.fail(seen, "too late", lease=None)
    ended = await load(hand, flow)
    assert (ended.state, ended.answer, ended.ended) == ("done", b"answer", True)
    keys = hand.runtime.keys
    assert not await ask(hand.redis, "EXISTS", keys.partials(flow), keys.join_user("g", "u"), *keys.all_live)
    assert await dead(hand) == []


async def test_a_plan_without_chunks_goes_straight_to_reduce(hand: Hand) -> None:
    """There is nothing to wait for."""
    flow = await create(hand)
    await hand.runtime.flows.plan(flow, Plan([0]), lease=None)
    assert (await load(hand, flow)).state == "reduce"
    assert Reduce(flow, 0).job_id in await hand.queued()


async def test_inner_jobs_inherit_the_place_in_the_queue(hand: Hand) -> None:
    """A flow that is under way goes before those that came later."""
    first = await create(hand, "a")
    await asyncio.sleep(0.01)
    second = await create(hand, "b")
    await hand.runtime.flows.plan(first, Plan([0, 20, 40]), lease=None)
    queue = await hand.queued()
    assert queue.index(Chunk(first, 1, 0).job_id) < queue.index(Split(second).job_id)


async def test_the_end_is_published_once(hand: Hand) -> None:
    """Ten callers end a flow at once. One does it, and one message is published."""
    flow = await load(hand, await create(hand))
    async with hand.redis.pubsub(ignore_subscribe_messages=True) as listener:
        await listener.subscribe(hand.runtime.keys.events(flow.id))
        answers = await asyncio.gather(
            *(hand.runtime.flows.fail(flow, "failed by the test", lease=None) for _ in range(10))
        )
        found = [message for _ in range(5) if (message := await listener.get_message(timeout=0.1))]
    assert Counter(answers) == {True: 1, False: 9}
    assert [message["data"] for message in found] == [b"failed"]
    [letter] = await dead(hand)
    assert (letter[b"kind"], letter[b"id"], letter[b"of"], letter[b"reason"]) == (
        b"flow", flow.id.encode(), b"user", b"failed by the test",
    )  # fmt: skip


async def test_a_flow_is_reworked_a_bounded_number_of_times(hand: Hand) -> None:
    """Each time only what is missing is done again, in a round of its own."""
    flows, flow = hand.runtime.flows, await create(hand)
    await flows.plan(flow, Plan([0, 20, 40]), lease=None)
    for round_ in range(MAX_REWORK + 1):
        for index in (0, 1):
            await flows.store_partial(Chunk(flow, index, round_), NOTHING, TRACE, PLACE, lease=None)
        seen = await load(hand, flow)
        assert (seen.state, seen.round) == ("reduce", round_)
        answer = await flows.rework(seen, [b"1"], [1], lease=None)
        assert answer == ("again" if round_ < MAX_REWORK else "spent")
        if answer == "again":
            assert await flows.rework(seen, [b"1"], [1], lease=None) == "late"
            jobs = await hand.queued()
            assert Chunk(flow, 1, round_ + 1).job_id in jobs
            assert Chunk(flow, 0, round_ + 1).job_id not in jobs


@pytest.mark.parametrize("how", ["string", "field", "member"])
async def test_refused_bytes_are_counted_once(hand: Hand, how: str) -> None:
    """However many workers read them; bytes that have changed meanwhile stay."""
    keys, flows, bomb = hand.runtime.keys, hand.runtime.flows, b"\xffbomb" * 2000
    if how == "string":
        await ask(hand.redis, "SET", keys.record("x"), bomb, "EX", 60)
        answers = await asyncio.gather(
            *(flows.refusals.string("record", "x", keys.record("x"), bomb, "why") for _ in range(20))
        )
    elif how == "field":
        await ask(hand.redis, "HSET", keys.partials("x"), b"\xff", bomb)
        answers = await asyncio.gather(
            *(flows.refusals.field("record", "x", keys.partials("x"), b"\xff", bomb) for _ in range(20))
        )
        assert not await flows.refusals.field("record", "x", keys.partials("x"), b"\xff", b"other bytes")
    else:
        await ask(hand.redis, "ZADD", keys.click, 1, bomb)
        answers = await asyncio.gather(*(flows.refusals.member(keys.click, bomb, "why") for _ in range(20)))
    assert Counter(answers) == {True: 1, False: 19}
    assert sum(map(int, (await ask(hand.redis, "HGETALL", keys.refused)).values())) == 1
    [letter] = await dead(hand)
    assert letter[b"kind"] == b"refused"
    assert letter[b"data"] == bomb[:4096]


@pytest.mark.parametrize(
    "items",
    [[f"{number:065}" for number in range(MAX_ITEMS)], ["ü" * 512] * (MAX_BASKET_BYTES // 1024)],
    ids=["many items", "a long item"],
)
async def test_a_dead_letter_has_the_whole_spec_of_its_flow(hand: Hand, items: list[str]) -> None:
    """Also that of the largest basket: the flow can be retried from it."""
    spec = BasketSpec(items, "g" * 64)
    [flow] = await hand.runtime.flows.create([spec], [hand.runtime.keys.join_basket(spec.generation, items)])
    assert await hand.runtime.flows.fail(await load(hand, flow), "failed by the test", lease=None)
    [letter] = await dead(hand)
    assert letter[b"of"] == b"basket"
    assert SPEC.decode(letter[b"data"]) == spec


async def test_dead_letters_are_capped(hand: Hand) -> None:
    """The newest 1,000 are kept."""
    keys = hand.runtime.keys
    for number in range(1005):
        await ask(hand.redis, "ZADD", keys.click, 1, b"\xff%d" % number)
        await hand.runtime.flows.refusals.member(keys.click, b"\xff%d" % number, "why")
    letters = await dead(hand)
    assert (len(letters), letters[-1][b"data"]) == (1000, b"\xff1004")


async def test_planted_counts_and_letters_stop_no_end_of_a_flow(hand: Hand) -> None:
    """The last possible id of a stream, which no other can follow, and a count that is not a number."""
    keys, refusals = hand.runtime.keys, hand.runtime.flows.refusals
    flow = await create(hand)
    await ask(hand.redis, "XADD", keys.dead, f"{2**64 - 1}-{2**64 - 1}", "planted", "planted")
    await ask(hand.redis, "HSET", keys.refused, "member", "planted", "record", 2**63 - 1)
    await ask(hand.redis, "SET", keys.record("x"), "planted", "EX", 60)
    await ask(hand.redis, "ZADD", keys.click, 1, b"\xff")
    assert await hand.runtime.flows.fail(await load(hand, flow), "failed by the test", lease=None)
    assert await refusals.member(keys.click, b"\xff", "why")
    assert await refusals.string("record", "x", keys.record("x"), b"planted", "why")
    assert [letter[b"kind"] for letter in await dead(hand)] == [b"flow", b"refused", b"refused"]
    assert await ask(hand.redis, "HGETALL", keys.refused) == {b"member": b"1", b"record": b"1"}


async def test_a_damaged_flow_ends_in_a_state_that_can_be_read(hand: Hand) -> None:
    """Its waiting clients learn that it failed; its join is free."""
    flow = await create(hand)
    await ask(hand.redis, "HSET", hand.runtime.keys.flow(flow), "spec", b"cposix\nsystem\n")
    with pytest.raises(DamagedFlowError) as caught:
        await hand.runtime.flows.load(flow)
    for _ in range(2):
        await hand.runtime.flows.fail_damaged(caught.value, lease=None)
    ended = await load(hand, flow)
    assert (ended.state, ended.reason) == ("failed", "the field spec of its state is invalid")
    assert await ask(hand.redis, "HGETALL", hand.runtime.keys.refused) == {b"flow": b"1"}
    assert {letter[b"kind"] for letter in await dead(hand)} == {b"flow", b"refused"}
    assert await create(hand) != flow


@pytest.mark.parametrize("field", ["rework", "spec", "planned", "created", "round"])
async def test_a_flow_that_ended_with_a_damaged_field_has_failed(hand: Hand, field: str) -> None:
    """The damage may come between what a task has read and its end; nobody would look at the flow again."""
    flow = await create(hand)
    read = await load(hand, flow)
    await ask(hand.redis, "HSET", hand.runtime.keys.flow(flow), field, b"\xff")
    if field != "round":
        assert await hand.runtime.flows.fail(read, "a task failed", lease=None)
    else:
        await ask(hand.redis, "HSET", hand.runtime.keys.flow(flow), "state", "done")
    ended = await load(hand, flow)
    assert (ended.state, ended.reason) == ("failed", f"the field {field} of its state is invalid")


# A server at its memory limit.


class FullServer:
    """A server that the test fills and gives room again, and a worker by hand on it."""

    def __init__(self, hand: Hand, generation: Generation) -> None:
        self.hand, self.generation = hand, generation

    async def fill(self) -> None:
        used = (await self.hand.redis.info("memory"))["used_memory"]
        await ask(self.hand.redis, "CONFIG", "SET", "maxmemory", max(used - 100_000, 1))

    async def make_room(self) -> None:
        await ask(self.hand.redis, "CONFIG", "SET", "maxmemory", 0)


@pytest.fixture
async def full(fresh_server: StartServer, world: World) -> AsyncIterator[FullServer]:
    redis = connect_worker(Settings(), fresh_server(maxmemory=100_000_000).url)
    hand = Hand(world, redis, "full")
    yield FullServer(hand, await hand.adopt(world))
    hand.close()
    await redis.aclose()


async def test_a_full_redis_refuses_scripts_that_create(full: FullServer) -> None:
    """Creating, planning, storing, starting and adopting are refused before their first write."""
    hand, world_generation = full.hand, full.generation
    flows = hand.runtime.flows
    split, chunk = await create(hand, "a"), await create(hand, "b")
    await flows.plan(chunk, Plan([0, 20, 40]), lease=None)
    await flows.store_partial(Chunk(chunk, 0, 0), NOTHING, TRACE, PLACE, lease=None)
    fit = await begin_reduce(hand.redis, hand.runtime.keys, world_generation.record)
    await full.fill()
    jobs = set(await hand.queued())
    before = await hand.dump(jobs)
    refused = [
        create(hand, "c"),
        flows.plan(split, Plan([0, 40]), lease=None),
        flows.store_partial(Chunk(chunk, 1, 0), NOTHING, TRACE, PLACE, lease=None),
        hand.runtime.runs.start(world_generation.record, 2, 2),
        hand.runtime.results.generations.adopt(fit.id, fit.round, world_generation.record, lease=None),
    ]
    for work in refused:
        with pytest.raises(exceptions.ResponseError, match=r"OOM|maxmemory"):
            await work
    assert await hand.dump(jobs) == before


async def test_a_full_redis_accepts_scripts_that_end_or_mend(full: FullServer) -> None:
    """Failing, finishing, mending, reworking, retrying and refusing work, and make room."""
    hand = full.hand
    flows, keys = hand.runtime.flows, hand.runtime.keys
    failing, lost, reduce, done = [await create(hand, user, full.generation.id) for user in "abcd"]
    for flow in (reduce, done):
        await flows.plan(flow, Plan([0, 40]), lease=None)
        await flows.store_partial(Chunk(flow, 0, 0), NOTHING, TRACE, PLACE, lease=None)
    await ask(hand.redis, "ZREM", keys.click, Split(lost).job_id)
    await ask(hand.redis, "SET", keys.record("x"), "bad")
    await full.fill()
    assert await flows.fail(await load(hand, failing), "failed by the test", lease=None)
    assert await flows.mend(await load(hand, lost)) == 1
    assert await flows.rework(await load(hand, reduce), [b"0"], [0], lease=None) == "again"
    assert await flows.finish(await load(hand, done), lease=None)
    letters = DeadLetters(hand.redis, flows)
    assert (await letters.retry((await letters.newest(1))[0].id)).is_new
    assert await flows.refusals.string("record", "x", keys.record("x"), b"bad", "why")


async def test_a_run_can_end_on_a_full_redis(full: FullServer, world: World) -> None:
    """A run that has passed moves the pointer. An unreadable one ends as failed, and can be read then."""
    hand, runs = full.hand, full.hand.runtime.runs
    generation, other = await hand.adopt(world, 1), await hand.adopt(world, 2)
    judged, _ = await runs.start(generation.record, 2, 2)
    await hand.deliver_all(but=lambda job: job.startswith("finish:"))
    damaged, _ = await runs.start(other.record, 2, 2)
    await ask(hand.redis, "HSET", hand.runtime.keys.run(damaged), "since", b"\xff", "round", "none")
    with pytest.raises(DamagedRunError) as caught:
        await runs.load(damaged)
    run = await runs.load(judged)
    assert run is not None
    await full.fill()
    assert await runs.flip(run, lease=None) == "flipped"
    await runs.fail_damaged(caught.value, lease=None)
    ended = await runs.load(damaged)
    assert ended is not None
    assert (ended.state, ended.outcome, ended.generation) == ("ended", "failed", other.id)
    assert await hand.runtime.results.generations.current() == generation.id


async def test_a_full_redis_pauses_a_run_which_then_ends_well(full: FullServer, world: World) -> None:
    """Jobs come back to the queue with no try used; with room again everybody is done."""
    hand, sweeper = full.hand, Sweeper(full.hand.runtime)
    generation = await hand.adopt(world, 1)
    run_id, _ = await hand.runtime.runs.start(generation.record, 2, 2)
    await hand.deliver((await hand.queued())[0])
    await full.fill()
    for _ in range(5):
        for job in await hand.queued():
            await hand.deliver(job)
    await full.make_room()
    await settle(hand, sweeper.sweep)
    run = await hand.runtime.runs.load(run_id)
    assert run is not None
    assert (run.state, run.outcome) == ("ended", "passed")
    state = await hand.dump()
    assert all(state[hand.runtime.keys.result(generation.id, user)] == generation.lists[user] for user in USERS)


def test_lua_is_given_no_job_bodies_to_read() -> None:
    """A body is opaque to every script: cmsgpack, which would turn an empty map into an array, is not used."""
    scripts = [s.read_text() for s in (files("reckoner.shared.redis") / "scripts").iterdir() if s.name.endswith(".lua")]
    assert len(scripts) > 10
    assert not any("cmsgpack" in script or "#!lua" in script for script in scripts)


async def test_bodies_of_jobs_expire(hand: Hand) -> None:
    """A queue that is lost leaves nothing behind for ever."""
    flow = await create(hand)
    assert 0 < await ask(hand.redis, "PTTL", job_key(Split(flow).job_id)) <= 7 * 86_400_000


async def test_nothing_is_removed_that_cannot_be_quarantined(hand: Hand) -> None:
    """If the dead letters have another type, the bytes stay until that key is mended."""
    keys, redis = hand.runtime.keys, hand.redis
    await ask(redis, "SET", keys.dead, "no stream", "EX", 100)
    await ask(redis, "SET", keys.record("x"), "bad", "EX", 100)
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        await hand.runtime.flows.refusals.string("record", "x", keys.record("x"), b"bad", "why")
    assert await ask(redis, "GET", keys.record("x")) == b"bad"
    flow = await load(hand, await create(hand))
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        await hand.runtime.flows.fail(flow, "why", lease=None)
    assert (await load(hand, flow.id)).state == "split"
    await ask(redis, "DEL", keys.dead)
