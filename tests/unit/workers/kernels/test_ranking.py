"""Tests of the order of candidates."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.kernels.ranking import keep_best, nth_largest, select_best

VALUES = st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.0, 2.0**100, width=32)
ENTRIES = st.dictionaries(st.integers(0, 2**32 - 1), VALUES)
BEFORE = 3


def arrays(entries: dict[int, float]) -> tuple[np.ndarray, np.ndarray]:
    """Values and items in longer arrays, with others before and behind that no function may look at."""
    values = [9.0] * BEFORE + list(entries.values()) + [9.0]
    items = [7] * BEFORE + list(entries) + [7]
    return np.array(values, np.float32), np.array(items, np.uint32)


def best(entries: dict[int, float], length: int) -> list[tuple[int, float]]:
    return sorted(entries.items(), key=lambda entry: (-entry[1], entry[0]))[:length]


def held(values: np.ndarray, items: np.ndarray, size: int) -> list[tuple[int, float]]:
    span = slice(BEFORE, BEFORE + size)
    assert (values[:BEFORE].tolist(), items[:BEFORE].tolist()) == ([9.0] * BEFORE, [7] * BEFORE)
    assert (values[-1], items[-1]) == (9.0, 7)
    return list(zip(items[span].tolist(), values[span].tolist(), strict=True))


@given(entries=ENTRIES, length=st.integers(1, 60))
def test_the_best_come_first_whatever_the_order_they_came_in(entries: dict[int, float], length: int) -> None:
    """The higher value first, the smaller index first where values are equal."""
    values, items = arrays(entries)
    kept = keep_best(values, items, BEFORE, len(entries), length)
    assert held(values, items, kept) == best(entries, length)
    assert sorted(held(values, items, len(entries))) == sorted(entries.items())


@given(entries=ENTRIES, length=st.integers(1, 60))
def test_the_best_are_selected_whatever_the_order_they_came_in(entries: dict[int, float], length: int) -> None:
    """The same ones, in no order, and the others behind them."""
    values, items = arrays(entries)
    kept = select_best(values, items, BEFORE, len(entries), length)
    assert sorted(held(values, items, kept)) == sorted(best(entries, length))
    assert sorted(held(values, items, len(entries))) == sorted(entries.items())


@given(numbers=st.lists(VALUES, min_size=1), place=st.integers(1, 100))
def test_the_nth_largest_is_that_of_the_sorted_numbers(numbers: list[float], place: int) -> None:
    """Counted from 1; equal ones count each."""
    n = min(place, len(numbers))
    assert nth_largest(np.array(numbers, np.float32), len(numbers), n) == sorted(numbers, reverse=True)[n - 1]


@pytest.mark.parametrize("select", [keep_best, select_best])
@pytest.mark.parametrize("step", [1, -1])
def test_many_entries_that_are_sorted_already_are_no_trap(select: Callable[..., int], step: int) -> None:
    """Nor are many that are equal."""
    for value in (np.arange(5000, dtype=np.float32)[::step], np.ones(5000, np.float32)):
        values, items = value.copy(), np.arange(5000, dtype=np.uint32)[::step].copy()
        expected = sorted(zip((-values).tolist(), items.tolist(), strict=True))[:50]
        kept = select(values, items, 0, 5000, 50)
        assert sorted(zip((-values[:kept]).tolist(), items[:kept].tolist(), strict=True)) == expected
