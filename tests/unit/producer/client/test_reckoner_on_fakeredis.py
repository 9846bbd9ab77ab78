"""The client on fakeredis: requests, joins and reads."""

from collections.abc import Sequence
from functools import partial

import fakeredis
import pytest
from redis.asyncio import Redis

from reckoner.producer.client import connection
from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import NothingFittedError, UsageError
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.results import Results
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import (
    BASKET,
    RESULT,
    BasketResult,
    Options,
    Plan,
    Record,
    Result,
    ScoredItem,
    UserSpec,
)
from tests.world import make_known

RECORD = Record(2, "g", "m", "s", Options(3), 7, 4, ["hit", "old", "new", "odd"])
TITLES = {"hit": "The Hit", "old": "The Old"}
PLACES = [ScoredItem("old", 0.5, "hit"), ScoredItem("new", 0.25, "odd"), ScoredItem("odd", 0.125, "new")]


class Reading:
    """Reads from fakeredis, which has no sockets to share."""

    def __init__(self, redis: Redis) -> None:
        self.read = self.execute_command = partial(ask, redis)
        self.once = self


@pytest.fixture
def reckoner(fake_server: fakeredis.FakeServer, monkeypatch: pytest.MonkeyPatch) -> OpenReckoner:
    """A client that is not entered, since fakeredis does not tell its version."""
    monkeypatch.setattr(connection, "connect", lambda *_, **__: fakeredis.FakeAsyncRedis(server=fake_server))
    monkeypatch.setattr(connection, "MultiplexedConnection", Reading)
    return OpenReckoner("redis://nobody", prefix="p")


async def cache(reckoner: OpenReckoner, user: str, places: Sequence[ScoredItem]) -> None:
    """Cache a list as a reduce does."""
    result = RESULT.encode(Result(2, list(places)))
    await reckoner.results.write("g", [(user, result)], 60)


async def test_it_enqueues_one_job_for_each_missing_list(redis: Redis, reckoner: OpenReckoner) -> None:
    """One job for each user without a list, joined by the next call; none for a cached list, unless fresh."""
    await make_known(redis, reckoner.keys, RECORD, TITLES)
    await cache(reckoner, "has one", PLACES)
    first = await reckoner.enqueue_many(["has none", "has one", "a:b\n"])
    again = await reckoner.enqueue_many(["a:b\n", "has none"])
    fresh = await reckoner.enqueue("has one", fresh=True)
    assert [entry.user for entry in first] == ["has none", "has one", "a:b\n"]
    assert first[1].job is None
    assert [entry.job for entry in again] == [first[2].job, first[0].job]
    jobs = [first[0].job, first[2].job, fresh.job]
    assert len({*jobs}) == 3
    for job, user in zip(jobs, ["has none", "a:b\n", "has one"], strict=True):
        assert job is not None
        flow = await reckoner.flows.load(job)
        assert flow is not None
        assert (flow.state, flow.spec) == ("split", UserSpec(user, "g"))
        assert await ask(redis, "EXISTS", job_key(Split(job).job_id)) == 1
    queued = await ask(redis, "ZRANGE", reckoner.keys.batch, 0, -1)
    # Those of one millisecond are in the order of their ids.
    assert sorted(queued) == sorted(Split(job).job_id.encode() for job in jobs if job)


async def test_a_job_that_has_ended_is_not_joined(redis: Redis, reckoner: OpenReckoner) -> None:
    """A later request gets a new job; `job` shows the end of the first."""
    await make_known(redis, reckoner.keys, RECORD, TITLES)
    first = (await reckoner.enqueue("u")).job
    assert first is not None
    await reckoner.flows.plan(first, Plan([0]), lease=None)
    flow = await reckoner.flows.load(first)
    assert flow is not None
    await reckoner.flows.fail(flow, "told to", lease=None)
    report = await reckoner.job(first)
    assert (report.flow.state, report.flow.reason) == ("failed", "told to")
    assert (await reckoner.enqueue("u")).job not in (first, None)


