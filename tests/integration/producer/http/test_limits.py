"""A hostile client: slow, huge, half-closed, pipelined, or no HTTP at all. It is answered, refused, or cut off."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import msgspec
import pytest

from reckoner.producer.http.config import HttpConfig, Limits
from reckoner.producer.http.serving import GracefulServer, listen
from reckoner.shared.settings import Settings
from tests.patience import PATIENCE_S
from tests.system import eventually
from tests.world import Generation, Hand, World

LIVE = b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n"
POST = b"POST /v1/events HTTP/1.1\r\nHost: localhost\r\n"
SHORT = Limits(
    headers_s=0.2, body_s=0.2, idle_s=0.2, keep_alive_s=0.4, stall_s=0.2, check_s=0.05, max_header_bytes=2_000,
    max_body_bytes=100_000, max_connections=5, max_requests=3,
)  # fmt: skip


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, data: bytes) -> None:
        """Send bytes, unless the server has closed."""
        self._writer.write(data)
        with suppress(ConnectionError):
            await self._writer.drain()

    def half_close(self) -> None:
        """Send no more."""
        self._writer.write_eof()

    async def answer(self) -> tuple[int, dict[str, Any]]:
        """The status and the JSON of the next answer; 0 if the server closes without one."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
            except (asyncio.IncompleteReadError, ConnectionError):
                return 0, {}
            lines = head.decode().lower().split("\r\n")
            [length] = [int(line.partition(":")[2]) for line in lines if line.startswith("content-length:")]
            return int(head.split()[1]), json.loads(await self._reader.readexactly(length))

    async def closed(self) -> bool:
        """Whether the server closes the connection and sends no more."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self._reader.read() == b""
            except ConnectionError:
                return True

    def stop_reading(self) -> None:
        """Read nothing from now on."""
        self._writer.transport.pause_reading()  # type: ignore[attr-defined] # a transport of asyncio's

    async def close(self) -> None:
        """End the connection."""
        self._writer.transport.abort()
        with suppress(ConnectionError):
            await self._writer.wait_closed()


class Served:
    """A running server and its clients."""

    def __init__(self, port: int, server: GracefulServer) -> None:
        self.port, self.server = port, server
        self._clients = list[Client]()

    async def connect(self) -> Client:
        """One more connection."""
        self._clients.append(Client(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self._clients[-1]

    async def is_well(self) -> None:
        """Nothing of the hostile clients is left, and another client is answered at once."""
        await self.close()
        await eventually(self._is_idle)
        other = await self.connect()
        await other.send(LIVE + b"\r\n")
        assert await other.answer() == (200, {"status": "live"})

    async def _is_idle(self) -> bool:
        return not (self.server.server_state.connections or self.server.server_state.tasks)

    async def close(self) -> None:
        """End all connections."""
        for client in self._clients:
            await client.close()


@pytest.fixture
async def served(redis_url: str, prefix: str) -> AsyncIterator[Served]:
    """A server with short limits, which is well after the test."""
    async with serving(redis_url, prefix) as found:
        yield found
        await found.is_well()


@asynccontextmanager
async def serving(redis_url: str, prefix: str) -> AsyncIterator[Served]:
    """A server with short limits."""
    settings = msgspec.convert({"prefix": prefix}, Settings)
    with listen("127.0.0.1", 0) as listening:
        server = GracefulServer(HttpConfig(settings, redis_url, timeout_s=0.3, limits=SHORT, linger_s=0.0))
        running = asyncio.create_task(server.serve(sockets=[listening]))
        found = Served(listening.getsockname()[1], server)
        try:
            yield found
        finally:
            await found.close()
            server.should_exit = True
            await asyncio.wait_for(running, PATIENCE_S)


async def refused(client: Client, status: int, name: str) -> None:
    """It gets a problem, and then nothing."""
    found = await client.answer()
    assert (found[0], found[1].get("type")) == (status, f"urn:reckoner:problem:{name}"), found
    assert await client.closed()


@pytest.mark.parametrize("begun", [b"G", LIVE, LIVE + b"X: y", LIVE.replace(b"1.1", b"1.0")])
async def test_slow_headers_are_cut_off(served: Served, begun: bytes) -> None:
    """Also if a byte comes now and then."""
    client = await served.connect()
    await client.send(begun)
    await refused(client, 408, "slow-request")


async def test_a_trickle_of_headers_is_cut_off(served: Served) -> None:
    """Each byte in time does not help."""
    client = await served.connect()
    await client.send(LIVE)
    for _ in range(20):
        await asyncio.sleep(0.03)
        await client.send(b"X")
    assert (await client.answer())[0] in (0, 408)


async def test_a_connection_without_a_request_is_closed(served: Served) -> None:
    """Empty lines are none, before the first request and after one."""
    silent, empty, after = [await served.connect() for _ in range(3)]
    await after.send(LIVE + b"\r\n")
    assert (await after.answer())[0] == 200
    for _ in range(20):
        await asyncio.sleep(0.03)
        for client in (empty, after):
            await client.send(b"\r\n")
    assert [await client.closed() for client in (silent, empty, after)] == [True, True, True]


async def test_a_slow_body_is_cut_off(served: Served) -> None:
    """With a length and in chunks."""
    for rest in (b"Content-Length: 50\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"):
        client = await served.connect()
        await client.send(POST + rest)
        await refused(client, 408, "slow-request")


@pytest.mark.parametrize("rest", [b"Content-Length: 999999999\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"])
async def test_a_huge_body_is_refused_before_it_is_read(served: Served, rest: bytes) -> None:
    """And not read to its end."""
    client = await served.connect()
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    await client.send(POST + rest + (chunk * 2 if b"chunked" in rest else b" "))
    await refused(client, 413, "body-too-large")


async def test_an_endless_body_that_nobody_reads_is_cut_off(served: Served) -> None:
    """The path has none, so the answer came before."""
    client = await served.connect()
    await client.send(LIVE.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\n")
    assert (await client.answer())[0] == 405
    for _ in range(20):
        await asyncio.sleep(0.02)
        await client.send(b"1\r\n \r\n")
    assert await client.closed()


@pytest.mark.parametrize("begun", [LIVE + b"X: " + b"y" * 5_000, b"GET /" + b"a" * 5_000, LIVE + b"X: y\r\n" * 1_000])
async def test_huge_headers_are_refused(served: Served, begun: bytes) -> None:
    """One large, or many."""
    client = await served.connect()
    await client.send(begun)
    await refused(client, 431, "headers-too-large")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"*1\r\n$4\r\nPING\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost localhost\r\n\r\n",
        b"GET /\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        POST + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
async def test_what_is_no_http_is_refused(served: Served, data: bytes) -> None:
    """TLS, Redis, smuggling, and half a protocol."""
    client = await served.connect()
    await client.send(data)
    status, _ = await client.answer()
    assert status in (0, 400, 403, 404, 408)
    assert await client.closed()


@pytest.mark.parametrize("upgrade", [b"websocket", b"h2c"])
async def test_an_upgrade_is_answered_as_if_it_was_none(served: Served, upgrade: bytes) -> None:
    """And the connection goes on or ends."""
    client = await served.connect()
    await client.send(LIVE + b"Connection: Upgrade\r\nUpgrade: " + upgrade + b"\r\n\r\n")
    assert (await client.answer())[0] == 200


async def test_pipelined_requests_are_answered_in_their_order(served: Served) -> None:
    """However many, and with bodies between them; a bad one ends it."""
    client = await served.connect()
    body = b'{"events": [{"user": "Ada", "item": "x"}]}'
    post = POST + b"Content-Length: %d\r\n\r\n" % len(body) + body
    await client.send((LIVE + b"\r\n" + post + LIVE.replace(b"live", b"none") + b"\r\n") * 50 + b"\x00" * 10)
    assert [(await client.answer())[0] for _ in range(150)] == [200, 200, 404] * 50
    assert (await client.answer())[0] in (0, 400)
    assert await client.closed()


async def test_who_sends_no_more_still_gets_answers(served: Served) -> None:
    """To whole requests only."""
    client = await served.connect()
    body = b'{"events": [{"user": "Ada", "item": "x"}]}'
    await client.send((POST + b"Content-Length: %d\r\n\r\n" % len(body) + body) * 3)
    client.half_close()
    assert [(await client.answer())[0] for _ in range(3)] == [200] * 3
    assert await client.closed()
    half = await served.connect()
    await half.send(POST + b"Content-Length: 100\r\n\r\n{")
    half.half_close()
    assert await half.closed()


async def test_too_many_connections_are_refused(served: Served) -> None:
    """And as soon as there is room, others are taken."""
    clients = [await served.connect() for _ in range(7)]
    for client in clients[:5]:
        await client.send(LIVE + b"\r\n")
    assert [(await client.answer())[0] for client in clients] == [200] * 5 + [503] * 2


async def test_too_many_requests_are_refused(served: Served, hand: Hand, world: World) -> None:
    """Nobody computes these lists; each request ends in its time. Probes are answered meanwhile."""
    await hand.adopt(world, 1)
    wanted = b"GET /v1/users/Ada/recommendations HTTP/1.1\r\nHost: localhost\r\n\r\n"
    clients = [await served.connect() for _ in range(4)]
    for client in clients:
        await client.send(wanted)
    probe = await served.connect()
    await probe.send(LIVE + b"\r\n")
    assert (await probe.answer())[0] == 200
    found = [await client.answer() for client in clients]
    assert sorted(status for status, _ in found) == [503, 504, 504, 504]
    assert {problem["type"].rpartition(":")[2] for _, problem in found} == {"too-busy", "time-over"}


async def test_who_does_not_read_is_cut_off(served: Served, generation: Generation) -> None:
    """The answers are held back, and nothing else waits."""
    client = await served.connect()
    client.stop_reading()
    many = b"GET /openapi.json HTTP/1.1\r\nHost: localhost\r\n\r\n" * 30
    await client.send(many)

    async def cut_off() -> bool:
        return not served.server.server_state.connections

    await eventually(cut_off)
