"""The client: the calls of applications and their costs."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
from redis.asyncio import Redis

from reckoner.producer.client import caching
from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.errors import WaitTimeoutError
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import RESULT, Options, Record, Result, ScoredItem
from tests.patience import PATIENCE_S
from tests.proxies import RoundTrips
from tests.world import make_known

ITEMS = [f"item {i:02d}" for i in range(20)]
USERS = [f"user {i}" for i in range(1200)]
CALLS = {
    *("hidden_for", "impressions", "hide", "list_names", "merge", "named_list", "recent", "record", "record_many"),
    "aclose", "cancel", "catalogue", "enqueue", "enqueue_for", "enqueue_many", "follow", "generation", "get",
    "get_many", "history", "job", "operator", "recommend", "recommend_for", "recommend_many", "similar",
    "unhide", "wait",
}  # fmt: skip
OPERATORS_CALLS = {
    "acknowledge", "alive", "begin_night", "drain", "drained", "drop_failures", "entries", "entry", "failures", "fit",
    "follow_night", "follow_run", "newest", "night", "pause", "promote", "resume", "retry_failures", "rollback", "run",
    "show", "show_item", "start_run", "status", "workers",
}  # fmt: skip


class Clock:
    """The client's clock, which tests move."""

    now = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    moved = Clock()
    monkeypatch.setattr(caching, "monotonic", lambda: moved.now)
    return moved


@pytest.fixture
async def trips(redis_url: str) -> AsyncIterator[RoundTrips]:
    async with RoundTrips(redis_url) as counting:
        yield counting


@pytest.fixture
async def reckoner(trips: RoundTrips, prefix: str, redis: Redis) -> AsyncIterator[OpenReckoner]:
    """A client, and a generation `g` in which `Ada` and many others have lists."""
    async with OpenReckoner(trips.url, prefix=prefix) as client:
        await know(client, redis, "g", list_length=20)
        await write(client, "g", ["Ada", *USERS], ITEMS[:12])
        yield client


async def write(client: OpenReckoner, generation: str, users: Sequence[str], items: Sequence[str]) -> None:
    """Cache the same list for users."""
    result = RESULT.encode(Result(2, [ScoredItem(item, 0.5, items[-1]) for item in items]))
    await client.results.write(generation, [(user, result) for user in users], 60)


async def know(client: OpenReckoner, redis: Redis, generation: str, list_length: int, titled: str = "The") -> None:
    """Make a generation known, whose snapshot has titles of its own."""
    record = Record(2, generation, "model", f"snapshot-{titled}", Options(list_length), 1, 12, popular=ITEMS)
    await make_known(redis, client.keys, record, {item: f"{titled} {item}" for item in ITEMS})


@pytest.fixture
async def connected(reckoner: OpenReckoner, trips: RoundTrips) -> OpenReckoner:
    """The client, which has connected but read no list."""
    await reckoner.results.generations.pointer(reckoner.keys.previous)
    trips.since_last()
    return reckoner


@pytest.mark.parametrize("name", ["get", "recommend"])
async def test_a_hit_costs_one_or_two_round_trips(
    connected: OpenReckoner, trips: RoundTrips, clock: Clock, name: str
) -> None:
    """Three at first. Then one, with the pointer once a second, and a second one for new titles."""
    call = getattr(connected, name)
    for n, count, now in ((3, 3, 1000.0), (3, 1, 1000.9), (3, 1, 1002.0), (12, 2, 1004.0), (12, 1, 1004.5)):
        clock.now = now
        answer = await call("Ada", n)
        assert [entry.title for entry in answer.items] == [f"The {item}" for item in ITEMS[:n]]
        assert trips.since_last() == count, (n, now)


async def test_many_hits_cost_as_many_round_trips_as_one(
    connected: OpenReckoner, trips: RoundTrips, clock: Clock
) -> None:
    """Commands for 500 users each are sent together."""
    assert len(await connected.get_many(USERS[:1], 1)) == 1
    trips.since_last()
    clock.now += 2
    for count in (2, 1):
        answers = await connected.get_many(USERS, 12)
        assert [answer.user for answer in answers] == USERS
        assert all(answer.items == answers[0].items for answer in answers)
        assert trips.since_last() == count


