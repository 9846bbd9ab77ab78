"""Collects the good rows of all batches, and merges repeats part by part."""

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.checking import GoodRows
from reckoner.producer.importing.judging.roles import COUNTS, LEFT_OUT
from reckoner.producer.importing.judging.verdict import without_words
from reckoner.producer.importing.merging.item_facts import ItemFacts
from reckoner.producer.importing.merging.numbering import Numbering
from reckoner.producer.importing.merging.spool import Spool, joined
from reckoner.producer.importing.merging.tagging import CollectedTags
from reckoner.producer.importing.reading.databases import EARLIEST_MS
from reckoner.shared.store.repeats import Repeats, Rows, merge_repeats
from reckoner.shared.store.sorting import stable_order

# The rows that are numbered together.
AT_ONCE = 1 << 21
# About as many rows are in a part that is merged at once.
PART_ROWS = 1 << 20
# More rows are kept on disk.
IN_MEMORY = 1 << 25
# Parts that are merged side by side.
THREADS = 2


@dataclass(frozen=True, slots=True)
class Merged:
    """The interactions in the order of their pairs, and the sorted ids, large_string, which they are indices into.

    `left` are the pairs that lists leave out, with the roles of all their rows; None if these are the interactions.
    """

    user_ids: pa.Array
    item_ids: pa.Array
    rows: Rows
    left: Rows | None = None

    @property
    def excluded(self) -> int:
        """The number of pairs that are left out and do not count."""
        if self.left is None or self.left.roles is None:
            return 0
        return int(np.count_nonzero(self.left.roles & COUNTS == 0))


class CollectedRows:
    """The good rows read so far, to be merged by `rule`.

    Users and items are numbered in order of appearance. `make_room()` returns a directory for rows that are too many
    for the memory.
    """

    def __init__(self, rule: Repeats, make_room: Callable[[], Path]) -> None:
        self._users, self._items = Numbering(), Numbering()
        self.titles: dict[str, str] = {}
        """The last title of each item that has one."""
        self.tags = CollectedTags()
        self.read = 0
        """The number of rows read, without malformed lines."""
        self.count = 0
        """The number of good rows."""
        self.source_ms = EARLIEST_MS
        """The newest time of rows of sources that count."""
        self.types = Counter[int]()
        """The number of good rows of each type."""
        self._rule: Repeats = rule
        self._make_room = make_room
        self._room: Path | None = None
        self._pending: list[GoodRows] = []
        self._pending_count = 0
        self._chunks = Spool(None)
        self._rows_of_users = np.empty(0, dtype=np.int64)
        self._thread = ThreadPoolExecutor(1)
        self._numbering = self._thread.submit(self._number, [])

    def add_of_source(self, rows: GoodRows, read: int) -> None:
        """Add the good rows of the next `read` ones of a source; see `add`."""
        if rows.times is not None:
            counting = rows.times if rows.roles is None else rows.times[rows.roles & COUNTS != 0]
            self.source_ms = max(self.source_ms, int(counting.max(initial=EARLIEST_MS)))
        self.add(rows)
        self.read += read

    def add(self, rows: GoodRows) -> None:
        """Add the good rows of the next batch.

        Raises:
            StoreError: rows cannot be written to disk.
        """
        if rows.titles is not None:
            self.titles |= _last_titles(rows.items, rows.titles)
        if rows.tags is not None:
            self.tags.add(rows.items, rows.tags)
        if rows.types is not None:
            self.types.update(dict(enumerate(np.bincount(rows.types).tolist())))
        self._pending.append(replace(rows, titles=None, tags=None, places=None, types=None))
        self.count += len(rows.users)
        self._pending_count += len(rows.users)
        if self._pending_count >= AT_ONCE:
            self._number_pending()

    def item_ids(self) -> pa.Array:
        """The distinct items, large_string."""
        self._finish()
        return self._items.texts

    def facts(self, separator: str) -> ItemFacts:
        """What the rows say of their items."""
        return ItemFacts(self.titles, self.tags.split(separator))

    def _number_pending(self) -> None:
        """Number the rows added last, while the next ones are read."""
        pending, self._pending, self._pending_count = self._pending, [], 0
        self._numbering.result()
        self._numbering = self._thread.submit(self._number, pending)

    def _finish(self) -> None:
        """Number all rows."""
        self._number_pending()
        self._numbering.result()

    def _number(self, pending: Sequence[GoodRows]) -> None:
        """Make a chunk of numbers of some rows."""
        if not pending:
            return
        users = self._users.number([rows.users for rows in pending])
        items = self._items.number([rows.items for rows in pending])
        weights = self._stored(joined([rows.weights for rows in pending]))
        counts = np.bincount(users, minlength=len(self._users))
        counts[: len(self._rows_of_users)] += self._rows_of_users
        self._rows_of_users = counts
        if self._room is None and counts.sum() > IN_MEMORY:
            self._move_to_disk()
        times, roles = (joined([getattr(rows, name) for rows in pending]) for name in ("times", "roles"))
        self._chunks.append(Rows(users, items, weights, times, roles))

    def _stored(self, weights: NDArray[Any] | None) -> NDArray[Any] | None:
        """The weights in half the memory, if that changes none, or if none is added to another."""
        if weights is None:
            return None
        rounded = weights.astype(np.float32)
        return rounded if self._rule != "sum" or np.array_equal(rounded, weights) else weights

    def _move_to_disk(self) -> None:
        self._room = self._make_room()
        in_memory, self._chunks = self._chunks, Spool(self._room / "rows")
        for rows in in_memory.drain():
            self._chunks.append(rows)

    def merge(self, alive: Callable[[], None]) -> Merged:
        """Merge repeats; the collected rows are forgotten. `alive()` is called now and then.

        Raises:
            StoreError: rows on disk cannot be written or read.
        """
        self._finish()
        user_ids, user_ranks = self._users.ranked()
        item_ids, item_ranks = self._items.ranked()
        parts = self._split(user_ranks, item_ranks, alive)
        with ThreadPoolExecutor(THREADS) as threads:
            left = list[Rows]()
            rows = self._joined(self._merged(parts, threads, left), alive)
        return Merged(user_ids, item_ids, rows, _joined_left(left) if left else None)

    def _merged(self, parts: list[Spool], threads: ThreadPoolExecutor, left: list[Rows]) -> Iterator[Rows]:
        """Each part without repeats, few of which are in memory at a time; where rows have roles, those that count.

        What lists leave out is added to `left`.
        """
        merging = deque[Future[tuple[Rows, Rows | None]]]()
        for part in parts:
            merging.append(threads.submit(lambda part: _merged_part(part.drain_joined(), self._rule), part))
            while len(merging) > THREADS or (merging and part is parts[-1]):
                rows, left_out = merging.popleft().result()
                left += [] if left_out is None else [left_out]
                yield rows

    def _joined(self, parts: Iterable[Rows], alive: Callable[[], None]) -> Rows:
        """All parts one after the other; only rows that are there take memory."""
        users, items = (np.empty(self.count, dtype=np.uint32) for _ in range(2))
        weights: NDArray[np.floating[Any]]
        weights, times = np.empty(self.count, np.float64 if self._rule == "sum" else np.float32), None
        is_weighted, filled = False, 0
        for rows in parts:
            alive()
            place = slice(filled, filled + len(rows))
            users[place], items[place] = rows.users, rows.items
            if rows.weights is not None and not is_weighted:
                is_weighted, weights[:filled] = True, 1
            if is_weighted:
                weights[place] = 1 if rows.weights is None else rows.weights
            if rows.times is not None:
                times = np.empty(self.count, dtype=np.int64) if times is None else times
                times[place] = rows.times
            filled = place.stop
        return Rows(
            users[:filled],
            items[:filled],
            weights[:filled] if is_weighted else None,
            None if times is None else times[:filled],
        )

    def _split(
        self, user_ranks: NDArray[np.uint32], item_ranks: NDArray[np.uint32], alive: Callable[[], None]
    ) -> list[Spool]:
        """The rows with the ranks of their ids, in parts of neighbouring users."""
        ends = np.empty_like(self._rows_of_users)
        ends[user_ranks] = self._rows_of_users
        np.cumsum(ends, out=ends)
        # A user's rows are in one part, so that of a user with very many leaves some numbers out.
        numbers = (ends - 1) // PART_ROWS
        part_of = np.cumsum(np.diff(numbers, prepend=numbers[:1]) > 0).astype(np.uint16)
        n_parts = int(part_of[-1]) + 1
        parts = [Spool(None if self._room is None else self._room / f"part-{number}") for number in range(n_parts)]
        for chunk in self._chunks.drain():
            alive()
            users = user_ranks[chunk.users]
            ranked = replace(chunk, users=users, items=item_ranks[chunk.items])
            part_of_row = part_of[users]
            order = stable_order(part_of_row, n_parts)
            bounds = np.searchsorted(part_of_row[order], np.arange(n_parts + 1, dtype=np.uint16)).tolist()
            for part, start, end in zip(parts, bounds, bounds[1:], strict=False):
                if start < end:
                    part.append(ranked.take(order[start:end]))
        return parts


