"""Waiting: many calls on one client, with cancellations, lost connections and lost flows."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import ClientClosedError, FlowFailedError, RedisUnavailableError, UsageError
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.results import Answer
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.wire.shapes import RESULT, UNKNOWN_USER, Options, Record, Result, ScoredItem
from tests.conftest import StartServer
from tests.patience import PATIENCE_S
from tests.world import make_known

ITEMS = [f"item {i:02d}" for i in range(5)]
T = TypeVar("T")


@pytest.fixture
async def reckoner(redis_url: str, prefix: str, redis: Redis) -> AsyncIterator[OpenReckoner]:
    """A client, and a generation `g` in which nobody has a list."""
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        await know(client, redis)
        yield client


async def know(client: OpenReckoner, redis: Redis) -> None:
    await make_known(redis, client.keys, Record(2, "g", "model", "snapshot", Options(5), 1, 9, popular=ITEMS), {})


@pytest.fixture
def worker(redis: Redis, prefix: str, reckoner: OpenReckoner) -> "Worker":
    return Worker(reckoner, redis)


class Worker:
    """Ends flows by hand, over a connection of its own."""

    def __init__(self, reckoner: OpenReckoner, redis: Redis) -> None:
        self.keys, self.redis = reckoner.keys, redis
        self.flows = Flows(redis, reckoner.keys, 10.0)
        self.results = reckoner.results

    async def asked(self, count: int) -> list[Flow]:
        """The unfinished flows, once there are `count`."""

        async def look() -> list[str]:
            members: list[bytes] = await ask(self.redis, "ZUNION", 2, *self.keys.all_live)
            return [member.decode().removeprefix("flow:") for member in members]

        flows = await self.flows.load_many(await eventually(look, lambda members: len(members) == count))
        return [flow for flow in flows if isinstance(flow, Flow)]

    async def do(self, flow: Flow) -> None:
        """End a flow as done."""
        user = flow.spec.user  # type: ignore[union-attr]
        result = Result(2, [ScoredItem(f"for {user}", 0.5, ITEMS[0])])
        await ask(self.redis, "SET", self.keys.result("g", user), RESULT.encode(result))
        assert await self.flows.finish(flow, lease=None)

    async def lose(self, flow: Flow) -> None:
        """Delete a flow, as if the server had restarted without it."""
        split = f"split:{flow.id}"
        await ask(self.redis, "DEL", self.keys.flow(flow.id), flow.join, job_key(split))
        await ask(self.redis, "ZREM", self.keys.live_of("click"), f"flow:{flow.id}")
        await ask(self.redis, "ZREM", self.keys.click, split)


async def eventually(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    async with asyncio.timeout(PATIENCE_S):
        while not enough(seen := await look()):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    return seen


async def follow(reckoner: OpenReckoner, run_id: str) -> None:
    async for _ in reckoner.operator.follow_run(run_id):
        pass


def for_whom(answer: Answer) -> str:
    return answer.items[0].item


@pytest.fixture
def looks(reckoner: OpenReckoner, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of flows in each poll."""
    counts: list[int] = []
    load_many = reckoner.flows.load_many

    async def counted(flow_ids: Sequence[str]) -> list[Flow | DamagedFlowError | None]:
        counts.append(len(flow_ids))
        return await load_many(flow_ids)

    monkeypatch.setattr(reckoner.flows, "load_many", counted)
    return counts


async def test_an_end_is_published_and_polled_once_a_second(
    reckoner: OpenReckoner, worker: Worker, looks: list[int]
) -> None:
    """All waits are polled in one round trip: at first, and once a second."""
    calls = [asyncio.create_task(reckoner.recommend(f"user {i}")) for i in range(50)]
    flows = await worker.asked(50)
    await eventually(lambda: asyncio.sleep(0, sum(looks)), lambda looked: looked >= 50)
    first = len(looks)
    began = asyncio.get_running_loop().time()
    await asyncio.sleep(2.5)
    assert all(count == 50 for count in looks[first:])
    assert len(looks) - first <= asyncio.get_running_loop().time() - began + 1
    for flow in flows:
        await worker.do(flow)
    assert [for_whom(answer) for answer in await asyncio.gather(*calls)] == [f"for user {i}" for i in range(50)]


