"""The location of an artifact store: its URL."""

import contextlib
import os
import threading
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from reckoner.shared.errors import StoreError
from reckoner.shared.store.directory import CURRENT_SNAPSHOT_NAME, DirectoryStore
from reckoner.shared.store.protocol import Store

# A caller that only shows the last import waits no longer.
IMPORTED_WITHIN_S = 2.0


def open_store(url: str, *, create: bool = True) -> Store:
    """Open the store at `url`, and create it if it does not exist and `create`: a mount may be missing.

    Raises:
        StoreError: the URL is invalid, or the directory is not writable, or not there.
    """
    return DirectoryStore(store_directory(url), create=create)


def imported_last(url: str) -> str | None:
    """The current snapshot of the store at `url`; None if there is none, or the store does not answer in time."""
    found = list[str]()

    def read() -> None:
        with contextlib.suppress(OSError, UnicodeDecodeError, StoreError):
            found.append((store_directory(url) / CURRENT_SNAPSHOT_NAME).read_text("ascii").strip())

    # A hanging mount blocks its reader forever, so read in a thread.
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
        raise StoreError(f"The store's URL has {scheme}. Use a directory: file:///absolute/path.")
    path = os.fsdecode(unquote_to_bytes(parts.path))
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not path.startswith("/"):
        raise StoreError(
            f"The store's URL {url} is not a directory of this host. Write file:///absolute/path, with ?, # and % as "
            "%3F, %23 and %25."
        )
    return Path(path)
