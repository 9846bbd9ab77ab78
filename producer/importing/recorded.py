"""The recorded events as rows of an import, which follow those of the source in the order of the stream."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import msgspec
import numpy as np
import pyarrow as pa

from reckoner.producer.importing.judging.checking import GoodRows
from reckoner.producer.importing.judging.roles import BITS, COUNTS, HISTORY
from reckoner.producer.importing.reading.forms import Form
from reckoner.producer.importing.reading.tables import Batch, Refuse
from reckoner.shared.errors import UsageError, WireError
from reckoner.shared.ids import require_id
from reckoner.shared.serving.events import Entries, Events, Mark, parse_mark
from reckoner.shared.wire.shapes import EVENT


class EventsReport(msgspec.Struct, frozen=True):
    """The recorded events of an import: up to `mark` they are in the snapshot."""

    mark: str
    taken: bool
    """Whether they were added; if not, the source has them."""
    rows: int = 0
    bad: int = 0
    """The number of entries that cannot be read."""
    first_bad: str | None = None
    """The id of the first one."""


@dataclass(frozen=True, slots=True)
class RecordedEvents:
    """Events as rows, in the order of the stream, and the mark up to which these are all; `bad` ones are left out."""

    mark: Mark
    taken: bool = True
    pages: Sequence[GoodRows] = ()
    bad: int = 0
    first_bad: str | None = None

    @property
    def are_weighted(self) -> bool:
        """Whether one that counts has another weight than 1."""
        return any(
            np.any((page.weights != 1) & (page.roles & COUNTS != 0))
            for page in self.pages
            if page.weights is not None and page.roles is not None
        )

    @property
    def have_roles(self) -> bool:
        """Whether one has another role than `history`."""
        return any(np.any(page.roles != HISTORY) for page in self.pages if page.roles is not None)

    def rows(self, *, weighted: bool, timed: bool, with_roles: bool) -> Iterator[GoodRows]:
        """The rows, with what others have: weights, times and roles."""
        for page in self.pages:
            yield replace(
                page,
                weights=page.weights if weighted else None,
                times=page.times if timed else None,
                roles=page.roles if with_roles else None,
            )

    def report(self) -> EventsReport:
        """What an import says of them."""
        rows = sum(len(page.users) for page in self.pages)
        return EventsReport(str(self.mark), self.taken, rows, self.bad, self.first_bad)


# Reads the events after a mark; the first argument is called with the number of those read so far.
ReadEvents: TypeAlias = Callable[[Callable[[int, int | None], None], Mark], RecordedEvents]


async def read_recorded(events: Events, after: Mark, progress: Callable[[int, int | None], None]) -> RecordedEvents:
    """Read the events after a mark up to the last one now; `progress(events, None)` is called now and then."""
    last, pages, bad, read = await events.take(), list[GoodRows](), list[bytes](), 0
    async for entries in events.recorded(after, last):
        pages.append(_rows(entries, bad))
        read += len(entries)
        progress(read, None)
    return RecordedEvents(last, True, pages, len(bad), bad[0].decode() if bad else None)


def _rows(entries: Entries, bad: list[bytes]) -> GoodRows:
    """The rows of some entries; the ids of those that cannot be read are added to `bad`."""
    users, items = list[str](), list[str]()
    weights, times, roles = list[float](), list[int](), list[int]()
    for at, fields in entries:
        try:
            user, event = require_id("user", fields[b"user"].decode()), EVENT.decode(fields[b"event"])
            item = require_id("item", event.item)
        except (KeyError, UnicodeDecodeError, UsageError, WireError):
            bad.append(at)
            continue
        users.append(user)
        items.append(item)
        weights.append(event.weight)
        times.append(parse_mark(at.decode()).ms if event.time_ms is None else event.time_ms)
        roles.append(BITS[event.role])
    user_ids, item_ids = (pa.array(ids, pa.string()).dictionary_encode() for ids in (users, items))
    return GoodRows(
        user_ids,
        item_ids,
        np.array(weights, np.float64),
        np.array(times, np.int64),
        roles=np.array(roles, np.uint8),
    )


class NoRows:
    """The table of an import without a source, whose rows are recorded events; see `Table`."""

    name = "The stream of events"
    n_rows: int | None = 0
    unit: Literal["line", "row"] = "row"
    form: Form | None = None

    def __init__(self, *, timed: bool) -> None:
        self.columns: Sequence[str] = ("user", "item", *(["time"] if timed else []))

    def batches(self, names: Sequence[str], refuse: Refuse, whole: Collection[str] = ()) -> Iterator[Batch]:
        """See `Table.batches`."""
        return iter(())
