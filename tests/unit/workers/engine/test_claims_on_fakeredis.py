"""The engine's scripts are plain Lua: a job passes through all of them on fakeredis."""

import asyncio

import pytest
from redis.asyncio import Redis

from reckoner.shared.redis.scripts import ask, call
from reckoner.workers.engine.claims import Claims, EngineKeys, Settled
from reckoner.workers.engine.lease import Lease

LANES = "q:click", "q:batch"


@pytest.fixture
def claims(redis: Redis) -> Claims:
    return Claims(redis, EngineKeys(LANES, (False, True), "workers", "mail", "refused", "dead"), 0.05)


async def enqueue(redis: Redis, lane: str, *jobs: str) -> list[int]:
    """Whether each job was created."""
    answers: list[int] = await call(
        redis, "enqueue", [lane], [part for job in jobs for part in (job, "body", "", 1000)]
    )
    return answers


async def test_a_job_is_made_claimed_held_and_settled(redis: Redis, claims: Claims) -> None:
    """Clicks first, each id once, and nothing left but one dead letter."""
    assert await enqueue(redis, LANES[1], "b", "b") == [1, 0]
    assert await enqueue(redis, LANES[0], "c") == [1]
    claim = await claims.claim("token", 5, [5, 5], alone=True)
    assert [(job.lane, job.job_id, job.deaths, job.body) for job in claim.jobs] == [
        (0, b"c", 0, b"body"),
        (1, b"b", 0, b"body"),
    ]
    assert await enqueue(redis, LANES[0], "c") == [0]
    leases = [Lease("c", LANES[0], name, 0, lambda: False) for name in ("another's", "token")]
    assert await claims.renew(LANES[0], leases) == [0]
    assert await claims.settle(LANES[0], [Settled("c", "another's", "done"), Settled("c", "token", "done")]) == 1
    assert await claims.settle(LANES[1], [Settled("b", "token", "done", reason="why")]) == 1
    assert sorted(await ask(redis, "KEYS", "*")) == [b"dead", b"refused"]


async def test_a_job_returns_in_each_way(redis: Redis, claims: Claims) -> None:
    """A lapsed lease, an unknown claim, a handed back job, and a job without a lease."""
    await enqueue(redis, LANES[1], "b")
    place = await ask(redis, "ZSCORE", LANES[1], "b")
    await claims.claim("first", 5, [5, 5], alone=True)
    await asyncio.sleep(0.06)
    [job] = (await claims.claim("second", 5, [5, 5], alone=True)).jobs
    assert job.deaths == 1
    assert await claims.release(["second"]) == 1
    [job] = (await claims.claim("third", 5, [5, 5], alone=True)).jobs
    assert await claims.settle(LANES[1], [Settled("b", "third", "back")]) == 1
    await claims.claim("fourth", 5, [5, 5], alone=True)
    await ask(redis, "DEL", f"{LANES[1]}:leases")
    assert await claims.release_unheld() == 1
    await asyncio.sleep(0.002)
    [job] = (await claims.claim("fifth", 5, [5, 5], alone=True)).jobs
    assert (job.deaths, job.score) == (2, int(place))
