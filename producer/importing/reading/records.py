"""Finds the records of a text: lines, but for values of several lines, and quotation marks without their partner.

Quotes count as in pyarrow's parser: only at the start of a value; two within a quoted value stand for one; after the
closing one the rest of the value is taken as it is.
"""

import re
from bisect import bisect_left
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

# A value of several lines has at most so many bytes; after them its quotation mark counts as one without its partner.
MAX_VALUE_BYTES = 1 << 20
# So many of the lines within a value are looked at.
MAX_LINES = 100
NO_PARTNER = "it has a quotation mark without its partner"


@dataclass(frozen=True, slots=True)
class Record:
    """A record of a block: where it ends, and its number of values.

    It `is_open` if a quoted value does not end.
    """

    end: int
    n_values: int
    is_open: bool


class Grammar:
    """How records are separated and quoted: by single bytes; `quote` may be empty."""

    def __init__(self, separator: bytes, quote: bytes) -> None:
        self.separator, self.quote = separator, quote
        s, q = re.escape(separator), re.escape(quote)
        quoted = rb"(?:(%b(?>[^%b]*+(?:%b%b[^%b]*+)*+)%b))?" % (q, q, q, q, q, q) if quote else rb"(?:([^\x00-\xff]))?"
        self._signs = s, q
        self._value = re.compile(quoted + rb"([^%b\r\n]*)(%b|\r\n|\n|\r|\Z)" % (s, s))

    def record(self, data: bytes, at: int = 0, limit: int | None = None) -> Record:
        """The record at a place; `limit` is where the data end."""
        limit = len(data) if limit is None else limit
        n_values = 0
        while True:
            found = self._value.match(data, at, limit)
            assert found is not None
            n_values += 1
            quoted, _, sign = found.groups()
            if self.quote and quoted is None and data.startswith(self.quote, at, limit):
                return Record(limit, n_values, is_open=True)
            at = found.end()
            if sign != self.separator:
                return Record(at, n_values, is_open=False)

    def whole(self, n_values: int) -> "re.Pattern[bytes]":
        """Matches a record of n values that end as they should; `record` takes some three times as long."""
        s, q = self._signs
        value = rb"(?:%b(?>[^%b]*+(?:%b%b[^%b]*+)*+)%b|(?!%b)[^%b\r\n]*+)" % (q, q, q, q, q, q, q, s)
        return re.compile(rb"(?:%b%b){%d}%b(?:\r\n|\n|\r|\Z)" % (value, s, n_values - 1, value))

    def values(self, data: bytes) -> list[bytes]:
        """The values of the first record."""
        values, at = list[bytes](), 0
        while True:
            found = self._value.match(data, at)
            assert found is not None
            quoted, rest, sign = found.groups()
            values.append((quoted[1:-1].replace(self.quote * 2, self.quote) if quoted else b"") + rest)
            at = found.end()
            if sign != self.separator:
                return values

    def ends_open(self, data: bytes) -> bool:
        """Whether the last line of a block, by itself, ends within a quoted value."""
        if not self.quote:
            return False
        start = max(data.rfind(b"\n", 0, -1), data.rfind(b"\r", 0, -2)) + 1
        if self.quote not in data[start:]:
            return False
        while start < len(data):
            record = self.record(data, start)
            if record.is_open:
                return True
            start = record.end
        return False


@dataclass(frozen=True, slots=True)
class _Lines:
    """A block and where its lines start and end; lists, since one is read at a time."""

    data: bytes
    starts: list[int]
    ends: list[int]


@dataclass(frozen=True, slots=True)
class Mended:
    """The records of the first `n_lines` of a block: their bytes, the line of each from 0, and bad lines with reasons.

    The line after them begins a record that needs more of the file.
    """

    data: bytes
    lines: NDArray[np.int64]
    bad: list[tuple[int, str]]
    n_lines: int
    ends_open: bool
    """Whether the last record ends within a quoted value."""


