"""The import pipeline: read, check, merge repeats, write and publish the snapshot, make it current."""

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.checking import BadRows, GoodRows, check_batch
from reckoner.producer.importing.columns import ChosenColumns, Columns, choose_columns, require_column
from reckoner.producer.importing.databases import Query
from reckoner.producer.importing.gate import ImportLimits, Size, judge
from reckoner.producer.importing.repeats import Repeats, Rows, merge_repeats
from reckoner.producer.importing.sources import Source, find_source
from reckoner.producer.importing.tables import Table, unchanged
from reckoner.producer.importing.values import as_texts
from reckoner.shared.errors import NotTimesError, SourceError
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, write_snapshot
from reckoner.shared.store.verification import VerificationCache

Progress: TypeAlias = Callable[[int, int | None], None]


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an import."""

    snapshot_id: str
    rows: int
    interactions: int
    users: int
    items: int
    repeated: int
    """The number of good rows merged into another row."""
    bad_rows: int
    bad_examples: list[tuple[int, str]]
    """The first twenty bad rows as (number, reason)."""
    bad_unit: Literal["line", "row"]
    """What the numbers count."""
    not_times: str | None
    """A column with a usual name for times that was skipped, since not all its values are times."""
    refused: list[str] = []
    """Why the snapshot did not become the current one; it is kept beside it."""


@dataclass(slots=True)
class CollectedRows:
    """The good rows read so far; users and items are numbered in order of appearance."""

    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    titles: dict[int, str] = field(default_factory=dict)
    bad: BadRows = field(default_factory=BadRows)
    read: int = 0
    """The number of rows read, bad ones included."""
    parts: list[Rows] = field(default_factory=list)

    def add(self, rows: GoodRows) -> None:
        """Add the good rows of the next batch."""
        items = _numbered(rows.items, self.items)
        self.parts.append(Rows(_numbered(rows.users, self.users), items, rows.weights, rows.times))
        if rows.titles is not None:
            self.titles |= _last_titles(items, rows.titles)

    def rows(self) -> Rows:
        """All good rows, with indices into the sorted ids."""
        users = np.concatenate([part.users for part in self.parts])
        items = np.concatenate([part.items for part in self.parts])
        weights = np.concatenate([part.weights for part in self.parts])
        times = [part.times for part in self.parts if part.times is not None]
        return Rows(
            _ranks(self.users)[users], _ranks(self.items)[items], weights, np.concatenate(times) if times else None
        )


def _show_nothing(_rows: int, _total: int | None) -> None:
    return


def import_interactions(
    source: Path | Query,
    store: Store,
    *,
    columns: Columns = Columns(),  # noqa: B008 - it is frozen
    repeats: Repeats = "last",
    verified: VerificationCache | None = None,
    progress: Progress = _show_nothing,
    limits: ImportLimits | None = None,
) -> ImportReport:
    """Import a file, directory, zip file or query as the current snapshot of `store`.

    With `limits`, a snapshot beyond them is stored but does not become the current one.

    Each row weighs 1 unless a weight column is given. A time column found by its name is skipped if a value is not a
    time. Bad rows are counted and skipped. The snapshot is added to `verified`: its files have just been hashed, so
    workers of this host need not do it again. `progress(rows, total)` is called after each batch, and as a sign of life
    before each later step; `total` may be None.

    Raises:
        SourceError: the source is unreadable, lacks a column, or has no good row; the current snapshot stays.
        StoreError: the store cannot be written; the current snapshot stays.
    """
    found = find_source(source)
    table = found.interactions
    chosen = _choose(found, columns)
    not_times = None
    with unchanged(found.file) if found.file else contextlib.nullcontext():
        try:
            collected = _collect(table, chosen, progress)
        except NotTimesError:
            if not chosen.time_is_guessed:
                raise
            # The column was guessed, so its values make no row bad.
            not_times, chosen = chosen.time, dataclasses.replace(chosen, time=None)
            collected = _collect(table, chosen, progress)
    if not collected.users:
        raise SourceError(_no_good_row(table, collected.bad), examples=collected.bad.first())
    alive = partial(progress, collected.read, table.n_rows)
    if found.titles is not None:
        alive()
        _collect_titles(found.titles, columns, collected)
    report = _publish(collected, table, repeats, store, not_times, limits, alive)
    alive()
    if verified is not None:
        verified.add(store.fingerprint(KIND, report.snapshot_id))
    return report


def _choose(found: Source, columns: Columns) -> ChosenColumns:
    table = found.interactions
    if found.titles is None:
        return choose_columns(columns, table.columns, table.name)
    chosen = choose_columns(dataclasses.replace(columns, title=None), table.columns, table.name)
    return dataclasses.replace(chosen, title=None)


def _collect(table: Table, chosen: ChosenColumns, progress: Progress) -> CollectedRows:
    collected = CollectedRows()
    for batch in table.batches(chosen.names(), collected.bad.add):
        collected.add(check_batch(batch, chosen, collected.bad))
        collected.read += len(batch.lines)
        progress(collected.read, table.n_rows)
    return collected


def _collect_titles(table: Table, columns: Columns, collected: CollectedRows) -> None:
    """Read the titles of known items from the table of MovieLens, skipping malformed lines."""
    item = require_column("item", columns.item, table.columns, table.name)
    title = require_column("title", columns.title, table.columns, table.name)
    for batch in table.batches([item, title], lambda _line, _reason: None):
        texts = (as_texts(batch.columns[name]).to_pylist() for name in (item, title))
        collected.titles |= {collected.items[i]: text for i, text in zip(*texts, strict=True) if i in collected.items}


def _publish(
    collected: CollectedRows,
    table: Table,
    repeats: Repeats,
    store: Store,
    not_times: str | None,
    limits: ImportLimits | None,
    alive: Callable[[], None],
) -> ImportReport:
    alive()
    rows = collected.rows()
    alive()
    merged = merge_repeats(rows, repeats)
    user_ids, item_ids = sorted(collected.users), sorted(collected.items)
    if merged.weights is not None and np.any(merged.weights > np.finfo(np.float32).max):
        raise SourceError(f"The summed weights of a user and an item in {table.name} exceed the maximum of float32.")
    titles = [collected.titles.get(collected.items[item], "") for item in item_ids]
    alive()
    with store.scratch() as directory:
        snapshot_id = write_snapshot(
            directory,
            user_ids=user_ids,
            item_ids=item_ids,
            users=merged.users,
            items=merged.items,
            weights=merged.weights,
            times=merged.times,
            titles=titles if any(titles) else None,
        )
        alive()
        store.publish(KIND, snapshot_id, directory)
    alive()
    size, n_rows = Size(len(user_ids), len(item_ids), len(merged)), len(rows) + collected.bad.count
    refused = judge(limits, size, store, n_rows, collected.bad.count) if limits else []
    if not refused:
        store.set_current_snapshot(snapshot_id)
    return ImportReport(
        snapshot_id=snapshot_id,
        rows=n_rows,
        interactions=size.interactions,
        users=size.users,
        items=size.items,
        repeated=len(rows) - len(merged),
        bad_rows=collected.bad.count,
        bad_examples=collected.bad.first(),
        bad_unit=table.unit,
        not_times=not_times,
        refused=refused,
    )


def _no_good_row(table: Table, bad: BadRows) -> str:
    if bad.count == 0:
        return f"{table.name} has no rows."
    line, why = bad.first()[0]
    return f"{table.name} has no good row. The first bad one is {table.unit} {line}: {why}."


def _numbered(ids: pa.Array, numbers: dict[str, int]) -> NDArray[np.uint32]:
    """The number of each id, uint32[n]; a new id gets the next number."""
    distinct = ids.dictionary_encode()
    of_distinct = [numbers.setdefault(text, len(numbers)) for text in distinct.dictionary.to_pylist()]
    return np.take(np.array(of_distinct, dtype=np.uint32), np.asarray(distinct.indices.to_numpy()))


def _ranks(numbers: dict[str, int]) -> NDArray[np.uint32]:
    """The index among the sorted ids, uint32[ids], by the number of an id."""
    ranks = np.empty(len(numbers), dtype=np.uint32)
    ranks[[numbers[text] for text in sorted(numbers)]] = np.arange(len(numbers))
    return ranks


def _last_titles(items: NDArray[np.uint32], titles: pa.Array) -> dict[int, str]:
    """The last non-empty title of each item."""
    rows = np.flatnonzero(pc.fill_null(pc.greater(pc.binary_length(titles), 0), False).to_numpy(zero_copy_only=False))
    distinct, last = np.unique(items[rows][::-1], return_index=True)
    return dict(zip(distinct.tolist(), titles.take(pa.array(rows[::-1][last])).to_pylist(), strict=True))
