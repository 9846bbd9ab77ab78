"""A server of S3's protocol, as far as objects are listed, read, and written at once or in parts."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

DATE = "2026-11-30T12:00:00.000Z"


class _Server(ThreadingHTTPServer):
    objects: dict[str, bytes]
    parts: dict[int, bytes]
    writable: bool


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        """List the objects of a bucket, or give one; none without a signature."""
        key, query = self._asked()
        if "Authorization" not in self.headers:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif not key:
            self._answer(200, self._listed(query.get("prefix", [""])[0]))
        elif key in self.server.objects:
            self._answer(200, self.server.objects[key])
        else:
            self._answer(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_PUT(self) -> None:
        """Write an object or a part of one."""
        key, query = self._asked()
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "Authorization" not in self.headers or not self.server.writable:
            self._answer(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif "uploadId" in query:
            self.server.parts[int(query["partNumber"][0])] = body
            self._answer(200, b"")
        else:
            self.server.objects[key] = body
            self._answer(200, b"")

    def do_POST(self) -> None:
        """Begin an upload in parts, or make an object of its parts."""
        key, query = self._asked()
        self.rfile.read(int(self.headers["Content-Length"]))
        kind, found = "InitiateMultipartUploadResult", "<UploadId>u</UploadId>"
        if "uploadId" in query:
            self.server.objects[key] = b"".join(self.server.parts.pop(part) for part in sorted(self.server.parts))
            kind, found = "CompleteMultipartUploadResult", "<ETag>e</ETag>"
        self._answer(200, f"<{kind}><Bucket>b</Bucket><Key>k</Key>{found}</{kind}>".encode())

    def _asked(self) -> tuple[str, dict[str, list[str]]]:
        url = urlsplit(self.path)
        return unquote(url.path).removeprefix("/").partition("/")[2], parse_qs(url.query, keep_blank_values=True)

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
def bucket(objects: dict[str, bytes], *, writable: bool = False) -> Iterator[str]:
    """The URL of a server whose buckets all have these objects, to which one upload in parts may add if `writable`."""
    with _Server(("127.0.0.1", 0), _Handler) as server:
        server.objects, server.parts, server.writable = objects, {}, writable
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()
