"""The queue of stock workers: what waits there comes to the lanes, once and in its place, and what runs there stays."""

from dataclasses import replace

import pytest
from arq import ArqRedis

from shared.errors import StockWorkersError
from shared.flows import Flows
from shared.redis.keys import Keys, in_progress_key
from shared.redis.scripts import ask
from shared.wire import BlockSpec, ClickSpec, FitSpec, UserSpec
from tests.world import Generation, Hand, World, settle
from workers.old_queue import SLICE, drain_old, require_no_stock_workers
from workers.sweeper import Sweeper

# What a stock worker holds a job with.
HOLD = "1"


class Old:
    """What release 0.1.0 does: it knows one queue, and its flows have no lane."""

    def __init__(self, hand: Hand) -> None:
        self.redis, self.keys = hand.redis, replace(hand.runtime.keys, engine=False)
        self._flows = Flows(hand.redis, self.keys, 10.0)

    async def create(self, spec: ClickSpec | FitSpec, join: str) -> str:
        [flow] = await self._flows.create([spec], [join])
        await ask(self.redis, "HDEL", self.keys.flow(flow), "lane")
        return flow

    async def click(self, generation: Generation, user: str = "Ada") -> str:
        return await self.create(UserSpec(user, generation.id), self.keys.join_user(generation.id, user))

    async def put(self, *jobs: str, held: bool = False) -> None:
        """Put jobs that nothing is known of into the queue."""
        for number, job in enumerate(jobs, 1):
            await ask(self.redis, "ZADD", self.keys.stock, number, job)
            if held:
                await ask(self.redis, "SET", in_progress_key(job), HOLD, "EX", 60)

    async def let_go(self, *jobs: str) -> None:
        await ask(self.redis, "DEL", *map(in_progress_key, jobs))

    async def queued(self) -> list[bytes]:
        members: list[bytes] = await ask(self.redis, "ZRANGE", self.keys.stock, 0, -1)
        return members


@pytest.fixture
def old(hand: Hand) -> Old:
    """A client and a worker of that release on the same keys."""
    return Old(hand)


async def places(redis: ArqRedis, queue: str) -> dict[bytes, float]:
    """A queue's jobs and their places."""
    answer = await ask(redis, "ZRANGE", queue, 0, -1, "WITHSCORES")
    return dict(zip(answer[::2], map(float, answer[1::2]), strict=True))


async def drain(hand: Hand) -> int:
    return await drain_old(hand.redis, hand.runtime.keys)


async def test_each_job_comes_to_the_lane_of_its_flow_at_its_place(hand: Hand, world: World, old: Old) -> None:
    """Clicks to the click lane; fits, the finish of a run, the night and what is nobody's to the other."""
    generation, keys = await hand.adopt(world), hand.runtime.keys
    click = await old.click(generation)
    fit = await old.create(generation.fit, keys.join_fit("another"))
    raised = await old.create(generation.fit, keys.join_fit("a third"))
    await ask(hand.redis, "HSET", keys.flow(raised), "lane", "click")
    foreign = ["finish:0123456789abcdef:0", "night", "split:nobody", "chunk", "éé:é", "reduce:a:b:c"]
    await old.put(*foreign)
    before = await places(hand.redis, keys.stock)
    assert await drain(hand) == len(before) == 3 + len(foreign)
    clicks = {f"split:{flow}".encode() for flow in (click, raised)}
    assert await places(hand.redis, keys.click) == {job: before[job] for job in clicks}
    batch = {f"split:{fit}".encode(), *(job.encode() for job in foreign)}
    assert await places(hand.redis, keys.batch) == {job: before[job] for job in batch}
    assert await old.queued() == []
    assert await drain(hand) == 0


async def test_a_block_comes_to_the_batch_lane(hand: Hand, world: World, old: Old) -> None:
    """Of which a flow that was made before there were lanes says no more than its kind."""
    generation, keys = await hand.adopt(world), hand.runtime.keys
    flow = await old.click(generation)
    await ask(hand.redis, "HSET", keys.flow(flow), "kind", str(BlockSpec.__struct_config__.tag))
    await drain(hand)
    assert list(await places(hand.redis, keys.batch)) == [f"split:{flow}".encode()]


