"""Finds the columns of users, items, weights, times, titles, tags and event types."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reckoner.shared.errors import SourceError

SHOWN_CHARACTERS = 60
SHOWN_NAMES = 50

# Compared without case; earlier names are preferred. Weights need --weight: a column such as `rating` or `quantity` may
# mean the opposite of a preference.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "user": ("user", "userid", "user_id"),
    "item": ("item", "itemid", "movieid", "item_id"),
    "weight": (),
    "time": ("timestamp", "time"),
    "title": ("title",),
    "tags": (),
    "type": (),
}
# A column of event types needs --type: without it each row counts, whatever its type.
TYPE_NAMES = frozenset(
    (
        *("type", "event", "eventtype", "event_type", "eventname", "event_name", "action", "action_type"),
        *("behavior", "behaviour", "behavior_type", "interaction", "interaction_type"),
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The column names given by the caller; None stands for the usual names."""

    user: str | None = None
    item: str | None = None
    weight: str | None = None
    time: str | None = None
    title: str | None = None
    tags: str | None = None
    type: str | None = None

    def given(self) -> list[str]:
        """The names that are given, without blanks around."""
        names = (self.user, self.item, self.weight, self.time, self.title, self.tags, self.type)
        return [name.strip() for name in names if name is not None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenColumns:
    """The names of the columns to read; None if the file has no such column.

    `time_is_guessed` if the time column was found by a usual name.
    """

    user: str
    item: str
    weight: str | None = None
    time: str | None = None
    title: str | None = None
    tags: str | None = None
    type: str | None = None
    time_is_guessed: bool = False

    def names(self) -> list[str]:
        """The names of all columns to read, each once."""
        names = (self.user, self.item, self.weight, self.time, self.title, self.tags, self.type)
        return list(dict.fromkeys(name for name in names if name is not None))

    def whole(self) -> set[str]:
        """The names of the columns in which a list is one value."""
        others = {self.user, self.item, self.weight, self.time, self.type}
        return {self.tags} - others if self.tags is not None else set()


def choose_columns(columns: Columns, present: Sequence[str], source: str) -> ChosenColumns:
    """Choose from the columns `present` in the file `source`, by the given or the usual names.

    Raises:
        SourceError: a given or required column is missing, or exists twice.
    """
    chosen = ChosenColumns(
        user=require_column("user", columns.user, present, source),
        item=require_column("item", columns.item, present, source),
        weight=find_column("weight", columns.weight, present, source),
        time=find_column("time", columns.time, present, source),
        title=find_column("title", columns.title, present, source),
        tags=find_column("tags", columns.tags, present, source),
        type=find_column("type", columns.type, present, source),
        time_is_guessed=columns.time is None,
    )
    for name in chosen.names():
        if present.count(name) > 1:
            raise SourceError(f"{source} has more than one column {name}.")
    return chosen


def find_types(chosen: ChosenColumns, present: Sequence[str]) -> str | None:
    """A column that seems to have event types but is not used, if there is one."""
    unused = (name for name in present if name.strip().casefold() in TYPE_NAMES and name not in chosen.names())
    return next(unused, None) if chosen.type is None else None


def require_column(role: str, named: str | None, present: Sequence[str], source: str) -> str:
    """The column for `role`.

    Raises:
        SourceError: it is missing.
    """
    name = find_column(role, named, present, source)
    if name is None:
        raise SourceError(
            f"{source} has no {role} column ({', '.join(USUAL_NAMES[role])}). Its columns are: {list_names(present)}. "
            f"Name the right one with --{role}."
        )
    return name


def find_column(
    role: str,
    named: str | None,
    present: Sequence[str],
    source: str,
    usual_names: Mapping[str, Sequence[str]] = USUAL_NAMES,
    option: str | None = None,
) -> str | None:
    """The column for `role`: the name given by `option`, by default `--ROLE`, else the first usual name, else None.

    Raises:
        SourceError: the given column is missing; the evidence `near` is not empty if one has a similar name.
    """
    if named is None:
        return next((name for usual in usual_names[role] for name in present if name.casefold() == usual), None)
    named = named if named in present else named.strip()
    if named not in present:
        near = _nearest(named, present)
        raise SourceError(
            f"{source} has no column {named} ({option or f'--{role}'}). {near}Its columns are: {list_names(present)}.",
            near=near,
        )
    return named


def _nearest(named: str, present: Sequence[str]) -> str:
    """A sentence with the most similar column name, empty if there is none."""
    by_folded = {name.casefold(): name for name in reversed(present)}
    near = difflib.get_close_matches(named.casefold(), by_folded, n=1)
    return f"Did you mean {list_names([by_folded[near[0]]])}? " if near else ""


def list_names(names: Sequence[str]) -> str:
    """The names in one line, shortened: after a missing quotation mark a name may be half the file."""
    return ", ".join(" ".join(name[:SHOWN_CHARACTERS].split()) for name in names[:SHOWN_NAMES])
