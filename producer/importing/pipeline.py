"""The import pipeline: read, check, merge repeats, write and publish the snapshot, make it current."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from reckoner.producer.importing.gate import ImportLimits, judge
from reckoner.producer.importing.gathering import Gathered, Options, Progress, gather, show_nothing
from reckoner.producer.importing.item_file import ItemColumns
from reckoner.producer.importing.judging.rules import Rules
from reckoner.producer.importing.merging.numbering import as_table
from reckoner.producer.importing.reading.columns import Columns
from reckoner.producer.importing.reading.forms import Reading
from reckoner.producer.importing.reading.sources import Origin
from reckoner.producer.importing.recorded import ReadEvents
from reckoner.producer.importing.reports import ImportReport
from reckoner.shared.errors import SourceAwayError, SourceError
from reckoner.shared.store.night_import import note_extension
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.repeats import Repeats
from reckoner.shared.store.snapshots import KIND, Pairs, write_snapshot
from reckoner.shared.store.verification import VerificationCache


def import_interactions(
    source: Origin | None,
    store: Store,
    *,
    columns: Columns = Columns(),  # noqa: B008 - it is frozen
    reading: Reading = Reading(),  # noqa: B008 - it is frozen
    repeats: Repeats | None = None,
    verified: VerificationCache | None = None,
    progress: Progress = show_nothing,
    limits: ImportLimits | None = None,
    rules: Rules = Rules(),  # noqa: B008 - it is frozen
    rejects: Path | None = None,
    append: bool = False,
    since: bool = False,
    items: Origin | None = None,
    item_columns: ItemColumns = ItemColumns(),  # noqa: B008 - it is frozen
    read_events: ReadEvents | None = None,
) -> ImportReport:
    """Import files, a query, or a frame of pandas, Polars or Arrow as the current snapshot of `store`.

    A string may be a pattern such as `parts/*.csv`, or `-` for standard input; of a directory all files are taken.
    Several files are one table, in the order of their names. The index of a frame of pandas is no column. A text file
    is read as `reading` says, and otherwise as its first lines look.

    With `append`, the rows of the current snapshot come before those of the source, which need its columns. With
    `since`, `:since` in a query is the newest time of the current snapshot; see `Query.since`. `repeats` is `last` by
    default, with `append` the rule of the current snapshot.

    `read_events(progress, mark)` gives the recorded events that are later than the mark of the snapshot to which rows
    are appended, or all; they come after the rows of the source. With them there may be no source.

    `items` is a table of items like `source`: it has the columns `item_columns`, and its titles and tags win over those
    of the interactions. Items without interactions are counted and left out.

    With `limits`, a snapshot beyond them is stored but does not become the current one.

    Each row weighs 1 unless a weight column is given, or a column of event types, whose weights and roles are in
    `rules`. A time column found by its name is skipped if a value is not a time. Bad rows, and rows that `rules` leave
    out, are counted and skipped, and written to the CSV file `rejects`. The snapshot is added to `verified`: its files
    have just been hashed, so workers of this host need not do it again. `progress(rows, total)` is called after each
    batch, and as a sign of life before each later step; `total` may be None.

    Raises:
        UsageError: the options are invalid, or `rejects` is the source.
        SourceError: the source is unreadable, lacks a column, or has no good row; the current snapshot stays.
        OutputError: `rejects` cannot be written.
        StoreError: the store cannot be written; the current snapshot stays.
        RedisUnavailableError: `read_events` cannot reach Redis; the current snapshot stays.
    """
    options = Options(
        columns=columns,
        reading=reading,
        repeats=repeats,
        rules=rules,
        rejects=rejects,
        append=append,
        since=since,
        items=items,
        item_columns=item_columns,
        read_events=read_events,
    )
    return run_import(source, store, options, limits, progress, verified=verified)


def run_import(
    source: Origin | None,
    store: Store,
    options: Options,
    limits: ImportLimits | None = None,
    progress: Progress = show_nothing,
    *,
    verified: VerificationCache | None = None,
    on_current: Callable[[str], None] | None = None,
) -> ImportReport:
    """Import as `import_interactions` does. `on_current` gets the snapshot just before it becomes the current one."""
    gathered = gather(source, store, options, progress, store.scratch)
    alive = partial(progress, gathered.collected.read, gathered.table.n_rows)
    snapshot_id = _publish(gathered, store, alive)
    refused = []
    if limits:
        refused = judge(limits, gathered.size, store, gathered.counts, gathered.counts_of_items).refused
    if options.append and store.current_snapshot() != (gathered.earlier and gathered.earlier.id):
        raise SourceAwayError("Another import changed the current snapshot meanwhile. Append the rows again.")
    if not refused:
        if gathered.earlier:
            note_extension(store, gathered.earlier.id, snapshot_id)
        if on_current is not None:
            on_current(snapshot_id)
        store.set_current_snapshot(snapshot_id)
    report = ImportReport(snapshot_id=snapshot_id, refused=refused, **gathered.figures())
    alive()
    if verified is not None:
        verified.add(store.fingerprint(KIND, snapshot_id))
    return report


def _publish(gathered: Gathered, store: Store, alive: Callable[[], None]) -> str:
    """Publish the snapshot; returns its id."""
    merged, known_titles = gathered.merged, gathered.facts.titles
    rows = merged.rows
    if rows.weights is not None and np.any(rows.weights > np.finfo(np.float32).max):
        raise SourceError(
            f"The summed weights of a user and an item in {gathered.table.name} exceed the maximum of float32."
        )
    items = merged.item_ids.to_pylist()
    titles = [known_titles.get(item, "") for item in items] if known_titles else None
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
            catalogue=gathered.facts.catalogue(items),
            left=None if merged.left is None else Pairs(merged.left.users, merged.left.items),
            repeats=gathered.repeats,
            mark=gathered.mark,
            source_ms=gathered.source_ms,
        )
        alive()
        store.publish(KIND, snapshot_id, directory)
    alive()
    return snapshot_id
