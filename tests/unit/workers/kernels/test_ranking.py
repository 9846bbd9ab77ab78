"""Tests of the order of candidates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.kernels.ranking import FEW, keep_best, key_of, nth_largest, select_best, value_of

VALUES = st.sampled_from([0.5, 1.0, 2.0]) | st.floats(0.0, 2.0**100, width=32)
ITEMS = st.integers(0, 2**32 - 1)
ENTRIES = st.dictionaries(ITEMS, VALUES)
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


def keys_of(entries: dict[int, float]) -> np.ndarray:
    """Keys, and others behind that no function may look at."""
    keys = [key_of(np.float32(value), item) for item, value in entries.items()]
    return np.array([*keys, 0, 2**64 - 1], np.uint64)


def entries_of(keys: np.ndarray) -> list[tuple[int, float]]:
    return [(key & 0xFFFFFFFF, float(value_of(key))) for key in keys.tolist()]


@given(item=ITEMS, value=VALUES, other_item=ITEMS, other_value=VALUES)
def test_keys_are_in_the_order_of_their_entries(item: int, value: float, other_item: int, other_value: float) -> None:
    """And each tells its entry."""
    key, other_key = key_of(np.float32(value), item), key_of(np.float32(other_value), other_item)
    assert (key < other_key) == ((-value, item) < (-other_value, other_item))
    assert entries_of(np.array([key], np.uint64)) == [(item, value)]


@given(entries=ENTRIES, length=st.integers(1, 60))
def test_the_best_come_first_whatever_the_order_they_came_in(entries: dict[int, float], length: int) -> None:
    """The higher value first, the smaller index first where values are equal."""
    keys = keys_of(entries)
    kept = keep_best(keys, len(entries), length)
    assert entries_of(keys[:kept]) == best(entries, length)
    assert sorted(entries_of(keys[: len(entries)])) == sorted(entries.items())
    assert keys[len(entries) :].tolist() == [0, 2**64 - 1]


@pytest.mark.parametrize("size", [int(FEW), int(FEW) + 1, 5000])
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 6000])
def test_the_best_of_more_than_a_few_come_first(size: int, length: int) -> None:
    """In whatever order they came, and sorted already or not."""
    keys = np.random.default_rng(1).permutation(np.arange(size, dtype=np.uint64))
    for given_keys in (keys, np.sort(keys), np.sort(keys)[::-1].copy()):
        kept = keep_best(given_keys, size, length)
        assert given_keys[:kept].tolist() == list(range(min(size, length)))


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


@pytest.mark.parametrize("step", [1, -1])
def test_many_entries_that_are_sorted_already_are_no_trap(step: int) -> None:
    """Nor are many that are equal."""
    for value in (np.arange(5000, dtype=np.float32)[::step], np.ones(5000, np.float32)):
        values, items = value.copy(), np.arange(5000, dtype=np.uint32)[::step].copy()
        expected = sorted(zip((-values).tolist(), items.tolist(), strict=True))[:50]
        kept = select_best(values, items, 0, 5000, 50)
        assert sorted(zip((-values[:kept]).tolist(), items[:kept].tolist(), strict=True)) == expected
