"""Events as JSON lines: reads those that have arrived, a batch at a time."""

from collections.abc import Iterator
from datetime import datetime
from typing import IO, NamedTuple

import msgspec

from reckoner.producer.cli.arguments import MARK
from reckoner.producer.cli.times import epoch_seconds, iso_time
from reckoner.producer.client.recording import Event
from reckoner.shared.errors import SourceError
from reckoner.shared.ids import shown
from reckoner.shared.terminal import plain

MAX_LINE_BYTES = 64 * 1024
READ_BYTES = 256 * 1024
BATCH_LINES = 1_000
EXAMPLE = '{"user": "42", "item": "550"}'


class _Fields(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    # Other systems write ids as numbers, and leave fields null.
    user: str | int
    item: str | int
    type: str | None = None
    weight: float | None = None
    time: str | float | None = None
    id: str | int | None = None


class Line(NamedTuple):
    """A line with its number from 1, and its event or the reason why it has none."""

    number: int
    event: Event | str


def read_lines(stream: IO[bytes], where: str) -> Iterator[list[Line]]:
    """Yield the lines that are not blank, at most `BATCH_LINES` at a time, without waiting for more than have arrived.

    Raises:
        SourceError: the input cannot be read.
    """
    for first, lines in _batches(stream, where):
        numbered = [(first + at, line.strip()) for at, line in enumerate(lines)]
        if batch := [Line(number, _event(line)) for number, line in numbered if line]:
            yield batch


def _batches(stream: IO[bytes], where: str) -> Iterator[tuple[int, list[bytes]]]:
    """Yield complete lines, each time with the number of the first one."""
    rest, number, start = b"", 1, True
    while data := _read(stream, where):
        if start:
            data = data.removeprefix(MARK)
            start = False
        *lines, last = data.split(b"\n")
        if lines:
            lines[0], rest = rest + lines[0], b""
        # Of a line that is too long, only so much is kept that it is refused.
        rest = (rest + last)[: MAX_LINE_BYTES + 1]
        for at in range(0, len(lines), BATCH_LINES):
            yield number + at, lines[at : at + BATCH_LINES]
        number += len(lines)
    if rest:
        yield number, [rest]


def _read(stream: IO[bytes], where: str) -> bytes:
    try:
        # One system call, so that a pipe's lines are recorded when they arrive.
        return stream.read1(READ_BYTES)  # type: ignore[attr-defined,no-any-return]
    except OSError as error:
        raise SourceError(f"{where} cannot be read: {error.strerror}.") from error


def _event(line: bytes) -> Event | str:
    if len(line) > MAX_LINE_BYTES:
        return f"The line is over {MAX_LINE_BYTES:,} bytes."
    try:
        fields = msgspec.json.decode(line, type=_Fields)
    except msgspec.ValidationError as error:
        return _reason(str(error))
    except UnicodeDecodeError:
        return "The line is not UTF-8 text."
    except (msgspec.DecodeError, RecursionError) as error:
        if "surrogate" in str(error):
            return "The line has a lone surrogate, which is not UTF-8 text."
        return f"The line is not a JSON object, as in {EXAMPLE}."
    try:
        time = _time(fields.time)
    except (ValueError, OverflowError):
        return f"The time {shown(fields.time)} is neither ISO 8601 nor a number since 1970."
    event_id = "" if fields.id is None else str(fields.id)
    return Event(
        str(fields.user),
        str(fields.item),
        "interaction" if fields.type is None else fields.type,
        fields.weight,
        time,
        event_id,
    )


def _reason(error: str) -> str:
    """A sentence for an error of msgspec, such as `Expected str, got array - at $.user`."""
    what, _, where = error.partition(" - at `$.")
    if where:
        return f"The field {where.rstrip('`')} is invalid: {what[0].lower()}{what[1:]}."
    for start, sentence in (
        ("Object missing required field ", "The field {} is missing."),
        ("Object contains unknown field ", "The field {} is none of user, item, type, weight, time and id."),
    ):
        if error.startswith(start):
            return sentence.format(plain(error.removeprefix(start).strip("`")))
    return f"The line is not a JSON object, as in {EXAMPLE}."


def _time(value: str | float | None) -> datetime | float | None:
    if value is None or isinstance(value, str):
        return None if not value else iso_time(value)
    return epoch_seconds(value)
