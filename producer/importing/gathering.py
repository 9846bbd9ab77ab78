"""Reads all rows of a source and merges repeats: everything of an import before it is published."""

import contextlib
import dataclasses
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from reckoner.producer.importing.earlier import Earlier, current_mark, find_earlier
from reckoner.producer.importing.gate import NO_ROWS, RowCounts, Size
from reckoner.producer.importing.item_file import (
    ItemColumns,
    ItemsReport,
    choose_item_columns,
    read_items,
)
from reckoner.producer.importing.judging.checking import Checker, GoodRows
from reckoner.producer.importing.judging.rejected import Rejected, RejectedRows, RejectsFile
from reckoner.producer.importing.judging.roles import TypeTable
from reckoner.producer.importing.judging.rules import Rules
from reckoner.producer.importing.judging.suspects import find_list, find_suspects
from reckoner.producer.importing.judging.values import as_texts
from reckoner.producer.importing.judging.verdict import without_words
from reckoner.producer.importing.merging.collecting import CollectedRows, Merged
from reckoner.producer.importing.merging.forgetting import leave_out_forgotten
from reckoner.producer.importing.merging.item_facts import ItemFacts
from reckoner.producer.importing.merging.subtracting import leave_out_cancelled
from reckoner.producer.importing.reading.columns import (
    ChosenColumns,
    Columns,
    choose_columns,
    find_types,
    require_column,
)
from reckoner.producer.importing.reading.databases import Query
from reckoner.producer.importing.reading.dialect import BY_NUMBER, NUMBER_OR_DATE, has_usual_name
from reckoner.producer.importing.reading.forms import Reading
from reckoner.producer.importing.reading.sources import Origin, Source, find_source
from reckoner.producer.importing.reading.tables import Table, unchanged
from reckoner.producer.importing.reading.text import LATIN_1
from reckoner.producer.importing.recorded import NoRows, ReadEvents, RecordedEvents
from reckoner.shared.errors import ReadAgainError, SourceError
from reckoner.shared.event_types import Role
from reckoner.shared.serving.events import BEGINNING
from reckoner.shared.store.forgotten import forgotten_users
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.repeats import Repeats

Progress: TypeAlias = Callable[[int, int | None], None]

# Rows that are kept as they were read.
FIRST_ROWS = 5
OTHER_ENCODINGS = "Use --encoding if they should look different, such as --encoding cp1251 or gb18030."


def show_nothing(_rows: int, _total: int | None) -> None:
    """Report no progress."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How a source becomes interactions; see `import_interactions`."""

    columns: Columns = Columns()  # noqa: RUF009 - it is frozen
    reading: Reading = Reading()  # noqa: RUF009 - it is frozen
    repeats: Repeats | None = None
    """None with `append` is the rule of the current snapshot, else `last`."""
    rules: Rules = Rules()  # noqa: RUF009 - it is frozen
    rejects: Path | None = None
    append: bool = False
    since: bool = False
    items: Origin | None = None
    """A table that describes items."""
    item_columns: ItemColumns = ItemColumns()  # noqa: RUF009 - it is frozen
    read_events: ReadEvents | None = None
    """Reads the recorded events, which are imported too."""


@dataclass(frozen=True, slots=True)
class FirstRow:
    """A good row as it was read: the time in milliseconds since 1970."""

    user: str
    item: str
    weight: float
    time: int | None
    title: str | None
    type: str | None = None
    role: Role | None = None


