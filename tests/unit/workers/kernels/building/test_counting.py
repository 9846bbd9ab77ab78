"""Tests of how bits are counted, which many users need to be seen from a model."""

import numpy as np
import pytest
from numba import njit

from reckoner.workers.kernels.building.counting import COLUMNS_AT_ONCE, WORDS_AT_ONCE, count_bits
from tests.building import flag


@njit
def _count_bits(
    bits: np.ndarray,
    words: int,
    row: int,
    rows: int,
    low: int,
    width: int,
    counts: np.ndarray,
    stop: np.ndarray,
) -> bool:
    return bool(
        count_bits(
            bits,
            np.uint64(words),
            np.uint64(row),
            np.uint64(rows),
            np.uint64(low),
            np.uint64(width),
            counts,
            stop,
        )
    )


@pytest.mark.parametrize("words", [1, int(WORDS_AT_ONCE) - 1, int(WORDS_AT_ONCE) + 1])
@pytest.mark.parametrize("width", [0, 2, int(COLUMNS_AT_ONCE) + 2])
def test_bits_are_counted_whatever_blocks_they_fall_in(words: int, width: int) -> None:
    """Those that a row and a column both have, for eight rows; what was in the counts is written over."""
    low, row, rows = 3, 40, 8
    bits = np.random.default_rng(1).integers(0, 2**64, (max(low + width, row + rows), words), np.uint64)
    counts = np.full(rows * width, 7, np.uint32)
    assert _count_bits(bits.ravel(), words, row, rows, low, width, counts, flag())
    both = bits[row : row + rows, None] & bits[None, low : low + width]
    assert counts.tolist() == np.bitwise_count(both).sum(axis=2, dtype=np.int64).ravel().tolist()


def test_counting_bits_is_stopped_under_way() -> None:
    """The flag is read before each block, and nothing is counted after it was set."""
    counts = np.ones(8, np.uint32)
    assert not _count_bits(np.full(8, 2**64 - 1, np.uint64), 1, 4, 4, 0, 2, counts, flag(1))
    assert not counts.any()
