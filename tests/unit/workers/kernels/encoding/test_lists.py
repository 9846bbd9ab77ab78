"""Encoded lists are the codec's bytes, and packed ones the commands that cache them."""

import hiredis
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store.identifiers import TextTable, build
from reckoner.shared.wire.shapes import RESULT, Result, ScoredItem
from reckoner.workers.kernels.encoding.lists import encode_lists, pack_lists
from reckoner.workers.kernels.scoring.merge import Partial

TEXTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12) | st.text('\0\b\t\n\f\r\x1f"\\/é', max_size=6)
IDS = st.lists(TEXTS, min_size=1, max_size=6)
SCORES = st.floats(0, float(np.finfo(np.float32).max), width=32, exclude_min=True)
Place = tuple[int, float, int]


def lists_of(ids: list[str]) -> st.SearchStrategy[list[list[Place]]]:
    indices = st.integers(0, len(ids) - 1)
    return st.lists(st.lists(st.tuples(indices, SCORES, indices), max_size=4), max_size=5)


def partial(lists: list[list[Place]]) -> Partial:
    places = [place for own in lists for place in own]
    return Partial(
        np.array([len(own) for own in lists], np.uint32),
        np.array([item for item, _, _ in places], np.uint32),
        np.array([score for _, score, _ in places], np.float32),
        np.array([reason for _, _, reason in places], np.uint32),
    )


def by_codec(ids: list[str], own: list[Place]) -> bytes:
    places = [ScoredItem(ids[item], float(str(np.float32(score))), ids[reason]) for item, score, reason in own]
    return RESULT.encode(Result(2, places))


def encoded(ids: list[str], lists: list[list[Place]]) -> list[bytes]:
    table = build(ids)
    values, ends = encode_lists(partial(lists), table.offsets, table.blob)
    begins = [0, *ends.tolist()]
    return [values[begin:end].tobytes() for begin, end in zip(begins, ends.tolist(), strict=False)]


@given(st.data())
def test_lists_have_the_codec_s_bytes(data: st.DataObject) -> None:
    """With any ids, those that JSON escapes too, and any scores; some lists are empty, and sometimes all."""
    ids = data.draw(IDS)
    lists = data.draw(lists_of(ids))
    assert encoded(ids, lists) == [by_codec(ids, own) for own in lists]


def test_every_character_is_escaped_as_the_codec_does() -> None:
    """All of the basic plane that UTF-8 can hold, and one beyond."""
    ids = [chr(code) for code in range(0x10000) if not 0xD800 <= code < 0xE000] + ["😀"]
    lists: list[list[Place]] = [[(item, 0.5, item) for item in range(len(ids))]]
    assert encoded(ids, lists) == [by_codec(ids, lists[0])]


@given(st.data())
def test_packed_lists_are_the_commands_that_cache_them(data: st.DataObject) -> None:
    """One SET with an expiry for each user, for users in the middle of a table too."""
    ids, users = data.draw(IDS), data.draw(st.lists(TEXTS, max_size=7))
    lists = data.draw(lists_of(ids))[: len(users)]
    before = len(users) - len(lists)
    table, names = build(ids), build(users)
    assert isinstance(names, TextTable)
    packed = pack_lists(
        encode_lists(partial(lists), table.offsets, table.blob), names.offsets[before:], names.blob, "p:rec:g:", 60
    )
    reader = hiredis.Reader()
    reader.feed(bytes(packed))
    commands = [reader.gets() for _ in lists]
    assert commands == [
        [b"SET", b"p:rec:g:" + user.encode(), by_codec(ids, own), b"EX", b"60"]
        for user, own in zip(users[before:], lists, strict=True)
    ]
    assert reader.gets() is False
