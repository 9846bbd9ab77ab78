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

from reckoner.producer.importing.checking import Checker
from reckoner.producer.importing.collecting import CollectedRows, Merged
from reckoner.producer.importing.columns import ChosenColumns, Columns, choose_columns, require_column
from reckoner.producer.importing.databases import Query
from reckoner.producer.importing.dialect import Form, Reading
from reckoner.producer.importing.gate import ImportLimits, RowCounts, Size, judge
from reckoner.producer.importing.numbering import as_table
from reckoner.producer.importing.rejected import Rejected, RejectedRows, RejectsFile
from reckoner.producer.importing.repeats import Repeats
from reckoner.producer.importing.rules import Rules
from reckoner.producer.importing.sources import Source, find_source
from reckoner.producer.importing.subtracting import leave_out_cancelled
from reckoner.producer.importing.suspects import Suspect, find_suspects
from reckoner.producer.importing.tables import Table, unchanged
from reckoner.producer.importing.values import as_texts
from reckoner.shared.errors import ReadAgainError, SourceError
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, write_snapshot
from reckoner.shared.store.verification import VerificationCache

Progress: TypeAlias = Callable[[int, int | None], None]


class ImportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The result of an import: `rows` = `interactions` + `repeated` + `bad_rows` + `left_out`."""

    snapshot_id: str
    rows: int
    interactions: int
    users: int
    items: int
    repeated: int
    """The number of good rows merged into another row."""
    bad_rows: int
    """The number of rows that cannot be read."""
    left_out: int
    """The number of rows that a rule leaves out."""
    rejected: list[Rejected]
    """Bad rows and rows that are left out, by reason."""
    unit: Literal["line", "row"]
    """What the numbers of rows count."""
    not_times: str | None
    """A column with a usual name for times that was skipped, since not all its values are times."""
    form: Form | None = None
    """How a text file was written."""
    why_not_times: str | None = None
    without_zeros: dict[str, str] = {}
    """By `user` and `item`: the first id that lost its zeros after the point, since each id is a whole number."""
    suspects: list[Suspect] = []
    """Ids with a very large share of the interactions."""
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
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
    rejects: Path | None = None,
) -> ImportReport:
    """Import a file, directory, zip file or query as the current snapshot of `store`.

    A text file is read as `reading` says, and otherwise as its first lines look.

    With `limits`, a snapshot beyond them is stored but does not become the current one.

    Each row weighs 1 unless a weight column is given. A time column found by its name is skipped if a value is not a
    time. Bad rows, and rows that `rules` leave out, are counted and skipped, and written to the CSV file `rejects`. The
    snapshot is added to `verified`: its files have just been hashed, so workers of this host need not do it again.
    `progress(rows, total)` is called after each batch, and as a sign of life before each later step; `total` may be
    None.

    Raises:
        UsageError: the rules are invalid, or `rejects` is the source.
        SourceError: the source is unreadable, lacks a column, or has no good row; the current snapshot stays.
        OutputError: `rejects` cannot be written.
        StoreError: the store cannot be written; the current snapshot stays.
    """
    rules.check(repeats)
    found = find_source(source, reading, columns)
    table = found.interactions
    checker = Checker(_choose(found, columns), rules)
    file = (
        None
        if rejects is None
        else RejectsFile(rejects, source.database.path if isinstance(source, Query) else found.file)
    )
    with contextlib.ExitStack() as stack:
        stack.enter_context(unchanged(found.file) if found.file else contextlib.nullcontext())
        stack.enter_context(file or contextlib.nullcontext())
        new_rows = partial(CollectedRows, repeats, lambda: stack.enter_context(store.scratch()))
        collected, rejected = _collect(table, checker, progress, new_rows, file)
        alive = partial(progress, collected.read, table.n_rows)
        if found.titles is not None:
            alive()
            _collect_titles(found.titles, columns, collected)
        merged = collected.merge(alive) if collected.count else None
        others = rejected.count("left_out")
        if merged and rules.nonpositive == "subtract":
            merged = leave_out_cancelled(merged, table, checker, rejected)
        n_good = collected.count - rejected.count("left_out") + others
    if merged is None or len(merged.rows) == 0:
        raise SourceError(_no_good_row(table, rejected.listed()))
    report = _publish(collected, merged, n_good, rejected, table, checker, store, limits, alive)
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


def _collect(
    table: Table,
    checker: Checker,
    progress: Progress,
    new_rows: Callable[[], CollectedRows],
    file: RejectsFile | None,
) -> tuple[CollectedRows, RejectedRows]:
    while True:
        names = checker.chosen.names()
        if file is not None:
            file.start(table.unit, names)
        collected, rejected = new_rows(), RejectedRows(file)
        # Each repetition settles how a column is read, so there are few.
        with contextlib.suppress(ReadAgainError):
            for batch in table.batches(names, rejected.add):
                collected.add(checker.check(batch, rejected))
                collected.read += len(batch.lines)
                progress(collected.read, table.n_rows)
            checker.finish()
            return collected, rejected


def _collect_titles(table: Table, columns: Columns, collected: CollectedRows) -> None:
    """Read the titles of known items from the table of MovieLens, skipping malformed lines."""
    item = require_column("item", columns.item, table.columns, table.name)
    title = require_column("title", columns.title, table.columns, table.name)
    for batch in table.batches([item, title], lambda *_: None):
        items = as_texts(batch.columns[item])
        known = pc.is_in(items.cast(pa.large_string()), collected.item_ids())
        texts = (column.filter(known).to_pylist() for column in (items, as_texts(batch.columns[title])))
        collected.titles |= zip(*texts, strict=True)


def _publish(
    collected: CollectedRows,
    merged: Merged,
    n_good: int,
    rejected: RejectedRows,
    table: Table,
    checker: Checker,
    store: Store,
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
            titles=titles if titles and any(titles) else None,
        )
        alive()
        store.publish(KIND, snapshot_id, directory)
    alive()
    size = Size(len(merged.user_ids), len(merged.item_ids), len(rows))
    counts = RowCounts(collected.read + rejected.malformed, rejected.count("bad"), rejected.count("left_out"))
    refused = judge(limits, size, store, counts) if limits else []
    if not refused:
        store.set_current_snapshot(snapshot_id)
    return ImportReport(
        snapshot_id=snapshot_id,
        rows=counts.rows,
        interactions=size.interactions,
        users=size.users,
        items=size.items,
        repeated=n_good - size.interactions,
        bad_rows=counts.bad,
        left_out=counts.left_out,
        rejected=rejected.listed(),
        unit=table.unit,
        not_times=checker.not_times,
        why_not_times=checker.why_not_times,
        without_zeros={ids.role: ids.dropped for ids in (checker.users, checker.items) if ids.dropped is not None},
        suspects=find_suspects("user", merged.user_ids, rows.users)
        + find_suspects("item", merged.item_ids, rows.items),
        form=table.form,
        refused=refused,
    )


def _no_good_row(table: Table, rejected: list[Rejected]) -> str:
    if not rejected:
        return f"{table.name} has no rows."
    first = min(rejected, key=lambda found: found.first)
    value = "" if first.value is None else f" ({first.value})"
    return f"{table.name} has no good row. The first one is {table.unit} {first.first[0]}: {first.reason}{value}."
