"""Keeps in a file what can be read only once."""

from collections.abc import Callable, Iterable
from pathlib import Path

from reckoner.shared.errors import StoreError
from reckoner.shared.store.manifests import reason

CHUNK_BYTES = 8 << 20


def keep(path: Path, chunks: Iterable[bytes], alive: Callable[[], None]) -> Path:
    """Write chunks into a new file. `alive()` is called after each.

    Raises:
        StoreError: a chunk cannot be read or written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
                alive()
    except OSError as error:
        raise StoreError(f"{path.name} cannot be kept in {path.parent}: {reason(error)}.") from error
    return path
