"""Tests of the order of candidates."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.workers.kernels.ranking import DIGITS, FEW, entries_of, keep_best, key_of, sort_by_digits
from tests.entries import ENTRIES, ITEMS, VALUES, best, entries_in, keys_of


@given(item=ITEMS, value=VALUES, other_item=ITEMS, other_value=VALUES)
def test_keys_are_in_the_order_of_their_entries(item: int, value: float, other_item: int, other_value: float) -> None:
    """And each tells its entry."""
    key, other_key = key_of(np.float32(value), item), key_of(np.float32(other_value), other_item)
    assert (key < other_key) == ((-value, item) < (-other_value, other_item))
    assert entries_in(np.array([key], np.uint64)) == [(item, value)]
    assert [array.tolist() for array in entries_of(np.array([key, other_key], np.uint64))] == [
        [item, other_item],
        [value, other_value],
    ]


@given(entries=ENTRIES, length=st.integers(1, 60))
def test_the_best_come_first_whatever_the_order_they_came_in(entries: dict[int, float], length: int) -> None:
    """The higher value first, the smaller index first where values are equal."""
    keys = keys_of(entries)
    kept = keep_best(keys, len(entries), length)
    assert entries_in(keys[:kept]) == best(entries, length)
    assert sorted(entries_in(keys[: len(entries)])) == sorted(entries.items())
    assert keys[len(entries) :].tolist() == [0, 2**64 - 1]


@pytest.mark.parametrize("size", [int(FEW), int(FEW) + 1, 5000])
@pytest.mark.parametrize("length", [1, 2, 31, 32, 33, 6000])
def test_the_best_of_more_than_a_few_come_first(size: int, length: int) -> None:
    """In whatever order they came, and sorted already or not."""
    keys = np.random.default_rng(1).permutation(np.arange(size, dtype=np.uint64))
    for given_keys in (keys, np.sort(keys), np.sort(keys)[::-1].copy()):
        kept = keep_best(given_keys, size, length)
        assert given_keys[:kept].tolist() == list(range(min(size, length)))


@given(entries=ENTRIES, bits=st.sampled_from([(0, 32), (32, 64), (0, 15), (0, 17), (8, 8)]))
def test_keys_are_sorted_by_some_of_their_bits(entries: dict[int, float], bits: tuple[int, int]) -> None:
    """Whole bytes from the first of the bits on; keys that are equal in these stay as they stand."""
    low, high = bits
    keys = keys_of(entries)
    mask = 2 ** (low + -(-(high - low) // 8) * 8) - 2**low
    expected = keys.tolist()
    expected[1:-2] = sorted(expected[1:-2], key=lambda key: key & mask)
    sort_by_digits(keys, min(1, len(entries)), len(entries), *bits, np.empty_like(keys), np.empty(DIGITS, np.int64))
    assert keys.tolist() == expected
