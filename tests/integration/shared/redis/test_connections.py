"""Connections, against real servers: what they are set up with, and what is said when Redis is not well."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
from redis import exceptions
from redis.asyncio import Redis

from reckoner.shared.errors import ReckonerError, RedisUnavailableError, SettingsError
from reckoner.shared.redis.connections import check, connect, describe, is_transient_redis_error, server_info
from reckoner.shared.redis.embedded import EmbeddedServer
from tests.patience import slowness
from tests.root import ROOT
from tests.servers import free_port, tcp_server

SECRET = "hunter2@:/?#% é"
QUOTED = "hunter2%40%3A%2F%3F%23%25%20%C3%A9"

StartServer = Callable[..., EmbeddedServer]


@contextlib.asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    """Listen on a TCP port and send `answer` to whatever is asked."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(answer)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]


async def refusal(url: str, **options: Any) -> ReckonerError:
    """What `check` says of the Redis at `url`, and that it is one sentence without the secret, said within a second, or
    several on a machine that is busy or slow."""
    pool: Any = connect(url, **options)
    started = time.perf_counter()
    with pytest.raises(ReckonerError) as caught:
        await check(pool)
    assert time.perf_counter() - started < slowness()
    await pool.aclose()
    error = caught.value
    shown = "".join([str(error), repr(error.evidence), repr(pool), *traceback.format_exception(error)])
    assert "hunter2" not in shown
    assert str(error).endswith(".")
    assert "\n" not in str(error)
    return error


async def test_a_good_redis_is_good(redis: Redis) -> None:
    """Neither too old nor a cluster: nothing is said."""
    await check(redis)


async def test_the_pool_is_set_up_as_asked(redis_url: str) -> None:
    """Client name and time-outs reach the server."""
    pool: Any = connect(redis_url, client_name="who", socket_timeout_s=3)
    assert await pool.client_getname() == "who"
    assert pool.connection_pool.connection_kwargs["socket_timeout"] == 3
    await pool.aclose()
    assert not any(connection.is_connected for connection in pool.connection_pool._available_connections)


async def test_a_command_may_not_take_for_ever(redis_url: str) -> None:
    """The socket time-out ends a command that does not return, and None lets it block."""
    hasty: Any = connect(redis_url, socket_timeout_s=0.1)
    patient: Any = connect(redis_url, socket_timeout_s=None)
    with pytest.raises(exceptions.TimeoutError) as caught:
        await hasty.blpop(["never"], timeout=1)
    assert is_transient_redis_error(caught.value)
    assert await patient.blpop(["never"], timeout=1) is None
    await hasty.aclose()
    await patient.aclose()


async def test_a_pool_outlives_its_server(tmp_path: Path) -> None:
    """A killed server is trouble of the server; once it is back at its place the same pool works again."""
    port = free_port()
    pool: Any = connect(f"redis://127.0.0.1:{port}")
    with tcp_server(tmp_path, port=port):
        await pool.set("key", "value")
        waiting = asyncio.create_task(pool.blpop(["never"], timeout=3))
        await asyncio.sleep(0.1)
    for lost in (waiting, pool.get("key")):
        with pytest.raises(exceptions.ConnectionError) as caught:
            await lost
        assert is_transient_redis_error(caught.value)
    with tcp_server(tmp_path, port=port):
        assert await pool.set("key", "value")
    await pool.aclose()


async def test_a_password_with_any_character_works(tmp_path: Path) -> None:
    """Percent-encoded passwords are decoded, the database is chosen, and keepalive is on."""
    with tcp_server(tmp_path, "--requirepass", SECRET) as port:
        pool = connect(f"redis://:{QUOTED}@127.0.0.1:{port}/3")
        await check(pool)
        await pool.set("key", "value")
        assert (await pool.info("keyspace")).keys() == {"db3"}
        connection = await pool.connection_pool.get_connection()
        link = connection._writer.get_extra_info("socket")
        assert link.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        await pool.connection_pool.release(connection)
        await pool.aclose()


@pytest.mark.parametrize("written", ["p%2Bq%25r%20s%40", "p+q%25r%20s%40"])
@pytest.mark.parametrize(
    "url", ["unix:///s?password={}", "redis://host?db=3&password={}", "redis+sentinel://h/s?password={}"]
)
def test_what_an_option_says_is_decoded_once(url: str, written: str) -> None:
    """And a plus is a plus, as before the host."""
    assert connect(url.format(written)).connection_pool.connection_kwargs["password"] == "p+q%r s@"


