"""Trouble of real servers: it is distinguished from mistakes, and clients describe it in a sentence."""

import asyncio
import contextlib
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.errors import RedisUnavailableError
from reckoner.shared.redis.connections import check, connect, is_transient_redis_error
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.model_config import ModelConfig
from tests.proxies import Proxy
from tests.servers import packed, tcp_server
from tests.system import eventually

StartServer = Callable[..., EmbeddedServer]

FULL = "is at its memory limit: raise its maxmemory or delete keys, then retry."
UNSAVED = "cannot save its data and refuses writes: see its log."
REPLICA = "is a read-only replica: use the URL of its primary."
LOST_REPLICA = "is a replica that has lost its primary."
ALONE = "refuses writes, since too few replicas are connected."
BUSY = "is blocked by a long script."
CROWDED = "has too many clients: raise its maxclients."
LOADING = "is still loading its data."

WRITE = "return redis.call('SET', KEYS[1], '1')"


WRITES: dict[str, Callable[[Any], Awaitable[object]]] = {
    "command": lambda redis: redis.set("key", "1"),
    "script": lambda redis: redis.eval(WRITE, 1, "key"),
    "pipeline": lambda redis: redis.pipeline(transaction=False).eval(WRITE, 1, "key").get("key").execute(),
    "transaction": lambda redis: redis.pipeline(transaction=True).set("key", "1").get("key").execute(),
    "transaction of scripts": lambda redis: redis.pipeline(transaction=True).eval(WRITE, 1, "key").execute(),
}


async def mistaken(redis: Any) -> list[str]:
    """Write in every way there is, each of which fails; returns those that were not taken for trouble of the server."""
    names = []
    for name, write in WRITES.items():
        with pytest.raises(exceptions.RedisError) as caught:
            await write(redis)
        if not is_transient_redis_error(caught.value):
            names.append(name)
    return names


@pytest.fixture
def url(fresh_server: StartServer) -> str:
    """A server that the test may spoil."""
    return fresh_server().url


@pytest.fixture
async def own(url: str) -> AsyncIterator[Any]:
    """A pool on it."""
    pool: Any = connect(url)
    yield pool
    await pool.aclose()


async def trouble_of(url: str) -> str:
    """What a client says, behind where the server is, that looks at it and then asks for work by a script."""
    with pytest.raises(RedisUnavailableError) as caught:
        async with Reckoner(url) as reckoner:
            await reckoner.operator.fit("a snapshot", ModelConfig(), 20)
    assert caught.value.__cause__
    assert is_transient_redis_error(caught.value.__cause__)
    return str(caught.value).split(" ", 3)[3]


async def test_a_full_server_is_trouble(own: Any, url: str) -> None:
    """OOM counts, in commands, scripts, pipelines and transactions."""
    await own.config_set("maxmemory", 1)
    assert await mistaken(own) == []
    assert await trouble_of(url) == FULL


async def test_a_server_that_fills_up_between_multi_and_exec_is_trouble(own: Any) -> None:
    """EXEC then refuses with a text of its own."""
    connection = await own.connection_pool.get_connection()
    for words in (("MULTI",), ("SET", "key", "1")):
        await connection.send_command(*words)
        await connection.read_response()
    await own.config_set("maxmemory", 1)
    await connection.send_command("EXEC")
    with pytest.raises(exceptions.RedisError) as caught:
        await connection.read_response()
    await own.connection_pool.release(connection)
    assert "because of" in str(caught.value)
    assert is_transient_redis_error(caught.value)


async def test_a_server_that_cannot_write_its_files_is_trouble(own: Any, url: str, tmp_path: Path) -> None:
    """MISCONF counts, for which redis-py has no class; it can be read all the same, so it is a good Redis."""
    await own.config_set("save", "3600 1")
    shutil.rmtree(tmp_path / "a home" / "redis")
    with contextlib.suppress(exceptions.ResponseError):
        await own.save()
    with contextlib.suppress(exceptions.ResponseError):
        await own.bgsave()

    async def has_failed() -> bool:
        return bool((await own.info("persistence"))["rdb_last_bgsave_status"] != "ok")

    await eventually(has_failed)
    assert await mistaken(own) == []
    await check(own)
    assert await trouble_of(url) == UNSAVED
    await own.config_set("save", "")  # or the server refuses to end before it has saved


