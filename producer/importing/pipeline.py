"""The pipeline: read, check, merge repeats, write the snapshot, publish it, make it current."""

import contextlib
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, field
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
from reckoner.producer.importing.repeats import Repeats, Rows, merge_repeats
from reckoner.producer.importing.sources import Source, find_source
from reckoner.producer.importing.tables import Table, unchanged
from reckoner.producer.importing.values import as_texts
from reckoner.shared.errors import NotTimesError, SourceError
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, write_snapshot

Progress: TypeAlias = Callable[[int, int | None], None]


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """What an import did.

    `rows` is how many the file has, `repeated` how many of the good ones were merged into another, and `bad_examples`
    the first twenty bad ones as (number, reason), where the number is that of a line or row as `bad_unit` says.
    `not_times` names a column that is called like a time and was left alone, since not all of it is one.
    """

    snapshot_id: str
    rows: int
    interactions: int
    users: int
    items: int
    repeated: int
    bad_rows: int
    bad_examples: list[tuple[int, str]]
    bad_unit: Literal["line", "row"]
    not_times: str | None


@dataclass(slots=True)
class Gathered:
    """The good rows read so far; users and items are numbered in the order in which they are met."""

    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    titles: dict[int, str] = field(default_factory=dict)
    bad: BadRows = field(default_factory=BadRows)
    parts: list[Rows] = field(default_factory=list)

    def add(self, rows: GoodRows) -> None:
        """Take in the good rows of the next batch."""
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


def import_interactions(
    source: Path | Query,
    store: Store,
    *,
    columns: Columns = Columns(),  # noqa: B008 - it is frozen
    repeats: Repeats = "last",
    progress: Progress | None = None,
) -> ImportReport:
    """Import the file, directory or zip at `source`, or what a query gives: it becomes the current snapshot of `store`.

    Each row weighs 1 unless a weight column is named; a column that is only called like a time is one if all of it is.
    `progress(rows, total)` is called after each batch; the total is None where only the end tells it. Bad rows are
    counted and left out.

    Raises:
        SourceError: the source cannot be read, lacks a column, or has not one good row; the current snapshot stays.
        StoreError: the store cannot be written; the current snapshot stays.
    """
    found = find_source(source)
    table = found.interactions
    chosen = _choose(found, columns)
    not_times = None
    with unchanged(found.file) if found.file else contextlib.nullcontext():
        try:
            gathered = _gather(table, chosen, progress)
        except NotTimesError:
            if not chosen.time_is_guessed:
                raise
            # Nobody has asked for these times, so they make no row bad.
            not_times, chosen = chosen.time, dataclasses.replace(chosen, time=None)
            gathered = _gather(table, chosen, progress)
    if not gathered.users:
        raise SourceError(_no_good_row(table, gathered.bad), examples=gathered.bad.first())
    if found.titles is not None:
        _gather_titles(found.titles, columns, gathered)
    return _publish(gathered, table, repeats, store, not_times)


def _choose(found: Source, columns: Columns) -> ChosenColumns:
    table = found.interactions
    if found.titles is None:
        return choose_columns(columns, table.columns, table.name)
    chosen = choose_columns(dataclasses.replace(columns, title=None), table.columns, table.name)
    return dataclasses.replace(chosen, title=None)


def _gather(table: Table, chosen: ChosenColumns, progress: Progress | None) -> Gathered:
    gathered, done = Gathered(), 0
    for batch in table.batches(chosen.names(), gathered.bad.add):
        gathered.add(check_batch(batch, chosen, gathered.bad))
        done += len(batch.lines)
        if progress is not None:
            progress(done, table.n_rows)
    return gathered


def _gather_titles(table: Table, columns: Columns, gathered: Gathered) -> None:
    """Read the titles of known items from the table that MovieLens keeps them in; its misshapen lines name nothing."""
    item = require_column("item", columns.item, table.columns, table.name)
    title = require_column("title", columns.title, table.columns, table.name)
    for batch in table.batches([item, title], lambda _line, _reason: None):
        texts = (as_texts(batch.columns[name]).to_pylist() for name in (item, title))
        gathered.titles |= {gathered.items[i]: text for i, text in zip(*texts, strict=True) if i in gathered.items}


def _publish(gathered: Gathered, table: Table, repeats: Repeats, store: Store, not_times: str | None) -> ImportReport:
    rows = gathered.rows()
    merged = merge_repeats(rows, repeats)
    user_ids, item_ids = sorted(gathered.users), sorted(gathered.items)
    if np.any(merged.weights > np.finfo(np.float32).max):
        raise SourceError(f"The weights of one user and item in {table.name} add up to more than can be kept.")
    titles = [gathered.titles.get(gathered.items[item], "") for item in item_ids]
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
        store.publish(KIND, snapshot_id, directory)
    store.set_current_snapshot(snapshot_id)
    return ImportReport(
        snapshot_id=snapshot_id,
        rows=len(rows) + gathered.bad.count,
        interactions=len(merged),
        users=len(user_ids),
        items=len(item_ids),
        repeated=len(rows) - len(merged),
        bad_rows=gathered.bad.count,
        bad_examples=gathered.bad.first(),
        bad_unit=table.unit,
        not_times=not_times,
    )


def _no_good_row(table: Table, bad: BadRows) -> str:
    if bad.count == 0:
        return f"{table.name} has no rows."
    line, why = bad.first()[0]
    return f"{table.name} has no good row; the first bad one is {table.unit} {line}: {why}."


def _numbered(ids: pa.Array, numbers: dict[str, int]) -> NDArray[np.int64]:
    """The number of each id, int64[n]; an id that is not in `numbers` yet gets the next one."""
    distinct = ids.dictionary_encode()
    of_distinct = [numbers.setdefault(text, len(numbers)) for text in distinct.dictionary.to_pylist()]
    return np.take(np.array(of_distinct, dtype=np.int64), np.asarray(distinct.indices.to_numpy()))


def _ranks(numbers: dict[str, int]) -> NDArray[np.int64]:
    """By the number of an id, its index among the sorted ids."""
    ranks = np.empty(len(numbers), dtype=np.int64)
    ranks[[numbers[text] for text in sorted(numbers)]] = np.arange(len(numbers))
    return ranks


def _last_titles(items: NDArray[np.int64], titles: pa.Array) -> dict[int, str]:
    """The last title of each item that is not empty."""
    rows = np.flatnonzero(pc.fill_null(pc.greater(pc.binary_length(titles), 0), False).to_numpy(zero_copy_only=False))
    distinct, last = np.unique(items[rows][::-1], return_index=True)
    return dict(zip(distinct.tolist(), titles.take(pa.array(rows[::-1][last])).to_pylist(), strict=True))