@dataclass(frozen=True, slots=True)
class RecordFinder:
    """Finds the records of n values each.

    With `starts_quoted` each begins with a quote. `encoding` names what invalid bytes should have been.
    """

    grammar: Grammar
    n_values: int
    starts_quoted: bool
    encoding: str

    def mend(self, data: bytes, *, is_last: bool, thorough: bool) -> Mended:
        """Find the records of a block that holds more than a record a line.

        An odd number of quotes opens a value of several lines; `thorough` looks at lines with an even number too. The
        lines become one record if it has the right number of values and its lines are no rows by themselves. Otherwise
        the first line alone is bad.
        """
        ends = line_ends(data)
        lines = _Lines(data, [0, *ends[:-1].tolist()], ends.tolist())
        joined, alone, n_lines = self._joined(lines, self._suspects(data, ends, thorough), is_last=is_last)
        dropped, within = np.zeros(len(ends), np.bool_), np.zeros(len(ends), np.bool_)
        dropped[alone] = True
        bad = [(line, NO_PARTNER) for line in alone]
        invalid = set(_invalid_lines(lines, ends)).difference(alone)
        for first, last in joined:
            within[first + 1 : last + 1] = True
            if invalid and not invalid.isdisjoint(range(first, last + 1)):
                invalid.difference_update(range(first, last + 1))
                bad.append((first, self._invalid))
                dropped[first : last + 1] = True
        invalid = {line for line in invalid if line < n_lines}
        dropped[list(invalid)] = True
        bad += [(line, self._invalid) for line in invalid]
        dropped, within, ends = dropped[:n_lines], within[:n_lines], ends[:n_lines]
        kept = np.flatnonzero(~(dropped | within))
        return Mended(
            _without(data[: lines.starts[n_lines]] if n_lines < len(lines.starts) else data, dropped, within, ends),
            kept,
            bad,
            n_lines,
            self._ends_open(lines, kept, dropped),
        )

    def _joined(
        self, lines: _Lines, suspects: list[int], *, is_last: bool
    ) -> tuple[list[tuple[int, int]], list[int], int]:
        """The (first, last) lines of records of several lines, lines whose quote lacks its partner, and how many lines.

        Fewer lines than there are if the record of the next one needs more of the file.
        """
        joined, alone, resume, size = list[tuple[int, int]](), list[int](), 0, len(lines.data)
        whole = self.grammar.whole(self.n_values) if suspects else None
        for line in suspects:
            if line < resume:
                continue
            start, end = lines.starts[line], lines.ends[line]
            limit = min(size, max(end, start + MAX_VALUE_BYTES))
            found = whole.match(lines.data, start, limit) if whole else None
            if found is None:
                record = self.grammar.record(lines.data, start, limit)
                if record.is_open and limit == size and not is_last:
                    return joined, alone, line
                if record.is_open or record.end > end:
                    alone.append(line)
            elif found.end() > end:
                last = bisect_left(lines.ends, found.end(), line)
                if self._is_one(lines, line, last):
                    joined.append((line, last))
                    resume = last + 1
                else:
                    alone.append(line)
        return joined, alone, len(lines.ends)

    @property
    def _invalid(self) -> str:
        return f"it has a byte that is not {self.encoding}"

    def _ends_open(self, lines: _Lines, kept: NDArray[np.int64], dropped: NDArray[np.bool_]) -> bool:
        if len(kept) == 0:
            return False
        end = lines.ends[int(np.flatnonzero(~dropped)[-1])]
        return self.grammar.record(lines.data, lines.starts[int(kept[-1])], end).is_open

    def _suspects(self, data: bytes, ends: NDArray[np.int64], thorough: bool) -> list[int]:
        """The lines that may open a value of several lines."""
        if not self.grammar.quote:
            return []
        quotes = np.flatnonzero(np.frombuffer(data, np.uint8) == self.grammar.quote[0])
        counts = np.bincount(np.searchsorted(ends, quotes, side="right"))
        return np.flatnonzero(counts if thorough else counts & 1).tolist()

    def _is_one(self, lines: _Lines, first: int, last: int) -> bool:
        """Whether the lines after the first belong to its record, whose number of values is right.

        They do not if they look like rows: the last one, and at least half of those before it. A single one belongs to
        the record unless it opens another value.
        """
        row = self._row(lines, last)
        if row is None or last == first + 1:
            return row is None or not row.is_open
        between = range(first + 1, min(last, first + 1 + MAX_LINES))
        return 2 * sum(self._row(lines, line) is not None for line in between) < len(between)

    def _row(self, lines: _Lines, line: int) -> Record | None:
        """The record of a line by itself if it looks like a row."""
        start, end = lines.starts[line], lines.ends[line]
        if lines.data.count(self.grammar.separator, start, end) < self.n_values - 1:
            return None
        if self.starts_quoted and not lines.data.startswith(self.grammar.quote, start):
            return None
        record = self.grammar.record(lines.data, start, end)
        return record if record.n_values == self.n_values else None


def line_ends(data: bytes) -> NDArray[np.int64]:
    """The place after each line, int64[lines]; the last needs no line end."""
    signs = np.frombuffer(data, np.uint8)
    is_end = signs == ord("\n")
    if b"\r" in data:
        is_return = signs == ord("\r")
        is_return[:-1] &= ~is_end[1:]
        is_end |= is_return
    ends = np.flatnonzero(is_end) + 1
    return ends if len(ends) and ends[-1] == len(data) else np.append(ends, len(data))


def count_lines(data: bytes) -> int:
    """The number of lines of a block that is not empty."""
    if b"\r" in data:
        return len(line_ends(data))
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n"))) + (not data.endswith(b"\n"))


def _invalid_lines(lines: _Lines, ends: NDArray[np.int64]) -> list[int]:
    """The lines that are not UTF-8."""
    if lines.data.isascii():
        return []
    beyond = np.flatnonzero(np.frombuffer(lines.data, np.uint8) >= 0x80)
    found = np.unique(np.searchsorted(ends, beyond, side="right")).tolist()
    return [line for line in found if not is_utf8(lines.data[lines.starts[line] : lines.ends[line]])]


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8."""
    if data.isascii():
        return True
    text = pa.Array.from_buffers(
        pa.large_string(), 1, [None, pa.py_buffer(np.array([0, len(data)])), pa.py_buffer(data)]
    )
    try:
        text.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _without(data: bytes, dropped: NDArray[np.bool_], within: NDArray[np.bool_], ends: NDArray[np.int64]) -> bytes:
    """The data without the dropped lines; lines `within` continue a value."""
    if not dropped.any():
        return data
    signs = np.frombuffer(data, np.uint8).copy()
    if b"\r" in data:
        # A carriage return and a line feed after a dropped line would become one line end.
        last = (ends - 1)[~np.append(within[1:], False)]
        signs[last[signs[last] == ord("\r")]] = ord("\n")
    keep = np.repeat(~dropped, np.diff(ends, prepend=0))
    return bytes(signs[keep])
