"""Opens the file or the object that an export is written to; it is there once it is whole."""

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from reckoner.shared.errors import MissingExtraError, OutputError, UsageError
from reckoner.shared.ids import fresh_id

if TYPE_CHECKING:
    from obstore import WritableFile
    from obstore.store import ObjectStore
    from typing_extensions import Buffer

SCHEMES = ("s3://", "gs://", "az://")
# At most two parts are on their way at once. An object has at most 10,000 parts, which are 160 GB.
PART_BYTES, PARTS_AT_ONCE = 16 * 1024 * 1024, 2


@contextlib.contextmanager
def open_destination(destination: str) -> Iterator[BinaryIO]:
    """A new file at a path, or a new object at a URL. It takes the place of an older one at the end of the block.

    After an error in the block nothing has changed. A process that is killed may leave a file `.NAME.ID.partial` beside
    the path, or in a bucket the parts of an incomplete upload.

    Raises:
        UsageError: the URL lacks a bucket or a key.
        MissingExtraError: obstore is not installed.
        OutputError: the file or the object cannot be written.
    """
    is_object = destination.startswith(SCHEMES)
    with _opened_object(destination) if is_object else _opened_file(Path(destination)) as file:
        yield file


@contextlib.contextmanager
def _opened_file(path: Path) -> Iterator[BinaryIO]:
    path = path.resolve()
    partial = path.with_name(f".{path.name}.{fresh_id()}.partial")
    try:
        if path.is_dir():
            raise OutputError(f"{path} is a folder. Name a file.")
        with partial.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror or error}.") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


@contextlib.contextmanager
def _opened_object(url: str) -> Iterator[BinaryIO]:
    scheme, _, rest = url.partition("://")
    bucket, _, key = rest.partition("/")
    if not bucket or not key or key.endswith("/") or "@" in bucket:
        raise UsageError(f"Write an object as {scheme}://bucket/key. Credentials come from the environment.")
    try:
        import obstore
        from obstore.exceptions import BaseError
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"Exporting to a bucket needs {error.name}, which is not installed: pip install 'ready-reckoner[s3]'."
        ) from error
    try:
        store = _bucket(f"{scheme}://{bucket}")
        upload = obstore.open_writer(store, key, buffer_size=PART_BYTES, max_concurrency=PARTS_AT_ONCE)
        yield cast("BinaryIO", _Upload(upload))
        # Only this makes the object.
        upload.close()
    except (BaseError, OSError, ValueError) as error:
        # Its words may have parts of a signed request.
        raise OutputError(f"{url} cannot be written. Credentials and region come from the environment.") from error


class _Upload(io.RawIOBase):
    """A file for pyarrow, which takes obstore's own for closed. Closing it does not end the upload."""

    def __init__(self, upload: "WritableFile") -> None:
        self._upload = upload

    def writable(self) -> bool:
        return True

    def write(self, data: "Buffer") -> int:
        # A copy, since obstore keeps what it is given, and pyarrow uses its buffer again.
        return self._upload.write(bytes(data))


def _bucket(url: str) -> "ObjectStore":
    from obstore.store import from_url

    # Named endpoints may be servers of one's own, without TLS.
    allow_http = os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    return from_url(url, client_options={"allow_http": allow_http})
