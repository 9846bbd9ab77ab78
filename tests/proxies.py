"""A TCP proxy, plain or TLS, whose connections can be cut, delayed, dropped and healed."""

import asyncio
import ssl
from asyncio import StreamReader, StreamWriter
from collections.abc import Callable
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self
from urllib.parse import unquote, urlsplit

CHUNK_BYTES = 65_536
HOST = "127.0.0.1"
# How long a close is forwarded.
CLOSE_S = 1.0


class Relay:
    """Forwards all traffic to the Redis URL that `target` returns."""

    def __init__(self, target: Callable[[], str], tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self._links: set[asyncio.Task[None]] = set()
        self.host, self.port = HOST, 0
        # The number of connections ever accepted.
        self.taken = 0

    @property
    def url(self) -> str:
        """Where it listens, as a Redis URL."""
        return f"{'rediss' if self._tls else 'redis'}://{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._take, self.host, self.port, ssl=self._tls)
        self.port = int(self._listener.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.close()
        links = list(self._links)
        self.cut()
        await asyncio.gather(*links, return_exceptions=True)

    @property
    def connections(self) -> int:
        """The number of open connections."""
        return len(self._links)

    def cut(self) -> None:
        """Cut all connections. New ones are accepted."""
        for link in self._links:
            link.cancel()

    async def passing(self) -> None:
        """Wait until traffic may pass."""

    def _take(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.taken += 1
        link = asyncio.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)
        # One that is cut before its first step has not closed anything.
        link.add_done_callback(lambda _: writer.transport.abort())

    async def _link(self, reader: StreamReader, writer: StreamWriter) -> None:
        ends = [writer]
        try:
            await self.passing()
            far_reader, far_writer = await self._reach()
            ends.append(far_writer)
            ways = [asyncio.create_task(self._carry(*way)) for way in ((reader, far_writer), (far_reader, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
            async with asyncio.timeout(CLOSE_S):
                for end in ends:
                    end.close()
                    await end.wait_closed()
        except OSError:
            # The target is unavailable, or a side does not answer the close: both connections end.
            pass
        finally:
            for end in ends:
                end.transport.abort()

    async def _reach(self) -> tuple[StreamReader, StreamWriter]:
        place = urlsplit(self._target())
        if place.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(place.path))
        return await asyncio.open_connection(place.hostname, place.port)

    async def _carry(self, reader: StreamReader, writer: StreamWriter) -> None:
        """Forward one direction until its end."""
        while True:
            chunk = await reader.read(CHUNK_BYTES)
            await self.passing()
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()


class Proxy(Relay):
    """A relay to `target` with the faults of a network. Only the host and port or path of the Redis URL count.

    With `tls` it is a TLS server, and the faults happen below TLS. It runs in the event loop that enters it: blocking
    the loop blocks the proxy. `target` may change at any time; new connections go to the new target.
    """

    def __init__(self, target: str, tls: ssl.SSLContext | None = None) -> None:
        self.target = target
        self._decipher = Relay(lambda: self.target, tls) if tls else None
        super().__init__(lambda: self._decipher.url if self._decipher else self.target)
        self._stack = AsyncExitStack()
        self._delay_s = 0.0
        self._whole = asyncio.Event()
        self._whole.set()

    @property
    def url(self) -> str:
        """Where it listens, as a Redis URL."""
        return f"{'rediss' if self._decipher else 'redis'}://{HOST}:{self.port}"

    async def __aenter__(self) -> Self:
        if self._decipher:
            await self._stack.enter_async_context(self._decipher)
        return await super().__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await super().__aexit__(kind, error, trace)
        await self._stack.aclose()

    def delay(self, seconds: float) -> None:
        """Delay all bytes in both directions, up to twice as long with many in flight."""
        self._delay_s = seconds

    def hole(self) -> None:
        """Accept connections and bytes, and forward nothing, not even a close."""
        self._whole.clear()

    def heal(self) -> None:
        """Forward normally. Held bytes arrive now, as after TCP's retransmission."""
        self._delay_s = 0.0
        self._whole.set()

    async def passing(self) -> None:
        """Return when what was taken may go on."""
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        await self._whole.wait()


class RoundTrips(Relay):
    """Counts how often a client sends after an answer, over all its connections."""

    def __init__(self, target: str) -> None:
        super().__init__(lambda: target)
        self.count, self._is_answered = 0, True

    async def _reach(self) -> tuple[StreamReader, StreamWriter]:
        reader, writer = await super()._reach()
        read, write = reader.read, writer.write

        async def answered(size: int) -> bytes:
            data = await read(size)
            self._is_answered = True
            return data

        def sent(data: bytes) -> None:
            self.count += self._is_answered
            self._is_answered = False
            write(data)

        reader.read, writer.write = answered, sent  # type: ignore[method-assign, assignment]
        return reader, writer

    def since_last(self) -> int:
        """The round trips since the last call."""
        count, self.count = self.count, 0
        return count
