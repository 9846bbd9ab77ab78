"""Every value crosses Redis and comes back the same, and other bytes are refused."""

import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared.codecs import Codec, SealedCodec
from shared.errors import WireError
from shared.wire import (
    BASKET,
    BEAT,
    MOST_BASKET_BYTES,
    MOST_ITEMS,
    OUTCOME,
    PARTIAL,
    PLAN,
    RECORD,
    REFUSE,
    REPLY,
    RESULT,
    SPEC,
    TRACE,
    BasketResult,
    BasketSpec,
    Beat,
    Best,
    BlockSpec,
    Chunk,
    Finish,
    FitSpec,
    History,
    HistoryItem,
    HistorySpec,
    Neighbours,
    Night,
    Options,
    Outcome,
    Pair,
    Part,
    Plan,
    Record,
    Reduce,
    Result,
    Running,
    ScoredItem,
    SimilarItem,
    SimilarSpec,
    Split,
    Task,
    Trace,
    Unknown,
    UserSpec,
    arq_deserializer,
    arq_serializer,
    encode_job,
    place_of,
)

CODECS: dict[str, Codec[Any]] = {
    "SPEC": SPEC,
    "PLAN": PLAN,
    "PARTIAL": PARTIAL,
    "TRACE": TRACE,
    "OUTCOME": OUTCOME,
    "RESULT": RESULT,
    "BASKET": BASKET,
    "REPLY": REPLY,
    "RECORD": RECORD,
    "BEAT": BEAT,
}

ids = st.text("abcXYZ019_-", min_size=1, max_size=64)
counts = st.integers(0, 2**53)
# Nothing that crosses is not a number.
numbers = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(codec="utf-8"))
places = st.lists(st.builds(ScoredItem, item=texts, score=numbers, because=texts), max_size=5)
values: dict[str, st.SearchStrategy[Any]] = {
    "SPEC": st.one_of(
        st.builds(UserSpec, user=texts, generation=ids),
        st.builds(BlockSpec, run=ids, generation=ids, block_size=st.integers(1, 2**40), since=ids | st.just("")),
        st.builds(
            FitSpec,
            snapshot=ids,
            similarity=texts,
            neighbours=st.integers(1, 2**40),
            shrink=numbers.filter(lambda number: number >= 0),
            list_length=st.integers(1, 1000),
        ),
        st.builds(BasketSpec, items=st.lists(texts, min_size=1, max_size=5), generation=ids),
        st.builds(SimilarSpec, item=texts, other=texts | st.none(), generation=ids, n=st.integers(1, MOST_ITEMS)),
        st.builds(HistorySpec, user=texts, generation=ids, n=st.integers(1, MOST_ITEMS)),
    ),
    "PLAN": st.builds(Plan, bounds=st.lists(counts, min_size=1, max_size=501)),
    "PARTIAL": st.one_of(
        st.builds(Best, counts=st.binary(), items=st.binary(), scores=st.binary(), reasons=st.binary()),
        st.builds(Part, name=st.text("0123456789abcdef", min_size=64, max_size=64)),
    ),
    "TRACE": st.builds(Trace, worker=texts, started_ms=numbers, ended_ms=numbers),
    "OUTCOME": st.builds(
        Outcome,
        done=counts,
        empty=counts,
        places=counts,
        fresh=counts,
        reason=texts,
        tasks=st.dictionaries(texts, counts, max_size=3),
    ),
    "RESULT": st.builds(
        Result,
        format=st.just(1),
        generation=ids,
        items=places,
    ),
    "BASKET": st.builds(
        BasketResult, format=st.just(1), generation=ids, items=places, unknown=st.lists(texts, max_size=3)
    ),
    "REPLY": st.one_of(
        st.builds(
            Neighbours,
            users=counts,
            items=st.lists(st.builds(SimilarItem, item=texts, similarity=numbers), max_size=5),
        ),
        st.builds(Pair, similarity=numbers, users=counts, other_users=counts, shared_users=counts),
        st.builds(
            History,
            count=counts,
            items=st.lists(
                st.builds(
                    HistoryItem,
                    item=texts,
                    weight=numbers | st.none(),
                    time_ms=st.integers(-(2**53), 2**53) | st.none(),
                ),
                max_size=5,
            ),
        ),
        st.builds(Unknown, ids=st.lists(texts, max_size=3)),
    ),
    "RECORD": st.builds(
        Record,
        format=st.just(1),
        generation=ids,
        model=ids,
        snapshot=ids,
        options=st.builds(Options, list_length=st.integers(1, 1000), exclude_history=st.booleans()),
        made_ms=counts,
        users=counts,
        popular=st.lists(texts, max_size=5),
    ),
    "BEAT": st.builds(
        Beat,
        format=st.just(1),
        worker=texts,
        host=texts,
        pid=counts,
        version=texts,
        started_ms=counts,
        beat_ms=counts,
        memory_bytes=counts,
        jobs=st.lists(st.builds(Running, job=texts, since_ms=counts), max_size=5),
    ),
}
tasks: st.SearchStrategy[Task] = st.one_of(
    st.builds(Split, flow=ids),
    st.builds(Chunk, flow=ids, index=counts, round=counts),
    st.builds(Reduce, flow=ids, round=counts),
    st.builds(Finish, run=ids, round=counts),
    st.builds(Night),
)

SEAT = place_of("f1", 0)


def encode(name: str, value: Any) -> bytes:
    return PARTIAL.encode(value, SEAT) if name == "PARTIAL" else CODECS[name].encode(value)


