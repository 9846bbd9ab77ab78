"""Reads text files whose records are separated values, block by block, with an editor's line numbers.

Blocks are parsed side by side by pyarrow. If that gives as many records as the block has lines, each line is a record;
otherwise the block holds values of several lines or bad quotation marks, and `RecordFinder` mends it.
"""

from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
from numpy.typing import NDArray

from reckoner.producer.importing.reading.columns import Columns
from reckoner.producer.importing.reading.compression import Compression, Input, opened
from reckoner.producer.importing.reading.dialect import find_dialect
from reckoner.producer.importing.reading.forms import Form, Reading
from reckoner.producer.importing.reading.records import Grammar, RecordFinder, count_lines, is_utf8, line_ends
from reckoner.producer.importing.reading.tables import Batch, Refuse, require_columns, sentences
from reckoner.producer.importing.reading.text import UTF_8, Text, find_encoding
from reckoner.shared.errors import ReadAgainError, SourceError

# A limit, since the header is read whole; in a compressed file it may be a thousand times larger than the file.
MAX_HEADER_BYTES = 1 << 20
MAX_ROW_BYTES = 8 << 20
# Larger blocks take more CPU, since their memory is not reused.
BLOCK_BYTES = 2 << 20
# Blocks that are parsed side by side, and those that wait for it.
THREADS, AHEAD = 2, 3
MARK = "\ufeff".encode()


@dataclass(frozen=True, slots=True)
class Parsed:
    """The columns of the good records of a block, and the refused ones as (number from 0, reason, text)."""

    columns: dict[str, pa.Array]
    n_rows: int
    refused: list[tuple[int, str, str]]


@dataclass(frozen=True, slots=True)
class Block:
    """Some lines, the share of the file up to their end, and their records: None if some are no single lines."""

    data: bytes
    share: float
    parsed: "Future[Parsed | None]"


