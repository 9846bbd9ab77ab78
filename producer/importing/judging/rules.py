"""The caller's rules for the values of rows."""

from typing import Literal, TypeAlias

import msgspec
import pandas as pd

from reckoner.producer.importing.judging.decimals import Decimal
from reckoner.shared.errors import UsageError

Nonpositive: TypeAlias = Literal["drop", "subtract", "bad"]

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
    decimal: Decimal | None = None
    """The decimal sign of weights; None finds it."""
    time_format: str | None = None
    """The format of times, as in `strptime`; None recognizes the usual ones."""

    tag_separator: str = "|"
    """What separates the tags of an item in one value."""

    def check(self, repeats: str, *, append: bool = False) -> None:
        """Check the rules.

        Raises:
            UsageError: a word is never missing, the format is invalid, or weights are subtracted but not summed, or
                from those of a snapshot.
        """
        unknown = self.keep - MISSING
        if unknown:
            raise UsageError(
                f"--keep is for {', '.join(sorted(MISSING))}. Other words are ids anyway: {', '.join(sorted(unknown))}."
            )
        if self.nonpositive == "subtract" and repeats != "sum":
            raise UsageError("--nonpositive subtract needs --repeats sum.")
        if self.nonpositive == "subtract" and append:
            raise UsageError(
                "--nonpositive subtract cannot be used with --append, since a snapshot does not hold sums below zero. "
                "Import all rows at once."
            )
        if not self.tag_separator:
            raise UsageError("--tag-separator is empty. Give one or more characters.")
        if self.time_format is not None:
            _check_format(self.time_format)


def _check_format(time_format: str) -> None:
    try:
        pd.to_datetime([""], format=time_format, errors="coerce")
    except ValueError as error:
        raise UsageError(f"--time-format {time_format} is invalid: {error}.") from error
    if not any(year in time_format for year in ("%Y", "%y", "%G", "%c", "%x")):
        raise UsageError(f"--time-format {time_format} has no year. Use a format such as %d.%m.%Y.")
