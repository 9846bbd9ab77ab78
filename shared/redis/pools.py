"""The connection pool: callers wait for a free connection, and no cancellation is lost."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, cast

import hiredis
from redis import exceptions
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)

from reckoner.shared.redis.tls import Tls
from reckoner.shared.redis.urls import Service

# redis-py raises this answer as a plain ConnectionError.
TOO_MANY_CLIENTS = "max number of clients reached"
HANDSHAKE_TIMEOUT_S = 5.0
READ_BYTES = 65_536
# What a parser returns until an answer is complete.
NO_ANSWER = object()
# Returns the host and port of a service's primary; the timeout in seconds is for each Sentinel.
FindPrimary = Callable[[Service, float | None], Awaitable[tuple[str, int]]]
CLOSED = "closes the connection before it answers: {}"


class ConnectFailedError(exceptions.ConnectionError):
    """A server closed a new connection; the message is the predicate of a sentence with the likely reason."""


# Encodes commands in redis-py's own way.
_packer = Connection()


def pack(words: Sequence[Any]) -> bytes:
    """Encode a command with hiredis, ten times as fast as redis-py's own loop.

    Raises:
        redis.exceptions.DataError: a word is neither text, bytes nor a number.
        UnicodeEncodeError: a word has no UTF-8.
    """
    # redis-py splits commands of two words, and has better messages for wrong types.
    with contextlib.suppress(TypeError):
        if " " not in words[0]:
            packed: bytes = hiredis.pack_command(tuple(words))
            return packed
    return b"".join(_packer.pack_command(*words))


async def _raise_cancellation() -> None:
    """Raise a cancellation that is still to be raised: redis-py's timeout of 0 would take it for its own."""
    task = asyncio.current_task()
    if task and task.cancelling():
        await asyncio.sleep(0)


class CancellableConnection(AbstractConnection):
    """A connection that loses no cancellation, explains a failed handshake, and notices a demoted server.

    redis-py sends through `asyncio.wait_for`, and CPython 3.11's drops a cancellation that arrives just when the
    awaited task ends, or that has not been raised yet when the task begins to send, as Ctrl-C may be.
    """

    hint: ClassVar[str] = ""
    # Whether the server has become a replica: its name may lead to another server now.
    demoted = False

    async def on_connect(self) -> None:
        """Do the handshake."""
        await self._shake_hands(super().on_connect())

    async def on_connect_check_health(self, check_health: bool = True) -> None:
        """Do the handshake; redis-py 6 and later call this one."""
        await self._shake_hands(super().on_connect_check_health(check_health))  # type: ignore[misc]

    async def _shake_hands(self, handshake: Awaitable[None]) -> None:
        self.demoted = False
        try:
            # Blocking connections have no socket timeout, but the handshake needs one.
            async with asyncio.timeout(self.socket_timeout or HANDSHAKE_TIMEOUT_S):
                await handshake
        except TimeoutError as error:
            await self.disconnect(nowait=True)
            raise exceptions.TimeoutError("Timeout connecting to server") from error
        except exceptions.ConnectionError as error:
            # Refusals are subclasses of ConnectionError, except TOO_MANY_CLIENTS.
            if type(error) is not exceptions.ConnectionError or str(error) == TOO_MANY_CLIENTS or not self.hint:
                raise
            raise ConnectFailedError(CLOSED.format(self.hint)) from error

    async def _send_packed_command(self, command: Iterable[Any]) -> None:
        # The pool may have closed it just now.
        await self._require_open()
        await super()._send_packed_command(command)

    async def _require_open(self) -> None:
        # Writing to a closed transport is a TypeError in CPython 3.12 and 3.13.
        if self._writer is None or self._writer.is_closing():
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError("The connection is closed")

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """Read the next answer."""
        try:
            return await super().read_response(*arguments, **options)
        except exceptions.ReadOnlyError:
            self.demoted = True
            raise

    async def can_read_destructive(self) -> bool:
        """Whether there is something to read, which nobody has asked for."""
        await _raise_cancellation()
        found: bool = await super().can_read_destructive()  # type: ignore[no-untyped-call]
        return found

    async def can_read(self) -> bool:
        """Whether there is something to read; redis-py 8 and later call this one."""
        await _raise_cancellation()
        found: bool = await super().can_read()  # type: ignore[misc]
        return found

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send as redis-py does, but within `asyncio.timeout`."""
        if self.is_connected:
            await self._require_open()
            if check_health:
                await self.check_health()  # type: ignore[no-untyped-call]
        else:
            await self.connect()  # type: ignore[no-untyped-call]
        encoded = command.encode() if isinstance(command, str) else command
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([encoded] if isinstance(encoded, bytes) else encoded)
        except BaseException as error:
            # What is sent in part cannot be sent again.
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise exceptions.TimeoutError("Timeout writing to socket") from error
            if isinstance(error, OSError):
                raise exceptions.ConnectionError("The connection is lost") from error
            raise

    def pack_command(self, *words: Any) -> list[bytes]:
        """Encode a command with hiredis, ten times as fast as redis-py's own loop."""
        return [pack(words)]

    async def exchange(self, packed: bytes | memoryview, count: int) -> list[Any]:
        """Send `count` packed commands in one batch, and return their answers; the error of a refused one is an answer.

        One timeout covers all. redis-py's timeout for each answer and its task for sending double the time.

        Raises:
            redis.exceptions.ConnectionError: the connection is lost.
            redis.exceptions.TimeoutError: an answer is late.
        """
        await self.check_health()  # type: ignore[no-untyped-call]
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([packed])
                answers = await self._read_answers(count)
        except BaseException as error:
            # Nobody would read the outstanding answers.
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise exceptions.TimeoutError("The server does not answer in time") from error
            if isinstance(error, OSError):
                raise exceptions.ConnectionError("The connection is lost") from error
            raise
        if self.health_check_interval:
            self.next_health_check = asyncio.get_running_loop().time() + self.health_check_interval
        self.demoted |= any(isinstance(answer, exceptions.ReadOnlyError) for answer in answers)
        return answers

    async def _read_answers(self, count: int) -> list[Any]:
        """Read answers, as many at once as have come: redis-py's call for each takes ten times as long."""
        answers, replies, stream = list[Any](), self.reply_reader(NO_ANSWER), self._reader
        while len(answers) < count:
            data = await stream.read(READ_BYTES) if stream else b""
            if not data:
                raise exceptions.ConnectionError("The connection is lost")
            replies.feed(data)
            while (answer := replies.gets()) is not NO_ANSWER:
                answers.append(answer)
        return answers

    def leave_streams(self) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """The transport of this open connection, and the protocol of its streams, which gets no more data from now on.

        Whoever takes the transport tells that protocol of its loss, which `disconnect` waits for.
        """
        # uvloop's are no subclass of asyncio's.
        transport = cast("asyncio.Transport", self._writer.transport)  # type: ignore[union-attr]
        return transport, transport.get_protocol()

    def reply_reader(self, no_answer: object) -> hiredis.Reader:
        """A parser of this connection's answers; it returns `no_answer` until one is complete."""
        return hiredis.Reader(
            protocolError=exceptions.InvalidResponse, replyError=self._parser.parse_error, notEnoughData=no_answer
        )


