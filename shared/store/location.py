"""Where an artifact store is: the URL that names it."""

import contextlib
import os
import threading
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

from reckoner.shared.errors import StoreError
from reckoner.shared.store.directory import CURRENT_SNAPSHOT_NAME, DirectoryStore
from reckoner.shared.store.protocol import Store

# Whoever only wants to know what was imported last waits no longer.
IMPORTED_WITHIN_S = 2.0


def open_store(url: str) -> Store:
    """The store at `url`, which is created where it does not exist.

    Raises:
        StoreError: the URL does not name a store, or its place cannot be written.
    """
    return DirectoryStore(store_directory(url))


def imported_last(url: str) -> str | None:
    """The current snapshot of the store at `url`; None where there is none, or it cannot be read, or not in time."""
    found = list[str]()

    def read() -> None:
        with contextlib.suppress(OSError, UnicodeDecodeError, StoreError):
            found.append((store_directory(url) / CURRENT_SNAPSHOT_NAME).read_text("ascii").strip())

    # A mount that hangs holds its reader for ever, and nobody waits for this thread.
    reading = threading.Thread(target=read, daemon=True)
    reading.start()
    reading.join(IMPORTED_WITHIN_S)
    return found[0] or None if found else None


def store_directory(url: str) -> Path:
    """The directory that a store's URL names, whether or not it is there.

    Raises:
        StoreError: the URL does not name one.
    """
    parts = urlsplit(url)
    if parts.scheme != "file":
        # The whole URL is not shown: another scheme's may hold a password.
        scheme = f"{parts.scheme}://" if parts.scheme else "no scheme"
        raise StoreError(f"The store's URL has {scheme}; a store is a directory, given as file:///absolute/path.")
    path = os.fsdecode(unquote_to_bytes(parts.path))
    if parts.netloc not in ("", "localhost") or parts.query or parts.fragment or not path.startswith("/"):
        raise StoreError(
            f"The store's URL {url} does not name a directory of this host; write file:///absolute/path, "
            "with ?, # and % as %3F, %23 and %25."
        )
    return Path(path)
