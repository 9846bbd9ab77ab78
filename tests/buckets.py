"""A server of S3's protocol, as far as objects are listed and read."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

DATE = "2026-11-30T12:00:00.000Z"


class _Server(ThreadingHTTPServer):
    objects: dict[str, bytes]


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """List the objects of a bucket, or give one; none without a signature."""
        url = urlsplit(self.path)
        key = unquote(url.path).removeprefix("/").partition("/")[2]
        if "Authorization" not in self.headers:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif not key:
            self._answer(200, self._listed(parse_qs(url.query).get("prefix", [""])[0]))
        elif key in self.server.objects:
            self._answer(200, self.server.objects[key])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def _listed(self, prefix: str) -> bytes:
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{DATE}</LastModified><ETag>e</ETag>"
            f"<Size>{len(data)}</Size></Contents>"
            for key, data in self.server.objects.items()
            if key.startswith(prefix)
        )
        return f"<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>".encode()

    def _answer(self, code: int, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Mon, 30 Nov 2026 12:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def bucket(objects: dict[str, bytes]) -> Iterator[str]:
    """The URL of a server whose buckets all have these objects."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.objects = objects
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
