"""A bucket of S3, Google or Azure: reads, writes and lists objects, and says in one sentence what went wrong.

Credentials, region and endpoint come from the environment, as the provider's own tools name them. No error has words of
the client's, which may have parts of a signed request.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple, TypeVar
from urllib.parse import urlsplit

from reckoner.shared.errors import MissingExtraError, StoreError

if TYPE_CHECKING:
    from obstore.store import ObjectStore as Client

T = TypeVar("T")

# The provider of a scheme, and the variable with an endpoint of one's own.
SCHEMES: Final = {
    "s3": ("S3Store", "AWS_ENDPOINT_URL"),
    "gs": ("GCSStore", "GOOGLE_BASE_URL"),
    "az": ("AzureStore", "AZURE_STORAGE_ENDPOINT"),
}
# The bytes of a request, which come within the time-out over 2.5 Mbit/s.
CHUNK_BYTES: Final = 8 << 20
TIMEOUT_S: Final = 30
RETRY_S: Final = 20
TRIES: Final = 3
NO_BUCKET: Final = ("NoSuchBucket", "ContainerNotFound", "bucket does not exist")


class Found(NamedTuple):
    """An object: its key below the prefix, its size in bytes, and when it was written, in seconds since 1970."""

    key: str
    size: int
    written_s: float


def is_bucket(url: str) -> bool:
    """Whether a store's URL names a bucket."""
    return urlsplit(url).scheme in SCHEMES


class Bucket:
    """The objects below the prefix of a bucket; all methods block.

    Raises:
        StoreError: the bucket does not answer, or denies the access.
    """

    def __init__(self, url: str) -> None:
        self.url = self.name(url)
        parts = urlsplit(self.url)
        with self._asking("opened"):
            self._client = _client(parts.scheme, parts.netloc, parts.path.strip("/"))

    @staticmethod
    def name(url: str) -> str:
        """The URL as it is shown.

        Raises:
            StoreError: it is invalid.
        """
        parts = urlsplit(url)
        prefix = parts.path.strip("/")
        if not parts.netloc or not prefix or parts.query or parts.fragment or set("@:") & set(parts.netloc):
            # It may hold a password.
            raise StoreError(
                f"The store's URL is no bucket. Write {parts.scheme}://bucket/prefix. Credentials come from the "
                "environment."
            )
        return f"{parts.scheme}://{parts.netloc}/{prefix}"

    def get(self, key: str) -> bytes | None:
        """The bytes of an object, None if there is none."""
        import obstore

        return self._read(lambda: bytes(obstore.get(self._client, key).bytes()))

    def get_range(self, key: str, start: int, end: int) -> bytes | None:
        """The bytes from `start` to `end` of an object, fewer at its end; None if there is no object."""
        import obstore

        return self._read(lambda: bytes(obstore.get_range(self._client, key, start=start, end=end)))

    def find(self, key: str) -> Found | None:
        """What is known of an object, None if there is none."""
        import obstore

        found = self._read(lambda: obstore.head(self._client, key))
        return None if found is None else Found(key, found["size"], found["last_modified"].timestamp())

    def list(self, folder: str) -> list[Found]:
        """All objects below a folder, by their keys."""
        import obstore

        found = self._read(
            lambda: [each for batch in obstore.list(self._client, prefix=folder, chunk_size=1000) for each in batch]
        )
        return sorted(Found(each["path"], each["size"], each["last_modified"].timestamp()) for each in found or ())

    def check(self) -> None:
        """Check that the bucket is there, and may be listed."""
        import obstore

        self._read(lambda: next(iter(obstore.list(self._client, chunk_size=1)), None))

    def put(self, key: str, data: bytes | Path) -> None:
        """Write an object, whole or not at all."""
        import obstore

        self._ask("written", lambda: obstore.put(self._client, key, data, chunk_size=CHUNK_BYTES, max_concurrency=4))

    def create(self, key: str, data: bytes) -> bool:
        """Write an object unless it exists. Returns whether it was written; perhaps it was if an answer was cut off."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        def create() -> bool:
            try:
                obstore.put(self._client, key, data, mode="create")
            except AlreadyExistsError:
                return False
            return True

        return self._ask("written", create)

    def delete(self, keys: Sequence[str]) -> None:
        """Delete objects, in this order; missing ones are no error."""
        import obstore

        def delete(key: str) -> None:
            with contextlib.suppress(FileNotFoundError):
                obstore.delete(self._client, key)

        for key in keys:
            self._ask("written", partial(delete, key))

    def now_s(self) -> float:
        """The time by the bucket's own clock, in seconds since 1970: a host's may be wrong."""
        self.put("clock", b"")
        found = self.find("clock")
        return time.time() if found is None else found.written_s

    def _read(self, work: Callable[[], T]) -> T | None:
        """Read, None for a missing object."""

        def read() -> T | None:
            try:
                return work()
            except FileNotFoundError:
                return None

        return self._ask("read", read)

    def _ask(self, what: str, work: Callable[[], T]) -> T:
        """Do what may be done twice; the client itself does not ask again when an answer was cut off."""
        from obstore.exceptions import GenericError

        with self._asking(what):
            for _ in range(TRIES - 1):
                with contextlib.suppress(GenericError):
                    return work()
            return work()

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError

        try:
            yield
        except FileNotFoundError:
            raise StoreError(f"The store {self.url} cannot be {what}: there is no such bucket.") from None
        except (PermissionDeniedError, UnauthenticatedError, PermissionError):
            raise StoreError(
                f"The store {self.url} cannot be {what}: the access is denied. Credentials come from the environment."
            ) from None
        except (BaseError, ValueError, OSError) as error:
            is_missing = any(code in str(error) for code in NO_BUCKET)
            why = "there is no such bucket" if is_missing else f"the bucket does not answer ({type(error).__name__})"
            raise StoreError(f"The store {self.url} cannot be {what}: {why}.") from None


def _client(scheme: str, bucket: str, prefix: str) -> "Client":
    provider, endpoint = SCHEMES[scheme]
    # Named endpoints may be servers of one's own, without TLS.
    allow_http = os.environ.get(endpoint, "").startswith("http://")
    from obstore import store

    made: Client = getattr(store, provider)(
        bucket,
        prefix=prefix,
        client_options={
            "allow_http": allow_http,
            "connect_timeout": timedelta(seconds=3),
            "timeout": timedelta(seconds=TIMEOUT_S),
        },
        retry_config={
            "max_retries": 2,
            "retry_timeout": timedelta(seconds=RETRY_S),
            "backoff": {"init_backoff": timedelta(milliseconds=100), "max_backoff": timedelta(seconds=2), "base": 2},
        },
    )
    return made


def require_obstore() -> None:
    """Check that the client of buckets is installed.

    Raises:
        MissingExtraError: it is not.
    """
    try:
        import obstore  # noqa: F401
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"A store in a bucket needs {error.name}, which is not installed: pip install 'ready-reckoner[s3]'."
        ) from error