@dataclass(frozen=True, slots=True)
class Gathered:
    """The interactions of a source, and how they came about."""

    table: Table
    checker: Checker
    collected: CollectedRows
    rejected: RejectedRows
    first: list[FirstRow]
    merged: Merged
    n_good: int
    repeats: Repeats = "last"
    """The rule by which repeats were merged."""
    earlier: Earlier | None = None
    events: RecordedEvents | None = None
    replaced_mark: str = ""
    """The mark of the current snapshot, where the rows replace it and events were not looked at."""
    row_in_header: str | None = None
    facts: ItemFacts = field(default_factory=ItemFacts)
    """What is known of items."""
    items_file: ItemsReport | None = None

    @property
    def mark(self) -> str:
        """The mark of the snapshot: a later one replaces that of the snapshot before; empty without any."""
        last = max(self.earlier.mark if self.earlier else BEGINNING, self.events.mark if self.events else BEGINNING)
        return "" if last == BEGINNING else str(last)

    @property
    def source_ms(self) -> int | None:
        """The newest time of the rows of sources, where events have newer ones."""
        times, newest_ms = self.merged.rows.times, self.collected.source_ms
        return newest_ms if times is not None and newest_ms < int(times.max()) else None

    @property
    def size(self) -> Size:
        """The size of the snapshot."""
        return Size(len(self.merged.user_ids), len(self.merged.item_ids), len(self.merged.rows))

    @property
    def counts(self) -> RowCounts:
        """The rows of the source."""
        rows = self.collected.read + self.rejected.malformed
        return RowCounts(rows, self.rejected.count("bad"), self.rejected.count("left_out"))

    @property
    def counts_of_items(self) -> RowCounts:
        """The rows of the items file."""
        file = self.items_file
        return NO_ROWS if file is None else RowCounts(file.rows, file.bad_rows, file.left_out)

    def figures(self) -> dict[str, Any]:
        """The fields of `ReadReport` but `refused`."""
        size, counts, rows, checker = self.size, self.counts, self.merged.rows, self.checker
        return {
            "rows": counts.rows,
            "interactions": size.interactions,
            "users": size.users,
            "items": size.items,
            "earlier": len(self.earlier) if self.earlier else 0,
            "excluded": self.merged.excluded,
            "types": checker.table.counted(self.collected.types) if checker.table else [],
            "repeated": self.n_good - size.interactions - self.merged.excluded,
            "bad_rows": counts.bad,
            "left_out": counts.left_out,
            "rejected": self.rejected.listed(),
            "unit": self.table.unit,
            "not_times": checker.not_times,
            "why_not_times": checker.why_not_times,
            "without_zeros": {
                ids.role: ids.dropped for ids in (checker.users, checker.items) if ids.dropped is not None
            },
            "no_titles": None if self.facts.titles else checker.chosen.title,
            "decimal_comma": checker.decimal_comma,
            "suspects": find_suspects("user", self.merged.user_ids, rows.users)
            + find_suspects("item", self.merged.item_ids, rows.items),
            "item_list": find_list(self.merged.item_ids),
            "row_in_header": self.row_in_header,
            "tagged": len(self.facts.tags),
            "items_file": self.items_file,
            "unused_types": find_types(checker.chosen, self.table.columns),
            "form": self.table.form,
            "events": self.events.report() if self.events else None,
            "replaced_mark": self.replaced_mark or None,
        }


def gather(
    source: Origin | None,
    store: Store | None,
    options: Options,
    progress: Progress,
    make_room: Callable[[], AbstractContextManager[Path]],
) -> Gathered:
    """Read, check and merge all rows: of the current snapshot of `store` if they are appended, the source, and events.

    Rows of forgotten users are left out.

    `make_room()` gives a directory for rows that are too many for the memory. The mark of events is taken before the
    source is read.

    Raises:
        UsageError: the rules are invalid, or `rejects` is the source.
        SourceError: the source is unreadable, lacks a column, or has no good row.
        OutputError: `rejects` cannot be written.
        StoreError: rows cannot be written to disk.
        RedisUnavailableError: events cannot be read.
    """
    source, earlier = find_earlier(source, store, append=options.append, since=options.since)
    rules, repeats = options.rules, options.repeats or (earlier.repeats if earlier else "last")
    rules.check(repeats, append=options.append, columns=options.columns)
    replaced_mark = "" if options.append or options.read_events else current_mark(store)
    forgotten = forgotten_users(store)
    events = options.read_events and options.read_events(progress, earlier.mark if earlier else BEGINNING)
    with contextlib.ExitStack() as stack:

        def room() -> Path:
            return stack.enter_context(make_room())

        if source is None and events is not None:
            found = Source(NoRows(timed=earlier is None or earlier.newest_ms is not None))
        else:
            found = find_source(source, room, options.reading, options.columns, partial(progress, 0, None))
        table = found.interactions
        checker = _checker(found, options, earlier, repeats)
        for path in found.files:
            stack.enter_context(unchanged(path))
        file = None if source is None else _rejects_file(options.rejects, source, found)
        stack.enter_context(file or contextlib.nullcontext())
        new_rows = partial(CollectedRows, repeats, room)
        collected, rejected, first = _collect(found, checker, progress, new_rows, file, earlier, events)
        alive = partial(progress, collected.read, table.n_rows)
        if found.titles is not None:
            alive()
            _collect_titles(found.titles, options.columns, collected)
        merged = collected.merge(alive) if collected.count else None
        others = rejected.count("left_out")
        if merged and rules.subtracting(options.columns):
            merged = leave_out_cancelled(merged, table, checker, rejected)
        if merged and forgotten.users:
            merged = leave_out_forgotten(merged, forgotten)
            is_forgotten = forgotten.among(row.user for row in first)
            first = [row for row, gone in zip(first, is_forgotten, strict=True) if not gone]
        n_good = collected.count - rejected.count("left_out") + others
        facts, items_file = collected.facts(rules.tag_separator), None
        if earlier is not None:
            facts = earlier.facts() | facts
        if merged and options.items is not None:
            described, items_file = _read_items_file(options, checker, merged, stack, room, alive)
            facts |= described
    if merged is None or len(merged.rows) == 0:
        excluded = merged.excluded if merged else 0
        raise SourceError(_no_good_row(table, rejected.earliest(), excluded))
    row_in_header = _row_in_header(table, checker.chosen, merged, options.reading)
    return Gathered(
        table=table,
        checker=checker,
        collected=collected,
        rejected=rejected,
        first=first,
        merged=merged,
        n_good=n_good,
        repeats=repeats,
        earlier=earlier,
        events=events,
        replaced_mark=replaced_mark,
        row_in_header=row_in_header,
        facts=facts,
        items_file=items_file,
    )


