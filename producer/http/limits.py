"""Limits of connections: uvicorn itself waits for ever for headers, for the rest of a body, and for a slow reader."""

import asyncio
from http import HTTPStatus
from time import monotonic
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from reckoner.producer.http.config import Limits
from reckoner.producer.http.problems import MEDIA_TYPE, ProblemError


class BoundedProtocol(HttpToolsProtocol):
    """A connection with limits, which `check` enforces when it is called again and again."""

    def __init__(self, limits: Limits, **options: Any) -> None:
        super().__init__(**options)
        self._limits = limits
        # When it was opened, or answered last.
        self._since = self._message_at = monotonic()
        self._in_headers = self._in_message = False
        self._header_bytes = 0
        # Whether what comes is no HTTP any more.
        self._deaf = False
        self._unsent = (0, 0.0)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Refuse what is too much."""
        super().connection_made(transport)  # type: ignore[arg-type] # as uvicorn's
        if len(self.connections) > self._limits.max_connections:
            self._refuse("too-busy", "There are too many connections. Try again soon.")

    def data_received(self, data: bytes) -> None:
        """Parse what came, and bound the headers."""
        if self._deaf or self.transport.is_closing():
            return
        super().data_received(data)
        if not self._in_headers:
            self._header_bytes = 0
            return
        self._header_bytes += len(data)
        if self._header_bytes > self._limits.max_header_bytes:
            most = self._limits.max_header_bytes
            self._refuse("headers-too-large", f"The request line and the headers have over {most:,} bytes.")

    def on_message_begin(self) -> None:
        """A request begins."""
        self._in_headers = self._in_message = True
        self._message_at = monotonic()
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Its headers are whole."""
        self._in_headers = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Its body is whole."""
        self._in_message = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """It is answered."""
        self._since = monotonic()
        super().on_response_complete()

    def eof_received(self) -> bool:  # type: ignore[override] # asyncio's returns a bool
        """Answer the requests of a client that sends no more; what is not whole is not answered."""
        if self._in_message or self.cycle is None or self.cycle.response_complete:
            return False
        self.cycle.keep_alive = False
        return True

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse("malformed", "This is not HTTP/1.1.")

    def check(self, now: float) -> None:
        """End the connection if it is beyond a limit."""
        limits, transport = self._limits, self.transport
        if self._is_stalled(now):
            transport.abort()
        elif transport.is_closing() or not (self.cycle is None or self.cycle.response_complete):
            # It ends, or the request has a time of its own.
            return
        elif self._in_message:
            if now - max(self._since, self._message_at) <= limits.headers_s:
                return
            if self._in_headers:
                self._refuse("slow-request", "The request did not arrive in time.")
            else:
                # It is answered, but its body has no end.
                transport.close()
        elif now - self._since > (limits.idle_s if self.cycle is None else limits.keep_alive_s):
            transport.close()

    def _is_stalled(self, now: float) -> bool:
        """Whether the client has not read for long what is to be sent."""
        size = self.transport.get_write_buffer_size()
        if size == 0 or size < self._unsent[0] or self._unsent[0] == 0:
            self._unsent = (size, now)
        return size > 0 and now - self._unsent[1] > self._limits.stall_s

    def _refuse(self, name: str, detail: str) -> None:
        """Answer with a problem, and end the connection, after the whole requests before have their answers."""
        busy = self.cycle is not None and not self.cycle.response_complete
        is_body = self._in_message and not self._in_headers
        if busy and (self.pipeline or not is_body):
            self._deaf, self.cycle.keep_alive = True, False
            return
        if not (busy and self.cycle.response_started):
            self.transport.write(_as_bytes(ProblemError(name, detail)))
        self.transport.close()


def _as_bytes(problem: ProblemError) -> bytes:
    """A whole answer."""
    headers = {"content-type": MEDIA_TYPE.decode(), "content-length": str(len(problem.body))}
    headers |= {"connection": "close", "x-content-type-options": "nosniff"} | problem.headers
    lines = [f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + problem.body