@pytest.mark.parametrize("user", ["", "somebody"])
async def test_a_wrong_password_is_reported_at_once(tmp_path: Path, user: str) -> None:
    """The message names the place, not the password. A missing password is reported too."""
    with tcp_server(tmp_path, "--requirepass", "right") as port:
        error = await refusal(f"redis://{user}:{QUOTED}@127.0.0.1:{port}")
        assert str(error) == f"Redis at redis://127.0.0.1:{port}/0 refuses the user name or password."
        assert isinstance(error, RedisUnavailableError)
        error = await refusal(f"redis://127.0.0.1:{port}")
        assert str(error) == f"Redis at redis://127.0.0.1:{port}/0 refuses the user name or password."


async def test_a_wrong_password_is_reported_over_a_socket_too(fresh_server: StartServer) -> None:
    """redis-py wraps the error in another one there; the sentence is the same."""
    url = fresh_server().url
    pool: Any = connect(url)
    await pool.config_set("requirepass", "right")
    await pool.aclose()
    error = await refusal(f"{url}?password=hunter2")
    assert str(error) == f"Redis at {url} refuses the user name or password."


async def test_an_unreachable_redis_is_reported_at_once(tmp_path: Path) -> None:
    """A closed port, a missing socket and an unknown host give one sentence each."""
    port = free_port()
    error = await refusal(f"redis://u:{QUOTED}@127.0.0.1:{port}/1")
    assert str(error) == f"Redis at redis://127.0.0.1:{port}/1 cannot be reached (Connection refused)."
    assert isinstance(error, RedisUnavailableError)
    error = await refusal(f"unix://{tmp_path}/valkey.sock?db=2&password=hunter2")
    assert str(error) == f"Redis at unix://{tmp_path}/valkey.sock?db=2 cannot be reached (No such file or directory)."


async def test_a_port_that_never_answers_is_given_up_in_time() -> None:
    """A listener whose queue is full swallows connections; the connect time-out ends the wait within a second."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port = listener.getsockname()[1]
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
        error = await refusal(f"redis://:{QUOTED}@127.0.0.1:{port}")
    assert str(error) == f"Redis at redis://127.0.0.1:{port}/0 does not answer in time."


async def test_another_protocol_is_reported() -> None:
    """A server of another protocol, and a Redis without TLS, give one sentence each."""
    async with answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as port:
        error = await refusal(f"redis://:{QUOTED}@127.0.0.1:{port}")
        assert str(error) == f"Redis at redis://127.0.0.1:{port}/0 does not speak the Redis protocol."
        error = await refusal(f"rediss://:{QUOTED}@127.0.0.1:{port}")
        assert str(error).startswith(f"Redis at rediss://127.0.0.1:{port}/0 does not speak TLS: ")


async def test_a_loading_redis_is_reported() -> None:
    """LOADING is not a missing server."""
    async with answering(b"-LOADING Redis is loading the dataset in memory\r\n") as port:
        error = await refusal(f"redis://127.0.0.1:{port}", client_name="")
        assert str(error) == f"Redis at redis://127.0.0.1:{port}/0 is still loading its data."


async def test_a_missing_database_is_reported(fresh_server: StartServer) -> None:
    """The message holds the server's own words."""
    url = fresh_server().url
    error = await refusal(f"{url}?db=99")
    assert str(error) == f"Redis at {url}?db=99 refuses commands (DB index is out of range)."


async def test_a_user_without_rights_is_reported(fresh_server: StartServer) -> None:
    """The message names the refused command, whether it belongs to the handshake or comes later."""
    url = fresh_server().url
    pool: Any = connect(url)
    await pool.execute_command("ACL", "SETUSER", "limited", "on", ">hunter2", "~*", "+ping")
    await pool.aclose()
    error = await refusal(f"{url}?username=limited&password=hunter2")
    assert str(error).startswith(f"Redis at {url} refuses commands (")
    assert " has no permissions to run the '" in str(error)


