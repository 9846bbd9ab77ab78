"""The interactions of the current snapshot, as rows that new ones are appended to.

A snapshot does not say how it was imported, so that equal interactions have equal bytes. What its import chose is
found in it: whether it has weights and times, and whether all its ids are whole numbers.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.checking import GoodRows
from reckoner.producer.importing.merging.item_facts import ItemFacts
from reckoner.producer.importing.merging.repeats import Repeats
from reckoner.producer.importing.reading.columns import USUAL_NAMES, ChosenColumns
from reckoner.producer.importing.reading.databases import Query
from reckoner.producer.importing.reading.sources import Origin
from reckoner.shared.errors import SourceError, UsageError
from reckoner.shared.store.catalogue import ALWAYS, FOR_EVER
from reckoner.shared.store.identifiers import TextTable
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, Snapshot, open_snapshot

# The rows that are given at a time.
AT_ONCE = 1 << 20


class Earlier:
    """The interactions of a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.id = snapshot.id
        self._snapshot = snapshot
        self._ids = {"user": _texts(snapshot.users), "item": _texts(snapshot.items)}

    def __len__(self) -> int:
        return len(self._snapshot.user_items)

    @property
    def newest_ms(self) -> int | None:
        """The newest time in milliseconds since 1970, None without times."""
        times = self._snapshot.user_times
        return None if times is None or len(times) == 0 else int(times.max())

    @property
    def is_weighted(self) -> bool:
        """Whether an interaction has another weight than 1."""
        return self._snapshot.user_weights is not None

    def are_whole(self, role: Literal["user", "item"]) -> bool:
        """Whether all ids are whole numbers, without zeros after a point."""
        return bool(pc.all(pc.match_substring_regex(self._ids[role], "^-?[0-9]+$")).as_py())

    def facts(self) -> ItemFacts:
        """What it knows of items."""
        items, titles, catalogue = self._ids["item"].to_pylist(), self._snapshot.titles, self._snapshot.catalogue
        texts = [] if titles is None else zip(items, _texts(titles).to_pylist(), strict=True)
        return ItemFacts(
            {item: title for item, title in texts if title},
            {item: frozenset(tags) for number, item in enumerate(items) if (tags := catalogue.tags_of(number))},
            *(
                {}
                if array is None
                else {item: time for item, time in zip(items, array.tolist(), strict=True) if time != default}
                for array, default in ((catalogue.available_from, ALWAYS), (catalogue.available_until, FOR_EVER))
            ),
        )

    def choose(self, chosen: ChosenColumns, rule: Repeats, source: str) -> ChosenColumns:
        """The columns of `source` to read, so that new rows have what the snapshot has.

        Raises:
            SourceError: a column is missing, or the snapshot lacks what it has.
        """
        if self.is_weighted and chosen.weight is None and rule != "sum":
            raise SourceError(
                "The current snapshot has weights, so new rows need them. Name their column with --weight, or use "
                "--repeats sum if the weights are counts."
            )
        if self._snapshot.user_times is not None:
            if chosen.time is None:
                raise SourceError(
                    f"The current snapshot has times, but {source} has no time column "
                    f"({', '.join(USUAL_NAMES['time'])}). Name it with --time."
                )
            return dataclasses.replace(chosen, time_is_guessed=False)
        if chosen.time is not None and not chosen.time_is_guessed:
            raise SourceError(
                "The current snapshot has no times, so none can be appended. Remove --time, or import all rows at once."
            )
        return dataclasses.replace(chosen, time=None)

    def rows(self, *, weighted: bool) -> Iterator[GoodRows]:
        """All interactions, some at a time; with `weighted`, each has its weight."""
        snapshot, items = self._snapshot, self._ids["item"]
        for start in range(0, len(self), AT_ONCE):
            end = min(start + AT_ONCE, len(self))
            some = slice(start, end)
            users, user_ids = self._users(start, end)
            weights = None
            if weighted:
                stored = snapshot.user_weights
                weights = np.ones(end - start) if stored is None else stored[some].astype(np.float64)
            yield GoodRows(
                pa.DictionaryArray.from_arrays(pa.array(users.astype(np.int32)), user_ids),
                pa.DictionaryArray.from_arrays(pa.array(snapshot.user_items[some].astype(np.int32)), items),
                weights,
                None if snapshot.user_times is None else np.array(snapshot.user_times[some]),
            )

    def _users(self, start: int, end: int) -> tuple[NDArray[np.int64], pa.Array]:
        """The users of some interactions, as indices into some ids."""
        ptr = self._snapshot.user_ptr
        first = int(np.searchsorted(ptr, start, side="right")) - 1
        last = int(np.searchsorted(ptr, end, side="left"))
        bounds = np.clip(ptr[first : last + 1], start, end)
        return np.repeat(np.arange(last - first), bounds[1:] - bounds[:-1]), self._ids["user"].slice(
            first, last - first
        )


def find_earlier(source: Origin, store: Store | None, *, append: bool, since: bool) -> tuple[Origin, Earlier | None]:
    """The source with its parameter bound and, with `append`, the current snapshot, of which every byte is checked.

    Raises:
        UsageError: `since` is not for this source, or without `append`.
        SourceError: the current snapshot has no times.
        ArtifactMissingError, ArtifactDamagedError: the current snapshot is gone or damaged.
    """
    current = store.current_snapshot() if append and store else None
    earlier = Earlier(open_snapshot(store.fetch(KIND, current), verify=True)) if store and current else None
    if since:
        if not append or not isinstance(source, Query):
            raise UsageError("--since needs --append and --query.")
        if earlier is not None and earlier.newest_ms is None:
            raise SourceError("The current snapshot has no times, so there is no newest time for --since.")
        return source.since(earlier.newest_ms if earlier else None), earlier
    if isinstance(source, Query):
        source.require_no_parameter()
    return source, earlier


def _texts(table: TextTable) -> pa.Array:
    """A table as large_string[n], without a copy."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(table.offsets)), pa.py_buffer(np.ascontiguousarray(table.blob))]
    return pa.Array.from_buffers(pa.large_string(), len(table), buffers)