def _checker(found: Source, options: Options, earlier: Earlier | None, repeats: Repeats) -> Checker:
    if isinstance(found.interactions, NoRows):
        return Checker(choose_columns(Columns(), found.interactions.columns, found.interactions.name), options.rules)
    chosen = _choose(found, options)
    if earlier is None:
        return Checker(chosen, options.rules)
    weighs = options.rules.weighs(chosen)
    kept = earlier.choose(chosen, repeats, found.interactions.name, weighs=weighs)
    checker = Checker(kept, options.rules, {"user": earlier.are_whole("user"), "item": earlier.are_whole("item")})
    if kept.time != chosen.time:
        checker.not_times, checker.why_not_times = chosen.time, "The current snapshot has no times"
    return checker


def _rejects_file(rejects: Path | None, source: Origin, found: Source) -> RejectsFile | None:
    if rejects is None:
        return None
    files = [source.database.path] if isinstance(source, Query) else found.files
    return RejectsFile(rejects, files, found.parts)


def _choose(found: Source, options: Options) -> ChosenColumns:
    table, columns = found.interactions, options.columns
    try:
        if found.titles is None:
            return choose_columns(columns, table.columns, table.name)
        chosen = choose_columns(dataclasses.replace(columns, title=None), table.columns, table.name)
    except SourceError as error:
        advice, form = "", table.form
        if form and form.encoding == LATIN_1 and not all(name.isascii() for name in table.columns):
            advice += f" They were read as latin-1. {OTHER_ENCODINGS}"
        is_header = options.reading.header or has_usual_name(table.columns) or error.evidence.get("near")
        if form and form.header and not is_header:
            advice += f" If these are values of the first row, {BY_NUMBER}"
        raise SourceError(f"{error}{advice}") from error
    return dataclasses.replace(chosen, title=None)


def _row_in_header(table: Table, chosen: ChosenColumns, merged: Merged, reading: Reading) -> str | None:
    """A name of a column that is an id below too, or a number, so that the header may be a row."""
    if table.form is None or not table.form.header:
        return None
    for name, ids in ((chosen.user, merged.user_ids), (chosen.item, merged.item_ids)):
        if pc.index(ids, pa.scalar(name, ids.type)).as_py() >= 0:
            return name
    if reading.header or has_usual_name(table.columns):
        return None
    return next((name for name in table.columns if NUMBER_OR_DATE.fullmatch(name)), None)


