"""How a file is written: `Reading` as the caller says it, and `Form` as it was found."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

import msgspec

from reckoner.producer.importing.reading.compression import Compression

BLANKS = " "
# At a tie the earlier one is taken.
SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars", "::": "double colons", BLANKS: "blanks"}

Escape: TypeAlias = Literal["none", "backslash"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """How the caller says that a file is written; None stands for what is found."""

    separator: str | None = None
    quote: str | None = None
    encoding: str | None = None
    header: bool | None = None
    compression: Compression | None = None
    escape: Escape | None = None
    sheet: str | None = None
    member: str | None = None


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How a table turned out to be written; `format` is empty for separated values."""

    format: str = ""
    compression: Compression = "none"
    encoding: str = ""
    separator: str = ""
    quote: str = '"'
    header: bool | None = None
    """Whether the first line names the columns; None where a format has no such line."""
    escape: Escape = "none"
    files: int = 1

    def words(self) -> str:
        """In words: `semicolons, latin-1, gzip`."""
        separator = self.format or SEPARATORS.get(self.separator, f"separated by {self.separator}")
        quote = {'"': "", "": "no quotes"}.get(self.quote, f"quotes {self.quote}")
        escape = "" if self.escape == "none" else "escaped by backslashes"
        files = f"{self.files:,} files" if self.files > 1 else ""
        header = "no header" if self.header is False else ""
        parts = (files, separator, quote, escape, header, self.encoding, self.compression)
        return ", ".join(part for part in parts if part not in ("", "none"))
