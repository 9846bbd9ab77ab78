"""Looks at quotation marks: whether they quote anything, and whether backslashes escape them."""

import re

# Values of lines between tabs that are quoted, and all that begin with a quote.
QUOTED = re.compile(rb'(?:^|\t)"(?:[^"\t\r\n]|"")*"(?=[\t\r\n]|\Z)', re.MULTILINE)
BEGINS_QUOTED = re.compile(rb'(?:^|\t)"', re.MULTILINE)
# So many of these tell.
ENOUGH_QUOTES = 100


def usual_quote(separator: str) -> str:
    """Files with double colons do not quote."""
    return "" if separator == "::" else '"'


def has_escapes(block: bytes, separator: str, quote: str) -> bool:
    """Whether a quoted value has a quote after a backslash that cannot be the value's end."""
    mark = quote.encode()
    if not mark or b"\\" + mark not in block:
        return False
    q, s = re.escape(mark), re.escape(separator.encode())
    pattern = rb"(?:^|%b)%b(?:[^%b\\\r\n]|\\[^%b\r\n])*+\\%b(?!%b| *(?:%b|[\r\n]|\Z))" % (s, q, q, q, q, q, s)
    return re.search(pattern, block, re.MULTILINE) is not None


class QuoteLook:
    """Looks whether the quotation marks of a file with tabs quote nothing, block by block.

    They do not if more values only begin with one than are quoted, and these values' lines, and the next ones, are rows
    by themselves.
    """

    def __init__(self) -> None:
        self._quoted = self._others = 0

    def finds_none(self, block: bytes, n_tabs: int) -> bool:
        """Whether nothing turns out to be quoted; rows have `n_tabs` tabs."""
        if b'"' not in block or self._quoted + self._others >= ENOUGH_QUOTES:
            return False
        quoted = len(QUOTED.findall(block))
        self._quoted += quoted
        self._others += len(BEGINS_QUOTED.findall(block)) - quoted
        return self._others > self._quoted and _are_rows(block, n_tabs)


def _are_rows(block: bytes, n_tabs: int) -> bool:
    """Whether the lines with values that begin with a quote, and the next ones, are rows."""
    lines = block.rstrip(b"\r\n").split(b"\n")
    looked_at = [at for at, line in enumerate(lines) if BEGINS_QUOTED.search(line)]
    return all(line.count(b"\t") == n_tabs for at in looked_at for line in lines[at : at + 2])
