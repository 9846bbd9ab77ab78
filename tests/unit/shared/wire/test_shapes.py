"""Every value crosses Redis and comes back the same, and other bytes are refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET
from msgspec.structs import replace

from reckoner.shared.defaults import MAX_BLOCK_USERS, MAX_LIST_LENGTH, MAX_NEIGHBOURS, MAX_SPARE
from reckoner.shared.errors import WireError
from reckoner.shared.wire.codecs import Codec, DigestCodec
from reckoner.shared.wire.shapes import (
    BASKET,
    BEAT,
    HOLDING,
    MAX_BASKET_BYTES,
    MAX_ITEMS,
    OUTCOME,
    PARTIAL,
    PLAN,
    RECORD,
    REPLY,
    RESULT,
    SPEC,
    TRACE,
    BasketResult,
    BasketSpec,
    Beat,
    Best,
    BlockSpec,
    FitSpec,
    History,
    HistoryItem,
    HistorySpec,
    Holding,
    Neighbours,
    Options,
    Outcome,
    Pair,
    Part,
    Plan,
    Record,
    Result,
    Running,
    ScoredItem,
    SimilarItem,
    SimilarSpec,
    Trace,
    Unknown,
    UserSpec,
    digest_context,
)
from tests.odd_bytes import ODD_BYTES

CODECS: dict[str, Codec[Any]] = {
    "SPEC": SPEC,
    "PLAN": PLAN,
    "PARTIAL": PARTIAL,
    "TRACE": TRACE,
    "OUTCOME": OUTCOME,
    "RESULT": RESULT,
    "HOLDING": HOLDING,
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
        st.builds(
            BlockSpec, run=ids, generation=ids, block_size=st.integers(1, MAX_BLOCK_USERS), since=ids | st.just("")
        ),
        st.builds(
            FitSpec,
            snapshot=ids,
            similarity=st.text(max_size=64),
            neighbours=st.integers(1, MAX_NEIGHBOURS),
            shrink=numbers.filter(lambda number: number >= 0),
            list_length=st.integers(1, 1000),
        ),
        st.builds(BasketSpec, items=st.lists(texts, min_size=1, max_size=5), generation=ids),
        st.builds(SimilarSpec, item=texts, other=texts | st.none(), generation=ids, n=st.integers(1, MAX_ITEMS)),
        st.builds(HistorySpec, user=texts, generation=ids, n=st.integers(1, MAX_ITEMS)),
    ),
    "PLAN": st.builds(Plan, bounds=st.lists(counts, min_size=1, max_size=501), popular=counts),
    "PARTIAL": st.one_of(
        st.builds(Best, counts=st.binary(), items=st.binary(), scores=st.binary(), reasons=st.binary()),
        st.builds(Part, name=st.text("0123456789abcdef", min_size=64, max_size=64)),
    ),
    "TRACE": st.builds(Trace, worker=texts, started_ms=numbers, ended_ms=numbers),
    "OUTCOME": st.builds(
        Outcome,
        done=counts,
        empty=counts,
        reason=texts,
        tasks=st.dictionaries(texts, counts, max_size=3),
    ),
    "RESULT": st.builds(
        Result,
        format=st.just(2),
        items=places,
    ),
    "HOLDING": st.builds(Holding, lists=counts, empty=counts, until_ms=counts),
    "BASKET": st.builds(BasketResult, format=st.just(2), items=places, unknown=st.lists(texts, max_size=3)),
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
        format=st.just(2),
        generation=ids,
        model=ids,
        snapshot=ids,
        options=st.builds(
            Options,
            list_length=st.integers(1, 1000),
            exclude_history=st.booleans(),
            recency=st.just(UNSET) | st.floats(0, 10, exclude_min=True),
        ),
        made_ms=counts,
        users=counts,
        popular=st.lists(texts, max_size=5),
        additions=counts,
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
        lease_ms=counts,
    ),
}
SEAT = digest_context("f1", 0, [0, 20])


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
    data = PARTIAL.encode(Part("0" * 64), SEAT)
    others = (
        digest_context("f1", 1, [0, 0, 20]),
        digest_context("f2", 0, [0, 20]),
        digest_context("f1", 0, [0, 20], 0),
    )
    for place in (*others, digest_context("f1", 0, [0, 21]), digest_context("f1", 0, [1, 20]), ""):
        with pytest.raises(WireError):
            PARTIAL.decode(data, place)


def test_a_basket_is_bounded_in_items_and_in_bytes() -> None:
    """A thousand items, and 64 KiB of ids: its spec is kept whole with the dead letters."""
    for items in ([], ["a"] * (MAX_ITEMS + 1)):
        with pytest.raises(WireError):
            SPEC.decode(SPEC.encode(BasketSpec(items, "g")))
    full = [f"{number:02}" + "ü" * 511 for number in range(64)]
    for items in ([f"{number:065}" for number in range(MAX_ITEMS)], full):
        assert SPEC.decode(SPEC.encode(BasketSpec(items, "g"))) == BasketSpec(items, "g")
    with pytest.raises(ValueError, match="65,536 bytes"):
        BasketSpec([*full, "a"], "g")


def test_a_larger_basket_than_may_be_is_refused() -> None:
    """Also one that nobody here has made."""
    body = {"type": "basket", "items": ["x" * 1024] * (MAX_BASKET_BYTES // 1024) + ["x"], "generation": "g"}
    with pytest.raises(WireError, match="65,536 bytes"):
        SPEC.decode(DigestCodec[Any](dict).encode(body))


RIGHT_RECORD = Record(2, "g", "m", "s", Options(1), 0, 0, [])
RIGHT_FIT = FitSpec("s", "cosine", 1, 0.0, 1)
RIGHT_BLOCK = BlockSpec("r", "g", 1, "")


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (RECORD, replace(RIGHT_RECORD, options=Options(MAX_LIST_LENGTH + 1))),
        (RECORD, replace(RIGHT_RECORD, popular=["i"] * (MAX_LIST_LENGTH + MAX_SPARE + 1))),
        (SPEC, replace(RIGHT_FIT, list_length=MAX_LIST_LENGTH + 1)),
        (SPEC, replace(RIGHT_FIT, neighbours=MAX_NEIGHBOURS + 1)),
        (SPEC, replace(RIGHT_FIT, similarity="c" * 65)),
        (SPEC, replace(RIGHT_FIT, parameters={f"p{number}": 1.0 for number in range(21)})),
        (SPEC, replace(RIGHT_BLOCK, block_size=MAX_BLOCK_USERS + 1)),
        (SPEC, UserSpec("u" * 1025, "g")),
        (SPEC, HistorySpec("u" * 1025, "g", 1)),
        (SPEC, SimilarSpec("i" * 1025, None, "g", 1)),
        (SPEC, SimilarSpec("i", "i" * 1025, "g", 1)),
        (SPEC, BasketSpec(["i" * 1025], "g")),
    ],
)
def test_what_takes_memory_is_bounded(codec: Codec[Any], value: Any) -> None:
    """By what settings and commands take at most: a worker makes arrays of such lengths."""
    with pytest.raises(WireError):
        codec.decode(codec.encode(value))


@pytest.mark.parametrize(
    ("codec", "value"),
    [
        (RECORD, replace(RIGHT_RECORD, generation="g\n")),
        (RECORD, replace(RIGHT_RECORD, model="m\n")),
        (SPEC, replace(RIGHT_BLOCK, since="g\n")),
        (SPEC, UserSpec("u", "g\n")),
        (PARTIAL, Part("0" * 64 + "\n")),
    ],
)
def test_an_id_does_not_end_with_a_new_line(codec: Codec[Any], value: Any) -> None:
    """A `$` in a pattern would let it pass."""
    with pytest.raises(WireError):
        codec.decode(codec.encode(value))


# Ids that look like what stands between two places.
odd_ids = st.one_of(st.sampled_from(["],[", '"],["', "a],[b", "]]}", '"]]}', "\\", "é"]), st.text(max_size=40))
lists = st.lists(st.builds(ScoredItem, odd_ids, st.floats(allow_nan=False, allow_infinity=False), odd_ids), max_size=40)


@given(lists, st.lists(odd_ids, max_size=2), st.integers(1, 45), st.data())
def test_the_first_places_of_a_list_are_those_of_the_whole(
    places: list[ScoredItem], unknown: list[str], n: int, data: st.DataObject
) -> None:
    """And what is unknown comes with them; of bytes that were cut off there are none."""
    encoded = RESULT.encode(Result(2, places, unknown))
    found = RESULT.first(encoded, n)
    assert found.items == places[: max(n, len(found.items))]
    assert found.unknown == unknown
    with pytest.raises(WireError):
        RESULT.first(encoded[: data.draw(st.integers(0, len(encoded) - 1))], n)


def test_of_a_long_list_only_the_first_places_are_decoded() -> None:
    places = [ScoredItem(f"{number:04}", 0.7531 / (number + 1), "a") for number in range(200)]
    assert len(RESULT.first(RESULT.encode(Result(2, places)), 10).items) < 20
