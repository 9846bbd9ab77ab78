"""Text files are read the same in blocks of any size, with an editor's line numbers."""

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from reckoner.producer.importing import Columns, Reading
from reckoner.producer.importing.reading import delimited
from reckoner.producer.importing.reading.compression import Input
from reckoner.producer.importing.reading.delimited import DelimitedTable
from reckoner.producer.importing.reading.records import NO_PARTNER

Rows = list[tuple[int, tuple[str, ...]]]


def table(data: bytes, reading: Reading = Reading(), columns: Columns = Columns()) -> DelimitedTable:  # noqa: B008
    return DelimitedTable(Input("a.csv", "a.csv", lambda: io.BytesIO(data), len(data)), "none", reading, columns)


def read(data: bytes, reading: Reading = Reading()) -> tuple[Rows, list[tuple[int, str]]]:  # noqa: B008
    """The rows with their lines, and the bad lines with reasons."""
    rows, bad, found = Rows(), list[tuple[int, str]](), table(data, reading)
    for batch in found.batches(found.columns, lambda line, reason, _: bad.append((line, reason))):
        columns = [batch.columns[name].to_pylist() for name in found.columns]
        rows += zip(batch.lines.tolist(), zip(*columns, strict=True), strict=True)
    return rows, sorted(bad)


def lines_of(data: bytes) -> int:
    """The number of lines as an editor counts them."""
    return len(data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").removesuffix(b"\n").split(b"\n"))


def test_a_quotation_mark_without_its_partner_makes_its_line_bad() -> None:
    """One in row 200 of 1,000, two of them in all distances, and a file cut off within a quoted value."""
    lines = ["user,item,title", *(f"u{n},teapot,a pot" for n in range(1000))]
    for places in [[200], [200, 201], [200, 202], [200, 300], [200, 300, 301, 900], [999, 1000], [1000], [1]]:
        for mark in ('b,teapot,"7 inch single', '"b,teapot,x', 'b,"teapot","7 inch'):
            damaged = [mark if number in places else line for number, line in enumerate(lines)]
            for end in ("\n", "\r\n", "\r"):
                for tail in (end, ""):
                    rows, bad = read((end.join(damaged) + tail).encode())
                    assert bad == [(number + 1, NO_PARTNER) for number in places]
                    assert rows == [
                        (number + 1, tuple(line.split(",")))
                        for number, line in enumerate(damaged[1:], 1)
                        if line != mark
                    ]


def test_a_mark_that_opens_and_one_that_closes_tie_no_rows_together() -> None:
    """The lines between them are rows by themselves."""
    data = b'user,item,title\na,x,"one\nb,x,two\nc,x,three\nd,x,four"\n'
    rows, bad = read(data)
    assert bad == [(2, NO_PARTNER)]
    assert [line for line, _ in rows] == [3, 4, 5]


def test_values_of_several_lines_are_one_row_with_the_line_of_its_start() -> None:
    """Also with doubled quotes, separators and empty lines in them, in several columns, and at the end of the file."""
    data = (
        'user,item,title\na,x,"one\ntwo, with ""quotes"", three\n\nfour"\n"b\n",y,"c\r\nd"\ne,5" nail,"f ""g"""\n'
        'h,z,"last\n"'
    )
    assert read(data.encode()) == (
        [
            (2, ("a", "x", 'one\ntwo, with "quotes", three\n\nfour')),
            (6, ("b\n", "y", "c\r\nd")),
            (9, ("e", '5" nail', 'f "g"')),
            (10, ("h", "z", "last\n")),
        ],
        [],
    )


def test_quotes_within_unquoted_values_are_signs_like_others() -> None:
    """Even where their number hides that another one is open."""
    data = b'user,item,title\na,5" x,b\nb,5" x,"open\nc,y,d\n'
    assert read(data) == ([(2, ("a", '5" x', "b")), (4, ("c", "y", "d"))], [(3, NO_PARTNER)])


def test_a_value_of_more_than_a_megabyte_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its line is bad, and so are its other lines; the rest goes on."""
    filling = b"x" * 99 + b"\n"
    data = b'user,item\na,"' + filling * 11_000 + b'"\nb,y\n'
    rows, bad = read(data)
    assert bad[0] == (2, NO_PARTNER)
    assert len(bad) == 11_001
    assert rows == [(11_003, ("b", "y"))]


@pytest.mark.parametrize("encoding", ["utf-8", None])
def test_an_invalid_byte_makes_its_line_bad_wherever_it_is(encoding: str | None) -> None:
    """In any column, read or not, in any row, and within a value of several lines."""
    good = "u,é,t\n".encode() * 3000
    data = b"user,item,title\n" + good + b"a,x,\xff\n" + good + b'b,y,"1\n\xe9\n2"\nc,z,t\n'
    rows, bad = read(data, Reading(encoding=encoding))
    assert bad == [(3002, "it has a byte that is not utf-8"), (6003, "it has a byte that is not utf-8")]
    assert rows[-1] == (6006, ("c", "z", "t"))
    assert len(rows) == 6001


values = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\n\r\0\",'\t é")), max_size=6)


@given(st.lists(st.tuples(values, values), max_size=12), st.sampled_from(["\n", "\r\n"]), st.integers(20, 200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_all_that_is_quoted_is_read_as_it_was(
    monkeypatch: pytest.MonkeyPatch, pairs: list[tuple[str, str]], end: str, size: int
) -> None:
    """Whatever is in the values."""
    text = io.StringIO(newline="")
    csv.writer(text, quoting=csv.QUOTE_ALL, lineterminator=end).writerows([("user", "item"), *pairs])
    monkeypatch.setattr(delimited, "BLOCK_BYTES", size)
    rows, bad = read(text.getvalue().encode(), Reading(encoding="utf-8"))
    assert bad == []
    assert [row for _, row in rows] == pairs


@given(
    st.lists(
        st.sampled_from([b"a", b",", b'"', b'""', b"\n", b"\r\n", b"\r", b"b,c\n", b'"d",e\n', b'5" x']), max_size=40
    ),
    st.integers(10, 90),
)
@example([b'5" x', b",", b'"', b"\r", b"a"], 10)
@example([b"\r", b'"', b"\n", b"\n", b'"d",e\n'], 10)
@example([b'"d",e\n', b'"', b"\n", b",", b'"', b"\r"], 45)
@settings(deadline=None, max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_size_of_blocks_changes_nothing(monkeypatch: pytest.MonkeyPatch, parts: list[bytes], size: int) -> None:
    """Whatever the quotes are; and no line is in two rows."""
    data = b"user,item\n" + b"".join(parts)
    expected = read(data)
    monkeypatch.setattr(delimited, "BLOCK_BYTES", size)
    try:
        assert read(data) == expected
    finally:
        monkeypatch.undo()
    lines = [line for line, _ in expected[0]] + [line for line, _ in expected[1]]
    assert len(set(lines)) == len(lines)
    assert all(1 < line <= lines_of(data) for line in lines)


def test_the_number_of_rows_is_estimated_by_the_share_of_bytes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """In the end it is right."""
    monkeypatch.setattr(delimited, "BLOCK_BYTES", 1000)
    found = table(b"user,item\n" + b"aaaa,bbbb\n" * 10_000)
    totals = [found.n_rows for _ in found.batches(["user"], lambda *_: None)]
    assert len(totals) > 50
    assert all(total is not None and 9_000 <= total <= 11_000 for total in totals)
    assert totals[-1] == 10_000
