"""The pool that our connections come from: whoever wants one more than it has waits, and no cancellation is lost."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

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

# What redis-py makes a lost connection of, though it is an answer.
TOO_MANY_CLIENTS = "max number of clients reached"
GREETING_S = 5.0
# What tells the host and port of a service's primary, having asked each of its Sentinels for so many seconds.
FindPrimary = Callable[[Service, float | None], Awaitable[tuple[str, int]]]
ENDED = "ends the connection before it answers: {}"


class ConnectFailedError(exceptions.ConnectionError):
    """A server has ended a connection before it answered; the message says in half a sentence what it may want."""


class CancellableConnection(AbstractConnection):
    """A connection that is cancelled when it is told to be, says what a server may want that ends it at its beginning,
    and knows when it is to be given up for another.

    redis-py sends through `asyncio.wait_for`. That of CPython 3.11 drops a cancellation that comes just when what it
    waits for has ended, and begins a step late.
    """

    wanting: ClassVar[str] = ""
    # Whether the server is a replica by now: its name may be another one's, which nobody sees who stays connected.
    overtaken = False

    async def on_connect(self) -> None:
        """Say who we are, and what for."""
        self.overtaken = False
        try:
            # What blocks on purpose has no time-out, and would wait for ever for a server that does not greet.
            async with asyncio.timeout(self.socket_timeout or GREETING_S):
                await super().on_connect()
        except TimeoutError as error:
            await self.disconnect(nowait=True)
            raise exceptions.TimeoutError("Timeout connecting to server") from error
        except exceptions.ConnectionError as error:
            # A refusal is a ConnectionError too, of a class of its own but for one.
            if type(error) is not exceptions.ConnectionError or str(error) == TOO_MANY_CLIENTS or not self.wanting:
                raise
            raise ConnectFailedError(ENDED.format(self.wanting)) from error

    async def _send_packed_command(self, command: Iterable[bytes]) -> None:
        # The pool may have been closed a step ago.
        await self._require_open()
        await super()._send_packed_command(command)

    async def _require_open(self) -> None:
        # To write to what is closed is a TypeError in CPython 3.12 and 3.13.
        if self._writer is None or self._writer.is_closing():
            await self.disconnect(nowait=True)
            raise exceptions.ConnectionError("The connection is closed")

    async def read_response(self, *arguments: Any, **options: Any) -> Any:
        """The next answer."""
        try:
            return await super().read_response(*arguments, **options)
        except exceptions.ReadOnlyError:
            self.overtaken = True
            raise

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send, and be cancelled though that was not heeded within; what was sent is then answered to nobody."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        if self.is_connected:
            await self._require_open()
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > before:
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError

    def pack_command(self, *words: Any) -> list[bytes]:
        """A command as it is sent; hiredis does so in a tenth of the time that redis-py's own loop takes."""
        # redis-py's methods write some commands as two words, and redis-py refuses types in words of its own.
        with contextlib.suppress(TypeError):
            if " " not in words[0]:
                return [hiredis.pack_command(words)]
        packed: list[bytes] = super().pack_command(*words)
        return packed

    async def exchange(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands together, and return the answer to each; a refusal is an answer, as an error, and so is why one
        was not sent that cannot be.

        There is one time-out for all of it. redis-py has one for each answer and a task of its own for the sending,
        which takes as long as all the rest.

        Raises:
            redis.exceptions.ConnectionError: the connection is lost.
            redis.exceptions.TimeoutError: not all was answered in time.
        """
        await self.check_health()  # type: ignore[no-untyped-call]
        packed = [self._packed(command) for command in commands]
        read = self._parser.read_response  # type: ignore[attr-defined]
        try:
            async with asyncio.timeout(self.socket_timeout):
                await self._send_packed_command([b"".join(one for one in packed if isinstance(one, bytes))])
                answers = [await read() if isinstance(one, bytes) else one for one in packed]
        except BaseException as error:
            # What is answered now is answered to nobody.
            await self.disconnect(nowait=True)
            if isinstance(error, TimeoutError):
                raise exceptions.TimeoutError("The server does not answer in time") from error
            if isinstance(error, OSError):
                raise exceptions.ConnectionError("The connection is lost") from error
            raise
        if self.health_check_interval:
            self.next_health_check = asyncio.get_running_loop().time() + self.health_check_interval
        self.overtaken |= any(isinstance(answer, exceptions.ReadOnlyError) for answer in answers)
        return answers

    def _packed(self, command: Sequence[Any]) -> bytes | Exception:
        """A command as it is sent, or why it cannot be: that is for its caller alone to know."""
        try:
            return b"".join(self.pack_command(*command))
        except Exception as error:
            return error


class TcpConnection(CancellableConnection, Connection):
    """Over TCP."""

    wanting = "if it speaks TLS, write rediss:// instead of redis://"


class SentinelConnection(TcpConnection):
    """Over TCP to the primary of a service, which `find_primary` is asked for each time that this connects."""

    def __init__(self, *, service: Service, find_primary: FindPrimary, **options: Any) -> None:
        super().__init__(**options)
        self._service, self._find_primary = service, find_primary

    async def _connect(self) -> None:
        self.host, self.port = await self._find_primary(self._service, self.socket_connect_timeout)
        await super()._connect()  # type: ignore[no-untyped-call]


class TlsConnection(CancellableConnection, SSLConnection):
    """Over TLS."""

    wanting = "it may want a client certificate, or another one than ssl_certfile in the URL names"

    def __init__(self, *, tls: Tls, **options: Any) -> None:
        super().__init__(**options)
        self._tls = tls

    def _connection_arguments(self) -> Mapping[str, Any]:
        return {"host": self.host, "port": self.port, "ssl": self._tls.context()}

    async def _connect(self) -> None:
        try:
            await super()._connect()  # type: ignore[no-untyped-call]
        except ConnectionResetError as error:
            raise ConnectFailedError(ENDED.format(self.wanting)) from error
        except TimeoutError as error:
            # So it is with a Redis without TLS, which waits for the end of what it takes for a command.
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
    """At most `max_connections`, and whoever wants one when all are in use waits in line, for `patience_s` at most.

    redis-py's own such pool loses a connection for good when whoever gives it back is cancelled just then.
    """

    def __init__(self, *, patience_s: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.connection_class = (
            SentinelConnection if "service" in options else CONNECTION_CLASSES[self.connection_class]
        )
        if self.connection_class is TlsConnection:
            self.connection_kwargs["tls"] = Tls(self.connection_kwargs)
        self._patience_s = patience_s
        self._free = asyncio.Semaphore(self.max_connections)
        self._closed = False

    async def get_connection(self, *_: object, **__: object) -> AbstractConnection:
        """A connection that is connected.

        Raises:
            redis.exceptions.ConnectionError: none was free in time, it does not connect, or the pool is closed.
        """
        try:
            # None is set for who finds one free: that would take longer than all the rest.
            async with asyncio.timeout(self._patience_s) if self._free.locked() else contextlib.nullcontext():
                await self._free.acquire()
        except TimeoutError as error:
            raise exceptions.ConnectionError("No connection became free in time") from error
        if self._closed:
            self._free.release()
            raise exceptions.ConnectionError("The connections are closed")
        # From here to the release nothing waits that the connection would not be given back after.
        connection: AbstractConnection = self.get_available_connection()  # type: ignore[no-untyped-call]
        try:
            await self.ensure_connection(connection)
        except BaseException:
            await self.release(connection)
            raise
        return connection

    async def exchange(self, commands: Sequence[Sequence[Any]]) -> list[Any]:
        """Send commands together over one connection; see `CancellableConnection.exchange` and `get_connection`."""
        connection = await self.get_connection()
        try:
            assert isinstance(connection, CancellableConnection)
            return await connection.exchange(commands)
        finally:
            await self.release(connection)

    async def release(self, connection: AbstractConnection) -> None:
        """Give a connection back; one to a server that has become a replica ends, and the next may find its primary."""
        self._free.release()
        if isinstance(connection, CancellableConnection) and connection.overtaken:
            await connection.disconnect(nowait=True)
        await super().release(connection)

    async def move(self, path: str) -> None:
        """Go on at another Unix socket: what is connected is disconnected, and connects there when it is used again."""
        self.connection_kwargs["path"] = path
        for connection in (*self._available_connections, *self._in_use_connections):
            if isinstance(connection, SocketConnection):
                connection.path = path
        await self.disconnect()

    async def aclose(self) -> None:
        """Disconnect, and connect no more: whoever still waits in line would leave a connection behind."""
        self._closed = True
        await self.disconnect()
