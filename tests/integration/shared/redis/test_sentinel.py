"""A service that Sentinels watch: connections go to its primary, and to the next one when that has another's place."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.errors import RedisUnavailableError, SettingsError
from reckoner.shared.redis.connections import check, connect, unavailable
from reckoner.shared.redis.scripts import ask
from reckoner.workers.process.wiring import connect_waiting
from tests.sentinels import Watched
from tests.system import eventually

UNKNOWN = "a job of nobody's"


@pytest.fixture
async def watched(tmp_path: Path) -> AsyncIterator[Watched]:
    async with Watched(tmp_path) as running:
        yield running


async def test_connections_follow_the_primary(watched: Watched) -> None:
    """Those that were made before find the next one by themselves, also one that blocks and one that listens.

    It makes no difference whether the old primary was killed or goes on as a replica.
    """
    async with connect(watched.url) as redis, connect_waiting(watched.url) as waiting, Reckoner(watched.url) as client:
        await check(redis)
        assert await ask(redis, "SET", "key", "before")
        blocked = asyncio.create_task(ask(waiting, "BLPOP", "list", 0))
        await watched.hand_over()
        # Blocked clients get an error.
        with pytest.raises(RedisError):
            await blocked
        assert await eventually(lambda: written(redis))
        assert await eventually(lambda: written(waiting))
        assert [pair async for pair in client.wait([UNKNOWN])] == [(UNKNOWN, None)]
        await watched.kill_primary()
        assert await eventually(lambda: written(redis))
        assert await eventually(lambda: written(waiting))
        assert [pair async for pair in client.wait([UNKNOWN])] == [(UNKNOWN, None)]


async def written(redis: Redis) -> bool:
    """Whether a change was taken; the first one after a move may not be."""
    try:
        return bool(await ask(redis, "SET", "key", "after"))
    except RedisError:
        return False


async def test_failures_of_sentinels_are_reported(watched: Watched) -> None:
    """An unknown service, no Sentinel at all, and a Redis in place of a Sentinel: one sentence each."""
    where = watched.url.removesuffix("/0").rpartition("/")[0]
    for url in (f"{where}/another", "redis+sentinel://127.0.0.1:1/shop"):
        async with connect(url) as redis:
            with pytest.raises(RedisUnavailableError, match="has no primary: no Sentinel answers"):
                await check(redis)
            with pytest.raises(RedisError) as caught:
                await ask(redis, "GET", "key")
            assert str(unavailable(redis, caught.value)).startswith(f"Redis at {url}/0 has no primary")
    async with connect(f"redis://{where.rpartition(',')[2]}") as sentinel:
        with pytest.raises(SettingsError, match=r"is a Sentinel\. Write redis\+sentinel://"):
            await check(sentinel)
