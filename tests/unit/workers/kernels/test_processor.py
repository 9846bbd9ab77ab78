"""Tests of processor instructions that numba has no name for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import njit, types

from reckoner.workers.kernels.compiled import READ_FLOAT32, READ_FLOAT64, WRITE_FLOAT64, Index
from reckoner.workers.kernels.processor import add_four, at_least, keep_larger, popcount, trailing_zeros

WORDS = st.integers(0, 2**64 - 1)
BEFORE = 3


@njit(types.uint64(types.uint64))
def _popcount(word: int) -> Index:
    return popcount(word)


@njit(types.uint64(types.uint64))
def _trailing_zeros(word: int) -> Index:
    return trailing_zeros(word)


@njit(types.uint64(READ_FLOAT64, types.uint64, types.float64))
def _at_least(array: np.ndarray, at: int, bound: float) -> Index:
    return at_least(array, at, bound)


@njit(types.void(WRITE_FLOAT64, types.uint64, READ_FLOAT64, types.uint64))
def _keep_larger(kept: np.ndarray, at: int, array: np.ndarray, begin: int) -> None:
    keep_larger(kept, at, array, begin)


@njit(types.void(WRITE_FLOAT64, types.uint64, types.float64, READ_FLOAT32, types.uint64))
def _add_four(sums: np.ndarray, ranks: int, weight: float, values: np.ndarray, at: int) -> None:
    add_four(sums, ranks, weight, values, at)


@given(word=WORDS)
def test_bits_are_counted(word: int) -> None:
    """All of them, and those below the lowest one that is set."""
    assert _popcount(word) == word.bit_count()
    lowest = word & -word
    assert not word or _trailing_zeros(word) == lowest.bit_length() - 1


@given(places=st.sets(st.integers(0, 63)), bound=st.sampled_from([2.0**-1074, 1.0, 2.5]))
def test_numbers_are_compared_with_a_bound(places: set[int], bound: float) -> None:
    """Equal values count; values outside the 64 do not."""
    array = np.full(BEFORE + 64 + BEFORE, bound)
    array[BEFORE : BEFORE + 64] = np.nextafter(bound, 0.0)
    array[[BEFORE + place for place in places]] = bound
    assert _at_least(array, BEFORE, bound) == sum(1 << place for place in places)


@pytest.mark.parametrize("bound", [1.0, np.nan])
def test_nothing_is_compared_with_nan(bound: float) -> None:
    """Like the scores of an empty history."""
    assert _at_least(np.full(64, np.nan), 0, bound) == 0


def test_the_larger_ones_of_eight_are_kept() -> None:
    """Each beside its own, and nothing else is touched."""
    rng = np.random.default_rng(1)
    kept, array = rng.random(20), rng.random(30)
    expected = kept.copy()
    expected[5:13] = np.maximum(kept[5:13], array[17:25])
    _keep_larger(kept, 5, array, 17)
    assert kept.tolist() == expected.tolist()


@given(ranks=st.lists(st.integers(0, 2**16 - 1), min_size=4, max_size=4), weight=st.floats(2.0**-20, 2.0**20, width=32))
def test_four_shares_are_added_one_after_the_other(ranks: list[int], weight: float) -> None:
    """In float64, also where ranks are the same."""
    rng = np.random.default_rng(2)
    sums, values = rng.random(2**16), rng.random(9).astype(np.float32)
    expected = sums.copy()
    for rank, value in zip(ranks, values[BEFORE:].tolist(), strict=False):
        expected[rank] += weight * value
    _add_four(sums, sum(rank << 16 * n for n, rank in enumerate(ranks)), weight, values, BEFORE)
    np.testing.assert_array_equal(sums, expected)
