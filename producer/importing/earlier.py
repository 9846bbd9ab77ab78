"""The interactions of the current snapshot, as rows that new ones are appended to.

A snapshot does not say how it was imported, so that equal interactions have equal bytes. What its import chose is
found in it: whether it has weights and times, and whether all its ids are whole numbers.
"""

import dataclasses
from collections.abc import Iterator
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.checking import GoodRows
from reckoner.producer.importing.judging.roles import EXCLUDE, HISTORY, SIGNAL
from reckoner.producer.importing.merging.item_facts import ItemFacts
from reckoner.producer.importing.reading.columns import USUAL_NAMES, ChosenColumns
from reckoner.producer.importing.reading.databases import Query
from reckoner.producer.importing.reading.sources import Origin
from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError, SourceError, UsageError
from reckoner.shared.serving.events import BEGINNING, Mark, parse_mark
from reckoner.shared.store.catalogue import ALWAYS, FOR_EVER
from reckoner.shared.store.identifiers import TextTable
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.repeats import Repeats
from reckoner.shared.store.snapshots import KIND, ItemsOfUsers, Snapshot, open_snapshot

# The rows that are given at a time.
AT_ONCE = 1 << 20


class Earlier:
    """The interactions of a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.id = snapshot.id
        self._snapshot = snapshot
        self._ids = {"user": _texts(snapshot.users), "item": _texts(snapshot.items)}

    def __len__(self) -> int:
        """The number of interactions, and of pairs that are only left out."""
        excluded = sum(int(np.count_nonzero(~pairs.are_there)) for pairs in self._left())
        return len(self._snapshot.user_items) + excluded

    @property
    def repeats(self) -> Repeats:
        """The rule by which its rows were merged."""
        return self._snapshot.repeats

    @property
    def mark(self) -> Mark:
        """The mark up to which it holds recorded events."""
        return parse_mark(self._snapshot.mark) if self._snapshot.mark else BEGINNING

    @property
    def newest_ms(self) -> int | None:
        """The newest time of the rows of sources in milliseconds since 1970, None without times."""
        times, source_ms = self._snapshot.user_times, self._snapshot.source_ms
        if times is None or len(times) == 0:
            return None
        return int(times.max()) if source_ms is None else source_ms

    @property
    def is_weighted(self) -> bool:
        """Whether an interaction has another weight than 1."""
        return self._snapshot.user_weights is not None

    @property
    def has_roles(self) -> bool:
        """Whether users' lists leave out other items than those of the interactions."""
        return self._snapshot.left_items is not None

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

    def choose(self, chosen: ChosenColumns, rule: Repeats, source: str, *, weighs: bool) -> ChosenColumns:
        """The columns of `source` to read, so that new rows have what the snapshot has; they have weights if `weighs`.

        Raises:
            SourceError: a column is missing, or the snapshot lacks what it has.
        """
        if self.is_weighted and not weighs and rule != "sum":
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

    def rows(self) -> Iterator[GoodRows]:
        """All interactions, some at a time, and then the pairs that are only left out, with their roles."""
        snapshot = self._snapshot
        weights, times = snapshot.user_weights, snapshot.user_times
        for pairs in _compared(self._interactions, snapshot.left_out if self.has_roles else None):
            yield GoodRows(
                *self._named(pairs.users, pairs.items),
                None if weights is None else weights[pairs.places].astype(np.float64),
                None if times is None else np.array(times[pairs.places]),
                roles=np.where(pairs.are_there, HISTORY, SIGNAL).astype(np.uint8) if self.has_roles else None,
            )
        for pairs in self._left():
            users, items = pairs.users[~pairs.are_there], pairs.items[~pairs.are_there]
            yield GoodRows(
                *self._named(users, items),
                None,
                None if times is None else np.zeros(len(users), dtype=np.int64),
                roles=np.full(len(users), EXCLUDE, dtype=np.uint8),
            )

    @property
    def _interactions(self) -> ItemsOfUsers:
        return ItemsOfUsers(self._snapshot.user_ptr, self._snapshot.user_items)

    def _left(self) -> "Iterator[_Compared]":
        """What lists leave out, and which of it counts; nothing if that is the interactions."""
        return _compared(self._snapshot.left_out, self._interactions) if self.has_roles else iter(())

    def _named(
        self, users: NDArray[np.int64], items: NDArray[np.uint32]
    ) -> tuple[pa.DictionaryArray, pa.DictionaryArray]:
        """The ids of ascending users, and of items."""
        first, end = (int(users[0]), int(users[-1]) + 1) if len(users) else (0, 0)
        user_ids = self._ids["user"].slice(first, end - first)
        return (
            pa.DictionaryArray.from_arrays(pa.array((users - first).astype(np.int32)), user_ids),
            pa.DictionaryArray.from_arrays(pa.array(items.astype(np.int32)), self._ids["item"]),
        )


class _Compared(NamedTuple):
    """Some pairs of a user and an item, their `places`, and which of them are among the others."""

    users: NDArray[np.int64]
    items: NDArray[np.uint32]
    places: slice
    are_there: NDArray[np.bool_]


def _compared(some: ItemsOfUsers, others: ItemsOfUsers | None) -> Iterator[_Compared]:
    """The pairs, so many at a time, and which of them are among `others`; all of them if that is None."""
    for start in range(0, len(some.items), AT_ONCE):
        places = slice(start, min(start + AT_ONCE, len(some.items)))
        users, items = _users(some, places), some.items[places]
        there = np.ones(len(items), dtype=np.bool_) if others is None else _are_there(users, items, others)
        yield _Compared(users, items, places, there)


def _are_there(users: NDArray[np.int64], items: NDArray[np.uint32], others: ItemsOfUsers) -> NDArray[np.bool_]:
    near = slice(int(others.ptr[users[0]]), int(others.ptr[users[-1] + 1]))
    other_items = others.items[near]
    width = int(max(items.max(), other_items.max(initial=0))) + 1
    return np.isin(users * width + items, _users(others, near) * width + other_items, assume_unique=True)


def _users(pairs: ItemsOfUsers, places: slice) -> NDArray[np.int64]:
    """The users of some pairs, int64[]."""
    first = int(np.searchsorted(pairs.ptr, places.start, side="right")) - 1
    last = int(np.searchsorted(pairs.ptr, places.stop, side="left"))
    bounds = np.clip(pairs.ptr[first : last + 1], places.start, places.stop)
    return np.repeat(np.arange(first, max(first, last)), np.diff(bounds))


def find_earlier(
    source: Origin | None, store: Store | None, *, append: bool, since: bool
) -> tuple[Origin | None, Earlier | None]:
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


def current_mark(store: Store | None) -> str:
    """The mark of the current snapshot; empty without any, or where it is damaged or gone."""
    current = store.current_snapshot() if store else None
    if store is None or current is None:
        return ""
    try:
        return open_snapshot(store.fetch(KIND, current)).mark
    except (ArtifactMissingError, ArtifactDamagedError):
        return ""


def _texts(table: TextTable) -> pa.Array:
    """A table as large_string[n], without a copy."""
    buffers = [None, pa.py_buffer(np.ascontiguousarray(table.offsets)), pa.py_buffer(np.ascontiguousarray(table.blob))]
    return pa.Array.from_buffers(pa.large_string(), len(table), buffers)
