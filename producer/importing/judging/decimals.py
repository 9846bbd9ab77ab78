"""Tells whether the weights of a column have a decimal comma."""

from typing import Literal, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc

from reckoner.producer.importing.judging.values import as_booleans
from reckoner.shared.errors import ReadAgainError

Decimal: TypeAlias = Literal[",", "."]

# 1,234 may have thousands; with other than three digits behind it, the comma is a decimal one.
WITH_COMMA = r"^\s*[+-]?[0-9]*,[0-9]+([eE][+-]?[0-9]+)?\s*$"
CLEAR = r"^\s*[+-]?[0-9]*,([0-9]{1,2}|[0-9]{4,})([eE][+-]?[0-9]+)?\s*$"


class DecimalReader:
    """Reads numbers with decimal commas as ones with points, batch by batch.

    Without `given`, commas are decimal ones if every value with a comma can be such a number, one of them cannot have
    thousands, and no value has a point.
    """

    def __init__(self, given: Decimal | None) -> None:
        self._given = given
        self.is_comma = given == ","
        self.example: str | None = None
        """The first clear number with a decimal comma, if they were found."""
        self._has_other = False
        self._has_clear = False
        self._were_read = False

    def read(self, texts: pa.Array) -> pa.Array:
        """The texts with points for decimal commas; those that had points are null then.

        Raises:
            ReadAgainError: earlier values should have been read otherwise.
        """
        if self._given is None and not self._has_other:
            self._look(texts)
        if not self.is_comma:
            return texts
        return pc.if_else(pc.match_substring(texts, "."), None, pc.replace_substring(texts, ",", "."))

    def _look(self, texts: pa.Array) -> None:
        has_comma = pc.match_substring(texts, ",")
        if pc.any(pc.match_substring(texts, ".")).as_py():
            self._has_other = True
        elif pc.any(has_comma).as_py():
            some = texts.filter(has_comma)
            self._has_other = not pc.all(pc.match_substring_regex(some, WITH_COMMA)).as_py()
            clear = some.filter(pc.match_substring_regex(some, CLEAR))
            if len(clear) and not self._has_clear:
                self._has_clear, self.example = True, clear[0].as_py().strip()
        is_comma = self._has_clear and not self._has_other
        if is_comma is not self.is_comma:
            self.is_comma = is_comma
            if self._were_read:
                raise ReadAgainError
        self._were_read = self._were_read or bool(as_booleans(has_comma).any())