@pytest.mark.parametrize(("renamed", "rights"), [("", ""), ("HELLO", "+info"), ("HELLO", "")])
async def test_a_server_is_described_as_far_as_the_user_may_ask(tmp_path: Path, renamed: str, rights: str) -> None:
    """By HELLO, which every user may call, or by INFO. Without either, the description is empty, which is no error."""
    with tcp_server(tmp_path, *(["--rename-command", renamed, ""] if renamed else [])) as port:
        owner: Any = connect(f"redis://127.0.0.1:{port}")
        await owner.execute_command("ACL", "SETUSER", "limited", "on", ">hunter2", "+@connection", *rights.split())
        info = await owner.info("server")
        await owner.aclose()
        limited: Any = connect(f"redis://limited:hunter2@127.0.0.1:{port}")
        await check(limited)
        name = info.get("server_name", "redis")
        known = (name, info[f"{name}_version"], "standalone")
        assert await server_info(limited) == (("", "", "") if renamed and not rights else known)
        await limited.aclose()


async def test_a_cluster_is_refused(tmp_path: Path) -> None:
    """Redis Cluster is refused at start, in one sentence."""
    with tcp_server(tmp_path, "--cluster-enabled", "yes", "--requirepass", SECRET) as port:
        error = await refusal(f"redis://:{QUOTED}@127.0.0.1:{port}")
    where = f"redis://127.0.0.1:{port}/0"
    assert isinstance(error, SettingsError)
    assert str(error) == f"Redis at {where} is a Redis Cluster, which is not supported. Use a single server."