async def test_a_miss_waits_after_five_round_trips(
    connected: OpenReckoner, trips: RoundTrips, clock: Clock, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pointer, record and list after a flip, then the job, the subscription and the first poll."""
    looked, load_many = asyncio.Queue[int](), connected.flows.load_many

    async def noted(flow_ids: Sequence[str]) -> list[Flow | DamagedFlowError | None]:
        flows = await load_many(flow_ids)
        looked.put_nowait(trips.count)
        return flows

    monkeypatch.setattr(connected.flows, "load_many", noted)
    # The connection for notifications connects, and the server gets to know the script.
    with pytest.raises(WaitTimeoutError):
        await connected.recommend("Grace", timeout=0.5)
    await know(connected, redis, "later", list_length=4)
    await redis.set(connected.keys.current, "later")
    for count in (5, 4):
        clock.now += 2 if count == 5 else 0
        trips.since_last()
        while not looked.empty():
            looked.get_nowait()
        calling = asyncio.create_task(connected.recommend(f"user of {count}"))
        async with asyncio.timeout(PATIENCE_S):
            assert await looked.get() <= count
        calling.cancel()
        await asyncio.wait([calling])


async def test_a_flip_and_a_rollback_are_seen_within_a_second(
    connected: OpenReckoner, redis: Redis, clock: Clock
) -> None:
    """By each call, whose list then has the length of its generation."""
    assert (await connected.get("Ada")).source == "cache"
    await know(connected, redis, "later", list_length=4)
    for generation in ("later", "g", "later"):
        await redis.set(connected.keys.current, generation)
        clock.now += caching.KEPT_S - 0.01
        assert (await connected.get("Ada")).generation != generation
        clock.now += 0.02
        answer = await connected.get("Ada")
        length = 10 if generation == "g" else 4
        assert (answer.generation, answer.source == "cache", len(answer.items)) == (
            generation,
            generation == "g",
            length,
        )
    await redis.set(connected.keys.current, "g")
    assert await connected.generation() == "g", "it is asked for, so it is read anew"
    assert (await connected.get("Ada")).generation == "g"


async def test_a_client_that_sees_a_run_end_reads_its_lists(
    connected: OpenReckoner, redis: Redis, clock: Clock
) -> None:
    """Within the second for which it keeps a pointer too."""
    assert (await connected.get("Ada")).generation == "g"
    await know(connected, redis, "later", list_length=4)
    record = await connected.results.generations.record("later")
    assert record is not None
    run_id, _ = await connected.runs.start(record, 1, 1)
    run = await connected.runs.load(run_id)
    assert run is not None
    await redis.set(connected.keys.current, "later")
    assert (await connected.get("Ada")).generation == "g"
    assert await connected.runs.close(run, "passed", Manifest(1, 1, 0, 0, 1.0, 1.0, []), lease=None)
    assert [report.run.state async for report in connected.operator.follow_run(run_id)][-1] == "ended"
    assert (await connected.get("Ada")).generation == "later"


async def test_an_answer_never_mixes_generations(connected: OpenReckoner, redis: Redis, clock: Clock) -> None:
    """While pointers move, list, popular list and titles are of the generation that the answer names."""
    await know(connected, redis, "later", list_length=20, titled="Later")
    await write(connected, "later", ["Ada"], ITEMS[5:15])
    seen = set[str]()

    async def flip() -> None:
        for number in range(150):
            await redis.set(connected.keys.current, ("g", "later")[number % 2])
            clock.now += 0.4

    async def read() -> None:
        while not flipping.done():
            for answer in await connected.get_many(["Ada", "nobody"]):
                first, title = {
                    ("g", "cache"): (0, "The"),
                    ("later", "cache"): (5, "Later"),
                    ("g", "popular"): (0, "The"),
                    ("later", "popular"): (0, "Later"),
                }[answer.generation, answer.source]
                items = ITEMS[first : first + 10]
                assert [(e.item, e.title) for e in answer.items] == [(item, f"{title} {item}") for item in items]
                seen.add(answer.generation)

    flipping = asyncio.create_task(flip())
    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(flipping, *(read() for _ in range(5)))
    assert seen == {"g", "later"}


async def test_a_title_that_was_missing_is_read_again_after_a_second(
    connected: OpenReckoner, redis: Redis, clock: Clock
) -> None:
    """An item without a title costs no round trip meanwhile."""
    titles = connected.keys.titles("snapshot-The")
    await ask(redis, "HDEL", titles, ITEMS[0])
    assert (await connected.get("Ada", 1)).items[0].title is None
    await ask(redis, "HSET", titles, ITEMS[0], "found again")
    for later_s, title in ((0.5, None), (2.0, "found again")):
        clock.now = 1000.0 + later_s
        assert (await connected.get("Ada", 1)).items[0].title == title


async def test_kept_titles_are_bounded(connected: OpenReckoner, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each answer has all its titles all the same."""
    monkeypatch.setattr(caching, "MAX_TITLES", 7)
    await write(connected, "g", ["Grace"], ITEMS[8:])
    for user, first in (("Ada", 0), ("Grace", 8), ("Ada", 0)):
        answer = await connected.get(user, 12)
        assert [entry.title for entry in answer.items] == [f"The {item}" for item in ITEMS[first : first + 12]]
        assert len(connected.results.kept_titles("snapshot-The")) <= 7


async def test_who_has_no_list_is_waited_for(reckoner: OpenReckoner) -> None:
    """Even beside a user with a list; without workers it times out."""
    with pytest.raises(WaitTimeoutError):
        await reckoner.recommend_many(["Ada", "Grace"], timeout=0.1)
    assert (await reckoner.operator.status()).queued == 1


async def test_a_client_shows_the_calls_of_an_application(redis_url: str) -> None:
    """And its operator those of operators: no connection, and nothing that stands on one."""
    async with Reckoner(redis_url) as reckoner:
        await reckoner.operator.alive()
        assert {name for name in dir(reckoner) if not name.startswith("_")} == CALLS
        assert {name for name in dir(reckoner.operator) if not name.startswith("_")} == OPERATORS_CALLS
