"""Tables of texts find any text and give any text back."""

from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import reckoner.shared.store.identifiers
from reckoner.shared.store.identifiers import PAGE, build

# Everything that has UTF-8, with a liking for what breaks formats.
texts = st.text(st.one_of(st.characters(codec="utf-8"), st.sampled_from("\n\r\0\t\"',é😀")), max_size=12)


@given(st.lists(texts))
def test_texts_keep_their_order(given_texts: list[str]) -> None:
    """A table gives back any texts, also empty and repeated ones."""
    table = build(given_texts)
    assert [table[index] for index in range(len(table))] == given_texts


@given(st.sets(texts), texts)
def test_every_text_is_found_at_its_place(members: set[str], other: str) -> None:
    """`find` gives the index of each text, and None for one that is not there."""
    table = build(sorted(members))
    assert [table.find(member) for member in sorted(members)] == list(range(len(members)))
    assert (table.find(other) is not None) == (other in members)


@given(st.sets(texts))
def test_the_order_is_that_of_the_bytes(members: set[str]) -> None:
    """Python's order of texts is the order of their UTF-8."""
    assert [text.encode() for text in sorted(members)] == sorted(text.encode() for text in members)


def test_large_tables_are_read_page_by_page() -> None:
    """From any text on."""
    texts = [f"{number:05}é" for number in range(2 * PAGE + 1)]
    for skipped in (0, 1, PAGE, len(texts) - 1, len(texts), len(texts) + 1):
        pages = list(build(texts).pages(skipped))
        assert [text.decode() for text in chain.from_iterable(pages)] == texts[skipped:]
        assert all(len(page) <= PAGE for page in pages)


def test_a_text_without_utf8_is_not_found() -> None:
    """A lone surrogate, as a command line can hand one over, is unknown and no error."""
    assert build(["a", "b"]).find("\udcff") is None


def test_an_index_outside_is_an_index_error() -> None:
    """Neither end is passed, and a negative index does not count from behind."""
    table = build(["a", "b"])
    for index in (-1, 2):
        with pytest.raises(IndexError):
            table[index]


def test_an_empty_table_holds_nothing() -> None:
    """A table of no texts has no length and finds nothing."""
    table = build([])
    assert len(table) == 0
    assert table.find("") is None
    assert table.offsets.dtype == np.int64
    assert table.blob.dtype == np.uint8


@given(st.lists(texts, min_size=1), st.data())
def test_a_text_that_is_recalled_is_the_one_at_its_place(given_texts: list[str], data: st.DataObject) -> None:
    """The first time and every other time, however few are kept."""
    table = build(given_texts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reckoner.shared.store.identifiers, "MAX_CACHED_TEXTS", 2)
        for index in data.draw(st.lists(st.integers(0, len(given_texts) - 1))):
            assert table.recall(index) == given_texts[index]
    with pytest.raises(IndexError):
        table.recall(len(given_texts))
