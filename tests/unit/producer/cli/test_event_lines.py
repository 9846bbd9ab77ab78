"""Events come as JSON lines, each with its number; a bad line has a reason and stops no other."""

import io
import os
from datetime import UTC, datetime

import pytest

from reckoner.producer.cli.event_lines import BATCH_LINES, MAX_LINE_BYTES, READ_BYTES, Line, read_lines
from reckoner.producer.client.recording import Event


def lines(data: bytes) -> list[Line]:
    return [line for batch in read_lines(io.BytesIO(data), "The input") for line in batch]


def test_every_field_is_read() -> None:
    """Ids may be numbers, and what is null is absent."""
    text = (
        '{"user":"ü","item":"i","type":"view","weight":2,"time":"2026-12-24T18:00+01:00","id":"e"}\n'
        '{"user":42,"item":7,"type":null,"weight":null,"time":null,"id":null}\n'
        '{"time":1700000000000,"item":"i","user":"u","id":5}\n'
        '{"user":"u","item":"i","type":""}'
    )
    assert lines(text.encode()) == [
        Line(1, Event("ü", "i", "view", 2.0, datetime(2026, 12, 24, 17, tzinfo=UTC), "e")),
        Line(2, Event("42", "7")),
        Line(3, Event("u", "i", "interaction", None, 1_700_000_000, "5")),
        # Not the default: it is refused like --type "".
        Line(4, Event("u", "i", "")),
    ]


def test_marks_of_other_systems_are_no_part_of_a_line() -> None:
    """A byte order mark, CRLF, and blank lines, which are counted."""
    data = b'\xef\xbb\xbf{"user":"1","item":"2"}\r\n\r\n  \n\t{"user":"3","item":"4"} \r\n\n'
    assert lines(data) == [Line(1, Event("1", "2")), Line(4, Event("3", "4"))]
    assert lines(b"") == lines(b"\xef\xbb\xbf") == lines(b"\n\n") == []


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"user":"u"}', "The field item is missing."),
        (b'{"user":"u","item":"i","wieght":2}', "The field wieght is none of user, item, type, weight, time and id."),
        (b'{"user":"u","item":["i"]}', "The field item is invalid: expected `int | str`, got `array`."),
        (b'{"user":true,"item":"i"}', "The field user is invalid: expected `int | str`, got `bool`."),
        (b'{"user":"u","item":"i","weight":"2"}', "The field weight is invalid: expected `float | null`, got `str`."),
        (b'{"user":"u","item":"i","time":"soon"}', "The time 'soon' is neither ISO 8601 nor a number since 1970."),
        (b'{"user":"u","item":"i","time":1e300}', "The time 1e+300 is neither ISO 8601 nor a number since 1970."),
        (b"u,i", 'The line is not a JSON object, as in {"user": "42", "item": "550"}.'),
        (b"[1]", 'The line is not a JSON object, as in {"user": "42", "item": "550"}.'),
        (b"[" * 60_000, 'The line is not a JSON object, as in {"user": "42", "item": "550"}.'),
        (b'{"user":"\xff","item":"i"}', "The line is not UTF-8 text."),
        (b'{"user":"\\ud800","item":"i"}', "The line has a lone surrogate, which is not UTF-8 text."),
        (b'{"user":"u","item":"\\udc00i"}', "The line has a lone surrogate, which is not UTF-8 text."),
        (b"x" * (MAX_LINE_BYTES + 1), "The line is over 65,536 bytes."),
        (b"x" * (3 * READ_BYTES), "The line is over 65,536 bytes."),
    ],
)
def test_a_bad_line_has_a_reason(line: bytes, reason: str) -> None:
    """The lines before and after it are read."""
    good = b'{"user":"u","item":"i"}'
    assert lines(b"\n".join([good, line, good])) == [
        Line(1, Event("u", "i")),
        Line(2, reason),
        Line(3, Event("u", "i")),
    ]


def test_lines_over_the_ends_of_reads_are_whole() -> None:
    """In batches of at most a thousand, numbered through."""
    users = [f"{number}" * 20 for number in range(20_000)]
    data = "\n".join(f'{{"user":"{user}","item":"i"}}' for user in users).encode()
    assert len(data) > 3 * READ_BYTES
    batches = list(read_lines(io.BytesIO(data), "The input"))
    assert max(map(len, batches)) <= BATCH_LINES
    found = [line for batch in batches for line in batch]
    assert found == [Line(number, Event(user, "i")) for number, user in enumerate(users, 1)]


def test_lines_of_a_pipe_are_read_when_they_arrive() -> None:
    """Although more may follow."""
    reading, writing = os.pipe()
    with open(reading, "rb") as stream, open(writing, "wb", buffering=0) as pipe:
        found = read_lines(stream, "The input")
        for item in ("a", "b"):
            pipe.write(f'{{"user":"u","item":"{item}"}}\n'.encode())
            [line] = next(found)
            assert line.event == Event("u", item)
