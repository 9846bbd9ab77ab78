"""Keeps rows until they are merged: in memory, or in a file if they are many."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import StoreError
from reckoner.shared.store.manifests import reason
from reckoner.shared.store.repeats import Rows


class Spool:
    """Rows in the order in which they were appended, in memory without a `path`."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: list[Rows] = []

    def append(self, rows: Rows) -> None:
        """Keep `rows`.

        Raises:
            StoreError: the file cannot be written, or the disk is full.
        """
        if self._path is None:
            self._rows.append(rows)
            return
        with _on_disk(self._path), self._path.open("ab", buffering=0) as file:
            for column in (rows.users, rows.items, rows.weights, rows.times, rows.roles):
                np.save(file, np.empty(0) if column is None else column, allow_pickle=False)

    def drain(self) -> Iterator[Rows]:
        """All rows, which are forgotten one after the other.

        Raises:
            StoreError: the file cannot be read.
        """
        while self._rows:
            yield self._rows.pop(0)
        if self._path is None or not self._path.exists():
            return
        with _on_disk(self._path), self._path.open("rb") as file:
            while file.peek(1):
                users, items, *others = (np.load(file, allow_pickle=False) for _ in range(5))
                yield Rows(users, items, *(column if len(column) else None for column in others))
        self._path.unlink()

    def drain_joined(self) -> Rows:
        """All rows together, which are forgotten."""
        parts = list(self.drain())
        users, items = (np.concatenate([getattr(rows, name) for rows in parts]) for name in ("users", "items"))
        others = (joined([getattr(rows, name) for rows in parts]) for name in ("weights", "times", "roles"))
        return Rows(users, items, *others)


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(f"The rows in {path.parent} cannot be written or read: {reason(error)}.") from error


def joined(columns: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    """The columns one after the other; all or none of them are None."""
    found = [column for column in columns if column is not None]
    return np.concatenate(found) if found else None
