"""Reads JSON: an object a line, or one array of objects; every value becomes the text that a CSV file would have."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from reckoner.producer.importing.reading.compression import Compression, Input, opened
from reckoner.producer.importing.reading.dialect import Form
from reckoner.producer.importing.reading.records import count_lines, is_utf8, line_ends
from reckoner.producer.importing.reading.tables import Batch, Refuse, require_columns, sentences
from reckoner.producer.importing.reading.text import UTF_8, Text, find_encoding
from reckoner.shared.errors import SourceError

SUFFIXES = (".json", ".jsonl", ".ndjson")
ARRAY, OBJECT = re.compile(rb"\s*\[\s*(?:[\]{]|\Z)"), re.compile(rb"\s*\{\s*[\"}]")
# The objects of the first block of so many bytes name the columns; wanted ones are looked for in the others too.
BLOCK_BYTES, MAX_ROW_BYTES = 2 << 20, 8 << 20
# An array is read whole, and takes five times its bytes.
MAX_ARRAY_BYTES, ARRAY_CHUNK_BYTES, ARRAY_ROWS = 128 << 20, 16 << 20, 16_384
NO_OBJECT = "it is no JSON object"
# Python writes these, although they are no JSON.
CONSTANTS = (b"NaN", b"Infinity")


def looks_like_json(start: bytes) -> bool:
    """Whether a text begins as an object or an array of objects."""
    return bool(OBJECT.match(start) or ARRAY.match(start))


def may_be_json(start: bytes) -> bool:
    """Whether a text that is called JSON begins like it, or has an object in one of its first lines."""
    return start.lstrip()[:1] in (b"", b"{", b"[") or any(map(OBJECT.match, start.splitlines()))


class JsonTable:
    """Objects as rows. A wanted value that is itself an object or an array makes its row bad.

    The first objects may lack columns that are `wanted`. `n_rows` is an estimate until the end.
    """

    def __init__(
        self, source: Input, compression: Compression, encoding: str | None, wanted: Sequence[str] = ()
    ) -> None:
        self.name = source.name
        self.n_rows: int | None = None
        self._source, self._compression = source, compression
        self._encoding = find_encoding(encoding) if encoding else None
        with sentences(self.name), self._opened() as (text, _):
            self._is_array = ARRAY.match(text.start(BLOCK_BYTES)) is not None
        self.unit: Literal["line", "row"] = "row" if self._is_array else "line"
        with sentences(self.name), self._opened() as (text, _):
            blocks = self._blocks(text)
            columns = self._columns(next(blocks, b""))
            self.columns: Sequence[str] = [*columns, *_found_later(blocks, set(wanted).difference(columns))]
        require_columns(self.name, len(self.columns))

    @property
    def form(self) -> Form:
        """See `Table.form`."""
        return Form(
            format="a JSON array" if self._is_array else "JSON lines",
            compression=self._compression,
            encoding=self._encoding or UTF_8,
        )

    def batches(self, names: Sequence[str], refuse: Refuse) -> Iterator[Batch]:
        """See `Table.batches`."""
        line, done, rows = 1, 0, _Rows(names)
        with sentences(self.name), self._opened() as (text, share):
            for block in self._blocks(text):
                self._encoding = text.encoding
                batch = rows.batch(block, line, refuse)
                line += count_lines(block)
                done += len(batch.lines)
                self.n_rows = None if self._is_array or not share() else round(done / share())
                yield batch
        self.n_rows = done

    @contextmanager
    def _opened(self) -> Iterator[tuple[Text, Callable[[], float]]]:
        with opened(self._source, self._compression) as stream:
            yield Text(stream.read, self._encoding), stream.share

    def _blocks(self, text: Text) -> Iterator[bytes]:
        """Blocks of lines with an object each."""
        if not self._is_array:
            too_long = f"{self.name} cannot be read: one row has over {MAX_ROW_BYTES:,} bytes."
            yield from text.blocks(BLOCK_BYTES, MAX_ROW_BYTES, too_long)
            return
        too_long = f"{self.name} is an array of over {MAX_ARRAY_BYTES:,} bytes. Write it as JSON lines."
        chunks = list[bytes]()
        for chunk in text.blocks(ARRAY_CHUNK_BYTES, MAX_ARRAY_BYTES, too_long):
            chunks.append(chunk)
            if sum(map(len, chunks)) > MAX_ARRAY_BYTES:
                raise SourceError(too_long)
        try:
            objects = msgspec.json.decode(b"".join(chunks), type=list[msgspec.Raw])
        except (msgspec.MsgspecError, RecursionError) as error:
            raise SourceError(f"{self.name} is not a JSON array: {error}.") from error
        for start in range(0, len(objects), ARRAY_ROWS):
            # Line ends between values are blanks, and within texts they are escaped.
            lines = (bytes(each).replace(b"\n", b" ").replace(b"\r", b" ") for each in objects[start:][:ARRAY_ROWS])
            yield b"\n".join(lines) + b"\n"

    def _columns(self, block: bytes) -> list[str]:
        """The names in the objects of the first block."""
        if not block.strip():
            raise SourceError(f"{self.name} has no rows." if self._is_array else f"{self.name} is empty.")
        found = _names(block)
        if not found:
            raise SourceError(f"{self.name} is not JSON lines: no line is an object with names.")
        return list(found)


def _names(block: bytes) -> dict[str, None]:
    """The names in the objects of a block, in order."""
    found, decoder = dict[str, None](), msgspec.json.Decoder(dict[str, msgspec.Raw])
    for line in _lines(block):
        decoded = _decoded(line, decoder)
        found |= dict.fromkeys(decoded if isinstance(decoded, dict) else ())
    return found


def _found_later(blocks: Iterator[bytes], wanted: set[str]) -> Iterator[str]:
    """Those of the wanted names that the blocks have; they are read only as far as one is missing."""
    missing = set(wanted)
    while missing and (block := next(blocks, b"")):
        # Names may be written with escapes; most blocks have none of them.
        if b"\\u" in block or any(json.dumps(name, ensure_ascii=False).encode() in block for name in missing):
            found = missing.intersection(_names(block))
            missing -= found
            yield from sorted(found)


class _Rows:
    """Decodes some values of objects, and skips the others."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        # A name of a column may be no identifier.
        fields = {f"column_{place}": name for place, name in enumerate(names)}
        row_type = msgspec.defstruct("Row", [(field, Any, None) for field in fields], rename=fields, gc=False)
        self._decoder = msgspec.json.Decoder(row_type, float_hook=str)

    def batch(self, block: bytes, line: int, refuse: Refuse) -> Batch:
        """The rows of a block that begins at `line`."""
        n_lines = count_lines(block)
        try:
            rows = [msgspec.structs.astuple(row) for row in self._decoder.decode_lines(block)]
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            rows = []
        columns = _columns_of(rows, self._names) if len(rows) == n_lines and is_utf8(block) else None
        if columns is not None:
            return Batch(np.arange(line, line + n_lines), columns)
        return self._one_by_one(block, line, refuse)

    def _one_by_one(self, block: bytes, line: int, refuse: Refuse) -> Batch:
        rows, lines = list[tuple[str | None, ...]](), list[int]()
        for number, data in enumerate(_lines(block), line):
            if data.isspace():
                continue
            try:
                rows.append(self._row(data))
                lines.append(number)
            except ValueError as error:
                refuse(number, str(error), data.decode(errors="replace").rstrip("\r\n"))
        columns = _columns_of(rows, self._names)
        assert columns is not None
        return Batch(np.array(lines, np.int64), columns)

    def _row(self, data: bytes) -> tuple[str | None, ...]:
        """The values of an object as texts.

        Raises:
            ValueError: with the reason why it is no row.
        """
        if not is_utf8(data):
            raise ValueError("it has a byte that is not utf-8")
        row = _decoded(data, self._decoder)
        if row is None:
            raise ValueError(NO_OBJECT)
        values = [row.get(name) for name in self._names] if isinstance(row, dict) else msgspec.structs.astuple(row)
        for name, value in zip(self._names, values, strict=True):
            if isinstance(value, dict | list):
                raise ValueError(f"its {name} is an object or an array")
        return tuple(map(_text, values))


