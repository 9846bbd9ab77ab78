"""The client: the calls of applications and their costs."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from arq import ArqRedis

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.errors import WaitTimeoutError
from reckoner.shared.wire.shapes import RESULT, Options, Record, Result, ScoredItem
from tests.world import make_known

ITEMS = [f"item {i:02d}" for i in range(20)]


@pytest.fixture
async def reckoner(redis_url: str, prefix: str, redis: ArqRedis) -> AsyncIterator[Reckoner]:
    """A client, and a generation `g` in which `Ada` has a list."""
    async with Reckoner(redis_url, prefix=prefix) as client:
        await know(client, redis, "g", list_length=20)
        result = Result(1, "g", [ScoredItem(item, 0.5, "item 19") for item in ITEMS[:12]])
        await client.results.write("g", [("Ada", RESULT.encode(result))], 60)
        yield client


async def know(client: Reckoner, redis: ArqRedis, generation: str, list_length: int) -> None:
    record = Record(1, generation, "model", "snapshot", Options(list_length), 1, 12, popular=ITEMS)
    await make_known(redis, client.keys, record, {item: f"The {item}" for item in ITEMS})


@pytest.mark.parametrize("ask", ["get", "recommend"])
async def test_a_hit_costs_three_round_trips(reckoner: Reckoner, monkeypatch: pytest.MonkeyPatch, ask: str) -> None:
    """Pointer, list and titles; the record is read once."""
    sent: list[str] = []
    execute: Callable[..., Awaitable[object]] = reckoner.redis.execute_command

    async def counted(name: str, *arguments: object, **options: object) -> object:
        sent.append(name)
        return await execute(name, *arguments, **options)

    monkeypatch.setattr(reckoner.redis, "execute_command", counted)
    for commands in (["MGET", "MGET", "MGET", "HMGET"], ["MGET", "MGET", "HMGET"]):
        sent.clear()
        answer = await getattr(reckoner, ask)("Ada", 3)
        assert [entry.title for entry in answer.items] == ["The item 00", "The item 01", "The item 02"]
        assert sent == commands


async def test_another_generation_is_noticed_at_once(reckoner: Reckoner, redis: ArqRedis) -> None:
    """Lists come from the current generation, and have its length."""
    assert (await reckoner.get("Ada")).source == "cache"
    await know(reckoner, redis, "later", list_length=4)
    await redis.set(reckoner.keys.current, "later")
    answer = await reckoner.get("Ada")
    assert (answer.generation, answer.source, len(answer.items)) == ("later", "popular", 4)


async def test_who_has_no_list_is_waited_for(reckoner: Reckoner) -> None:
    """Even beside a user with a list; without workers it times out."""
    with pytest.raises(WaitTimeoutError):
        await reckoner.recommend_many(["Ada", "Grace"], timeout=0.1)
    assert (await reckoner.operator.status()).queued == 1
