"""Tests of the order of candidates."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from workers.kernels.ranking import keep_best

VALUES = st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.0, 2.0**100, width=32)


@given(entries=st.dictionaries(st.integers(0, 2**32 - 1), VALUES), length=st.integers(1, 60))
def test_the_best_come_first_whatever_the_order_they_came_in(entries: dict[int, float], length: int) -> None:
    """The higher value first, the smaller index first where values are equal."""
    items = np.array(list(entries), np.uint32)
    values = np.array(list(entries.values()), np.float32)
    expected = sorted(entries.items(), key=lambda entry: (-entry[1], entry[0]))[:length]
    kept = keep_best(values, items, len(entries), length)
    assert list(zip(items[:kept].tolist(), values[:kept].tolist(), strict=True)) == expected


def test_entries_past_the_size_are_not_looked_at() -> None:
    """The arrays are buffers that may be longer than what they hold."""
    values, items = np.array([1, 2, 9], np.float32), np.array([5, 6, 7], np.uint32)
    assert keep_best(values, items, 2, 3) == 2
    assert items.tolist() == [6, 5, 7]
