"""The ratings that a caller calls positive."""

import numpy as np
import pytest

from reckoner.producer.importing.judging.ratings import parse_positive
from reckoner.shared.errors import UsageError


@pytest.mark.parametrize(
    ("text", "shown", "met"),
    [
        (">=4", ">= 4", [4.0, 5.0]),
        ("> 4.0", "> 4", [5.0]),
        ("<=3.25", "<= 3.25", [-1.0, 3.25]),
        ("<.5", "< 0.5", [-1.0]),
        (" = -1 ", "= -1", [-1.0]),
    ],
)
def test_a_comparison_and_a_number_say_which_ratings_are_positive(text: str, shown: str, met: list[float]) -> None:
    """With blanks or without."""
    positive, ratings = parse_positive(text), np.array([-1.0, 3.25, 4.0, 5.0])
    assert str(positive) == shown
    assert ratings[positive.meets(ratings)].tolist() == met


@pytest.mark.parametrize(
    "text", ["", "4", ">=", ">=four", "=>4", "==4", ">=4,5", ">=1e3", ">=nan", ">=" + "9" * 400, "٤"]
)
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    """A text as long as a file is shortened."""
    with pytest.raises(UsageError) as refused:
        parse_positive(text)
    assert str(refused.value) == (
        f"--positive {text[:40]} is invalid. Write one of >=, >, <=, <, = and a number, as in '>=4', in quotes."
    )