def _merged_part(rows: Rows, rule: Repeats) -> tuple[Rows, Rows | None]:
    """The interactions of some rows, and the pairs that lists leave out if rows have roles."""
    if rows.roles is None:
        return merge_repeats(rows, rule), None
    pairs = merge_repeats(Rows(rows.users, rows.items, None, None, rows.roles), "max")
    assert pairs.roles is not None
    counted = replace(rows.take(np.flatnonzero(rows.roles & COUNTS)), roles=None)
    return merge_repeats(counted, rule), pairs.take(np.flatnonzero(pairs.roles & LEFT_OUT))


def _joined_left(parts: list[Rows]) -> Rows:
    """The parts one after the other."""
    users, items = (np.concatenate([getattr(rows, name) for rows in parts]) for name in ("users", "items"))
    return Rows(users, items, None, None, joined([rows.roles for rows in parts]))


def _last_titles(items: pa.DictionaryArray, titles: pa.Array) -> dict[str, str]:
    """The last title of each item that is not missing."""
    rows = np.flatnonzero(pc.fill_null(pc.greater(pc.binary_length(titles), 0), False).to_numpy(zero_copy_only=False))
    last = np.full(len(items.dictionary), -1, dtype=np.int64)
    last[np.asarray(items.indices.to_numpy())[rows]] = rows
    titled = np.flatnonzero(last >= 0)
    texts = (items.dictionary.take(pa.array(titled)), titles.take(pa.array(last[titled])))
    if without_words(texts[1]).null_count:
        # Looking at the last ones only takes less time than at all.
        return _last_titles(items, without_words(titles))
    return dict(zip(*(column.to_pylist() for column in texts), strict=True))
