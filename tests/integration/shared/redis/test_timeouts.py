"""A network in which nothing arrives: what is sent or waited for is given up in time, and goes on when it is healed."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.errors import RedisUnavailableError
from reckoner.shared.redis import pools
from reckoner.shared.redis.connections import connect, is_transient_redis_error, unavailable
from reckoner.shared.redis.scripts import ask
from tests.certificates import Authority
from tests.patience import slowness
from tests.proxies import Proxy
from tests.servers import packed

# So soon a command is given up here, and that late it was not given up in time, busy as a machine may be.
TIMEOUT_S = 0.4
LATE_S = 10.0
UNKNOWN = "a job of nobody's"


@pytest.fixture
async def proxy(redis_url: str) -> AsyncIterator[Proxy]:
    """A proxy in front of the shared server."""
    async with Proxy(redis_url) as running:
        yield running


async def given_up(redis: Any, work: Any) -> str:
    """What is said of a command that was given up in time, behind where the server is."""
    began = time.monotonic()
    with pytest.raises(exceptions.RedisError) as caught:
        await work
    assert TIMEOUT_S / 2 < time.monotonic() - began < LATE_S * slowness()
    assert is_transient_redis_error(caught.value)
    return str(unavailable(redis, caught.value)).partition("/0 ")[2]


async def test_a_command_times_out_and_the_pool_recovers(proxy: Proxy) -> None:
    """Also while a connection is made; a late answer is taken for no other command's."""
    async with connect(proxy.url, socket_timeout_s=TIMEOUT_S) as redis:
        assert await redis.echo("before") == b"before"
        proxy.hole()
        for _ in range(2):
            assert await given_up(redis, redis.echo("within")) == "does not answer in time."
        proxy.heal()
        assert await redis.echo("after") == b"after"


async def test_a_pipeline_into_a_hole_is_given_up(proxy: Proxy) -> None:
    """With and without a transaction."""
    async with connect(proxy.url, socket_timeout_s=TIMEOUT_S) as redis:
        await redis.ping()
        proxy.hole()
        for transaction in (False, True):
            pipe: Any = redis.pipeline(transaction=transaction)
            assert await given_up(redis, pipe.echo("1").echo("2").execute()) == "does not answer in time."


async def test_a_half_answered_exchange_times_out_and_the_pool_recovers(proxy: Proxy) -> None:
    """One timeout covers all of it, and the late answers are dropped."""
    async with connect(proxy.url, socket_timeout_s=TIMEOUT_S, max_connections=1) as redis:
        pool: Any = redis.connection_pool
        assert await pool.exchange(*packed([("ECHO", "before")])) == [b"before"]
        half = pool.exchange(*packed([("ECHO", "first"), ("BLPOP", "never", 2 * TIMEOUT_S), ("ECHO", "last")]))
        assert await given_up(redis, half) == "does not answer in time."
        assert await pool.exchange(*packed([("ECHO", "next")])) == [b"next"]
        proxy.hole()
        for _ in range(2):
            assert await given_up(redis, pool.exchange(*packed([("ECHO", "within")]))) == "does not answer in time."
        proxy.heal()
        assert await pool.exchange(*packed([("ECHO", "after")])) == [b"after"]


async def test_a_connection_that_blocks_on_purpose_is_not_made_for_ever(
    proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no time-out once it is there, and one until then."""
    monkeypatch.setattr(pools, "HANDSHAKE_TIMEOUT_S", TIMEOUT_S)
    async with connect(proxy.url, socket_timeout_s=None) as redis:
        proxy.hole()
        assert await given_up(redis, ask(redis, "BLPOP", "never", 0)) == "does not answer in time."
        proxy.heal()
        waiting = asyncio.ensure_future(ask(redis, "BLPOP", "never", 0))
        await asyncio.wait([waiting], timeout=2 * TIMEOUT_S)
        assert not waiting.done()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)


async def test_a_handshake_into_a_hole_is_given_up(redis_url: str, tmp_path: Path) -> None:
    """The connect time-out is that of TLS too."""
    authority = Authority(tmp_path / "an authority")
    async with Proxy(redis_url, authority.server()) as proxy:
        url = f"{proxy.url}?{authority.options()}"
        proxy.hole()
        async with connect(url, connect_timeout_s=TIMEOUT_S) as redis:
            assert (await given_up(redis, redis.ping())).startswith(
                "does not answer in time: if it does not speak TLS,"
            )


async def test_the_urls_time_out_goes_before_ours(proxy: Proxy) -> None:
    """Both of them, for networks that are slower than ours."""
    async with connect(f"{proxy.url}?socket_timeout={TIMEOUT_S}&socket_connect_timeout=3.5") as redis:
        await redis.ping()
        assert redis.connection_pool.connection_kwargs["socket_connect_timeout"] == 3.5
        proxy.hole()
        assert await given_up(redis, redis.ping()) == "does not answer in time."


async def test_a_slow_network_is_no_trouble(proxy: Proxy) -> None:
    """What takes its time and arrives is an answer."""
    async with connect(proxy.url) as redis:
        proxy.delay(0.05)
        assert await redis.echo("late") == b"late"


async def test_calls_fail_during_an_outage_and_waits_survive_it(proxy: Proxy) -> None:
    """A call that needs an answer now fails; a wait continues after the outage, or after the connections were cut."""
    async with Reckoner(f"{proxy.url}?socket_timeout={TIMEOUT_S}") as reckoner:
        proxy.hole()
        waiting = asyncio.ensure_future(anext(aiter(reckoner.wait([UNKNOWN]))))
        with pytest.raises(RedisUnavailableError, match=r"/0 does not answer in time\.$"):
            await reckoner.generation()
        assert not waiting.done()
        proxy.heal()
        assert await waiting == (UNKNOWN, None)
        waiting = asyncio.ensure_future(anext(aiter(reckoner.wait([UNKNOWN]))))
        await asyncio.sleep(0)
        proxy.cut()
        assert await waiting == (UNKNOWN, None)


@pytest.mark.parametrize("tls", [False, True], ids=["plain", "tls"])
async def test_a_link_that_was_dropped_in_silence_is_noticed(redis_url: str, tmp_path: Path, tls: bool) -> None:
    """The kernel probes an idle connection, and has a limit for unacknowledged data."""
    authority = Authority(tmp_path / "an authority")
    async with Proxy(redis_url, authority.server() if tls else None) as proxy:
        redis: Any = connect(f"{proxy.url}?{authority.options()}" if tls else proxy.url, connect_timeout_s=10)
        connection = await redis.connection_pool.get_connection()
        link = connection._writer.get_extra_info("socket")
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        for option, value in (
            ("TCP_KEEPIDLE", 30),
            ("TCP_KEEPINTVL", 10),
            ("TCP_KEEPCNT", 3),
            ("TCP_USER_TIMEOUT", 60_000),
        ):
            if hasattr(socket, option):  # not every kernel has every one
                assert link.getsockopt(socket.IPPROTO_TCP, getattr(socket, option)) == value
        await redis.connection_pool.release(connection)
        await redis.aclose()
