"""Reads JSON: an object a line, or one array of objects; every value becomes the text that a CSV file would have."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

import msgspec
import numpy as np
import pyarrow as pa

from reckoner.producer.importing.reading.compression import Compression, Input, opened
from reckoner.producer.importing.reading.forms import Form
from reckoner.producer.importing.reading.nesting import (
    TOO_LONG_LISTS,
    Path,
    has_within,
    list_as_text,
    value_within,
    values_as_rows,
)
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
# The other values of an object are repeated for each value of its lists: so many characters at once.
MAX_REPEATED = 64 << 20
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
    """Objects as rows, with one for each value of an array. A wanted value that is an object makes its row bad.

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
            self._paths = self._columns(next(blocks, b""), wanted)
            self._paths |= _found_later(blocks, set(wanted).difference(self._paths))
            self.columns: Sequence[str] = list(self._paths)
        require_columns(self.name, len(self.columns))

    @property
    def form(self) -> Form:
        """See `Table.form`."""
        return Form(
            format="a JSON array" if self._is_array else "JSON lines",
            compression=self._compression,
            encoding=self._encoding or UTF_8,
        )

    def batches(self, names: Sequence[str], refuse: Refuse, whole: Collection[str] = ()) -> Iterator[Batch]:
        """See `Table.batches`."""
        line, done, rows = 1, 0, _Rows({name: self._paths[name] for name in names}, whole)
        with sentences(self.name), self._opened() as (text, share):
            for block in self._blocks(text):
                self._encoding = text.encoding
                for batch in rows.batches(block, line, refuse):
                    done += len(batch.lines)
                    self.n_rows = None if self._is_array or not share() else round(done / share())
                    yield batch
                line += count_lines(block)
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

    def _columns(self, block: bytes, wanted: Sequence[str]) -> dict[str, Path]:
        """The names in the objects of the first block, and wanted ones within them."""
        if not block.strip():
            raise SourceError(f"{self.name} has no rows." if self._is_array else f"{self.name} is empty.")
        found = _names(block, wanted)
        if not found:
            raise SourceError(f"{self.name} is not JSON lines: no line is an object with names.")
        return found


def _names(block: bytes, wanted: Iterable[str]) -> dict[str, Path]:
    """The names in the objects of a block, in order, and wanted ones within their values."""
    found, decoder = dict[str, Path](), msgspec.json.Decoder(dict[str, msgspec.Raw])
    within, paths = [tuple(name.split(".")) for name in wanted if "." in name], dict[str, Path]()
    for line in _lines(block):
        decoded = _decoded(line, decoder)
        if isinstance(decoded, dict):
            found |= {name: (name,) for name in decoded}
            paths |= {".".join(path): path for path in within if path[0] in decoded and _has(line, path)}
            within = [path for path in within if ".".join(path) not in paths]
    return paths | found


def _has(line: bytes, path: Path) -> bool:
    return has_within(_decoded(line, msgspec.json.Decoder()), path)


def _found_later(blocks: Iterator[bytes], wanted: set[str]) -> dict[str, Path]:
    """Those of the wanted names that the blocks have; they are read only as far as one is missing."""
    found = dict[str, Path]()
    while (missing := wanted.difference(found)) and (block := next(blocks, b"")):
        # Names may be written with escapes; most blocks have none of them.
        words = {word for name in missing for word in (name, name.rpartition(".")[2])}
        if b"\\u" in block or any(json.dumps(word, ensure_ascii=False).encode() in block for word in words):
            found |= {name: path for name, path in _names(block, missing).items() if name in missing}
    return dict(sorted(found.items()))


class _Rows:
    """Decodes some values of objects, by their paths, and skips the others; lists in columns of `whole` are texts."""

    def __init__(self, paths: Mapping[str, Path], whole: Collection[str]) -> None:
        self._names = list(paths)
        self._tops = list(dict.fromkeys(path[0] for path in paths.values()))
        self._places = [(self._tops.index(path[0]), path[1:]) for path in paths.values()]
        self._is_flat = all(len(path) == 1 for path in paths.values()) and not whole
        self._whole = [name in whole for name in paths]
        # A name of a column may be no identifier.
        fields = {f"column_{place}": name for place, name in enumerate(self._tops)}
        row_type = msgspec.defstruct("Row", [(field, Any, None) for field in fields], rename=fields, gc=False)
        self._decoder = msgspec.json.Decoder(row_type, float_hook=str)

    def batches(self, block: bytes, line: int, refuse: Refuse) -> Iterator[Batch]:
        """The rows of a block that begins at `line`."""
        n_lines = count_lines(block)
        try:
            rows = [self._wanted(msgspec.structs.astuple(row)) for row in self._decoder.decode_lines(block)]
        except (msgspec.MsgspecError, UnicodeError, RecursionError):
            rows = []
        columns = _columns_of(rows, self._names) if len(rows) == n_lines and is_utf8(block) else None
        if columns is not None:
            yield Batch(np.arange(line, line + n_lines), columns)
        else:
            yield from self._one_by_one(block, line, refuse)

    def _one_by_one(self, block: bytes, line: int, refuse: Refuse) -> Iterator[Batch]:
        rows, lines, size = list[tuple[str | None, ...]](), list[int](), 0
        for number, data in enumerate(_lines(block), line):
            if data.isspace():
                continue
            try:
                found = self._rows(data)
            except ValueError as error:
                refuse(number, str(error), data.decode(errors="replace").rstrip("\r\n"))
                continue
            rows += found
            lines += [number] * len(found)
            size += _size(found)
            if size > MAX_REPEATED:
                yield self._batch(rows, lines)
                rows, lines, size = [], [], 0
        yield self._batch(rows, lines)

    def _batch(self, rows: Sequence[tuple[str | None, ...]], lines: Sequence[int]) -> Batch:
        columns = _columns_of(rows, self._names)
        assert columns is not None
        return Batch(np.array(lines, np.int64), columns)

    def _wanted(self, values: tuple[Any, ...]) -> tuple[Any, ...]:
        if self._is_flat:
            return values
        found = (value_within(values[top], names) for top, names in self._places)
        return tuple(list_as_text(value) if whole else value for value, whole in zip(found, self._whole, strict=True))

    def _rows(self, data: bytes) -> list[tuple[str | None, ...]]:
        """The values of an object as texts, a row for each value of its lists.

        Raises:
            ValueError: with the reason why it is no row.
        """
        if not is_utf8(data):
            raise ValueError("it has a byte that is not utf-8")
        row = _decoded(data, self._decoder)
        if row is None:
            raise ValueError(NO_OBJECT)
        values = tuple(map(row.get, self._tops)) if isinstance(row, dict) else msgspec.structs.astuple(row)
        rows = values_as_rows(self._wanted(values))
        for name, column in zip(self._names, zip(*rows, strict=True), strict=True):
            if any(isinstance(value, dict) for value in column):
                raise ValueError(f"its {name} is an object; name one of its values, such as {name}.id")
        found = [tuple(map(_text, row)) for row in rows]
        if len(found) > 1 and _size(found) > MAX_REPEATED:
            raise ValueError(TOO_LONG_LISTS)
        return found


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


def _size(rows: Sequence[tuple[str | None, ...]]) -> int:
    """About how many characters the rows of one object have."""
    return len(rows) * sum(len(value or "") for value in rows[0])


def _lines(block: bytes) -> Iterator[bytes]:
    ends = line_ends(block).tolist()
    return (block[start:end] for start, end in zip([0, *ends], ends, strict=False))