def decode(name: str, data: bytes) -> Any:
    return PARTIAL.decode(data, SEAT) if name == "PARTIAL" else CODECS[name].decode(data)


@given(st.sampled_from(list(values)).flatmap(lambda name: st.tuples(st.just(name), values[name])))
def test_every_value_comes_back_the_same(named: tuple[str, Any]) -> None:
    """Encoded and decoded, a value equals itself, and equal values give equal bytes."""
    name, value = named
    data = encode(name, value)
    assert decode(name, data) == value
    assert encode(name, decode(name, data)) == data


@given(tasks)
def test_every_task_comes_back_the_same(task: Task) -> None:
    """What is enqueued is what the worker is called with."""
    body = arq_deserializer(encode_job(task))
    assert (body["f"], body["a"]) == (task.name, msgspec.structs.astuple(task))


PICKLE_BOMB = b"cposix\nsystem\n(S'true'\ntR."
ODD_BYTES = [
    b"",
    PICKLE_BOMB,
    b"\x80\x05]\x94.",
    b"\x91" * 100_000,
    b"[" * 100_000,
    b"\xdd\xff\xff\xff\xff",
    b"\xdf\xff\xff\xff\xff",
    b"\xc6\xff\xff\xff\xff",
    b"\xc7\x04\xff" + b"\0" * 4,
    b"\xd6\xff\0\0\0\0",
    b"\xcf" + b"\xff" * 8,
    b"\xcb\x7f\xf8\0\0\0\0\0\0",
    b"NaN",
    b'{"format":1,"generation":"g","items":[{"item":"a","score":NaN,"because":"b"}]}',
    b'{"format":1,"generation":"g","items":[{"item":"a","score":1e999,"because":"b"}]}',
    b'{"format":2,"generation":"g","items":[]}',
    b'{"format":1,"generation":"\xff","items":[]}',
    b'{"format":1,"generation":"a b","items":[]}',
    b"1" * 100_000,
]


@pytest.mark.parametrize("name", list(CODECS))
@pytest.mark.parametrize("data", ODD_BYTES, ids=range(len(ODD_BYTES)))
def test_odd_bytes_are_refused(name: str, data: bytes) -> None:
    """Pickles, deep nesting, endless lengths, extension types, invalid UTF-8 and other versions are no values."""
    with pytest.raises(WireError):
        decode(name, data)


@given(st.sampled_from(list(CODECS)), st.binary())
def test_arbitrary_bytes_are_a_value_or_refused(name: str, data: bytes) -> None:
    """Nothing but WireError is raised, and what is taken for a value is one that encodes."""
    try:
        value = decode(name, data)
    except WireError:
        return
    encode(name, value)


@given(st.data())
def test_a_sealed_value_shows_any_damage(data: st.DataObject) -> None:
    """One changed byte anywhere, or a missing end, and the value is refused."""
    name = data.draw(st.sampled_from(["SPEC", "PLAN", "PARTIAL"]))
    whole = encode(name, data.draw(values[name]))
    at, flip = data.draw(st.integers(0, len(whole) - 1)), data.draw(st.integers(1, 255))
    for damaged in (whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :], whole[:at], whole + b"\0"):
        with pytest.raises(WireError):
            decode(name, damaged)


def test_a_partial_is_good_in_its_place_alone() -> None:
    """Another task's partial, another flow's or another block's has a right digest for a wrong place."""
    data = PARTIAL.encode(Part("0" * 64), place_of("f1", 0))
    for place in (place_of("f1", 1), place_of("f2", 0), place_of("f1", 0, 0), ""):
        with pytest.raises(WireError):
            PARTIAL.decode(data, place)


def test_a_basket_is_bounded_in_items_and_in_bytes() -> None:
    """A thousand items, and 64 KiB of ids: its spec is kept whole with the dead letters."""
    for items in ([], ["a"] * (MOST_ITEMS + 1)):
        with pytest.raises(WireError):
            SPEC.decode(SPEC.encode(BasketSpec(items, "g")))
    for items in ([f"{number:065}" for number in range(MOST_ITEMS)], ["ü" * (MOST_BASKET_BYTES // 2)]):
        assert SPEC.decode(SPEC.encode(BasketSpec(items, "g"))) == BasketSpec(items, "g")
    with pytest.raises(ValueError, match="65,536 bytes"):
        BasketSpec(["ü" * (MOST_BASKET_BYTES // 2), "a"], "g")


def test_a_larger_basket_than_may_be_is_refused() -> None:
    """Also one that nobody here has made."""
    body = {"type": "basket", "items": ["x" * (MOST_BASKET_BYTES + 1)], "generation": "g"}
    with pytest.raises(WireError, match="65,536 bytes"):
        SPEC.decode(SealedCodec[Any](dict).encode(body))


WRONG_SHAPES: list[Any] = [
    {"t": None, "f": "split", "a": ["f1"], "k": {}, "et": "7"},
    {"t": None, "f": ["split"], "a": ["f1"], "k": {}, "et": 7},
    {"t": "3", "f": "split", "a": ["f1"], "k": {}, "et": 7},
    {"t": 3, "f": "split", "a": ["f1"], "k": {}, "et": 7},
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
    {"t": None, "f": "night", "a": ["f1"], "k": {}, "et": 7},
    {"t": 1, "f": "night", "a": [], "k": {}, "et": 7},
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
    assert body["f"] in {"split", "chunk", "reduce", "finish", "night", REFUSE}
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
