"""Columns: which column says what."""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from reckoner.shared.errors import SourceError

SHOWN_CHARACTERS = 60
SHOWN_NAMES = 50
OTHER_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}

# Compared without case; an earlier name is preferred. A weight is only ever used when it was named: a column called
# `rating` or `quantity` may well say the opposite of how much somebody likes a thing.
USUAL_NAMES: dict[str, tuple[str, ...]] = {
    "user": ("user", "userid", "user_id"),
    "item": ("item", "itemid", "movieid", "item_id"),
    "weight": (),
    "time": ("timestamp", "time"),
    "title": ("title",),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The names that the caller gave; None stands for the usual names."""

    user: str | None = None
    item: str | None = None
    weight: str | None = None
    time: str | None = None
    title: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenColumns:
    """The names of the columns to read; None where the file has no such column.

    `time_is_guessed` when nobody has named the column of times.
    """

    user: str
    item: str
    weight: str | None = None
    time: str | None = None
    title: str | None = None
    time_is_guessed: bool = False

    def names(self) -> list[str]:
        """The names of all columns to read, each once."""
        names = (self.user, self.item, self.weight, self.time, self.title)
        return list(dict.fromkeys(name for name in names if name is not None))


def choose_columns(columns: Columns, present: Sequence[str], source: str) -> ChosenColumns:
    """Match what the caller named, and else the usual names, with the columns that are `present` in the file `source`.

    Raises:
        SourceError: a column that was named or is needed is not there, or is there twice.
    """
    chosen = ChosenColumns(
        user=require_column("user", columns.user, present, source),
        item=require_column("item", columns.item, present, source),
        weight=find_column("weight", columns.weight, present, source),
        time=find_column("time", columns.time, present, source),
        title=find_column("title", columns.title, present, source),
        time_is_guessed=columns.time is None,
    )
    for name in chosen.names():
        if present.count(name) > 1:
            raise SourceError(f"{source} has more than one column {name}.")
    return chosen


def require_column(role: str, named: str | None, present: Sequence[str], source: str) -> str:
    """The column for `role`.

    Raises:
        SourceError: it is not there.
    """
    name = find_column(role, named, present, source)
    if name is None:
        raise SourceError(
            _other_separator(present, source)
            or f"{source} has no {role} column by a usual name ({', '.join(USUAL_NAMES[role])}); its columns are: "
            f"{_listed(present)}. Name the right one with --{role}."
        )
    return name


def find_column(role: str, named: str | None, present: Sequence[str], source: str) -> str | None:
    """The column for `role`: the one that was named, else the first usual name, else None.

    Raises:
        SourceError: the one that was named is not there.
    """
    if named is None:
        return next((name for usual in USUAL_NAMES[role] for name in present if name.casefold() == usual), None)
    if named not in present:
        raise SourceError(
            _other_separator(present, source)
            or f"{source} has no column {named} (--{role}); {_nearest(named, present)}"
            f"its columns are: {_listed(present)}."
        )
    return named


def _other_separator(present: Sequence[str], source: str) -> str | None:
    """What to say of a file whose one column looks like several with something else than commas between them."""
    if len(present) != 1:
        return None
    found = next((words for sign, words in OTHER_SEPARATORS.items() if sign in present[0]), None)
    return f"{source} seems to have {found} between its columns, and commas are expected." if found else None


def _nearest(named: str, present: Sequence[str]) -> str:
    """The column that may have been meant, as the beginning of a sentence's second half."""
    by_folded = {name.casefold(): name for name in reversed(present)}
    near = difflib.get_close_matches(named.casefold(), by_folded, n=1)
    return f"the nearest is {_listed([by_folded[near[0]]])}, and " if near else ""


def _listed(names: Sequence[str]) -> str:
    """The names in one line; a quotation mark that is missing can put half a file into one of them."""
    return ", ".join(" ".join(name[:SHOWN_CHARACTERS].split()) for name in names[:SHOWN_NAMES])