@pytest.mark.parametrize(
    ("version", "good"), [("6.2.14", False), ("7.0.0", True), ("7.0.15", True), ("10.1-rc1", True)]
)
@pytest.mark.parametrize("by_hello", [True, False])
async def test_an_old_redis_is_refused(version: str, good: bool, by_hello: bool) -> None:
    """Redis 7.0 is the oldest; versions are compared as numbers, whether HELLO tells them or INFO."""
    info = f"# Server\r\nredis_version:{version}\r\nredis_mode:standalone\r\n"
    found = f"*4\r\n+server\r\n+redis\r\n+version\r\n+{version}\r\n"
    answers = {b"INFO": b"$%d\r\n%s\r\n" % (len(info), info.encode())}
    answers[b"HELLO"] = found.encode() if by_hello else b"-ERR unknown command 'HELLO', with args beginning with:\r\n"

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while sent := await reader.read(1000):
            for command in sent.split(b"*")[1:]:
                writer.write(answers.get(command.split(b"\r\n")[2], b"+OK\r\n"))
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        url = f"redis://127.0.0.1:{port}"
        if good:
            pool = connect(url)
            await check(pool)
            await pool.aclose()
        else:
            error = await refusal(url)
            assert isinstance(error, SettingsError)
            assert str(error) == f"Redis at {url}/0 is version {version}. Version 7.0 or newer is required."


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:6379",
        "http://:hunter2@host",
        "redis://:hunter2/x@host:6379",
        "redis://:hunter2?x@host:6379",
        "redis://:hunter2#x@host:6379",
        "redis://:123/hunter2@host:6379",
        "redis://:hunter2@host:port",
        "redis://:hunter2@[host",
        "redis://:hunter2@host?db=one",
        "redis://:hunter2@host?hunter=2",
        "redis://:hunter2@host?decode_responses=yes",
        "redis://:hunter2@host?protocol=hunter2",
        "redis://:hunter2@host?ssl_cert_reqs=required",
        "rediss://:hunter2@host?ssl_cert_reqs=hunter2",
        "redis://:hunter2@host?max_connections=-1",
        "redis://:hunter2@host/three",
        "redis://:hunter2@host/3/x",
        "redis://:hunter2@host?db=",
        "redis://:hunter2@host?db=-1",
        "redis://:hunter2@host ",
        " redis://:hunter2@host",
        "redis://:hunter2@host\n",
        "redis://:hunter 2@host",
        "redis://:hunter2@one:1,two:2/0",
        "redis://one:1,:hunter2@two:2,three",
        "redis://:hunter2@one,two",
        "redis://:hunter2",
        "redis://:x?hunter2",
        "redis://host?hunter2",
        "redis://host/hunter2",
        "rediss+sentinel://:hunter2@host/shop",
        "sentinel://:hunter2@host/shop",
        "redis+sentinel://:hunter2@host",
        "redis+sentinel://:hunter2@host/",
        "redis+sentinel://:hunter2@host/shop/three",
        "redis+sentinel://:hunter2@one:1,two:x/shop",
        "redis+sentinel://:hunter2/x@one:1/shop",
        "redis+sentinel://:hunter2@one/shop?ssl_cert_reqs=none",
        "redis+sentinel://one/shop?sentinel_secret=hunter2",
    ],
)
def test_a_url_that_cannot_be_used_is_refused_without_showing_it(url: str) -> None:
    """The refusal is a sentence, and neither it nor its traceback has a part of the URL's secrets."""
    with pytest.raises(SettingsError) as caught:
        connect(url)
    reasons = traceback.TracebackException.from_exception(caught.value)
    assert "hunter2" not in str(caught.value) + repr(caught.value.evidence) + "".join(reasons.format_exception_only())
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert str(caught.value).startswith("The Redis URL ")
    assert "hunter2" not in describe(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://host/shop", "has an invalid database"),
        ("redis://host?db=shop", "has an invalid db"),
        *(
            (
                f"{scheme}://{host}",
                "has an invalid port. Write HOST:PORT with a port from 1 to 65535, and IPv6 in brackets.",
            )
            for scheme, host in (
                ("redis", "host:99999"),
                ("rediss", "host:six"),
                ("redis", "user:secret@host:0/3"),
                ("redis", "::1:6379"),
                ("redis+sentinel", "one:1,two:-2/shop"),
            )
        ),
        ("redis://user:a/b@host:99999", "In a user name or password, write"),
        ("redis://host/0 ", "has a blank or a control character"),
        ("redis://host\n", "has a blank or a control character"),
        (
            "redis://one:1,two:2/0",
            "has several hosts. Give one, or for Sentinel redis+sentinel://HOST:PORT,HOST:PORT/",
        ),
        ("redis+sentinel://one:1,two:2", "for Sentinel needs a service"),
        ("rediss+sentinel://one:1/shop", "rediss://"),
        ("sentinel://one:1/shop", "must start with redis://, rediss://, unix:// or redis+sentinel://"),
    ],
)
def test_a_refusal_of_a_url_says_what_to_write(url: str, expected: str) -> None:
    """Each mistake has its own sentence."""
    with pytest.raises(SettingsError) as caught:
        connect(url)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://", "redis://localhost:6379/0"),
        ("redis://host", "redis://host:6379/0"),
        ("redis://user:hunter2@host:1/2", "redis://host:1/2"),
        ("redis://user:hunter2@host:1/2?db=3&socket_timeout=4", "redis://host:1/3"),
        ("redis://user:hunt@er2@host", "redis://host:6379/0"),
        ("redis://user:hunter2@[::1]:1", "redis://[::1]:1/0"),
        ("rediss://:hunter2@host", "rediss://host:6379/0"),
        ("unix:///a%20b/c.sock", "unix:///a%20b/c.sock"),
        ("unix://u:hunter2@/a%20b/c.sock?db=1&password=hunter2", "unix:///a%20b/c.sock?db=1"),
        ("redis://:hunter2/x@host", "an invalid URL"),
        ("redis+sentinel://u:hunter2@one,[::1]:2/a%20shop", "redis+sentinel://one:26379,[::1]:2/a%20shop/0"),
        ("redis+sentinel://:hunter2@one:1/shop/3?sentinel_password=hunter2", "redis+sentinel://one:1/shop/3"),
    ],
)
def test_a_url_is_described_without_its_secrets(url: str, shown: str) -> None:
    """User, password and options are left out, the place stays."""
    assert describe(url) == shown


@pytest.mark.parametrize(
    ("options", "checked"), [("", True), ("?ssl_check_hostname=no", False), ("?ssl_cert_reqs=none", False)]
)
def test_tls_checks_the_host_by_default(options: str, checked: bool) -> None:
    """redis-py's default would accept any certificate of a known authority for any host."""
    pool: Any = connect(f"rediss://host{options}").connection_pool
    assert pool.make_connection().check_hostname is checked


def test_connections_bring_no_numpy() -> None:
    """A client that only reads has no use for arrays."""
    loaded = subprocess.run(
        [sys.executable, "-c", "import sys, reckoner.shared.redis.connections; print('numpy' in sys.modules)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert loaded.stdout.strip() == "False"
