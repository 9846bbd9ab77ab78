"""A connection that concurrent reads share: each is sent at once, and answers come in the order of the commands."""

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

import hiredis
from redis import exceptions

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.redis.pools import BoundedPool, CancellableConnection

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.scripts import Value

NO_ANSWER = object()


class MultiplexedConnection:
    """Sends the reads of all callers over the one connection of a `redis` whose pool has at most one.

    It connects at the first read, and again after a loss. A caller that is cancelled harms no other: its answer is
    dropped. redis-py's own path takes a task, a timer and a lock for each command, ten times the CPU.
    """

    def __init__(self, redis: "Redis") -> None:
        pool = redis.connection_pool
        assert isinstance(pool, BoundedPool)
        self._pool = pool
        self._link: _Link | None = None
        self._connecting: asyncio.Task[_Link] | None = None

    async def read(self, *command: "Value") -> Any:
        """A reading command's answer; sent once more if the connection is lost before the answer comes.

        Raises:
            redis.exceptions.ConnectionError: there is no connection, or it was lost twice.
            redis.exceptions.TimeoutError: the answer took longer than the socket timeout of the URL.
            redis.exceptions.ResponseError: the server refuses the command.
        """
        packed = hiredis.pack_command(command)  # type: ignore[arg-type] # its stub has tuples of one word
        for lost_before in (False, True):
            link = self._link
            if link is None or link.closed:
                link = await self._connected()
            try:
                return await link.send(packed)
            except exceptions.ConnectionError:
                # Some refusals are of this type too, and leave the connection open.
                if lost_before or not link.closed:
                    raise
        raise AssertionError

    async def _connected(self) -> "_Link":
        """Connect, once for all callers that wait for it."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._end_connecting)
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if connecting.cancelled():
                raise exceptions.ConnectionError("The connections are closed") from None
            raise

    def _end_connecting(self, task: "asyncio.Task[_Link]") -> None:
        self._connecting = None
        if not task.cancelled():
            # Its callers may all be gone.
            task.exception()

    async def _connect(self) -> "_Link":
        lost, self._link = self._link, None
        if lost is not None:
            await lost.connection.disconnect(nowait=True)
            await self._pool.release(lost.connection)
        connection = await self._pool.get_connection()
        assert isinstance(connection, CancellableConnection)
        self._link = _Link(connection)
        return self._link

    async def aclose(self) -> None:
        """Close the connection; callers that wait get a ConnectionError."""
        if self._connecting is not None:
            await cancel_and_wait(self._connecting)
        await self._pool.aclose()


class _Link(asyncio.Protocol):
    """An open connection: takes the place of the streams that have done redis-py's handshake."""

    def __init__(self, connection: CancellableConnection) -> None:
        self.connection = connection
        self._transport, self._streams = connection.leave_streams()
        self._timeout_s = connection.socket_timeout
        self._replies = connection.reply_reader(NO_ANSWER)
        self._loop = asyncio.get_running_loop()
        # Oldest first; with the time of sending.
        self._pending = deque[tuple[asyncio.Future[Any], float]]()
        self._timer: asyncio.TimerHandle | None = None
        self._transport.set_protocol(self)

    @property
    def closed(self) -> bool:
        """Whether it takes no more commands."""
        return self._transport.is_closing()

    def send(self, packed: bytes) -> "asyncio.Future[Any]":
        """Send a command; returns the future of its answer."""
        answer: asyncio.Future[Any] = asyncio.Future(loop=self._loop)
        self._pending.append((answer, monotonic()))
        if self._timer is None and self._timeout_s:
            self._timer = self._loop.call_later(self._timeout_s, self._look_at_oldest)
        self._transport.write(packed)
        return answer

    def data_received(self, data: bytes) -> None:
        """Give answers to their callers."""
        replies, pending = self._replies, self._pending
        try:
            replies.feed(data)
            while (reply := replies.gets()) is not NO_ANSWER:
                if not pending:
                    raise exceptions.InvalidResponse("an answer without a command")
                answer, _ = pending.popleft()
                if answer.done():
                    # Its caller was cancelled.
                    continue
                if isinstance(reply, Exception):
                    answer.set_exception(reply)
                else:
                    answer.set_result(reply)
        except exceptions.InvalidResponse as error:
            self._break(exceptions.InvalidResponse, str(error))

    def connection_lost(self, error: Exception | None) -> None:
        """Fail the pending commands."""
        self._streams.connection_lost(error)
        self._break(exceptions.ConnectionError, "The connection is lost")

    def _look_at_oldest(self) -> None:
        """End the connection if the oldest command is late; one timer serves all commands."""
        self._timer = None
        if not self._pending or self._timeout_s is None:
            return
        left = self._pending[0][1] + self._timeout_s - monotonic()
        if left <= 0:
            self._break(exceptions.TimeoutError, "The server does not answer in time")
        else:
            self._timer = self._loop.call_later(left, self._look_at_oldest)

    def _break(self, kind: type[exceptions.RedisError], reason: str) -> None:
        self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._pending:
            answer, _ = self._pending.popleft()
            if not answer.done():
                answer.set_exception(kind(reason))
