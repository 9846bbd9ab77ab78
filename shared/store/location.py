"""The location of an artifact store: its URL."""

import contextlib
import hashlib
import os
import threading
from pathlib import Path
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from reckoner.shared.errors import ReckonerError, StoreError
from reckoner.shared.settings import Settings
from reckoner.shared.store.bucket import SCHEMES, Bucket, is_bucket, require_obstore
from reckoner.shared.store.cache import Cache
from reckoner.shared.store.directory import CURRENT_SNAPSHOT_NAME, DirectoryStore
from reckoner.shared.store.object_store import ObjectStore
from reckoner.shared.store.protocol import Store

# A caller that only shows the last import waits no longer.
IMPORTED_WITHIN_S: Final = 2.0
BYTES_PER_MB: Final = 1_000_000


def store_of(settings: Settings, *, create: bool = True) -> Store:
    """Open the store of these settings; see `open_store`. A store in a bucket has its cache in the home."""
    url = settings.store_location
    if not is_bucket(url):
        return open_store(url, create=create)
    require_obstore()
    bucket = Bucket(url)
    return ObjectStore(bucket, Cache(cache_directory(settings), settings.store_cache_mb * BYTES_PER_MB))


def open_store(url: str, *, create: bool = True) -> DirectoryStore:
    """Open the store in a directory, and create it if it does not exist and `create`: a mount may be missing.

    Raises:
        StoreError: the URL is invalid, or the directory is not writable, or not there.
    """
    return DirectoryStore(store_directory(url), create=create)


def cache_directory(settings: Settings) -> Path:
    """The directory on this host for the artifacts of a store in a bucket."""
    return settings.home_path / "cache" / hashlib.sha256(settings.store_location.encode()).hexdigest()[:16]


def describe_store(url: str) -> str:
    """What a store is called in messages: its directory, or its bucket and prefix; it holds no secret.

    Raises:
        StoreError: the URL is invalid.
    """
    return Bucket.name(url) if is_bucket(url) else str(store_directory(url))


def is_store(settings: Settings) -> bool:
    """Whether the directory of the store exists; of a bucket nothing is known here."""
    return is_bucket(settings.store_location) or store_directory(settings.store_location).is_dir()


def imported_last(settings: Settings) -> str | None:
    """The current snapshot of the store; None if there is none, or the store does not answer in time."""
    found = list[str]()

    def read() -> None:
        with contextlib.suppress(OSError, UnicodeDecodeError, ReckonerError):
            url = settings.store_location
            if is_bucket(url):
                require_obstore()
                data = Bucket(url).get(CURRENT_SNAPSHOT_NAME) or b""
            else:
                data = (store_directory(url) / CURRENT_SNAPSHOT_NAME).read_bytes()
            found.append(data.decode("ascii").strip())

    # A hanging store blocks its reader forever, so read in a thread.
    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(IMPORTED_WITHIN_S)
    return found[0] or None if found else None


def store_directory(url: str) -> Path:
    """The directory of a store's URL, even if it does not exist.

    Raises:
        StoreError: the URL is invalid.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        # A URL of another scheme may hold a password.
        scheme = f"{parts.scheme}://" if parts.scheme else "no scheme"
        others = ", ".join(f"{each}://bucket/prefix" for each in SCHEMES)
        raise StoreError(f"The store's URL has {scheme}. Use a directory, file:///absolute/path, or {others}.")
    path = os.fsdecode(unquote_to_bytes(parts.path))
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not path.startswith("/"):
        raise StoreError(
            f"The store's URL {url} is not a directory of this host. Write file:///absolute/path, with ?, # and % as "
            "%3F, %23 and %25."
        )
    return Path(path)
