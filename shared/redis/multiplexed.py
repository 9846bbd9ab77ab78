"""A connection that concurrent commands share: each is sent at once, and answers come in the order of the commands."""

import asyncio
from collections import deque
from collections.abc import Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

import hiredis
from redis import exceptions

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.redis.pools import NO_ANSWER, BoundedPool, CancellableConnection

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.scripts import Value


class Sent(NamedTuple):
    """A packed command and the future of its answer."""

    packed: bytes
    answer: "asyncio.Future[Any]"


class MultiplexedConnection:
    """Sends the commands of all callers over one connection of a pool.

    It connects at the first command, and again after a loss. A caller that is cancelled harms no other: its answer is
    dropped. redis-py's own path takes a task, a timer and a lock for each command, ten times the CPU.
    """

    def __init__(self, redis: "Redis") -> None:
        pool = redis.connection_pool
        assert isinstance(pool, BoundedPool)
        self._pool = pool
        self._link: Link | None = None
        self._connecting: asyncio.Task[Link] | None = None
        # The commands that wait for a connection, and the task that sends them.
        self._unsent = list[Sent]()
        self._flushing: asyncio.Task[None] | None = None

    def send(self, commands: Sequence[Sent]) -> None:
        """Send commands in one write. The futures get their answers, or the error of a connection that is lost."""
        link = self._link
        if link is not None and not link.closed and not self._unsent:
            link.send(commands)
            return
        self._unsent += commands
        if self._flushing is None:
            self._flushing = asyncio.create_task(self._flush())

    async def _flush(self) -> None:
        """Send what waits for a connection."""
        try:
            (await self._connected()).send(self._unsent)
        except BaseException as error:
            shown = error if isinstance(error, Exception) else exceptions.ConnectionError("The connections are closed")
            for _, answer in self._unsent:
                if not answer.done():
                    answer.set_exception(shown)
            if not isinstance(error, Exception):
                raise
        finally:
            self._unsent, self._flushing = [], None

    async def read(self, *command: "Value") -> Any:
        """A reading command's answer; sent once more if the connection is lost before the answer comes.

        Raises:
            redis.exceptions.ConnectionError: there is no connection, or it was lost twice.
            redis.exceptions.TimeoutError: the answer took longer than the socket timeout of the URL.
            redis.exceptions.ResponseError: the server refuses the command.
        """
        return await self._exchange(command, (False, True))

    async def _exchange(self, command: "tuple[Value, ...]", tries: tuple[bool, ...]) -> Any:
        """A command's answer; `tries` say of each whether it is the last."""
        packed = hiredis.pack_command(command)  # type: ignore[arg-type] # its stub has tuples of one word
        for is_last in tries:
            link = self._link
            if link is None or link.closed:
                link = await self._connected()
            answer: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
            link.send([Sent(packed, answer)])
            try:
                return await answer
            except exceptions.ConnectionError:
                # Some refusals are of this type too, and leave the connection open.
                if is_last or not link.closed:
                    raise
        raise AssertionError

    # `ask` and `call` take a connection too. A script that is sent twice must be harmless.
    execute_command = read

    @property
    def once(self) -> "SentOnce":
        """The same connection for commands that are never sent again."""
        return SentOnce(self)

    async def _connected(self) -> "Link":
        """Connect, once for all callers that wait for it."""
        if self._connecting is None:
            self._connecting = asyncio.create_task(self._connect())
            self._connecting.add_done_callback(self._end_connecting)
        connecting = self._connecting
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if connecting.cancelled() and not (task and task.cancelling()):
                raise exceptions.ConnectionError("The connections are closed") from None
            raise

    def _end_connecting(self, task: "asyncio.Task[Link]") -> None:
        self._connecting = None
        if not task.cancelled():
            # Its callers may all be gone.
            task.exception()

    async def _connect(self) -> "Link":
        lost, self._link = self._link, None
        if lost is not None:
            await lost.connection.disconnect(nowait=True)
            await self._pool.release(lost.connection)
        connection = await self._pool.get_connection()
        assert isinstance(connection, CancellableConnection)
        self._link = Link(connection)
        return self._link

    async def stop(self) -> None:
        """Stop connecting; callers that wait get a ConnectionError."""
        await cancel_and_wait(*(task for task in (self._connecting, self._flushing) if task is not None))

    async def aclose(self) -> None:
        """Close the pool; callers that wait get a ConnectionError."""
        await self.stop()
        await self._pool.aclose()


class SentOnce:
    """Takes commands like a connection, and sends each once: a lost one may have been executed."""

    def __init__(self, connection: MultiplexedConnection) -> None:
        self._connection = connection

    async def execute_command(self, *command: "Value") -> Any:
        """A command's answer. Raises as `MultiplexedConnection.read` does, also if the connection is lost once."""
        return await self._connection._exchange(command, (True,))


class Link(asyncio.Protocol):
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
        self._demoted = False
        self._transport.set_protocol(self)

    @property
    def closed(self) -> bool:
        """Whether it takes no more commands. A server that became a replica takes none: its name may lead elsewhere."""
        return self._demoted or self._transport.is_closing()

    def send(self, commands: Sequence[Sent]) -> None:
        """Send commands in one write."""
        now = monotonic()
        self._pending.extend([(one.answer, now) for one in commands])
        if self._timer is None and self._timeout_s:
            self._timer = self._loop.call_later(self._timeout_s, self._look_at_oldest)
        self._transport.write(commands[0].packed if len(commands) == 1 else b"".join([one.packed for one in commands]))

    def data_received(self, data: bytes) -> None:
        """Give answers to their callers."""
        replies, pending = self._replies, self._pending
        try:
            replies.feed(data)
            while (reply := replies.gets()) is not NO_ANSWER:
                if not pending:
                    raise exceptions.InvalidResponse("an answer without a command")
                answer, _ = pending.popleft()
                self._demoted |= isinstance(reply, exceptions.ReadOnlyError)
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
        latest = monotonic() - self._timeout_s
        if self._pending[0][1] > latest:
            self._timer = self._loop.call_later(self._pending[0][1] - latest, self._look_at_oldest)
            return
        for answer, sent in self._pending:
            if sent <= latest and not answer.done():
                answer.set_exception(exceptions.TimeoutError("The server does not answer in time"))
        self._break(exceptions.ConnectionError, "The connection is lost")

    def _break(self, kind: type[exceptions.RedisError], reason: str) -> None:
        self._transport.abort()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._pending:
            answer, _ = self._pending.popleft()
            if not answer.done():
                answer.set_exception(kind(reason))
