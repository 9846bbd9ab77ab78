"""The import pipeline: read, check, merge repeats, write and publish the snapshot, make it current."""

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from reckoner.producer.importing.checking import BadRows, check_batch
from reckoner.producer.importing.collecting import CollectedRows, Merged
from reckoner.producer.importing.columns import ChosenColumns, Columns, choose_columns, require_column
from reckoner.producer.importing.databases import Query
from reckoner.producer.importing.dialect import Form, Reading
from reckoner.producer.importing.gate import ImportLimits, Size, judge
from reckoner.producer.importing.numbering import as_table
from reckoner.producer.importing.repeats import Repeats
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
    form: Form | None = None
    """How a text file was written."""
    refused: list[str] = []
    """Why the snapshot did not become the current one; it is kept beside it."""


def _show_nothing(_rows: int, _total: int | None) -> None:
    return


def import_interactions(
    source: Path | Query,
    store: Store,
    *,
    columns: Columns = Columns(),  # noqa: B008 - it is frozen
    reading: Reading = Reading(),  # noqa: B008 - it is frozen
    repeats: Repeats = "last",
    verified: VerificationCache | None = None,
    progress: Progress = _show_nothing,
    limits: ImportLimits | None = None,
) -> ImportReport:
    """Import a file, directory, zip file or query as the current snapshot of `store`.

    A text file is read as `reading` says, and otherwise as its first lines look.

    With `limits`, a snapshot beyond them is stored but does not become the current one.

    Each row weighs 1 unless a weight column is given. A time column found by its name is skipped if a value is not a
    time. Bad rows are counted and skipped. The snapshot is added to `verified`: its files have just been hashed, so
    workers of this host need not do it again. `progress(rows, total)` is called after each batch, and as a sign of life
    before each later step; `total` may be None.

    Raises:
        SourceError: the source is unreadable, lacks a column, or has no good row; the current snapshot stays.
        StoreError: the store cannot be written; the current snapshot stays.
    """
    found = find_source(source, reading, columns)
    table = found.interactions
    chosen = _choose(found, columns)
    not_times = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(unchanged(found.file) if found.file else contextlib.nullcontext())
        new_rows = partial(CollectedRows, repeats, lambda: stack.enter_context(store.scratch()))
        try:
            collected = _collect(table, chosen, progress, new_rows())
        except NotTimesError:
            if not chosen.time_is_guessed:
                raise
            # The column was guessed, so its values make no row bad.
            not_times, chosen = chosen.time, dataclasses.replace(chosen, time=None)
            collected = _collect(table, chosen, progress, new_rows())
        if collected.count == 0:
            raise SourceError(_no_good_row(table, collected.bad), examples=collected.bad.first())
        alive = partial(progress, collected.read, table.n_rows)
        if found.titles is not None:
            alive()
            _collect_titles(found.titles, columns, collected)
        merged = collected.merge(alive)
    report = _publish(collected, merged, table, store, not_times, limits, alive)
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


def _collect(table: Table, chosen: ChosenColumns, progress: Progress, collected: CollectedRows) -> CollectedRows:
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
        items = as_texts(batch.columns[item])
        known = pc.is_in(items.cast(pa.large_string()), collected.item_ids())
        texts = (column.filter(known).to_pylist() for column in (items, as_texts(batch.columns[title])))
        collected.titles |= zip(*texts, strict=True)


def _publish(
    collected: CollectedRows,
    merged: Merged,
    table: Table,
    store: Store,
    not_times: str | None,
    limits: ImportLimits | None,
    alive: Callable[[], None],
) -> ImportReport:
    rows = merged.rows
    if rows.weights is not None and np.any(rows.weights > np.finfo(np.float32).max):
        raise SourceError(f"The summed weights of a user and an item in {table.name} exceed the maximum of float32.")
    titles = [collected.titles.get(item, "") for item in merged.item_ids.to_pylist()] if collected.titles else None
    alive()
    with store.scratch() as directory:
        snapshot_id = write_snapshot(
            directory,
            user_ids=as_table(merged.user_ids),
            item_ids=as_table(merged.item_ids),
            users=rows.users,
            items=rows.items,
            weights=rows.weights,
            times=rows.times,
            titles=titles,
        )
        alive()
        store.publish(KIND, snapshot_id, directory)
    alive()
    size = Size(len(merged.user_ids), len(merged.item_ids), len(rows))
    n_rows = collected.count + collected.bad.count
    refused = judge(limits, size, store, n_rows, collected.bad.count) if limits else []
    if not refused:
        store.set_current_snapshot(snapshot_id)
    return ImportReport(
        snapshot_id=snapshot_id,
        rows=n_rows,
        interactions=size.interactions,
        users=size.users,
        items=size.items,
        repeated=collected.count - len(rows),
        bad_rows=collected.bad.count,
        bad_examples=collected.bad.first(),
        bad_unit=table.unit,
        not_times=not_times,
        form=table.form,
        refused=refused,
    )


def _no_good_row(table: Table, bad: BadRows) -> str:
    if bad.count == 0:
        return f"{table.name} has no rows."
    line, why = bad.first()[0]
    return f"{table.name} has no good row. The first bad one is {table.unit} {line}: {why}."
