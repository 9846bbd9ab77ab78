"""After a server's downtime no worker counts as dead."""

import asyncio
from typing import Any

from redis.asyncio import Redis

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.scripts import ask, call
from tests.conftest import StartServer

CLAIMED = 10**14


async def claim(redis: Redis, lease_ms: int) -> Any:
    """What one worker claims of a lane `q`."""
    return await call(redis, "claim", ["workers", "q"], ["token", lease_ms, 10, 1, "", 10, 0])


async def test_leases_that_lapsed_while_the_server_was_away_are_held_for_one_more(fresh_server: StartServer) -> None:
    """Then they lapse: the job returns at its score and counts a try."""
    redis = connect(fresh_server().url)
    await ask(redis, "ZADD", "q", CLAIMED + 5, "job")
    await ask(redis, "ZADD", "q:leases", 5, "job")
    await ask(redis, "SET", "arq:job:job", "body")
    _, lapsed, _, *jobs = await claim(redis, 600_000)
    assert (lapsed, jobs) == (0, [])
    assert float(await ask(redis, "ZSCORE", "q:leases", "job")) > 5
    await ask(redis, "ZADD", "q:leases", 5, "job")
    await asyncio.sleep(1.1)
    _, lapsed, _, *jobs = await claim(redis, 1)
    assert (lapsed, jobs) == (1, [1, b"job", b"5", 1, b"body", None])
    await redis.aclose()
