"""Every task crosses Redis and comes back the same, and other bytes become a call of refuse."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from reckoner.shared.wire.jobs import (
    REFUSE,
    Chunk,
    Finish,
    Reduce,
    Split,
    Task,
    arq_deserializer,
    arq_serializer,
    encode_job,
)
from tests.odd_bytes import ODD_BYTES

ids = st.text("abcXYZ019_-", min_size=1, max_size=64)
counts = st.integers(0, 2**53)
tasks: st.SearchStrategy[Task] = st.one_of(
    st.builds(Split, flow=ids),
    st.builds(Chunk, flow=ids, index=counts, round=counts),
    st.builds(Reduce, flow=ids, round=counts),
    st.builds(Finish, run=ids, round=counts),
)


@given(tasks)
def test_every_task_comes_back_the_same(task: Task) -> None:
    """What is enqueued is what the worker is called with."""
    body = arq_deserializer(encode_job(task))
    assert (body["f"], body["a"]) == (task.name, msgspec.structs.astuple(task))


WRONG_SHAPES: list[Any] = [
    {"t": None, "f": "split", "a": ["f1"], "k": {}, "et": "7"},
    {"t": None, "f": ["split"], "a": ["f1"], "k": {}, "et": 7},
    {"t": "3", "f": "split", "a": ["f1"], "k": {}, "et": 7},
    {"t": None, "f": "system", "a": ["f1"], "k": {}, "et": 7},
    {"t": None, "f": REFUSE, "a": [b"", ""], "k": {}, "et": 7},
    {"t": None, "f": "split", "a": {}, "k": {}, "et": 7},
    {"t": None, "f": "split", "a": [], "k": {}, "et": 7},
    {"t": None, "f": "split", "a": ["f1", "f2"], "k": {}, "et": 7},
    {"t": None, "f": "split", "a": ["a:b"], "k": {}, "et": 7},
    {"t": None, "f": "split", "a": ["x" * 65], "k": {}, "et": 7},
    {"t": None, "f": "split", "a": [7], "k": {}, "et": 7},
    {"t": None, "f": "chunk", "a": ["f1", -1, 0], "k": {}, "et": 7},
    {"t": None, "f": "chunk", "a": ["f1", 2**63, 0], "k": {}, "et": 7},
    {"t": None, "f": "chunk", "a": ["f1", 0.5, 0], "k": {}, "et": 7},
    {"t": None, "f": "chunk", "a": ["f1", math.nan, 0], "k": {}, "et": 7},
    {"t": -1, "f": "split", "a": ["f1"], "k": {}, "et": 7},
    {"t": None, "f": "night", "a": [], "k": {}, "et": 7},
    {"t": None, "f": "split", "a": ["f1"], "k": {"flow": "f2"}, "et": 7},
    {"t": None, "f": "split", "a": ["f1"], "k": [], "et": 7},
    {"t": None, "f": "split", "a": ["f1"], "k": {}, "et": -7},
    {"t": None, "f": "split", "a": ["f1"], "k": {}, "et": 7, "x": 1},
    {"t": None, "f": "split", "a": ["f1"], "k": {}},
    {"t": None, "f": "split", "a": msgspec.msgpack.Ext(5, b"x"), "k": {}, "et": 7},
    [],
    None,
    7,
]


@pytest.mark.parametrize("body", WRONG_SHAPES, ids=range(len(WRONG_SHAPES)))
def test_a_job_of_another_shape_becomes_a_call_of_refuse(body: Any) -> None:
    """Stock arq would end, or keep only a log line, where the bytes shall be counted and set aside."""
    data = msgspec.msgpack.encode(body)
    refused = arq_deserializer(data)
    assert refused["f"] == REFUSE
    assert refused["a"][0] == data
    assert refused["a"][1]


@given(st.binary() | st.binary().map(lambda tail: b"\x85\xa1t\xc0\xa1f\xa5split\xa1a" + tail))
@example(b"\x85\xa1t\xc0\xa1f\xa5split\xa1a" + b"\x91" * 100_000 + b"\xa1k\x80\xa2et\x07")
@example(b"\x85\xa1t\xc0\xa1f\xa5split\xa1a\xdd\xff\xff\xff\xff\xa1k\x80\xa2et\x07")
@example(b"\x85\xa1t\xc0\xa1f\xa5split\xa1a\x91\xa2\xff\xfe\xa1k\x80\xa2et\x07")
def test_the_deserializer_never_raises(data: bytes) -> None:
    """Whatever the bytes, arq gets a function that there is, with arguments that it takes."""
    body = arq_deserializer(data)
    assert body.keys() == {"t", "f", "a", "k", "et"}
    assert body["f"] in {"split", "chunk", "reduce", "finish", REFUSE}
    assert isinstance(body["et"], int)


@pytest.mark.parametrize("data", ODD_BYTES, ids=range(len(ODD_BYTES)))
def test_odd_bytes_are_no_job(data: bytes) -> None:
    """They are handed to refuse as they are."""
    assert arq_deserializer(data)["a"][0] == data


def test_an_exception_crosses_as_the_name_of_its_type() -> None:
    """Its message may hold what nobody should read, and its class is never rebuilt."""
    assert msgspec.msgpack.decode(arq_serializer({"r": ValueError("a secret")})) == {"r": "ValueError"}
    with pytest.raises(TypeError):
        arq_serializer({"r": object()})
