"""The connection that reads share: each caller gets its own answer, whatever happens to others or to the link."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from redis import exceptions
from redis.asyncio import Redis

from reckoner.shared.redis.connections import connect, unavailable
from reckoner.shared.redis.multiplexed import MultiplexedConnection
from reckoner.shared.redis.scripts import ask
from tests.certificates import Authority
from tests.patience import PATIENCE_S
from tests.proxies import Proxy, Relay
from tests.servers import hanging, tcp_server


@asynccontextmanager
async def multiplexed(url: str) -> AsyncIterator[MultiplexedConnection]:
    """A shared connection to a URL."""
    connection = MultiplexedConnection(connect(url, client_name="reading", max_connections=1))
    try:
        yield connection
    finally:
        await connection.aclose()


async def echoes(connection: MultiplexedConnection, count: int) -> list[bytes]:
    """Send commands at once; returns their answers."""
    async with asyncio.timeout(PATIENCE_S):
        answers: list[bytes] = await asyncio.gather(*(connection.read("ECHO", str(n)) for n in range(count)))
    return answers


def expected(count: int) -> list[bytes]:
    return [str(number).encode() for number in range(count)]


async def test_callers_share_one_connection(redis_url: str, redis: Redis) -> None:
    """Those that come before it is connected, too; answers may be larger than a read from the socket."""
    async with multiplexed(redis_url) as connection:
        assert await echoes(connection, 200) == expected(200)
        large = "x" * 1_000_000
        assert await asyncio.gather(*(connection.read("ECHO", large) for _ in range(3))) == [large.encode()] * 3
        assert [client["name"] for client in await redis.client_list()].count("reading") == 1
    async with asyncio.timeout(PATIENCE_S):
        while "reading" in [client["name"] for client in await redis.client_list()]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_refusal_reaches_its_own_caller(redis_url: str, prefix: str) -> None:
    """And the connection goes on."""
    async with multiplexed(redis_url) as connection:
        own = await connection.read("CLIENT", "ID")
        answers = await asyncio.gather(
            connection.read("ECHO", "a"),
            connection.read("NO-SUCH-COMMAND", prefix),
            connection.read("ECHO", "b"),
            return_exceptions=True,
        )
        assert list(answers[::2]) == [b"a", b"b"]
        assert isinstance(answers[1], exceptions.ResponseError)
        assert await connection.read("CLIENT", "ID") == own


async def test_a_cancelled_caller_harms_no_other(redis_url: str) -> None:
    """At whatever step: connecting, sending or waiting. Nobody gets its answer."""
    rng = random.Random(1)
    for _ in range(20):
        async with multiplexed(redis_url) as connection:
            for _ in range(3):
                tasks = [asyncio.create_task(connection.read("ECHO", str(number))) for number in range(20)]
                for _ in range(15):
                    await asyncio.sleep(0 if rng.random() < 0.9 else 0.001)
                    rng.choice(tasks).cancel()
                async with asyncio.timeout(PATIENCE_S):
                    answers = await asyncio.gather(*tasks, return_exceptions=True)
                for answer, own in zip(answers, expected(20), strict=True):
                    assert answer == own or isinstance(answer, asyncio.CancelledError)


async def test_a_lost_connection_is_replaced_and_the_read_sent_again(redis_url: str) -> None:
    """Once: between two reads, and while a read waits."""
    async with Proxy(redis_url) as proxy, multiplexed(proxy.url) as connection:
        for _ in range(3):
            assert await echoes(connection, 3) == expected(3)
            proxy.cut()
        assert await echoes(connection, 3) == expected(3)
        proxy.hole()
        waiting = asyncio.create_task(echoes(connection, 3))
        await asyncio.sleep(0.05)
        proxy.cut()
        proxy.heal()
        assert await waiting == expected(3)


class Dropping(Relay):
    """Drops each connection as soon as it is asked for the value of a key."""

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (data := await reader.read(65_536)) and b"\r\nMGET\r\n" not in data:
            writer.write(data)
            await writer.drain()


async def test_a_connection_that_is_lost_again_is_an_error(redis_url: str) -> None:
    """Two connections are tried."""
    async with Dropping(lambda: redis_url) as relay, multiplexed(relay.url) as connection:
        with pytest.raises(exceptions.ConnectionError, match="connection is lost"):
            await connection.read("MGET", "a")
        assert relay.taken == 2


async def test_a_server_that_is_away_is_an_error_for_all(redis_url: str) -> None:
    """And the first read after its return has an answer."""
    async with Proxy(redis_url) as proxy, multiplexed(proxy.url) as connection:
        assert await echoes(connection, 1) == expected(1)
        proxy.target = "redis://127.0.0.1:1"
        proxy.cut()
        answers = await asyncio.gather(*(connection.read("ECHO", "a") for _ in range(5)), return_exceptions=True)
        assert all(isinstance(answer, exceptions.ConnectionError) for answer in answers)
        proxy.target = redis_url
        assert await echoes(connection, 2) == expected(2)


async def test_a_late_answer_is_an_error_and_never_that_of_another(redis_url: str) -> None:
    """The socket timeout of the URL counts; the next read has a connection of its own."""
    async with Proxy(redis_url) as proxy, multiplexed(f"{proxy.url}?socket_timeout=0.2") as connection:
        assert await echoes(connection, 1) == expected(1)
        proxy.hole()
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*(connection.read("ECHO", "late") for _ in range(3)), return_exceptions=True)
        assert {type(answer) for answer in answers} == {exceptions.TimeoutError}
        proxy.heal()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                # The machine may take longer than the timeout.
                try:
                    assert await connection.read("ECHO", "own") == b"own"
                except exceptions.TimeoutError:
                    continue
                break


async def test_reads_that_follow_each_other_each_have_their_time(redis_url: str) -> None:
    """One timer looks at the oldest read only, and ends none that is in time."""
    async with Proxy(redis_url) as proxy, multiplexed(f"{proxy.url}?socket_timeout=1") as connection:
        assert await echoes(connection, 1) == expected(1)
        proxy.delay(0.2)
        for _ in range(4):
            assert await echoes(connection, 2) == expected(2)
        assert proxy.taken == 1


async def test_a_server_of_another_kind_is_an_error() -> None:
    """It answers with what is no answer of Redis; another one does not answer the handshake."""
    async with hanging() as port, multiplexed(f"redis://127.0.0.1:{port}?socket_timeout=0.1") as connection:
        with pytest.raises(exceptions.TimeoutError):
            await connection.read("ECHO", "a")


async def test_unexpected_bytes_end_the_connection(redis_url: str) -> None:
    """No later read gets them as its answer."""

    class Talkative(Relay):
        async def _reach(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
            reader, writer = await super()._reach()
            read = reader.read

            async def doubled(size: int) -> bytes:
                data = await read(size)
                return data.replace(b"$6\r\ndouble\r\n", b"$6\r\ndouble\r\n" * 2)

            reader.read = doubled  # type: ignore[method-assign, assignment]
            return reader, writer

    async with Talkative(lambda: redis_url) as relay, multiplexed(relay.url) as connection:
        assert await connection.read("ECHO", "double") == b"double"
        assert await echoes(connection, 3) == expected(3)
        assert relay.taken == 2


async def test_it_closes_while_callers_wait(redis_url: str) -> None:
    """They get an error, at whatever step they are, and so does every later read."""
    for steps in range(12):
        connection = MultiplexedConnection(connect(redis_url, max_connections=1))
        if steps % 2:
            await connection.read("PING")
        tasks = [asyncio.create_task(connection.read("ECHO", "a")) for _ in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE_S):
            await connection.aclose()
            answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(one == b"a" or isinstance(one, exceptions.ConnectionError) for one in answers), (steps, answers)
        with pytest.raises(exceptions.ConnectionError, match="closed"):
            await connection.read("ECHO", "a")


async def test_it_speaks_tls(redis_url: str, tmp_path: Path) -> None:
    """Also when the connection is lost, and when answers are large."""
    authority = Authority(tmp_path / "authority")
    options = f"{authority.options()}&socket_connect_timeout=10"
    async with (
        Proxy(redis_url, authority.server()) as proxy,
        multiplexed(f"{proxy.url}?{options}") as connection,
    ):
        assert await echoes(connection, 50) == expected(50)
        assert len(await connection.read("ECHO", "x" * 300_000)) == 300_000
        proxy.cut()
        assert await echoes(connection, 50) == expected(50)


async def test_it_has_the_password_and_the_database_of_the_url(tmp_path: Path) -> None:
    """A wrong password is said."""
    with tcp_server(tmp_path, "--requirepass", "hunter2") as port:
        url, wrong_url = (f"redis://:{password}@127.0.0.1:{port}/3" for password in ("hunter2", "another"))
        async with (
            connect(url) as redis,
            multiplexed(url) as connection,
        ):
            await ask(redis, "SET", "key", "of 3")
            assert await connection.read("MGET", "key") == [b"of 3"]
            wrong = connect(wrong_url, max_connections=1)
            with pytest.raises(exceptions.RedisError) as caught:
                await MultiplexedConnection(wrong).read("MGET", "key")
            assert "refuses the user name or password" in str(unavailable(wrong, caught.value))
            await wrong.aclose()