class DelimitedTable:
    """A text file of separated values; every value is text, so that the id 007 stays 007.

    `n_rows` is an estimate until the end.
    """

    unit: Literal["line", "row"] = "line"

    def __init__(
        self, source: Input, compression: Compression, reading: Reading, columns: Columns, known: Sequence[str] = ()
    ) -> None:
        self.name = source.name
        self.n_rows: int | None = None
        self._source, self._compression = source, compression
        self._encoding = find_encoding(reading.encoding) if reading.encoding else None
        too_long = (
            f"The header of {self.name} has over {MAX_HEADER_BYTES:,} bytes. The first line must name the columns."
        )
        with sentences(self.name), self._opened() as (text, _):
            sample = next(text.blocks(MAX_HEADER_BYTES, MAX_HEADER_BYTES, too_long), b"")
            self._encoding = text.encoding
        if not sample:
            raise SourceError(f"{self.name} is empty.")
        if b"\0" in sample[: line_ends(sample)[0]]:
            raise SourceError(f"{self.name} is not a text file.")
        self._dialect = find_dialect(sample, self.name, reading, columns, known)
        self.columns: Sequence[str] = self._dialect.columns
        require_columns(self.name, len(self.columns))

    @property
    def form(self) -> Form:
        """See `Table.form`."""
        return Form(
            compression=self._compression,
            encoding=self._encoding or UTF_8,
            separator=self._dialect.separator,
            quote=self._dialect.quote,
            header=self._dialect.header,
            escape=self._dialect.escape or "none",
        )

    def batches(self, names: Sequence[str], refuse: Refuse, whole: Collection[str] = ()) -> Iterator[Batch]:
        """See `Table.batches`."""
        line, done, rest = self._dialect.skipped_lines + 1, 0, b""
        with sentences(self.name):
            for block in self._blocks(names):
                parsed = block.parsed.result()
                if parsed is None or rest:
                    parsed, lines, n_lines, rest = self._mended(rest + block.data, names, line, refuse, is_last=False)
                else:
                    n_lines = parsed.n_rows + len(parsed.refused)
                    lines = np.arange(line, line + n_lines)
                line += n_lines
                done += parsed.n_rows
                self.n_rows = round(done / block.share) if block.share else None
                yield _batch(parsed, lines, refuse)
            if rest:
                parsed, lines, _, _ = self._mended(rest, names, line, refuse, is_last=True)
                self.n_rows = done + parsed.n_rows
                yield _batch(parsed, lines, refuse)

    @contextmanager
    def _opened(self) -> Iterator[tuple[Text, Callable[[], float]]]:
        with opened(self._source, self._compression) as stream:
            yield Text(stream.read, self._encoding), stream.share

    def _blocks(self, names: Sequence[str]) -> Iterator[Block]:
        """The blocks after the header, some of them being parsed."""
        too_long = f"{self.name} cannot be read: one row has over {MAX_ROW_BYTES:,} bytes."
        skipped_lines, waiting = self._dialect.skipped_lines, deque[Block]()
        with self._opened() as (text, share), ThreadPoolExecutor(THREADS) as pool:
            for data in text.blocks(BLOCK_BYTES, MAX_ROW_BYTES, too_long):
                self._encoding = text.encoding
                if skipped_lines:
                    skipped = min(skipped_lines, count_lines(data))
                    data, skipped_lines = _after(data, skipped), skipped_lines - skipped
                if self._dialect.tells_no_quotes(data):
                    self._dialect = replace(self._dialect, quote="", starts_quoted=False, look=None)
                    raise ReadAgainError
                if self._dialect.tells_escape(data):
                    self._dialect = replace(self._dialect, escape="backslash")
                    raise ReadAgainError
                if data:
                    waiting.append(Block(data, share(), pool.submit(self._attempt, data, names)))
                if len(waiting) > AHEAD:
                    yield waiting.popleft()
            yield from waiting

    def _attempt(self, block: bytes, names: Sequence[str]) -> Parsed | None:
        """The records of a block, None if one of them is no single line or not UTF-8."""
        data, grammar = self._dialect.prepared(block)
        if not is_utf8(data) or grammar.ends_open(data):
            return None
        parsed = self._parsed(data, grammar, names)
        return parsed if parsed.n_rows + len(parsed.refused) == count_lines(data) else None

    def _mended(
        self, block: bytes, names: Sequence[str], line: int, refuse: Refuse, *, is_last: bool
    ) -> tuple[Parsed, NDArray[np.int64], int, bytes]:
        """The records of a block that begins at `line`, their lines, how many lines they take, and what is left."""
        data, grammar = self._dialect.prepared(block)
        finder = RecordFinder(grammar, len(self.columns), self._dialect.starts_quoted, self._encoding or UTF_8)
        for thorough in (False, True):
            mended = finder.mend(data, is_last=is_last, thorough=thorough)
            parsed = self._parsed(mended.data, grammar, names)
            if parsed.n_rows + len(parsed.refused) == len(mended.lines) and not mended.ends_open:
                break
        else:
            raise SourceError(f"{self.name} cannot be read: its quotation marks do not match. Use --quote none.")
        ends = line_ends(data) if mended.bad else np.empty(0, np.int64)
        for number, reason in mended.bad:
            text = data[ends[number - 1] if number else 0 : ends[number]].decode(errors="replace")
            refuse(line + number, reason, text.rstrip("\r\n"))
        return parsed, line + mended.lines, mended.n_lines, _after(block, mended.n_lines)

    def _parsed(self, data: bytes, grammar: Grammar, names: Sequence[str]) -> Parsed:
        if not data:
            return Parsed({name: pa.array([], pa.string()) for name in names}, 0, [])
        refused = list[tuple[int, str, str]]()

        def refuse(row: pyarrow.csv.InvalidRow) -> str:
            values = "1 value" if row.actual_columns == 1 else f"{row.actual_columns} values"
            reason = f"it has {values} instead of {row.expected_columns}"
            refused.append((row.number - 1, reason, row.text))
            return "skip"

        # pyarrow takes a byte order mark from each block.
        data = MARK + data if data.startswith(MARK) else data
        # By number, since unread columns may have the same name.
        places = {name: str(self.columns.index(name)) for name in names}
        table = pyarrow.csv.read_csv(
            pa.BufferReader(data),
            # With threads of its own, refused rows have no number.
            read_options=pyarrow.csv.ReadOptions(
                use_threads=False, block_size=len(data) + 1, column_names=list(map(str, range(len(self.columns))))
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=grammar.separator.decode(),
                quote_char=grammar.quote.decode() or False,
                newlines_in_values=True,
                # Ignored empty lines would shift the line numbers.
                ignore_empty_lines=False,
                invalid_row_handler=refuse,
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=list(places.values()),
                column_types=dict.fromkeys(places.values(), pa.string()),
                strings_can_be_null=False,
                check_utf8=False,
            ),
        )
        # The block is one chunk, which combine_chunks would copy.
        columns = {name: table.column(place).chunk(0) for name, place in places.items()}
        if len(self._dialect.separator) > 1 and grammar.quote:
            back = {"pattern": grammar.separator.decode(), "replacement": self._dialect.separator}
            columns = {name: pc.replace_substring(column, **back) for name, column in columns.items()}
        return Parsed(columns, table.num_rows, refused)


def _batch(parsed: Parsed, lines: NDArray[np.int64], refuse: Refuse) -> Batch:
    """The rows of a block whose records, refused ones included, begin at `lines`."""
    for number, reason, text in parsed.refused:
        refuse(int(lines[number]), reason, text)
    return Batch(np.delete(lines, [number for number, _, _ in parsed.refused]), parsed.columns)


def _after(data: bytes, n_lines: int) -> bytes:
    """The data after some lines."""
    if n_lines == 0:
        return data
    return data[line_ends(data)[n_lines - 1] :]
