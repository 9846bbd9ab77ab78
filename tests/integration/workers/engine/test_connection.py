"""The engine's connection: simultaneous commands share a round trip, and each caller gets its answer."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from arq.jobs import SerializationError
from redis import exceptions

from reckoner.shared.errors import WireError
from reckoner.shared.redis import multiplexed
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import ask, call
from reckoner.workers.engine.connection import JOBS_AT_ONCE, NewJob, connect_engine
from tests.lanes import Lanes, encode, until
from tests.proxies import Relay
from tests.servers import tcp_server


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The number of commands in each write."""
    counts = list[int]()
    send = multiplexed.Link.send

    def note(self: multiplexed.Link, commands: Sequence[multiplexed.Sent]) -> None:
        counts.append(len(commands))
        send(self, commands)

    monkeypatch.setattr(multiplexed.Link, "send", note)
    return counts


async def test_the_client_is_set_up_as_asked(redis_url: str) -> None:
    """Client name, queue and serializers reach arq and the server."""
    redis = connect_engine(redis_url, client_name="who", queue_name="q", job_serializer=encode)
    assert await redis.client_getname() == "who"
    assert (redis.default_queue_name, redis.job_serializer) == ("q", encode)
    await redis.aclose()
    assert not any(connection.is_connected for connection in redis.connection_pool._available_connections)


async def test_a_client_without_serializers_never_pickles(redis_url: str) -> None:
    """Where arq would fall back on pickle, ours refuses."""
    redis = connect_engine(redis_url)
    with pytest.raises(SerializationError) as caught:
        await redis.enqueue_job("anything")
    assert isinstance(caught.value.__cause__, WireError)
    await redis.aclose()


async def test_the_commands_of_one_moment_go_together(lanes: Lanes, sent: list[int]) -> None:
    """Forty commands in one round trip, including those of tasks that are woken meanwhile."""
    await ask(lanes.redis, "PING")
    sent.clear()
    key = f"{lanes.keys.prefix}:"
    answers = await asyncio.gather(*(ask(lanes.redis, "SET", f"{key}{n}", n, "GET", "EX", 60) for n in range(40)))
    assert (len(sent), answers) == (1, [None] * 40)
    answers = await asyncio.gather(*(lanes.redis.get(f"{key}{n}") for n in range(40)))
    assert (len(sent), answers) == (2, [b"%d" % n for n in range(40)])
    await ask(lanes.redis, "HSET", f"{key}hash", "a", "1")
    assert await ask(lanes.redis, "HGETALL", f"{key}hash") == {b"a": b"1"}
    assert len(sent) == 4


async def test_an_error_reaches_its_own_caller(lanes: Lanes) -> None:
    """The others have their answers."""
    key = f"{lanes.keys.prefix}:text"
    answers = await asyncio.gather(
        ask(lanes.redis, "SET", key, "a"),
        ask(lanes.redis, "LPUSH", key, "b"),
        ask(lanes.redis, "GET", key),
        ask(lanes.redis, "NO SUCH COMMAND"),
        ask(lanes.redis, "DEL", key),
        return_exceptions=True,
    )
    assert [answers[0], answers[2], answers[4]] == [True, b"a", 1]
    assert [type(answers[1]), type(answers[3])] == [exceptions.ResponseError] * 2


async def test_a_command_that_cannot_be_sent_harms_no_other(lanes: Lanes) -> None:
    """Its caller gets the error; the others get their answers, and the connection goes on."""
    key = f"{lanes.keys.prefix}:text"
    client = await ask(lanes.redis, "CLIENT ID")
    nothing: Any = None
    answers = await asyncio.gather(
        ask(lanes.redis, "SET", key, "a"),
        ask(lanes.redis, "SET", key, nothing),
        ask(lanes.redis, "GET", key),
        ask(lanes.redis, "SET", key, "\ud800"),
        ask(lanes.redis, "DEL", key),
        return_exceptions=True,
    )
    assert [answers[0], answers[2], answers[4]] == [True, b"a", 1]
    assert [type(answers[1]), type(answers[3])] == [exceptions.DataError, UnicodeEncodeError]
    with pytest.raises(exceptions.DataError):
        await ask(lanes.redis, "SET", key, nothing)
    assert await ask(lanes.redis, "CLIENT ID") == client


async def test_a_caller_that_is_cancelled_harms_no_other(lanes: Lanes) -> None:
    """Neither before its command is sent nor when it is on its way."""
    for turns in range(5):
        tasks = [asyncio.ensure_future(ask(lanes.redis, "ECHO", n)) for n in range(5)]
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks[2].cancel()
        answers = await asyncio.gather(*tasks, return_exceptions=True)
        assert answers[:2] + answers[3:] == [b"0", b"1", b"3", b"4"]
        assert isinstance(answers[2], asyncio.CancelledError)


async def test_a_lost_connection_fails_all_pending_commands_and_the_next_one_reconnects(
    prefix: str, tmp_path: Any
) -> None:
    """Pending commands fail, so no caller waits for ever."""
    with tcp_server(tmp_path) as port:
        async with Relay(lambda: f"redis://127.0.0.1:{port}") as relay:
            lanes = Lanes(relay.url, prefix)
            assert await ask(lanes.redis, "PING")
            blocked = [asyncio.ensure_future(ask(lanes.redis, "BLPOP", prefix, 60)) for _ in range(3)]
            await until(lambda: is_blocked(lanes))
            relay.cut()
            errors = await asyncio.gather(*blocked, return_exceptions=True)
            assert all(isinstance(error, exceptions.ConnectionError) for error in errors)
            assert await ask(lanes.redis, "PING")
            await lanes.close()


async def is_blocked(lanes: Lanes) -> bool:
    """Whether a client waits at the server."""
    return bool((await lanes.stock.info("clients"))["blocked_clients"])


async def test_many_jobs_are_made_five_hundred_a_round_trip(lanes: Lanes, sent: list[int]) -> None:
    """Each id once, within a call and among queued, running and finished jobs."""
    assert JOBS_AT_ONCE == 500
    names = [lanes.name() for _ in range(1199)]
    await call(lanes.redis, "enqueue", [lanes.batch], [])
    [first] = await lanes.redis.enqueue_jobs([NewJob("f", job_id=names[0])], queue_name=lanes.batch)
    assert first is not None
    sent.clear()
    made = await lanes.redis.enqueue_jobs(
        [*(NewJob("f", (n,), name) for n, name in enumerate(names)), NewJob("f", job_id=names[700])],
        queue_name=lanes.batch,
    )
    assert len(sent) == 3
    assert [n for n, job in enumerate(made) if job is None] == [0, 1199]
    assert [job.job_id for job in made if job] == names[1:]
    assert await lanes.size() == 1199
    keys = [job_key(name) for name in names]
    assert await ask(lanes.redis, "EXISTS", *keys) == 1199
    await ask(lanes.redis, "UNLINK", *keys, lanes.batch)


async def test_no_job_is_created_in_a_key_of_another_type(lanes: Lanes) -> None:
    """Nothing of it is left."""
    await ask(lanes.redis, "SET", lanes.click, "planted")
    name = lanes.name()
    with pytest.raises(exceptions.ResponseError, match="WRONGTYPE"):
        await lanes.redis.enqueue_job("f", _job_id=name)
    assert await ask(lanes.redis, "EXISTS", job_key(name)) == 0
