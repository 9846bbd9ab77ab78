"""The order of diverse lists is that of the reference, and its first places are not alike."""

import numpy as np
import pytest

from reckoner.workers.kernels.scoring.diversity import choose_diverse
from tests.reference import Entry, reference_diverse


def some_rows(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The rows of a model of 60 items, with similarities that are often the same, and are not symmetric."""
    drawn = np.random.default_rng(seed)
    dense = drawn.choice([0.0, 0.0, 0.5, 3.0, 7.25], (60, 60)) * drawn.choice([1.0, 0.3], (60, 60))
    rows, items = np.nonzero(dense)
    ptr = np.searchsorted(rows, np.arange(61)).astype(np.int64)
    return ptr, items.astype(np.uint32), dense[rows, items].astype(np.float32)


@pytest.mark.parametrize("diversity", [0.001, 0.5, 0.75, 1.0])
@pytest.mark.parametrize("seed", range(6))
def test_the_order_is_that_of_the_reference(seed: int, diversity: float) -> None:
    """Of a long list, a short one, and an empty one; ties are broken by the item."""
    drawn, rows = np.random.default_rng(seed), some_rows(seed)
    for size in (40, 2, 1, 0):
        items = drawn.permutation(60)[:size].astype(np.uint32)
        scores = np.sort(drawn.choice([0.1, 0.2, 0.7, 1.5], size))[::-1].astype(np.float32)
        entries = [Entry(int(item), score, 0) for item, score in zip(items, scores, strict=True)]
        expected = [entry.item for entry in reference_diverse(entries, *rows, diversity)]
        for length in (100, 7):
            assert items[choose_diverse(items, scores, *rows, diversity, length)].tolist() == expected[:length]


def test_twins_are_not_side_by_side() -> None:
    """The second of two items that are alike comes after an item of its own that scores less."""
    rows = np.array([0, 1, 2, 2]), np.array([1, 0], np.uint32), np.array([0.4, 0.4], np.float32)
    items, scores = np.array([0, 1, 2], np.uint32), np.array([0.9, 0.8, 0.3], np.float32)
    assert choose_diverse(items, scores, *rows, 0.5, 3).tolist() == [0, 2, 1]
    assert choose_diverse(items, scores, *rows, 0.1, 3).tolist() == [0, 1, 2]
