"""A proxy of a server of objects: it counts requests, and can be away, slow, or answer with errors and cut bodies."""

import http.client
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Literal
from urllib.parse import urlsplit

Fault = Literal["", "away", "slow", "error", "cut"]
HOPS = {"connection", "transfer-encoding", "content-length", "date", "server"}


class ObjectProxy(ThreadingHTTPServer):
    """Forwards requests to the server at a URL, with faults."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, target: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = target
        self.fault: Fault = ""
        self.delay_s = 0.3
        self.every = 1
        """A fault meets one in so many requests."""
        self.requests: list[str] = []
        """The method and path of each request."""

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"

    def reads(self, end: str) -> int:
        """The number of reads of paths with this end."""
        return sum(request.startswith("GET ") and request.endswith(end) for request in self.requests)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients are killed, and connections cut."""


class _Handler(BaseHTTPRequestHandler):
    server: ObjectProxy
    protocol_version = "HTTP/1.1"

    def _forward(self) -> None:
        server = self.server
        server.requests.append(f"{self.command} {urlsplit(self.path).path}")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = server.fault if len(server.requests) % server.every == 0 else ""
        if fault == "away":
            self.close_connection = True
            return
        if fault == "error":
            self._answer(500, [], b"")
            return
        if fault == "slow":
            time.sleep(server.delay_s)
        place = urlsplit(server.target)
        far = http.client.HTTPConnection(place.hostname or "", place.port)
        try:
            # The Host header is signed, so it stays.
            far.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                far.putheader(name, value)
            far.endheaders(body)
            answer = far.getresponse()
            data = answer.read()
        finally:
            far.close()
        length = answer.headers["Content-Length"] if self.command == "HEAD" else str(len(data))
        headers = [(name, value) for name, value in answer.getheaders() if name.lower() not in HOPS]
        self._answer(answer.status, [*headers, ("Content-Length", length or "0")], data, cut=fault == "cut")

    def _answer(self, status: int, headers: list[tuple[str, str]], data: bytes, *, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers or [("Content-Length", "0")]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        self.close_connection = self.close_connection or cut

    def __getattr__(self, name: str) -> Callable[[], None]:
        if name.startswith("do_"):
            return self._forward
        raise AttributeError(name)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def object_proxy(target: str) -> Iterator[ObjectProxy]:
    """A running proxy."""
    with ObjectProxy(target) as proxy:
        thread = Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield proxy
        finally:
            proxy.shutdown()
            thread.join()
