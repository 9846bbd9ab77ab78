"""Texts are numbered in order of appearance, over all batches."""

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.producer.importing.merging.numbering import Numbering, as_table

batches = st.lists(st.lists(st.text(max_size=2), min_size=1, max_size=10), max_size=4)


@given(st.lists(batches, max_size=4))
def test_the_same_text_has_the_same_number(calls: list[list[list[str]]]) -> None:
    """Whatever batches it is in; a new text gets the next number."""
    numbering, numbers = Numbering(), dict[str, int]()
    for columns in calls:
        found = numbering.number([pa.array(texts).dictionary_encode() for texts in columns])
        wanted = [numbers.setdefault(text, len(numbers)) for texts in columns for text in texts]
        assert found.tolist() == wanted
    assert numbering.texts.to_pylist() == list(numbers)
    texts, ranks = numbering.ranked()
    assert texts.to_pylist() == sorted(numbers)
    assert ranks.tolist() == [sorted(numbers).index(text) for text in numbers]
    assert [as_table(texts)[place] for place in range(len(texts))] == sorted(numbers)


def test_a_slice_is_no_table() -> None:
    """Its buffers hold other texts too."""
    with pytest.raises(ValueError, match="slice"):
        as_table(pa.array(["a", "b"], pa.large_string())[1:])
