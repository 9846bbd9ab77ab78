"""Tests of the selection of the best."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.workers.kernels.selection import nth_largest, select_best
from tests.entries import ENTRIES, VALUES, best, entries_in, keys_of


@given(entries=ENTRIES, length=st.integers(1, 60))
def test_the_best_are_selected_whatever_the_order_they_came_in(entries: dict[int, float], length: int) -> None:
    """The same ones, in no order, and the others behind them; what lies beside them is not looked at."""
    before, keys = np.array([2**64 - 1, 5, 0], np.uint64), keys_of(entries)
    around = np.concatenate((before, keys))
    kept = select_best(around, before.size, len(entries), length)
    span = around[before.size : -2]
    assert sorted(entries_in(span[:kept])) == sorted(best(entries, length))
    assert sorted(entries_in(span)) == sorted(entries.items())
    assert around[: before.size].tolist() == before.tolist()
    assert around[-2:].tolist() == keys[-2:].tolist()


@given(numbers=st.lists(VALUES, min_size=1), place=st.integers(1, 100))
def test_the_nth_largest_is_that_of_the_sorted_numbers(numbers: list[float], place: int) -> None:
    """Counted from 1; equal ones count each."""
    n = min(place, len(numbers))
    assert nth_largest(np.array(numbers, np.float32), len(numbers), n) == sorted(numbers, reverse=True)[n - 1]


@pytest.mark.parametrize("step", [1, -1])
def test_many_entries_that_are_sorted_already_are_no_trap(step: int) -> None:
    """Nor are many whose values are equal."""
    for values in (np.arange(5000, dtype=np.float32)[::step], np.ones(5000, np.float32)):
        entries = dict(zip(range(5000)[::step], values.tolist(), strict=True))
        keys = keys_of(entries)
        kept = select_best(keys, 0, 5000, 50)
        assert sorted(entries_in(keys[:kept])) == sorted(best(entries, 50))
