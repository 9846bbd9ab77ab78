"""The caller's rules for the values of rows."""

from typing import Literal, TypeAlias

import msgspec
import pandas as pd

from reckoner.producer.importing.judging.decimals import Decimal
from reckoner.producer.importing.judging.ratings import Positive
from reckoner.producer.importing.reading.columns import ChosenColumns, Columns
from reckoner.shared.errors import UsageError
from reckoner.shared.event_types import DEFAULT, EventTypes, Nonpositive

Below: TypeAlias = Literal["drop", "exclude"]

# What databases, pandas, spreadsheets, JavaScript and analytics tools write for a missing value, as they spell it:
# `Null`, `none` and `Na` may be names.
MISSING = frozenset(
    (
        *("NULL", "null", "(null)", "<null>", "[NULL]", "\\N", "None", "undefined", "(not set)"),
        *("NaN", "nan", "NaT", "NA", "<NA>", "N/A", "n/a", "#N/A"),
    )
)


class Rules(msgspec.Struct, frozen=True, kw_only=True):
    """How values are read, and which rows are left out."""

    keep: frozenset[str] = frozenset()
    """Words of `MISSING` that are ids."""
    nonpositive: Nonpositive = "drop"
    """What becomes of rows with a weight of zero or below: left out, summed, or bad."""
    types: EventTypes = EventTypes()
    """What the names in the column of event types mean; a type may have its own `nonpositive`."""
    positive: Positive | None = None
    """The weights that are positive ratings. Their rows weigh 1."""
    below: Below = "drop"
    """What becomes of rows with other ratings: left out, or their items are left out of the users' lists."""
    decimal: Decimal | None = None
    """The decimal sign of weights; None finds it."""
    time_format: str | None = None
    """The format of times, as in `strptime`; None recognizes the usual ones."""

    tag_separator: str = "|"
    """What separates the tags of an item in one value."""

    def check(self, repeats: str, *, append: bool = False, columns: Columns = Columns()) -> None:  # noqa: B008 - frozen
        """Check the rules.

        Raises:
            UsageError: a word is never missing, the format is invalid, ratings have no column or have types too, or
                weights are subtracted but not summed, or from those of a snapshot.
        """
        unknown = self.keep - MISSING
        if unknown:
            raise UsageError(
                f"--keep is for {', '.join(sorted(MISSING))}. Other words are ids anyway: {', '.join(sorted(unknown))}."
            )
        self._check_ratings(columns)
        subtracting = self.subtracting(columns)
        if subtracting and repeats != "sum":
            raise UsageError(f"{subtracting} needs --repeats sum.")
        if subtracting and append:
            raise UsageError(
                f"{subtracting} cannot be used with --append, since a snapshot does not hold sums below zero. "
                "Import all rows at once."
            )
        if not self.tag_separator:
            raise UsageError("--tag-separator is empty. Give one or more characters.")
        if self.time_format is not None:
            _check_format(self.time_format)

    def subtracting(self, columns: Columns) -> str | None:
        """What subtracts weights, None if nothing does."""
        if self.nonpositive == "subtract":
            return "--nonpositive subtract"
        types = {**self.types.by_name, DEFAULT: self.types.default} if columns.type is not None else {}
        found = sorted(name for name, each in types.items() if each and each.nonpositive == "subtract")
        return f'nonpositive = "subtract" of the event type {found[0]}' if found else None

    def weighs(self, chosen: ChosenColumns) -> bool:
        """Whether rows with these columns have other weights than 1."""
        if self.positive is not None:
            return False
        types = [*self.types.by_name.values(), self.types.default] if chosen.type is not None else []
        return chosen.weight is not None or any(each and each.weight != 1 for each in types)

    def _check_ratings(self, columns: Columns) -> None:
        if self.positive is None:
            if self.below != "drop":
                raise UsageError(f"--below {self.below} needs --positive, such as --positive '>=4'.")
            return
        if columns.weight is None:
            raise UsageError("--positive needs the column of the ratings. Name it with --weight.")
        if columns.type is not None:
            raise UsageError("Either --positive or --type gives rows their roles. Remove one of them.")
        if self.nonpositive == "subtract":
            raise UsageError("Ratings are not summed. Remove --nonpositive subtract, or --positive.")


def _check_format(time_format: str) -> None:
    try:
        pd.to_datetime([""], format=time_format, errors="coerce")
    except ValueError as error:
        raise UsageError(f"--time-format {time_format} is invalid: {error}.") from error
    if not any(year in time_format for year in ("%Y", "%y", "%G", "%c", "%x")):
        raise UsageError(f"--time-format {time_format} has no year. Use a format such as %d.%m.%Y.")