class TcpConnection(CancellableConnection, Connection):
    """Over TCP."""

    hint = "if it speaks TLS, write rediss:// instead of redis://"


class SentinelConnection(TcpConnection):
    """Over TCP to the primary of a service; each connect asks `find_primary` for it."""

    def __init__(self, *, service: Service, find_primary: FindPrimary, **options: Any) -> None:
        super().__init__(**options)
        self._service, self._find_primary = service, find_primary

    async def _connect(self) -> None:
        self.host, self.port = await self._find_primary(self._service, self.socket_connect_timeout)
        await super()._connect()  # type: ignore[no-untyped-call]


class TlsConnection(CancellableConnection, SSLConnection):
    """Over TLS."""

    hint = "it may require a client certificate, or another ssl_certfile in the URL"

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {"host": self.host, "port": self.port, "ssl": self._tls.context()}

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except ConnectionResetError as error:
            raise ConnectFailedError(CLOSED.format(self.hint)) from error
        except TimeoutError as error:
            # A Redis without TLS waits for the end of a command.
            raise ConnectFailedError(
                "does not answer in time: if it does not speak TLS, write redis:// instead of rediss://"
            ) from error


class SocketConnection(CancellableConnection, UnixDomainSocketConnection):
    """Over a Unix socket."""


CONNECTION_CLASSES: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: TcpConnection,
    SSLConnection: TlsConnection,
    UnixDomainSocketConnection: SocketConnection,
}


class BoundedPool(ConnectionPool):
    """A pool of at most `max_connections`; callers wait for a free one in order, for at most `acquire_timeout_s`.

    redis-py's BlockingConnectionPool loses a connection if the caller is cancelled while it releases it.
    """

    def __init__(self, *, acquire_timeout_s: float | None = None, **options: Any) -> None:
        # Later releases of redis-py would ask for version 3, whose answers have other types.
        super().__init__(protocol=2, **options)
        self.connection_class = (
            SentinelConnection if "service" in options else CONNECTION_CLASSES[self.connection_class]
        )
        if self.connection_class is TlsConnection:
            self.connection_kwargs["tls"] = Tls(self.connection_kwargs)
        self._acquire_timeout_s = acquire_timeout_s
        self._free = asyncio.Semaphore(self.max_connections)
        self._closed = False

    def __repr__(self) -> str:
        """Without the options: some releases of redis-py show the password."""
        return f"<{type(self).__name__} of {self.connection_class.__name__}>"

    async def get_connection(self, *_: object, **__: object) -> AbstractConnection:
        """Acquire a connected connection.

        Raises:
            redis.exceptions.ConnectionError: none was free in time, it does not connect, or the pool is closed.
        """
        try:
            # A timeout is slow to set, so only for a full pool.
            async with asyncio.timeout(self._acquire_timeout_s) if self._free.locked() else contextlib.nullcontext():
                await self._free.acquire()
        except TimeoutError as error:
            raise exceptions.ConnectionError("No connection became free in time") from error
        if self._closed:
            self._free.release()
            raise exceptions.ConnectionError("The connections are closed")
        # Every await from here on releases the connection on errors.
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def exchange(self, packed: bytes | memoryview, count: int) -> list[Any]:
        """Send packed commands in one batch; see `CancellableConnection.exchange` and `get_connection`."""
        connection = await self.get_connection()
        try:
            assert isinstance(connection, CancellableConnection)
            return await connection.exchange(packed, count)
        finally:
            await self.release(connection)

    async def release(self, connection: AbstractConnection) -> None:
        """Release a connection; close one to a demoted server, so that the next finds the primary."""
        self._free.release()
        if isinstance(connection, CancellableConnection) and connection.demoted:
            await connection.disconnect(nowait=True)
        await super().release(connection)

    async def move(self, path: str) -> None:
        """Move to another Unix socket: all connections are closed, and reconnect there on use."""
        self.connection_kwargs["path"] = path
        for connection in (*self._available_connections, *self._in_use_connections):
            if isinstance(connection, SocketConnection):
                connection.path = path
        await self.disconnect()

    async def aclose(self) -> None:
        """Close the pool: waiting callers get an error instead of a new connection."""
        self._closed = True
        await self.disconnect()
