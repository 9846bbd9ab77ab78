"""The pool that our connections come from: whoever wants one more than it has waits, and no cancellation is lost."""

import asyncio
from collections.abc import Iterable
from typing import Any

from redis import exceptions
from redis.asyncio.connection import (
    AbstractConnection,
    Connection,
    ConnectionPool,
    SSLConnection,
    UnixDomainSocketConnection,
)


class HeedingConnection(AbstractConnection):
    """A connection that is cancelled when it is told to be.

    redis-py sends through `asyncio.wait_for`, and that of CPython 3.11 drops a cancellation that comes just when what
    it waits for has ended.
    """

    async def send_packed_command(self, command: bytes | str | Iterable[bytes], check_health: bool = True) -> None:
        """Send, and be cancelled though that was not heeded within; what was sent is then answered to nobody."""
        task = asyncio.current_task()
        before = task.cancelling() if task else 0
        await super().send_packed_command(command, check_health)
        if task and task.cancelling() > before:
            await self.disconnect(nowait=True)
            raise asyncio.CancelledError


class TcpConnection(HeedingConnection, Connection):
    """Over TCP."""


class TlsConnection(HeedingConnection, SSLConnection):
    """Over TLS."""


class SocketConnection(HeedingConnection, UnixDomainSocketConnection):
    """Over a Unix socket."""


HEEDING: dict[type[AbstractConnection], type[AbstractConnection]] = {
    Connection: TcpConnection,
    SSLConnection: TlsConnection,
    UnixDomainSocketConnection: SocketConnection,
}


class PatientPool(ConnectionPool):
    """At most `max_connections`, and whoever wants one when all are in use waits in line, for `patience_s` at most.

    redis-py's own such pool loses a connection for good when whoever gives it back is cancelled just then.
    """

    def __init__(self, *, patience_s: float | None = None, **options: Any) -> None:
        super().__init__(**options)
        self.connection_class = HEEDING[self.connection_class]
        self._patience_s = patience_s
        self._free = asyncio.Semaphore(self.max_connections)
        self._closed = False

    async def get_connection(self, *_: object, **__: object) -> AbstractConnection:
        """A connection that is connected.

        Raises:
            redis.exceptions.ConnectionError: none was free in time, it does not connect, or the pool is closed.
        """
        try:
            async with asyncio.timeout(self._patience_s):
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

    async def release(self, connection: AbstractConnection) -> None:
        """Give a connection back."""
        self._free.release()
        await super().release(connection)

    async def aclose(self) -> None:
        """Disconnect, and connect no more: whoever still waits in line would leave a connection behind."""
        self._closed = True
        await self.disconnect()