async def test_the_flow_of_a_job_whose_end_is_published_is_not_read(
    reckoner: OpenReckoner, worker: Worker, looks: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The message has its state, and the list is there: one round trip less."""
    monkeypatch.setattr("reckoner.producer.client.waiting.POLL_S", PATIENCE_S)
    asked = asyncio.create_task(reckoner.recommend("Ada"))
    [flow] = await worker.asked(1)
    await eventually(lambda: asyncio.sleep(0, len(looks)), lambda looked: looked > 0)
    await worker.do(flow)
    assert for_whom(await asked) == "for Ada"
    assert looks == [1]


@pytest.mark.parametrize("message", ["done", "failed", "cancelled", "", "an end"])
async def test_a_planted_message_ends_no_job(
    reckoner: OpenReckoner, worker: Worker, redis: Redis, looks: list[int], message: str
) -> None:
    """The call finds its job unfinished and waits on."""
    asked = asyncio.create_task(reckoner.recommend("Ada"))
    [flow] = await worker.asked(1)
    await eventually(lambda: asyncio.sleep(0, len(looks)), lambda looked: looked > 0)
    assert await ask(redis, "PUBLISH", reckoner.keys.events(flow.id), message) == 1
    await eventually(lambda: asyncio.sleep(0, len(looks)), lambda looked: looked > 1)
    await worker.do(flow)
    assert for_whom(await asked) == "for Ada"


async def test_one_that_is_cancelled_disturbs_no_other(reckoner: OpenReckoner, worker: Worker) -> None:
    """With its own job or a joined one."""
    same = [asyncio.create_task(reckoner.recommend("Ada")) for _ in range(3)]
    own = asyncio.create_task(reckoner.recommend("Grace"))
    flows = {flow.spec.user: flow for flow in await worker.asked(2)}  # type: ignore[union-attr]
    same[0].cancel()
    own.cancel()
    await asyncio.wait([same[0], own])
    await worker.do(flows["Ada"])
    async with asyncio.timeout(PATIENCE_S):
        assert [for_whom(answer) for answer in await asyncio.gather(*same[1:])] == ["for Ada"] * 2
    await worker.do(flows["Grace"])


async def test_who_leaves_ends_the_waits(redis_url: str, prefix: str, redis: Redis) -> None:
    """Waiting and queued calls get a clear error, and no connection stays open."""
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        await know(reckoner, redis)
        worker = Worker(reckoner, redis)
        waiting = asyncio.create_task(reckoner.recommend("Ada"))
        run_id, _ = await reckoner.operator.start_run(9, 1)
        following = asyncio.create_task(follow(reckoner, run_id))
        await worker.asked(3)
        await asyncio.sleep(0.1)
        in_line = [asyncio.create_task(reckoner.recommend(f"user {i}")) for i in range(20)]
        await asyncio.sleep(0)
    for call in (waiting, following, *in_line):
        with pytest.raises(ClientClosedError):
            await call
    with pytest.raises(ClientClosedError):
        await reckoner.recommend("Ada")


async def test_a_lost_connection_makes_nobody_ask_twice(reckoner: OpenReckoner, worker: Worker, redis: Redis) -> None:
    """The client subscribes again and sees an end that it missed."""
    calls = [asyncio.create_task(reckoner.recommend(f"user {i}")) for i in range(3)]
    flows = await worker.asked(3)
    for flow in flows:
        for client in await redis.client_list():
            if client["name"].startswith("reckoner"):
                await redis.client_kill_filter(_id=client["id"])
        await worker.do(flow)
        await asyncio.sleep(0.3)
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*calls)
    assert [key async for key in redis.scan_iter(f"{worker.keys.flow('')}*")] != []
    assert len([key async for key in redis.scan_iter(f"{worker.keys.flow('')}*")]) == 3


async def test_what_redis_has_lost_is_asked_for_again(reckoner: OpenReckoner, worker: Worker) -> None:
    """By waiting calls, a limited number of times."""
    call = asyncio.create_task(reckoner.recommend("Ada"))
    [first] = await worker.asked(1)
    await worker.lose(first)
    [second] = await worker.asked(1)
    assert second.id != first.id
    await worker.do(second)
    assert for_whom(await call) == "for Ada"
    call = asyncio.create_task(reckoner.recommend("Grace"))
    for _ in range(3):
        [flow] = await worker.asked(1)
        await worker.lose(flow)
    with pytest.raises(FlowFailedError, match=r"^The job for user Grace failed: Redis lost the job repeatedly"):
        await call


@pytest.mark.parametrize("fresh", [False, True])
async def test_a_list_that_redis_lost_when_its_job_was_done_is_asked_for_again(
    reckoner: OpenReckoner, worker: Worker, fresh: bool
) -> None:
    """A lost list is requested again; an unknown user is requested once."""
    call = asyncio.create_task(reckoner.recommend("Ada", fresh=fresh))
    [first] = await worker.asked(1)
    assert await worker.flows.finish(first, lease=None)
    [second] = await worker.asked(1)
    assert second.id != first.id
    await worker.do(second)
    assert for_whom(await call) == "for Ada"
    call = asyncio.create_task(reckoner.recommend("nobody", fresh=fresh))
    [flow] = await worker.asked(1)
    assert await worker.flows.finish(flow, UNKNOWN_USER, lease=None)
    assert (await call).source == "popular"


async def test_a_job_is_followed_without_polling(reckoner: OpenReckoner, worker: Worker, looks: list[int]) -> None:
    """It is polled once a second, and at once after a notification."""
    asked = await reckoner.enqueue("Ada")
    assert asked.job is not None
    states = []
    clock = asyncio.get_running_loop().time
    began = clock()
    async for report in reckoner.follow(asked.job):
        states.append(report.flow.state)
        if len(states) == 3:
            [flow] = await worker.asked(1)
            await worker.do(flow)
            told = clock()
    assert states == ["split"] * 3 + ["done"]
    assert told - began >= 1.9
    # The end came at once, or a busy machine took its time.
    assert len(looks) <= 3 + (clock() - began)


async def test_a_second_follower_is_notified_at_once(reckoner: OpenReckoner, monkeypatch: pytest.MonkeyPatch) -> None:
    """A second listener gets no confirmation of the subscription, so it must poll at once."""
    monkeypatch.setattr("reckoner.producer.client.waiting.POLL_S", 2 * PATIENCE_S)
    job = (await reckoner.enqueue("user")).job
    assert job is not None
    async for first in reckoner.follow(job, timeout=PATIENCE_S):
        async for second in reckoner.follow(job, timeout=PATIENCE_S):
            assert second == first
            return


async def test_a_run_is_followed_to_its_end(reckoner: OpenReckoner) -> None:
    """Its end is notified too."""
    run_id, _ = await reckoner.operator.start_run(5, 1)
    states = []
    async for report in reckoner.operator.follow_run(run_id):
        states.append(report.run.state)
        if len(states) == 1:
            assert await reckoner.runs.close(report.run, "failed", Manifest(0, 0, 0, 0, 0.0, 0.0, []), lease=None)
    assert states == ["run", "ended"]


@pytest.mark.parametrize("call", ["get_many", "recommend_many", "enqueue_many"])
async def test_one_text_is_not_several(reckoner: OpenReckoner, call: str) -> None:
    """A string would be taken letter by letter."""
    with pytest.raises(UsageError, match=r"^Expected a list of users, but got the string 'Ada'"):
        await getattr(reckoner, call)("Ada")


async def test_a_number_is_no_id(reckoner: OpenReckoner) -> None:
    """A number as an id is refused with a clear error."""
    number: Any = 5
    calls: list[Awaitable[object]] = [
        reckoner.get(number), reckoner.recommend(number), reckoner.enqueue(number), reckoner.recommend_for([number]),
        reckoner.similar(number), reckoner.history(number),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(UsageError, match=r"^The (user|item) 5 is not a str: ids are strings\.$"):
            await call


async def test_one_job_is_not_several(reckoner: OpenReckoner) -> None:
    """A single job id is refused, too."""
    with pytest.raises(UsageError, match=r"^Expected a list of jobs"):
        await anext(reckoner.wait("abc"))


async def test_a_user_who_may_not_listen_is_one_sentence(fresh_server: StartServer, prefix: str) -> None:
    """All waiting calls get the same error."""
    server = fresh_server()
    async with OpenReckoner(server.url, prefix=prefix) as reckoner:
        await know(reckoner, reckoner.redis)
        await ask(reckoner.redis, "ACL SETUSER", "default", "-subscribe")
        asked = await reckoner.enqueue("Ada")
        assert asked.job is not None
        calls: list[Awaitable[object]] = [reckoner.recommend("Bob"), anext(reckoner.wait([asked.job]))]
        for error in await asyncio.gather(*calls, return_exceptions=True):
            assert isinstance(error, RedisUnavailableError)
            assert str(error).startswith("Redis at unix://")


async def test_a_redis_that_has_gone_is_one_sentence(fresh_server: StartServer, prefix: str) -> None:
    """Every call, at once."""
    server = fresh_server()
    async with OpenReckoner(server.url, prefix=prefix) as reckoner:
        server.kill()
        calls: list[Awaitable[object]] = [
            reckoner.get("Ada"),
            reckoner.recommend("Ada"),
            reckoner.recommend_for(ITEMS[:1]),
            reckoner.similar(ITEMS[0]),
            reckoner.history("Ada"),
            reckoner.enqueue("Ada"),
            reckoner.job("none"),
            reckoner.generation(),
            reckoner.operator.newest(),
            reckoner.operator.fit("snapshot", ModelConfig(), 5),
            reckoner.operator.start_run(5, 2),
            reckoner.operator.run("none"),
            reckoner.operator.status(),
            reckoner.operator.workers(),
        ]
        for call in calls:
            with pytest.raises(RedisUnavailableError, match=r"^Redis at unix://.* cannot be reached"):
                await call


async def test_waiting_ends_after_a_minute(fresh_server: StartServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a minute (shortened here), with a sentence about the job."""
    server = fresh_server()
    monkeypatch.setattr("reckoner.producer.client.waiting.LONGEST_OUTAGE_S", 0.2)
    async with OpenReckoner(server.url, prefix="gone") as reckoner, OpenReckoner(server.url, prefix="gone") as other:
        await know(reckoner, reckoner.redis)
        run_id, _ = await reckoner.operator.start_run(5, 1)
        calls: list[Awaitable[object]] = [
            reckoner.recommend("Ada"),
            reckoner.similar(ITEMS[0]),
            follow(reckoner, run_id),
        ]
        waiting = asyncio.gather(*calls, return_exceptions=True)
        # Two jobs, and the run with its block.
        await eventually(lambda: other.redis.zunion(other.keys.all_live), lambda live: len(live) == 4)
        server.kill()
        for error in await waiting:
            assert isinstance(error, RedisUnavailableError)
            assert str(error) == "Redis is unavailable. Jobs continue when it is back."
