"""Ids are texts: the same id has the same text in every file, and missing ones are no ids."""

from decimal import Decimal
from itertools import chain

import pyarrow as pa
import pytest

from reckoner.producer.importing.judging.ids import LIMITS, IdReader
from reckoner.producer.importing.judging.rules import MISSING, Rules
from reckoner.shared.errors import ReadAgainError, SourceError, UsageError


def read(batches: list[pa.Array], rules: Rules | None = None) -> list[list[str | None]]:
    """The ids, None if missing or bad."""
    reader = IdReader("user", rules or Rules())
    for _ in range(2):
        try:
            found = [reader.read(batch) for batch in batches]
        except ReadAgainError:
            continue
        return [
            [text if code < 0 else None for text, code in zip(ids.texts.to_pylist(), ids.codes, strict=True)]
            for ids in found
        ]
    raise AssertionError("read again and again")


def reason(text: str) -> str:
    ids = IdReader("user", Rules()).read(pa.array([text, "a"]))
    return str(ids.faults[ids.codes[0]].reason)


@pytest.mark.parametrize("word", sorted(MISSING))
def test_words_for_missing_values_are_no_ids(word: str) -> None:
    """As they are spelled, with blanks around them or not, and only unless they are kept."""
    assert reason(word) == reason(f"\u00a0{word} ") == f"the user is missing: {word}"
    assert read([pa.array([word, "a"])], Rules(keep=frozenset([word]))) == [[word, "a"]]
    others = {word.swapcase(), word + "x"} - MISSING
    assert read([pa.array(sorted(others))]) == [sorted(others)]


@pytest.mark.parametrize("text", [" ", "\t", "\u00a0", "\u3000", "\u200b", "\ufeff", " \u2060\n"])
def test_blanks_are_no_ids(text: str) -> None:
    """Also those that are not seen."""
    assert reason(text) == "the user is blank"
    assert reason("") == "the user is empty"


COLUMNS = [
    (["17850.0", "12", "7.000", "1."], ["17850", "12", "7", "1"]),
    (["-5.0", "007.0"], ["-5", "007"]),
    (["17850.0", "12.5"], ["17850.0", "12.5"]),
    (["17850.0", "C12"], ["17850.0", "C12"]),
    (["1.0", "NULL", "", None], ["1", None, None, None]),
    (["1.0", "1", "01"], ["1", "1", "01"]),
    (["7.0", "x" * 1025], ["7", None]),
]


@pytest.mark.parametrize(("values", "expected"), COLUMNS)
@pytest.mark.parametrize("batched", [False, True])
def test_zeros_are_dropped_if_the_whole_column_is_whole_numbers(
    values: list[str | None], expected: list[str | None], batched: bool
) -> None:
    """Whichever batch has a value that is none; other texts stay as they are, and missing ones say nothing."""
    for order in (1, -1):
        ordered = values[::order]
        arrays = [pa.array([value], pa.string()) for value in ordered] if batched else [pa.array(ordered)]
        assert list(chain(*read(arrays))) == expected[::order]


@pytest.mark.parametrize(
    ("array", "as_csv"),
    [
        (pa.array([17850, 12]), ["17850.0", "12.0"]),
        (pa.array([17850.0, None]), ["17850.0", ""]),
        (pa.array([17850.0, 12.5]), ["17850.0", "12.5"]),
        (pa.array([0.0, 2.0**53 - 1]), ["0.0", "9007199254740991.0"]),
        (pa.array([3.0], pa.float32()), ["3.0"]),
        (pa.array([Decimal(101), Decimal(7)], pa.decimal128(38, 10)), ["101.0000000000", "7.0000000000"]),
        (pa.array(["1.0", "2"]).dictionary_encode(), ["1.0", "2.0"]),
    ],
)
def test_every_type_of_column_gives_the_ids_of_its_texts(array: pa.Array, as_csv: list[str]) -> None:
    """The same table as Parquet and as CSV."""
    assert read([array]) == read([pa.array(as_csv)])


@pytest.mark.parametrize(("data_type", "limit"), list(LIMITS.items()))
def test_floats_that_are_not_exact_are_refused(data_type: pa.DataType, limit: int) -> None:
    """From where two neighbouring ids are one float; the sentence says what to do."""
    below = pa.array([float(limit - 1), None]).cast(data_type)
    assert read([below]) == [[str(limit - 1), None]]
    for value in (limit, -limit):
        with pytest.raises(SourceError, match=r"is a float of .* or more.* Write the user column as integers or text"):
            read([pa.array([float(value)]).cast(data_type)])


@pytest.mark.parametrize("text", ["7.656119796028793e+16", "7.65612E+16", "-1e+20", "7.656119796028793E16"])
def test_rounded_numbers_are_bad(text: str) -> None:
    """As pandas, spreadsheets and Spark write floats."""
    assert reason(text) == "the user is a rounded number; write all its digits"
    assert read([pa.array(["12e4567", "7e5"])]) == [["12e4567", "7e5"]]


def test_only_words_for_missing_values_can_be_kept() -> None:
    """Others are ids anyway, so the option is a mistake."""
    with pytest.raises(UsageError, match="Other words are ids anyway: ANON"):
        Rules(keep=frozenset(["NULL", "ANON"])).check("last")


@pytest.mark.parametrize(
    ("time_format", "said"), [("%q", "is invalid"), ("%", "is invalid"), ("now", "no year"), ("%H:%M", "no year")]
)
def test_invalid_formats_are_refused(time_format: str, said: str) -> None:
    """Before anything is read."""
    with pytest.raises(UsageError, match=said):
        Rules(time_format=time_format).check("last")
    Rules(time_format="%d.%m.%Y").check("last")
