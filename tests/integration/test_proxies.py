"""The proxy forwards unchanged by default, and injects a network's faults on demand."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator

import pytest
import trustme
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.scripts import ask
from tests.proxies import Proxy
from tests.system import eventually

Through = tuple[Proxy, Redis]


@pytest.fixture(params=["plain", "tls"])
async def through(request: pytest.FixtureRequest, redis_url: str) -> AsyncIterator[Through]:
    """A proxy to the shared server, and a client behind it."""
    tls = None
    if request.param == "tls":
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        trustme.CA().issue_cert("localhost").configure_cert(tls)
    async with Proxy(redis_url, tls) as proxy:
        url = f"{proxy.url}?ssl_cert_reqs=none" if tls else proxy.url
        async with connect(url, connect_timeout_s=5.0) as redis:
            yield proxy, redis


async def test_bytes_of_any_number_pass_as_they_are(through: Through) -> None:
    """Over many connections at once, and larger than a buffer."""
    _, redis = through
    texts = [bytes([number]) * 1_000_000 for number in range(5)]
    assert await asyncio.gather(*(ask(redis, "ECHO", text) for text in texts)) == texts


async def test_a_cut_ends_running_commands_and_the_next_one_reconnects(through: Through, prefix: str) -> None:
    """A waiting command sees its connection end."""
    proxy, redis = through
    waiting = asyncio.create_task(ask(redis, "BLPOP", prefix, 4))

    async def under_way() -> bool:
        return proxy.connections == 1

    await eventually(under_way)
    await asyncio.sleep(0.1)
    proxy.cut()
    with pytest.raises(RedisConnectionError):
        await waiting
    assert await redis.ping()
    assert proxy.taken == 2


async def test_a_delay_delays_all_data(through: Through) -> None:
    """In both directions, until healed."""
    proxy, redis = through
    await redis.ping()
    proxy.delay(0.05)
    began = time.monotonic()
    await redis.ping()
    assert time.monotonic() - began >= 0.1
    proxy.heal()
    assert await redis.ping()


async def test_an_outage_holds_all_data_until_its_end(through: Through, redis: Redis, prefix: str) -> None:
    """An abandoned command still runs, late. New connections are accepted and not answered."""
    proxy, held = through
    await held.ping()
    proxy.hole()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await ask(held, "INCR", prefix)
    assert proxy.taken == 2
    assert await ask(redis, "GET", prefix) is None
    proxy.heal()

    async def arrived() -> bool:
        return bool(await ask(redis, "GET", prefix) == b"1")

    await eventually(arrived)
    assert await held.ping()


async def test_a_target_that_is_away_ends_connections_and_may_come_back_elsewhere(
    through: Through, redis_url: str
) -> None:
    """Each connection uses the current target."""
    proxy, redis = through
    proxy.target = "unix:///nowhere"
    with pytest.raises(RedisConnectionError):
        await redis.ping()
    proxy.target = redis_url
    assert await redis.ping()