async def test_what_a_stock_worker_runs_is_left_to_it(hand: Hand, old: Old) -> None:
    """However much of it there is: it hides nothing that waits behind it, and is moved when the hold has gone."""
    held = [f"held {number}" for number in range(SLICE + 1)]
    await old.put(*held, held=True)
    await ask(hand.redis, "ZADD", old.keys.stock, SLICE * 2, "waits", SLICE * 3, "waits too")
    assert await drain(hand) == 2
    assert set(await old.queued()) == {job.encode() for job in held}
    await old.let_go(*held[1:])
    assert await drain(hand) == SLICE
    assert await old.queued() == [held[0].encode()]


async def test_a_job_that_is_in_a_lane_already_is_not_moved_there_again(hand: Hand, world: World, old: Old) -> None:
    """An old sweeper takes it for lost, since it knows the one queue; here it waits, or is claimed."""
    keys = hand.runtime.keys
    flow = await old.click(await hand.adopt(world))
    job = f"split:{flow}"
    await drain(hand)
    for score in (1.0, 1e14 + 7):
        await ask(hand.redis, "ZADD", keys.click, score, job)
        await ask(hand.redis, "ZADD", f"{keys.click}:leases", 9e12, job)
        await old.put(job, held=True)
        assert await drain(hand) == 1
        assert await places(hand.redis, keys.click) == {job.encode(): score}
        assert await old.queued() == []


@pytest.mark.parametrize(
    ("planted", "place"), [("-inf", float("-inf")), ("-5", -5.0), ("1.5", 1.5), ("9e13", 9e13), ("1e14", None)]
)
async def test_whatever_place_was_planted_the_job_can_be_claimed(
    hand: Hand, old: Old, planted: str, place: float | None
) -> None:
    """A place that would say that it is claimed is now."""
    await ask(hand.redis, "ZADD", old.keys.stock, planted, b"\xff")
    assert await drain(hand) == 1
    [moved] = (await places(hand.redis, hand.runtime.keys.batch)).values()
    assert moved == place or (place is None and abs(moved - await hand.runtime.now_ms()) < 60_000)


async def test_a_job_in_the_old_queue_is_not_lost_and_a_sweep_moves_it(
    hand: Hand, world: World, sweeper: Sweeper, old: Old
) -> None:
    """A sweep would make it anew where it was not seen; then it would be done twice."""
    generation = await hand.adopt(world)
    flow = await old.click(generation)
    await ask(hand.redis, "SET", in_progress_key(f"split:{flow}"), HOLD, "EX", 60)
    await hand.make_due()
    assert await sweeper.sweep() == 0
    assert await hand.queued() == []
    await old.let_go(f"split:{flow}")
    assert await sweeper.sweep() == 0
    assert await hand.queued() == [f"split:{flow}"]
    await settle(hand, sweeper.sweep)
    result = await ask(hand.redis, "GET", hand.runtime.keys.result(generation.id, "Ada"))
    assert result == generation.lists["Ada"]


async def test_what_stands_in_the_place_of_the_old_queue_is_set_aside(hand: Hand, sweeper: Sweeper, old: Old) -> None:
    """It must not stop the sweeps."""
    await ask(hand.redis, "SET", old.keys.stock, "planted")
    assert await sweeper.sweep() == 0
    assert await ask(hand.redis, "EXISTS", old.keys.stock) == 0
    assert await ask(hand.redis, "HGET", hand.runtime.keys.refused, "key") == b"1"


async def test_stock_workers_are_noticed(hand: Hand) -> None:
    """By what arq writes when one starts, whatever it holds."""
    keys = Keys(hand.runtime.keys.prefix)
    await require_no_stock_workers(hand.redis, keys)
    await ask(hand.redis, "SET", keys.stock_health, "", "EX", 60)
    with pytest.raises(StockWorkersError, match="--drain-old"):
        await require_no_stock_workers(hand.redis, keys)
