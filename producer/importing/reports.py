"""What an import found: the counts that an import and a preview share."""

from typing import Literal

import msgspec

from reckoner.producer.importing.item_file import ItemsReport
from reckoner.producer.importing.judging.rejected import Rejected
from reckoner.producer.importing.judging.roles import TypeRows
from reckoner.producer.importing.judging.suspects import Suspect
from reckoner.producer.importing.reading.forms import Form
from reckoner.producer.importing.recorded import EventsReport


class ReadReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was read.

    `earlier` + `rows` + `events.rows` = `interactions` + `excluded` + `repeated` + `bad_rows` + `left_out`.
    """

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
    earlier: int = 0
    """The interactions, and the excluded pairs, of the snapshot to which rows are appended."""
    excluded: int = 0
    """The pairs of a user and an item that do not count, and are only left out of the user's lists."""
    types: list[TypeRows] = []
    """The good rows by their event type, or by whether their rating is positive."""
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
    no_titles: str | None = None
    """The column of titles, if it has none."""
    decimal_comma: str | None = None
    """A weight such as 4,5, if the weights turned out to have decimal commas."""
    suspects: list[Suspect] = []
    """Ids with a very large share of the interactions."""
    item_list: str | None = None
    """An item that looks like a list of items, if most do."""
    row_in_header: str | None = None
    """A name of a column that is also an id in it, or a number: the header may be a row."""
    tagged: int = 0
    """The number of items with a tag."""
    items_file: ItemsReport | None = None
    """What the items file had, if one was given."""
    events: EventsReport | None = None
    """The recorded events, if they were looked at."""
    replaced_mark: str | None = None
    """The mark of the current snapshot, if its recorded events may be missing from now on."""
    unused_types: str | None = None
    """A column that seems to have event types but is not used."""
    refused: list[str] = []
    """Why the snapshot did not become the current one; it is kept beside it."""


class ImportReport(ReadReport, frozen=True, kw_only=True):
    """The result of an import."""

    snapshot_id: str