def _collect(
    source: Source,
    checker: Checker,
    progress: Progress,
    new_rows: Callable[[], CollectedRows],
    file: RejectsFile | None,
    earlier: Earlier | None,
    events: RecordedEvents | None,
) -> tuple[CollectedRows, RejectedRows, list[FirstRow]]:
    table = source.interactions
    while True:
        names = checker.chosen.names()
        if file is not None:
            file.start(table.unit, names)
        collected, rejected, first = new_rows(), RejectedRows(file, source.parts), list[FirstRow]()
        is_weighted = checker.is_weighted or bool((earlier and earlier.is_weighted) or (events and events.are_weighted))
        has_roles = checker.table is not None or bool((earlier and earlier.has_roles) or (events and events.have_roles))
        if earlier is not None:
            collected.source_ms = collected.source_ms if earlier.newest_ms is None else earlier.newest_ms
            for rows in earlier.rows():
                collected.add(rows.completed(weighted=is_weighted, with_roles=has_roles))
        # Each repetition settles how a column is read, so there are few.
        with contextlib.suppress(ReadAgainError):
            for batch in table.batches(names, rejected.add, checker.chosen.whole()):
                good = checker.check(batch, rejected)
                first += _first_rows(good, FIRST_ROWS - len(first), checker.table)
                collected.add_of_source(good.completed(weighted=is_weighted, with_roles=has_roles), len(batch.lines))
                progress(collected.read, table.n_rows)
            checker.finish()
            timed = checker.chosen.time is not None
            for rows in events.rows(weighted=is_weighted, timed=timed, with_roles=has_roles) if events else ():
                collected.add(rows)
            return collected, rejected, first


def _first_rows(good: GoodRows, n: int, table: TypeTable | None) -> list[FirstRow]:
    titles = None if good.titles is None else without_words(good.titles.slice(0, n))
    types = table.named(good.types[:n]) if table and good.types is not None else [(None, None)] * n
    return [
        FirstRow(
            good.users[row].as_py(),
            good.items[row].as_py(),
            1.0 if good.weights is None else float(good.weights[row]),
            None if good.times is None else int(good.times[row]),
            None if titles is None else titles[row].as_py(),
            *types[row],
        )
        for row in range(min(n, len(good.users)))
    ]


def _collect_titles(table: Table, columns: Columns, collected: CollectedRows) -> None:
    """Read the titles of known items from the table of MovieLens, skipping malformed lines."""
    item = require_column("item", columns.item, table.columns, table.name)
    title = require_column("title", columns.title, table.columns, table.name)
    is_read = False
    while not is_read:
        with contextlib.suppress(ReadAgainError):
            for batch in table.batches([item, title], lambda *_: None):
                items = as_texts(batch.columns[item])
                known = pc.is_in(items.cast(pa.large_string()), collected.item_ids())
                texts = (column.filter(known).to_pylist() for column in (items, as_texts(batch.columns[title])))
                collected.titles |= zip(*texts, strict=True)
            is_read = True


def _read_items_file(
    options: Options,
    checker: Checker,
    merged: Merged,
    stack: contextlib.ExitStack,
    room: Callable[[], Path],
    alive: Callable[[], None],
) -> tuple[ItemFacts, ItemsReport]:
    """Read the items file. Its rejects go to a file beside those of the interactions."""
    assert options.items is not None
    given = options.item_columns
    found = find_source(options.items, room, Reading(), given.as_columns(), alive)
    for path in found.files:
        stack.enter_context(unchanged(path))
    table, rejects = found.interactions, options.rejects
    columns = choose_item_columns(given, options.columns.item, table.columns, table.name)
    file = None
    if rejects is not None:
        file = _rejects_file(rejects.with_name(f"{rejects.stem}.items{rejects.suffix}"), options.items, found)
    with file or contextlib.nullcontext():
        return read_items(
            found,
            columns,
            merged.item_ids,
            options.rules,
            drops_zeros=checker.items.drops_zeros,
            rejects=file,
            alive=alive,
        )


def _no_good_row(table: Table, first: Rejected | None, excluded: int) -> str:
    if excluded:
        return f"{table.name} has no row that counts: the role of each good row is exclude."
    if first is None:
        return f"{table.name} has no rows."
    value = "" if first.value is None else f" ({first.value})"
    place = f"{table.unit} {first.first[0]}" + (f" of {first.files[0]}" if first.files else "")
    return f"{table.name} has no good row. The first one is {place}: {first.reason}{value}."
