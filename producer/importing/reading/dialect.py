"""Finds how a text file is written: its separator, its quote, and whether its first line names the columns."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from reckoner.producer.importing.reading.columns import USUAL_NAMES, Columns
from reckoner.producer.importing.reading.forms import BLANKS, SEPARATORS, Escape, Reading
from reckoner.producer.importing.reading.quoting import QuoteLook, has_escapes, usual_quote
from reckoner.producer.importing.reading.records import Grammar, count_lines
from reckoner.shared.errors import SourceError, UsageError

NAMED_SEPARATORS = {
    "comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "bar": "|", "pipe": "|", "blank": BLANKS,
    "blanks": BLANKS, "space": BLANKS,
}  # fmt: skip
QUOTES = {'"': '"', "'": "'", "double": '"', "single": "'", "none": ""}
# So many records and bytes decide.
SAMPLE_RECORDS, SAMPLE_BYTES = 200, 1 << 18
# These stand for a separator that is no single byte; one that the block lacks is taken.
STAND_INS = tuple(bytes([byte]) for byte in (*range(31, 13, -1), *range(1, 9)))
NUMBER_OR_DATE = re.compile(r"[+-]?\.?\d[\d.,:/TtZzeE+ -]*(?:UTC|GMT)?")
# Names of columns in RecBole's atomic files end with a type.
ATOMIC = re.compile(r":(?:token|float)(?:_seq)?$")
SHOWN_VALUES, SHOWN_CHARACTERS = 6, 40
# So many columns of numbers without a header may be a matrix.
MATRIX_COLUMNS = 30
BY_NUMBER = "give the columns by number, such as --user 1 --item 2 --no-header."
FILTERS = "docs/importing.md shows how a filter writes such rows"
# A spreadsheet's first line, which names the separator.
SEPARATOR_LINE = re.compile(rb"sep=([^\r\n])(?:\r\n|\n|\r)", re.IGNORECASE)
COMMENT_LINES = re.compile(rb"(?:#[^\r\n]*+(?:\r\n|\n|\r))+")


@dataclass(frozen=True, slots=True)
class Dialect:
    """The separator, the quote (empty: none), and the names of the columns, from a header or numbers."""

    separator: str
    quote: str
    header: bool
    skipped_lines: int
    """Lines before the first row: comments and the header."""
    columns: tuple[str, ...]
    starts_quoted: bool
    """Whether the first two records begin with a quote."""
    escape: Escape | None
    """Whether a backslash within quotes stands before a quote; None if no value tells so far."""
    look: "QuoteLook | None" = None
    """Looks on for values that tell whether anything is quoted."""

    def prepared(self, block: bytes) -> tuple[bytes, Grammar]:
        """The block with a separator of a single byte and quotes that are doubled, and its grammar."""
        return _prepared(block, self.separator, self.quote, self.escape)

    def tells_no_quotes(self, block: bytes) -> bool:
        """Whether nothing turns out to be quoted, by this block."""
        return self.look is not None and self.look.finds_none(block, len(self.columns) - 1)

    def tells_escape(self, block: bytes) -> bool:
        """Whether backslashes turn out to be escapes in this block."""
        return self.escape is None and has_escapes(block, self.separator, self.quote)


def find_dialect(sample: bytes, name: str, reading: Reading, columns: Columns, known: Sequence[str]) -> Dialect:
    """The dialect of a file by its first lines, in UTF-8; `known` names the first columns if there is no header.

    Raises:
        UsageError: an option means nothing.
        SourceError: the first line cannot name the columns, or seems not to.
    """
    separator, quote = _given_separator(reading.separator), _given_quote(reading.quote)
    sample, n_comments, named = _without_comments(sample, reading, columns)
    if separator is None:
        separator = named or _found_separator(sample, quote, columns)
    if quote is None:
        quote = _found_quote(sample, separator)
    look = QuoteLook() if reading.quote is None and separator == "\t" and quote == '"' else None
    if look is not None and look.finds_none(sample, sample.partition(b"\n")[0].count(b"\t")):
        quote, look = "", None
    escape = reading.escape or ("backslash" if has_escapes(sample, separator, quote) else None)
    data, grammar = _prepared(sample, separator, quote, escape)
    record = grammar.record(data)
    if record.is_open:
        raise SourceError(f"The first line of {name} opens a quotation mark that is never closed. Use --quote none.")
    first, *others = _first_records(data, grammar)
    header, names = find_names(_texts(first, name), others, name, reading, columns, known)
    starts_quoted = bool(quote) and all(data.startswith(grammar.quote, place) for place in (0, record.end))
    skipped = n_comments + (count_lines(data[: record.end]) if header else 0)
    return Dialect(separator, quote, header, skipped, names, starts_quoted, escape, look)


def _without_comments(sample: bytes, reading: Reading, columns: Columns) -> tuple[bytes, int, str | None]:
    """The sample without the lines before the table, their number, and the separator if one of them names it.

    The last comment stays, without its sign, if it names a column.
    """
    if found := SEPARATOR_LINE.match(sample):
        return sample[found.end() :], 1, found[1].decode(errors="replace")
    found = COMMENT_LINES.match(sample)
    if (
        not found
        or reading.header
        or found.end() == len(sample)
        or any(name.startswith("#") for name in columns.given())
    ):
        return sample, 0, None
    lines = found[0].splitlines(keepends=True)
    last = lines[-1].lstrip(b"# \t")
    words = re.split(r"[,;|\s]+", last.decode(errors="replace"))
    is_header = reading.header is None and (has_usual_name(words) or not {*columns.given()}.isdisjoint(words))
    rest = sample[found.end() :]
    return (last + rest, len(lines) - 1, None) if is_header else (rest, len(lines), None)


def has_usual_name(values: Sequence[str]) -> bool:
    """Whether one of the values is a usual name of a column."""
    usual = {name for names in USUAL_NAMES.values() for name in names}
    return any(value.casefold() in usual for value in values)


def _given_separator(given: str | None) -> str | None:
    separator = given if given is None else NAMED_SEPARATORS.get(given.casefold(), given)
    if separator is not None and (not separator or re.search(r"(?a:\w)|[\r\n\"\0\ud800-\udfff]", separator)):
        raise UsageError(
            "--separator takes characters, such as ';' or '::', or one of comma, semicolon, tab, bar, blanks."
        )
    return separator


def _given_quote(given: str | None) -> str | None:
    quote = given if given is None else QUOTES.get(given.casefold(), given)
    if quote and re.fullmatch(r"[!-/:-@\[-`{-~]", quote) is None:
        raise UsageError("--quote takes one character, or one of double, single, none.")
    return quote


def _found_separator(sample: bytes, quote: str | None, columns: Columns) -> str:
    """The separator by which most of the first records have as many values as the first.

    Then the one that gives usual or wanted names counts, then any but blanks, then the one that gives more values.
    """
    names = {name for usual in USUAL_NAMES.values() for name in usual} | {name.casefold() for name in columns.given()}
    best, found = (False, 0.0, False, 0), ","
    for separator in SEPARATORS:
        data, grammar = _prepared(sample, separator, usual_quote(separator) if quote is None else quote)
        first, *others = _first_records(data, grammar)
        share = round((1 + sum(len(other) == len(first) for other in others)) / (1 + len(others)), 1)
        is_named = share >= 0.5 and any(
            ATOMIC.sub("", value.decode(errors="replace").strip()).casefold() in names for value in first
        )
        rank = (is_named, share, separator != BLANKS, len(first))
        if len(first) > 1 and rank > best:
            best, found = rank, separator
    return found


def _found_quote(sample: bytes, separator: str) -> str:
    """The double quote, or the single one if at least half of the first records have values within it."""
    usual = usual_quote(separator)
    if usual and b'"' not in sample:
        records = _first_records(*_prepared(sample, separator, ""))
        quoted = sum(any(len(value) > 1 and value[:1] == value[-1:] == b"'" for value in record) for record in records)
        return "'" if 2 * quoted >= len(records) else usual
    return usual


def _first_records(data: bytes, grammar: Grammar) -> list[list[bytes]]:
    """The values of the first records, at least one."""
    records, at = list[list[bytes]](), 0
    while not records or (at < len(data) and at < SAMPLE_BYTES and len(records) < SAMPLE_RECORDS):
        record = grammar.record(data, at)
        end = (data.find(b"\n", at) + 1 or len(data)) if record.is_open else record.end
        records.append(grammar.values(data[at:end]))
        at = end
    return records


def _texts(values: Sequence[bytes], name: str) -> list[str]:
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise SourceError(f"The first line of {name} has a byte that is not UTF-8. Use --encoding.") from error


def find_names(
    first: Sequence[str],
    others: Sequence[Sequence[bytes]],
    name: str,
    reading: Reading,
    columns: Columns,
    known: Sequence[str] = (),
) -> tuple[bool, tuple[str, ...]]:
    """Whether the first line of the table `name` is a header, and the names of the columns; `others` are more rows.

    `known` names the first columns if there is no header.

    Raises:
        SourceError: the first line cannot name the columns, or seems not to.
    """
    numbers = tuple(str(number) for number in range(1, len(first) + 1))
    stripped = tuple(value.strip() for value in first)
    if all(ATOMIC.search(value) for value in stripped):
        stripped = tuple(ATOMIC.sub("", value) for value in stripped)
    header = reading.header
    if header is None and stripped == ("",):
        raise SourceError(f"The first line of {name} is empty. It must name the columns.")
    if len(stripped) == 1 and re.fullmatch(r"[0-9]+:", stripped[0]):
        raise SourceError(
            f"The first line of {name} is {stripped[0]} and stands for the rows below it. Each row must have its user "
            f"and its item: {FILTERS}."
        )
    if header is None:
        header = _is_header(stripped, others, columns)
        by_number = {columns.user, columns.item} <= {*numbers}
        if not header and not by_number:
            if known and len(first) >= len(known):
                return False, (*known, *numbers[len(known) :])
            shown = ", ".join(" ".join(value[:SHOWN_CHARACTERS].split()) for value in stripped[:SHOWN_VALUES])
            if len(stripped) >= MATRIX_COLUMNS and all(NUMBER_OR_DATE.fullmatch(value) for value in stripped if value):
                raise SourceError(
                    f"{name} seems to be a matrix: its first line has {len(stripped):,} numbers, {shown}, ... A row "
                    f"must have one user and one item: {FILTERS}."
                )
            raise SourceError(
                f"{name} seems to have no header: its first line is {shown}. If it is a row, {BY_NUMBER} If these are "
                "the names of the columns, use --header."
            )
    return header, stripped if header else numbers


def _is_header(first: Sequence[str], others: Sequence[Sequence[bytes]], columns: Columns) -> bool:
    """Whether the first line has names and no values.

    Of the wanted names, or of all if none is there, none may be among the values of its own column, and none a number.
    """
    if has_usual_name(first):
        return True
    wanted = [place for place, value in enumerate(first) if value in columns.given()] or range(len(first))
    header = [value.encode() for value in first]
    rows = [other for other in others if other != header]
    for place in wanted:
        if header[place] and any(other[place].strip() == header[place] for other in rows if place < len(other)):
            return False
    return not any(NUMBER_OR_DATE.fullmatch(first[place]) for place in wanted)


def _prepared(block: bytes, separator: str, quote: str, escape: Escape | None = None) -> tuple[bytes, Grammar]:
    sign, mark = separator.encode(), quote.encode()
    if escape == "backslash" and mark and b"\\" in block:
        block = re.sub(rb"\\(\\|%b)" % re.escape(mark), lambda found: found[1] * (1 + (found[1] == mark)), block)
    if len(sign) == 1 and separator != BLANKS:
        return block, Grammar(sign, mark)
    stand_in = next((byte for byte in STAND_INS if byte not in block), None)
    if stand_in is None:
        raise SourceError("The file is not text: it has all kinds of control characters.")
    if separator == BLANKS:
        return _without_blanks(block, stand_in, mark), Grammar(stand_in, mark)
    return block.replace(sign, stand_in), Grammar(stand_in, mark)


def _without_blanks(block: bytes, stand_in: bytes, quote: bytes) -> bytes:
    """The block with a sign for each run of blanks between values, and none at the ends of lines."""
    signs = np.frombuffer(block, np.uint8).copy()
    is_blank = (signs == ord(" ")) | (signs == ord("\t"))
    if quote and quote in block:
        quotes = np.cumsum(signs == quote[0])
        # Quotes count from the start of their line.
        ends = np.flatnonzero(signs == ord("\n")) + 1
        before = np.concatenate(([0], quotes[ends - 1]))
        lengths = np.diff(np.concatenate(([0], ends, [len(block)])))
        is_blank &= (quotes - np.repeat(before, lengths)) % 2 == 0
    signs[is_blank] = stand_in[0]
    # Of a run the last blank stays, unless the run ends the line; then those that begin a line go.
    is_edge = is_blank | (signs == ord("\n")) | (signs == ord("\r"))
    signs = signs[~is_blank | ~np.append(is_edge[1:], True)]
    begins = np.concatenate(([True], (signs[:-1] == ord("\n")) | (signs[:-1] == ord("\r"))))
    return bytes(signs[~(begins & (signs == stand_in[0]))])