def _decoded(line: bytes, decoder: "msgspec.json.Decoder[Any]") -> Any:
    """The object of a line; a dictionary if it has constants of Python; None if it is no object."""
    try:
        return decoder.decode(line)
    except (msgspec.MsgspecError, UnicodeError, RecursionError):
        if not any(constant in line for constant in CONSTANTS):
            return None
    try:
        decoded = json.loads(line, parse_float=str, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return None
    return decoded if isinstance(decoded, dict) else None


def _columns_of(rows: Sequence[tuple[Any, ...]], names: Sequence[str]) -> dict[str, pa.Array] | None:
    """The columns as texts; None if a column has values of several kinds, objects, or arrays."""
    columns = zip(*rows, strict=True) if rows else ([] for _ in names)
    try:
        arrays = [pa.array(column) for column in columns]
        if any(pa.types.is_nested(array.type) for array in arrays):
            return None
        return {name: array.cast(pa.string()) for name, array in zip(names, arrays, strict=True)}
    except (pa.ArrowException, TypeError, ValueError, OverflowError):
        return None


def _text(value: Any) -> str | None:
    """A single value as text.

    Raises:
        ValueError: it has half a pair of surrogates, or too many digits.
    """
    if value is None:
        return None
    text = str(value).lower() if isinstance(value, bool) else str(value)
    text.encode()
    return text


def _lines(block: bytes) -> Iterator[bytes]:
    ends = line_ends(block).tolist()
    return (block[start:end] for start, end in zip([0, *ends], ends, strict=False))
