"""Reads a file of items: their titles, their tags, and when they are available."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Literal

import msgspec
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.checking import judge_ids, judge_tags
from reckoner.producer.importing.judging.ids import IdReader
from reckoner.producer.importing.judging.rejected import Rejected, RejectedRows, RejectsFile
from reckoner.producer.importing.judging.rules import Rules
from reckoner.producer.importing.judging.times import TimeReader
from reckoner.producer.importing.judging.values import as_texts
from reckoner.producer.importing.judging.verdict import Verdict, is_missing, without_words
from reckoner.producer.importing.merging.item_facts import ItemFacts
from reckoner.producer.importing.merging.tagging import CollectedTags
from reckoner.producer.importing.reading.columns import USUAL_NAMES, Columns, find_column, list_names
from reckoner.producer.importing.reading.sources import Source
from reckoner.producer.importing.reading.tables import Batch
from reckoner.shared.errors import ReadAgainError, SourceError
from reckoner.shared.store.catalogue import ALWAYS, FOR_EVER

OPTION = "--item-columns"
# In the items file each column that is there is read.
USUAL_ITEM_NAMES: Mapping[str, Sequence[str]] = {
    "item": (*USUAL_NAMES["item"], "id"),
    "title": ("title", "name"),
    "tags": ("tags", "tag", "categories", "category", "genres"),
    "available_from": ("available_from", "available from"),
    "available_until": ("available_until", "available until"),
}
WHOLE_NUMBER = r"^(-?[0-9]+)\.0*$"


@dataclass(frozen=True, slots=True, kw_only=True)
class ItemColumns:
    """The columns of an items file, as given by the caller or as chosen; None stands for the usual names, or none."""

    item: str | None = None
    title: str | None = None
    tags: str | None = None
    available_from: str | None = None
    available_until: str | None = None

    def by_role(self) -> dict[str, str]:
        """The names that are given, by role."""
        return {part.name: name for part in fields(self) if (name := getattr(self, part.name)) is not None}

    def as_columns(self) -> Columns:
        """The names by which a reader finds the header."""
        return Columns(item=self.item, title=self.title, tags=self.tags)


class ItemsReport(msgspec.Struct, frozen=True, kw_only=True):
    """What the items file has: a row describes an item of the interactions or another one, or is bad or left out."""

    rows: int
    items: int
    """The number of items of the interactions that it describes."""
    others: int
    """The number of items that it describes although they have no interaction; they are not in the snapshot."""
    bad_rows: int
    left_out: int
    rejected: list[Rejected]
    unit: Literal["line", "row"]
    columns: dict[str, str]
    """By item, title, tags, available_from and available_until: the column, if there is one."""


def choose_item_columns(given: ItemColumns, item: str | None, present: Sequence[str], source: str) -> ItemColumns:
    """The columns of the table `source`; `item` is how the interactions call the column of items, if that is given.

    Raises:
        SourceError: a given column is missing, or exists twice; or there is no column of items, or nothing beside it.
    """
    named = given.by_role()
    if item is not None and item in present:
        named.setdefault("item", item)
    chosen = {
        role: find_column(role, named.get(role), present, source, USUAL_ITEM_NAMES, OPTION) for role in USUAL_ITEM_NAMES
    }
    columns = ItemColumns(**chosen)
    found = columns.by_role()
    for role, missing in (("item", "item" not in found), ("tags", len(found) < 2)):
        if missing:
            raise SourceError(
                f"{source} has no {role} column ({', '.join(USUAL_ITEM_NAMES[role])}). Its columns are: "
                f"{list_names(present)}. Name the right one, such as {OPTION} {role}={present[0]}."
            )
    for name in found.values():
        if present.count(name) > 1:
            raise SourceError(f"{source} has more than one column {name}.")
    return columns


def read_items(
    found: Source,
    columns: ItemColumns,
    item_ids: pa.Array,
    rules: Rules,
    *,
    drops_zeros: bool,
    rejects: RejectsFile | None,
    alive: Callable[[], None],
) -> tuple[ItemFacts, ItemsReport]:
    """The facts of the items `item_ids`, large_string, from the table `found`, and what it has.

    With `drops_zeros`, ids such as 7.0 are those of whole numbers, as in the interactions.

    Raises:
        SourceError: the table cannot be read, or has times that can be read in two ways.
    """
    table, by_role = found.interactions, columns.by_role()
    names = list(dict.fromkeys(by_role.values()))
    reader = _Reader(columns, rules, drops_zeros)
    while True:
        if rejects is not None:
            rejects.start(table.unit, names)
        rejected, gathered, n_rows = RejectedRows(rejects, found.parts), _Gathered(item_ids), 0
        with contextlib.suppress(ReadAgainError):
            whole = {columns.tags} - {columns.item, columns.title} if columns.tags else set[str]()
            for batch in table.batches(names, rejected.add, whole):
                reader.read(batch, rejected, gathered)
                n_rows += len(batch.lines)
                alive()
            reader.finish()
            break
    facts = gathered.facts(rules.tag_separator)
    return facts, ItemsReport(
        rows=n_rows + rejected.malformed,
        items=len(gathered.known),
        others=len(gathered.others),
        bad_rows=rejected.count("bad"),
        left_out=rejected.count("left_out"),
        rejected=rejected.listed(),
        unit=table.unit,
        columns=by_role,
    )


class _Gathered:
    """The facts of known items so far."""

    def __init__(self, item_ids: pa.Array) -> None:
        self.item_ids = item_ids
        self.known, self.others = set[str](), set[str]()
        self.tags = CollectedTags()
        self.titles, self.available_from, self.available_until = dict[str, str](), dict[str, int](), dict[str, int]()

    def facts(self, separator: str) -> ItemFacts:
        """All facts."""
        return ItemFacts(self.titles, self.tags.split(separator), self.available_from, self.available_until)


class _Reader:
    """Reads and judges the rows of an items file, batch by batch."""

    def __init__(self, columns: ItemColumns, rules: Rules, drops_zeros: bool) -> None:
        assert columns.item is not None
        self._columns, self._rules, self._drops_zeros = columns, rules, drops_zeros
        self._item = columns.item
        # Its ids stay as they are, and are compared as those of the interactions are.
        self._ids = IdReader("item", rules, earlier_are_whole=False)
        self._begins, self._ends = (
            None if name is None else TimeReader(name, rules.time_format)
            for name in (columns.available_from, columns.available_until)
        )

    def read(self, batch: Batch, rejected: RejectedRows, into: _Gathered) -> None:
        """Add the facts of the good rows of a batch; the others go to `rejected`.

        Raises:
            SourceError: a column has an unsupported type.
            ReadAgainError: the table is to be read again.
        """
        verdict = Verdict(len(batch.lines))
        ids = self._ids.read(batch.columns[self._item])
        judge_ids(ids, verdict)
        begins, ends = (
            _times(reader, batch, verdict, default)
            for reader, default in ((self._begins, ALWAYS), (self._ends, FOR_EVER))
        )
        if begins is not None and ends is not None:
            verdict.reject(ends <= begins, "bad", "it is available until a time that is not after its first one")
        judge_tags(batch, self._columns.tags, self._rules.tag_separator, verdict)
        verdict.report(batch, rejected)
        self._add(batch, self._texts(ids.texts), verdict.good, (begins, ends), into)

    def finish(self) -> None:
        """Check the decisions at the end of the table.

        Raises:
            NotTimesError: times are ambiguous.
        """
        for reader in (self._begins, self._ends):
            if reader is not None:
                reader.finish()

    def _texts(self, ids: pa.DictionaryArray) -> pa.DictionaryArray:
        if not self._drops_zeros:
            return ids
        distinct = pc.replace_substring_regex(ids.dictionary, WHOLE_NUMBER, r"\1")
        return pa.DictionaryArray.from_arrays(ids.indices, distinct)

    def _add(
        self,
        batch: Batch,
        ids: pa.DictionaryArray,
        good: NDArray[np.bool_],
        times: Sequence[NDArray[np.int64] | None],
        into: _Gathered,
    ) -> None:
        items = ids.dictionary_decode().cast(pa.large_string())
        is_known = pc.is_in(items, into.item_ids).to_numpy(zero_copy_only=False)
        into.others.update(items.filter(pa.array(good & ~is_known)).to_pylist())
        rows = pa.array(np.flatnonzero(good & is_known))
        named = items.take(rows).to_pylist()
        into.known.update(named)
        if self._columns.title is not None:
            titles = without_words(as_texts(batch.columns[self._columns.title]).take(rows)).to_pylist()
            into.titles.update((item, title) for item, title in zip(named, titles, strict=True) if title)
        if self._columns.tags is not None:
            into.tags.add(items.take(rows).dictionary_encode(), as_texts(batch.columns[self._columns.tags]).take(rows))
        for column, found, default in zip(
            times, (into.available_from, into.available_until), (ALWAYS, FOR_EVER), strict=True
        ):
            if column is not None:
                values = column[rows.to_numpy()].tolist()
                found.update((item, time) for item, time in zip(named, values, strict=True) if time != default)


def _times(reader: TimeReader | None, batch: Batch, verdict: Verdict, default: int) -> NDArray[np.int64] | None:
    if reader is None:
        return None
    column = batch.columns[reader.name]
    times, is_time = reader.read(column)
    verdict.reject(~is_time & ~is_missing(column), "bad", f"{reader.name} is not a time", reader.name)
    return np.where(is_time, times, default)