async def test_a_replica_is_trouble(own: Any, url: str) -> None:
    """READONLY and MASTERDOWN count, and UNBLOCKED for whoever waits as it becomes one."""
    async with connect(url) as other:
        waiting = asyncio.create_task(own.blpop(["never"], timeout=4))

        async def waits() -> bool:
            return bool((await other.info("clients"))["blocked_clients"])

        await eventually(waits)
        await ask(other, "REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(exceptions.ResponseError, match=r"^UNBLOCKED ") as caught:
        await waiting
    assert is_transient_redis_error(caught.value)
    assert await mistaken(own) == []
    assert await trouble_of(url) == REPLICA
    await own.config_set("replica-serve-stale-data", "no")
    assert await mistaken(own) == []
    assert await trouble_of(url) == LOST_REPLICA


async def test_the_primary_that_takes_a_replicas_place_is_found(fresh_server: StartServer, tmp_path: Path) -> None:
    """A name is looked up for each new connection, so one to a server that was overtaken must not be kept."""
    old, new = fresh_server().url, fresh_server(home=tmp_path / "another home").url
    async with Proxy(old) as proxy, connect(proxy.url) as redis, connect(old) as admin:
        await redis.set("key", "old")
        proxy.target = new
        await ask(admin, "REPLICAOF", "127.0.0.1", "1")
        assert await redis.get("key") == b"old"
        with pytest.raises(exceptions.ReadOnlyError):
            await WRITES["pipeline"](redis)
        assert await redis.set("key", "new")
        assert await redis.get("key") == b"new"
        assert proxy.taken == 2


async def test_an_exchange_finds_the_primary_too(fresh_server: StartServer, tmp_path: Path) -> None:
    """The refusal is the answer to what it refuses, and the commands beside it have theirs."""
    old, new = fresh_server().url, fresh_server(home=tmp_path / "another home").url
    async with Proxy(old) as proxy, connect(proxy.url) as redis, connect(old) as admin:
        pool: Any = redis.connection_pool
        write, read = ("EVAL", WRITE, 1, "key"), ("GET", "key")
        assert await pool.exchange(*packed([("SET", "key", "old"), read])) == [b"OK", b"old"]
        proxy.target = new
        await ask(admin, "REPLICAOF", "127.0.0.1", "1")
        before, refusal, after = await pool.exchange(*packed([read, write, read]))
        assert (before, type(refusal), after) == (b"old", exceptions.ReadOnlyError, b"old")
        assert await pool.exchange(*packed([write, read])) == [b"OK", b"1"]
        assert proxy.taken == 2


async def test_too_few_replicas_are_trouble(own: Any, url: str) -> None:
    """NOREPLICAS counts."""
    await own.config_set("min-replicas-to-write", 1)
    assert await mistaken(own) == []
    assert await trouble_of(url) == ALONE


async def test_a_server_that_loads_its_data_is_trouble(tmp_path: Path) -> None:
    """LOADING counts, and is over when the data are there; a connection may be made meanwhile."""
    with tcp_server(tmp_path) as port:
        url = f"redis://127.0.0.1:{port}"
        async with connect(url) as redis:
            await redis.mset({f"key {number}": "x" * 1000 for number in range(5000)})
            await redis.save()
    slowly = ("--key-load-delay", "2000", "--loading-process-events-interval-bytes", "1024")
    with tcp_server(tmp_path, *slowly, port=port):
        async with connect(url) as redis:
            assert await mistaken(redis) == []
            assert await trouble_of(url) == LOADING
            await redis.config_set("key-load-delay", 0)

            async def loaded() -> bool:
                with contextlib.suppress(exceptions.BusyLoadingError):
                    return bool(await redis.ping())
                return False

            await eventually(loaded)
            assert await redis.set("key", "value")


async def test_a_server_with_as_many_clients_as_it_takes_is_trouble(tmp_path: Path) -> None:
    """The message says what to raise."""
    with tcp_server(tmp_path) as port:
        url = f"redis://127.0.0.1:{port}"
        async with connect(url) as redis:
            await redis.config_set("maxclients", 1)
            assert await trouble_of(url) == CROWDED


async def test_a_busy_server_is_trouble(own: Any, url: str) -> None:
    """BUSY counts; that a script was killed counts for the script's caller as a failure of its own."""
    await own.config_set("busy-reply-threshold", 20)
    endless = asyncio.create_task(own.eval("while true do end", 0))
    await asyncio.sleep(0.1)
    assert await mistaken(own) == []
    assert await trouble_of(url) == BUSY
    await own.script_kill()
    with pytest.raises(exceptions.ResponseError, match="killed") as caught:
        await endless
    assert not is_transient_redis_error(caught.value)


async def test_a_mistake_is_no_trouble(own: Any) -> None:
    """What is wrong with the command itself stays a failure, whatever words it has in it."""
    mistakes: list[Callable[[], Any]] = [
        lambda: own.execute_command("NONSENSE"),
        lambda: own.eval("return redis.call('LPOP', KEYS[1])", 1, "text"),
        lambda: own.eval("error('BUSY BUSY')", 0),
        lambda: own.pipeline().lpush("text", "OOM of pipeline caused error: ('OOM ").execute(),
        lambda: own.evalsha("0" * 40, 0),
    ]
    await own.set("text", "a text")
    for mistake in mistakes:
        with pytest.raises(exceptions.ResponseError) as caught:
            await mistake()
        assert not is_transient_redis_error(caught.value), caught.value
    for error in (ValueError("OOM x"), OSError(), asyncio.CancelledError(), exceptions.DataError("BUSY x")):
        assert not is_transient_redis_error(error)
