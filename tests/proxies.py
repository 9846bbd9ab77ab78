"""A TCP proxy in front of a server, plain or with TLS, whose connections can be cut, delayed, held and healed."""

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
# For how long the end of one side is told to the other.
CLOSE_S = 1.0


class Relay:
    """Everything that comes to `url` goes on to the place of the Redis URL that `target` returns just then."""

    def __init__(self, target: Callable[[], str], tls: ssl.SSLContext | None = None) -> None:
        self._target = target
        self._tls = tls
        self._links: set[asyncio.Task[None]] = set()
        self.host, self.port = HOST, 0
        # How many connections were taken, ever.
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
        """How many connections go through it now."""
        return len(self._links)

    def cut(self) -> None:
        """End every connection at once, whatever is on its way; new ones are taken."""
        for link in self._links:
            link.cancel()

    async def passing(self) -> None:
        """Return when what was taken may go on."""

    def _take(self, reader: StreamReader, writer: StreamWriter) -> None:
        self.taken += 1
        link = asyncio.create_task(self._link(reader, writer))
        self._links.add(link)
        link.add_done_callback(self._links.discard)

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
            # The target is away, or a side does not hear of the end; both see the connection end.
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
        """Carry one direction to its end."""
        while True:
            chunk = await reader.read(CHUNK_BYTES)
            await self.passing()
            if not chunk:
                return
            writer.write(chunk)
            await writer.drain()


class Proxy(Relay):
    """A relay with the faults of a network, to `target`: a plain Redis URL, of which the place alone counts.

    With `tls` it is a server of TLS, and the faults come before that, as those of a network do. It lives in the event
    loop that enters it: what blocks that loop holds the proxy too. `target` may be set anew at any time, for a server
    that comes back at another place: connections made from then on go there.
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
        """Let all bytes arrive so much later, in both directions, or twice as much where many are under way."""
        self._delay_s = seconds

    def hole(self) -> None:
        """Take connections and bytes, and let nothing arrive, not even that a side has closed."""
        self._whole.clear()

    def heal(self) -> None:
        """Be in nobody's way any more; what a hole has taken arrives now, as after TCP's retransmission."""
        self._delay_s = 0.0
        self._whole.set()

    async def passing(self) -> None:
        """Return when what was taken may go on."""
        if self._delay_s:
            await asyncio.sleep(self._delay_s)
        await self._whole.wait()