async def test_it_reads_cached_lists_or_else_the_popular_list(redis: Redis, reckoner: OpenReckoner) -> None:
    """In the given order, cut to n, with titles; an empty list counts as missing."""
    await make_known(redis, reckoner.keys, RECORD, TITLES)
    await cache(reckoner, "ユーザー", PLACES)
    await cache(reckoner, "empty", [])
    answers = await reckoner.get_many(["nobody", "ユーザー", "empty", "ユーザー"], 2)
    assert [(answer.user, answer.source) for answer in answers] == [
        ("nobody", "popular"),
        ("ユーザー", "cache"),
        ("empty", "popular"),
        ("ユーザー", "cache"),
    ]
    assert [(e.item, e.score, e.because, e.title, e.because_title) for e in answers[1].items] == [
        ("old", 0.5, "hit", "The Old", "The Hit"),
        ("new", 0.25, "odd", None, None),
    ]
    popular = [(e.item, e.score, e.because, e.title) for e in answers[0].items]
    assert popular == [("hit", None, None, "The Hit"), ("old", None, None, "The Old")]
    assert answers[2].items == answers[0].items
    assert await reckoner.get("ユーザー", 2) == answers[1]
    assert not await ask(redis, "EXISTS", reckoner.keys.click, *reckoner.keys.all_live)


async def test_a_cached_basket_is_read_in_any_order(redis: Redis, reckoner: OpenReckoner) -> None:
    """By the hash of its distinct items, without a job; unknown items are named."""
    await make_known(redis, reckoner.keys, RECORD, TITLES)
    cached = BASKET.encode(BasketResult(2, PLACES, ["ン"]))
    await ask(redis, "SET", reckoner.keys.basket("g", ["odd", "ン"]), cached)
    answer = await reckoner.recommend_for(["ン", "odd", "ン"], 1)
    assert (answer.basket, answer.source, answer.unknown) == (["odd", "ン"], "cache", ["ン"])
    assert [(entry.item, entry.title, entry.because_title) for entry in answer.items] == [("old", "The Old", "The Hit")]
    assert not await ask(redis, "EXISTS", reckoner.keys.click, *reckoner.keys.all_live)


async def test_a_damaged_list_is_quarantined_and_enqueued(redis: Redis, reckoner: OpenReckoner) -> None:
    """It counts as missing, and becomes a dead letter."""
    await make_known(redis, reckoner.keys, RECORD, {})
    await ask(redis, "SET", reckoner.keys.result("g", "u"), b'{"format":3,"items":[]}')
    assert (await reckoner.get("u")).source == "popular"
    assert (await reckoner.enqueue("u")).job is not None
    assert await ask(redis, "HGETALL", reckoner.keys.refused) == {b"result": b"1"}
    [(_, letter)] = await ask(redis, "XRANGE", reckoner.keys.dead, "-", "+")
    assert letter[b"data"] == b'{"format":3,"items":[]}'


async def test_a_request_that_cannot_be_answered_is_reported(redis: Redis, reckoner: OpenReckoner) -> None:
    """Before a fit, and for more places than the lists have."""
    with pytest.raises(NothingFittedError):
        await reckoner.get("u")
    with pytest.raises(NothingFittedError):
        await reckoner.enqueue("u")
    await make_known(redis, reckoner.keys, RECORD, TITLES)
    for n in (0, 4):
        with pytest.raises(UsageError, match="from 1 to 3"):
            await reckoner.get("u", n)
    assert await Results(redis, reckoner.keys).generations.current() == "g"


async def test_numbers_that_no_spec_may_hold_are_refused(redis: Redis, reckoner: OpenReckoner) -> None:
    """Workers would refuse such a job, so it is not created."""
    await make_known(redis, reckoner.keys, RECORD, TITLES)
    for length in (0, 1001):
        with pytest.raises(UsageError, match=r"The list length is .* but must be from 1 to 1,000"):
            await reckoner.operator.fit("s", ModelConfig(), length)
    for recency in (-0.1, 10.1, float("nan")):
        with pytest.raises(UsageError, match=r"The recency is .* but must be from 0 to 10"):
            await reckoner.operator.fit("s", ModelConfig(), 20, recency=recency)
    with pytest.raises(UsageError, match="The snapshot '' is empty"):
        await reckoner.operator.fit("", ModelConfig(), 20)
    for block_size, window in ((0, 1), (100_001, 1), (1, 0), (1, 151)):
        with pytest.raises(UsageError, match="must be from 1 to 1"):
            await reckoner.operator.start_run(block_size, window)
    assert not await ask(redis, "EXISTS", *reckoner.keys.lanes, *reckoner.keys.all_live)
