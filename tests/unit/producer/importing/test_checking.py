"""Rows of any type and any values are good, bad or left out, or their column is refused in a sentence."""

from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from reckoner.producer.importing.judging.checking import Checker
from reckoner.producer.importing.judging.rejected import RejectedRows
from reckoner.producer.importing.judging.rules import MISSING, Rules
from reckoner.producer.importing.reading.columns import ChosenColumns
from reckoner.producer.importing.reading.tables import Batch
from reckoner.shared.errors import ReadAgainError, SourceError

TEXTS = [
    *("a", "17", "17.0", "2.5", "7.65612E+16", "1e999", "-0.0", "nan", "inf", "+7", "1,5", "1.234,50", "x" * 1025),
    *(
        "2010-01-01",
        "2010-01-01 00:00:00 UTC",
        "2010/01/01",
        "1/2/2010",
        "13/2/2010",
        "2/13/10",
        "1.2.2010",
        "20100101",
    ),
    *(
        "1/2/2010 8:26 PM",
        "Jan 2, 2010",
        "0000-00-00",
        "99/99/9999",
        "9" * 30,
        "-" * 5,
        "2010-01-01T25:00",
        "0001-01-01",
    ),
    *("9999-12-31", "31/12/9999", "1/1/0001", "12:30", "", " ", "\u00a0", "\0", "é\n"),
    *MISSING,
]
TYPES = [
    *(pa.int8(), pa.int64(), pa.uint64(), pa.float16(), pa.float32(), pa.float64(), pa.bool_(), pa.null()),
    *(pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.binary(16), pa.binary(3), pa.uuid()),
    *(pa.decimal128(38, 10), pa.decimal256(76, 0), pa.date32(), pa.date64(), pa.time64("us"), pa.duration("s")),
    *(pa.timestamp("ns"), pa.timestamp("s", "Europe/Vienna"), pa.list_(pa.int64()), pa.struct([("a", pa.int64())])),
    *(pa.dictionary(pa.int8(), pa.string()), pa.json_()),
]


@st.composite
def columns(draw: st.DrawFn, n: int) -> pa.Array:
    """A column of n values, of random bytes as often as of texts."""
    if draw(st.booleans()):
        return pa.array(draw(st.lists(st.sampled_from([*TEXTS, None]), min_size=n, max_size=n)), pa.string())
    data_type, seed = draw(st.sampled_from(TYPES)), draw(st.integers(0, 2**32 - 1))
    return made(data_type, n, np.random.default_rng(seed))


def made(data_type: pa.DataType, n: int, random: np.random.Generator) -> pa.Array:
    if isinstance(data_type, pa.BaseExtensionType):
        return pa.ExtensionArray.from_storage(data_type, made(data_type.storage_type, n, random))
    if pa.types.is_nested(data_type) or pa.types.is_null(data_type):
        return pa.nulls(n, data_type)
    if pa.types.is_dictionary(data_type) or data_type in (pa.string(), pa.large_string(), pa.string_view()):
        return pa.array(random.choice(TEXTS, n).tolist()).cast(data_type)
    if data_type == pa.binary():
        return pa.array([random.bytes(3) for _ in range(n)], data_type)
    if pa.types.is_decimal(data_type) or pa.types.is_boolean(data_type):
        return pa.array(random.integers(0, 2, n)).cast(data_type)
    width = data_type.bit_width // 8
    # One value more, so that the array begins in the middle of its buffer.
    return pa.Array.from_buffers(data_type, n + 1, [None, pa.py_buffer(random.bytes(width * (n + 1)))]).slice(1)


@st.composite
def batches(draw: st.DrawFn) -> list[Batch]:
    n = draw(st.integers(1, 5))
    names = ("user", "item", "weight", "time", "title")
    return [Batch(np.arange(n), {name: draw(columns(n)) for name in names}) for _ in range(draw(st.integers(1, 3)))]


@given(
    batches(),
    st.booleans(),
    st.sampled_from(["drop", "subtract", "bad"]),
    st.sampled_from([None, None, "%d/%m/%Y", "%Y%m%d"]),
    st.booleans(),
)
@settings(deadline=None, max_examples=50)
def test_any_batch_is_split(
    given_batches: list[Batch], is_guessed: bool, nonpositive: Any, time_format: str | None, has_title: bool
) -> None:
    """Into good rows with valid values, and others that are counted."""
    title = "title" if has_title else None
    chosen = ChosenColumns(
        user="user", item="item", weight="weight", time="time", title=title, time_is_guessed=is_guessed
    )
    checker = Checker(chosen, Rules(nonpositive=nonpositive, time_format=time_format))
    for _ in range(6):
        rejected = RejectedRows()
        try:
            found = [checker.check(batch, rejected) for batch in given_batches]
            checker.finish()
        except ReadAgainError:
            continue
        except SourceError:
            return
        break
    else:
        raise AssertionError("read again and again")
    good = sum(len(rows.users) for rows in found)
    n_rows = sum(len(batch.lines) for batch in given_batches)
    assert good + rejected.count("bad") + rejected.count("left_out") == n_rows
    for rows in found:
        assert rows.users.null_count == rows.items.null_count == 0
        assert sorted(rows.users.dictionary.to_pylist()) == sorted(set(rows.users.to_pylist()))
        assert rows.weights is not None
        assert np.isfinite(rows.weights.astype(np.float32)).all()
        assert nonpositive == "subtract" or (rows.weights > 0).all()
