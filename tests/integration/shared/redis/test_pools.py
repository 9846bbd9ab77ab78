"""The pool: it never has more connections than it may, and loses neither a connection nor a cancellation."""

import asyncio
import random
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pytest
from redis.asyncio import Redis
from redis.exceptions import ConnectionError as RedisConnectionError

from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.pools import BoundedPool
from reckoner.shared.redis.scripts import ask
from tests.conftest import StartServer
from tests.patience import PATIENCE_S
from tests.servers import packed


async def connections(redis: Redis, name: str) -> int:
    """How many connections the server has under that name."""
    return sum(client["name"] == name for client in await redis.client_list())


async def test_who_wants_one_more_waits(redis_url: str, redis: Redis) -> None:
    """Many commands and pipelines at a time take the one connection that there may be."""
    name = uuid4().hex
    pool = connect(redis_url, client_name=name, max_connections=1)

    async def both(number: int) -> Any:
        async with pool.pipeline(transaction=False) as pipe:
            pipe.echo(str(number))
            return await pool.echo(str(number)), *await pipe.execute()

    answers = await asyncio.gather(*map(both, range(100)))
    assert answers == [(str(i).encode(), str(i).encode()) for i in range(100)]
    assert await connections(redis, name) == 1
    await pool.aclose()


async def test_a_cancelled_caller_leaves_the_connection_to_others(redis_url: str, redis: Redis) -> None:
    """At every moment: waiting, connecting, sending, reading, releasing."""
    rng, name = random.Random(1), uuid4().hex
    pool: Any = connect(redis_url, client_name=name, max_connections=1)
    for _ in range(30):
        tasks = [asyncio.create_task(pool.ping()) for _ in range(20)]
        for _ in range(20):
            for _ in range(rng.randrange(12)):
                await asyncio.sleep(0)
            rng.choice(tasks).cancel()
        for answer in await asyncio.gather(*tasks, return_exceptions=True):
            assert answer is True or isinstance(answer, asyncio.CancelledError), answer
    async with asyncio.timeout(PATIENCE_S):
        assert await pool.ping()
    await pool.aclose()
    async with asyncio.timeout(PATIENCE_S):
        while await connections(redis, name):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_a_pool_moves_to_another_server(fresh_server: StartServer, tmp_path: Path) -> None:
    """Commands that wait for the old one fail, and every new connection goes to the new one."""
    old, new = fresh_server(tmp_path / "old"), fresh_server(tmp_path / "new")
    async with connect(old.url) as redis, connect(new.url) as there:
        assert isinstance(redis.connection_pool, BoundedPool)
        await asyncio.gather(redis.set("where", "old"), there.set("where", "new"))
        blocked = asyncio.create_task(ask(redis, "BLPOP", "nothing", 60))
        while not (await redis.info("clients"))["blocked_clients"]:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        await redis.connection_pool.move(unquote(urlsplit(new.url).path))
        with pytest.raises(RedisConnectionError):
            await blocked
        assert await asyncio.gather(*(redis.get("where") for _ in range(3))) == [b"new"] * 3


async def test_a_cancellation_is_heeded_at_every_step(redis_url: str) -> None:
    """A command that was cancelled before it ended is cancelled, also in the step in which CPython 3.11 forgets it."""
    pool: Any = connect(redis_url)
    await pool.ping()
    for steps in range(12):
        task = asyncio.create_task(pool.ping())
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.cancel():
            await asyncio.wait([task])
            assert task.cancelled(), steps
    assert await pool.ping()
    await pool.aclose()


async def test_a_cancellation_before_a_command_is_heeded(redis_url: str) -> None:
    """As by Ctrl-C, which may come while a task computes: it is raised when the task waits next."""
    pool: Any = connect(redis_url)
    await pool.ping()

    async def cancelled_by_itself() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await pool.ping()

    task = asyncio.create_task(cancelled_by_itself())
    await asyncio.wait([task])
    assert task.cancelled()
    assert await pool.ping()
    await pool.aclose()


async def test_after_a_cancelled_exchange_the_next_one_gets_its_own_answers(redis_url: str) -> None:
    """Cancelled at any step, and over the only connection."""
    pool = connect(redis_url, max_connections=1).connection_pool
    assert isinstance(pool, BoundedPool)
    for steps in range(12):
        task = asyncio.create_task(pool.exchange(*packed([("ECHO", f"late {number}") for number in range(3)])))
        for _ in range(steps):
            await asyncio.sleep(0)
        if task.cancel():
            await asyncio.wait([task])
            assert task.cancelled(), steps
        async with asyncio.timeout(PATIENCE_S):
            assert await pool.exchange(*packed([("ECHO", "a"), ("ECHO", "b")])) == [b"a", b"b"]
    await pool.aclose()


@pytest.mark.parametrize("timeout_s", [5.0, None])
@pytest.mark.parametrize("ask_it", ["ping", "exchange"])
async def test_running_commands_fail_when_the_pool_closes(redis_url: str, timeout_s: float | None, ask_it: str) -> None:
    """At whatever step a command is: it has its answer, or its connection was lost."""
    for steps in range(30):
        pool: Any = connect(redis_url, socket_timeout_s=timeout_s)
        asked = pool.ping() if ask_it == "ping" else pool.connection_pool.exchange(*packed([("PING",)] * 3))
        task = asyncio.create_task(asked)
        for _ in range(steps):
            await asyncio.sleep(0)
        await pool.connection_pool.aclose()
        answer = (await asyncio.gather(task, return_exceptions=True))[0]
        assert answer in (True, [b"PONG"] * 3) or isinstance(answer, RedisConnectionError), (steps, answer)
        await pool.connection_pool.aclose()


async def test_waiting_for_a_connection_times_out(redis_url: str) -> None:
    """A connection that is not released in time is an error."""
    pool = connect(redis_url, max_connections=1, socket_timeout_s=0.1)
    async with pool.pubsub() as listener:
        await listener.connect()
        with pytest.raises(RedisConnectionError, match="No connection became free in time"):
            await pool.ping()
    assert await pool.ping()
    await pool.connection_pool.aclose()
    with pytest.raises(RedisConnectionError, match="closed"):
        await pool.ping()
