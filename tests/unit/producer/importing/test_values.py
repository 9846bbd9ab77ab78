"""Columns of any type become texts and numbers; invalid values are marked."""

from decimal import Decimal
from uuid import UUID

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.producer.importing.judging.values import as_numbers, as_texts
from reckoner.shared.errors import SourceError


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (pa.array(["007", "", None, "é\n\0"]), ["007", "", None, "é\n\0"]),
        (pa.array([7, -1, None]), ["7", "-1", None]),
        (pa.array([2**64 - 1], pa.uint64()), ["18446744073709551615"]),
        (pa.array([1.0, 2.5, None, float("nan"), float("inf"), -0.0]), ["1", "2.5", None, None, None, "0"]),
        (pa.array([3.0], pa.float32()), ["3"]),
        (pa.array(["a", None, "a"]).dictionary_encode(), ["a", None, "a"]),
        (pa.array([b"a"]), ["a"]),
        (pa.array(["a"], pa.large_string()), ["a"]),
        (pa.array([True]), ["true"]),
        (pa.nulls(2), [None, None]),
        (pa.array([b"\x00\x11" + bytes(14), None], pa.uuid()), ["00110000-0000-0000-0000-000000000000", None]),
        (pa.array([b"\x00\x11" + bytes(14)], pa.binary(16)), ["00110000-0000-0000-0000-000000000000"]),
        (pa.array([b"\x01" * 16] * 2, pa.uuid()).slice(1), [str(UUID(bytes=b"\x01" * 16))]),
        (pa.array([], pa.uuid()), []),
    ],
)
def test_ids_are_the_text_of_the_value(array: pa.Array, expected: list[str | None]) -> None:
    """Texts stay as they are, and whole numbers have no decimal point, also where gaps made them floats."""
    assert as_texts(array).to_pylist() == expected


@pytest.mark.parametrize("array", [pa.array([[1]]), pa.array([{"a": 1}]), pa.array([b"\xff"])])
def test_what_has_no_text_is_refused(array: pa.Array) -> None:
    """Lists, structures, and bytes that are not UTF-8 are no ids."""
    with pytest.raises(SourceError, match=r"olumns? of type"):
        as_texts(array)


def test_numbers_are_decimal_digits() -> None:
    """Signs, fractions and exponents are read; words, other bases and gaps are not numbers."""
    good = ["1", " 2.5 ", "+3", "-4", ".5", "6.", "7e2", "8E-1"]
    assert as_numbers(pa.array(good)).tolist() == [1, 2.5, 3, -4, 0.5, 6, 700, 0.8]
    bad = ["", "nan", "inf", "0x10", "1_000", "1,5", "one", "1 2", "+-1", "e5", None]
    assert np.isnan(as_numbers(pa.array(bad))).all()
    assert np.isinf(as_numbers(pa.array(["1e999"]))).all()
    for alone in ("nan", "inf", "-Infinity", "1e999x"):
        assert np.isnan(as_numbers(pa.array(["1", alone]))).tolist() == [False, True]
    assert as_numbers(pa.array(["1", "-1e999"])).tolist() == [1, -np.inf]
    assert as_numbers(pa.array([1, 2])).tolist() == [1, 2]
    assert as_numbers(pa.array([Decimal("1.50")])).tolist() == [1.5]


@given(st.lists(st.floats(allow_nan=False, allow_infinity=False)))
def test_a_number_that_was_written_is_read(numbers: list[float]) -> None:
    """The shortest decimal is read back to the same number."""
    assert as_numbers(pa.array([repr(number) for number in numbers], pa.string())).tolist() == numbers
