"""Tests of the similarity formulas."""

from math import sqrt

from workers.kernels.similarity import SIMILARITIES, cosine


def test_cosine_is_the_dot_product_over_the_root_of_both_squares() -> None:
    """Two common users of 4 and 9 give 2 / 6."""
    assert cosine(2.0, 4.0, 9.0, 0.0) == 2 / 6
    assert cosine(3.0, 3.0, 5.0, 0.0) == 3 / sqrt(15)


def test_shrink_is_added_to_the_denominator() -> None:
    """Items with few users lose the most by it."""
    assert cosine(2.0, 4.0, 9.0, 10.0) == 2 / 16
    assert cosine(1.0, 1.0, 1.0, 10.0) == 1 / 11


def test_similarities_are_found_by_name() -> None:
    """The name is what a model's configuration holds."""
    assert SIMILARITIES["cosine"] is cosine
