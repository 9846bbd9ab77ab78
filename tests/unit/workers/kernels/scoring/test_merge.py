"""Tests of the reduce's merge."""

from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.workers.kernels.scoring.merge import Partial, merge

# One user's candidates: item to score and reason.
Candidates = dict[int, tuple[float, int]]


def partial(lists: list[Candidates], length: int) -> Partial:
    """The partial that holds the best of each user's candidates."""
    best = [sorted(user.items(), key=lambda entry: (-entry[1][0], entry[0]))[:length] for user in lists]
    flat = [(item, score, reason) for entries in best for item, (score, reason) in entries]
    return Partial(
        np.array([len(entries) for entries in best], np.uint32),
        np.array([item for item, _, _ in flat], np.uint32),
        np.array([score for _, score, _ in flat], np.float32),
        np.array([reason for _, _, reason in flat], np.uint32),
    )


def in_range(lists: list[Candidates], first: int, last: int) -> list[Candidates]:
    return [{item: rest for item, rest in user.items() if first <= item < last} for user in lists]


def same_bytes(one: Partial, other: Partial) -> bool:
    return [(a.dtype, a.tobytes()) for a in one] == [(a.dtype, a.tobytes()) for a in other]


SCORES = st.sampled_from([0.25, 0.5]) | st.floats(2.0**-100, 1.0, width=32)
USER = st.dictionaries(st.integers(0, 39), st.tuples(SCORES, st.integers(0, 39)))


@given(
    lists=st.lists(USER, min_size=1, max_size=5),
    cuts=st.lists(st.integers(0, 40), max_size=6),
    length=st.integers(1, 50),
    random=st.randoms(),
)
def test_partials_merge_into_the_whole_in_any_order(
    lists: list[Candidates], cuts: list[int], length: int, random: Random
) -> None:
    """Any number of them, some without a candidate."""
    bounds = [0, *sorted(cuts), 40]
    partials = [partial(in_range(lists, first, last), length) for first, last in pairwise(bounds)]
    random.shuffle(partials)
    assert same_bytes(merge(partials, length), partial(lists, length))


def test_equal_scores_stand_by_index() -> None:
    """Whichever partial they come from, and only as many as the list holds."""
    high, low = partial([{7: (0.5, 1)}], 2), partial([{3: (0.5, 2), 1: (0.25, 3)}], 2)
    assert merge([high, low], 2).items.tolist() == [3, 7]
    assert merge([high, low], 2).reasons.tolist() == [2, 1]


def test_users_without_candidates_keep_their_place() -> None:
    """Their count is 0."""
    merged = merge([partial([{}, {1: (0.5, 0)}, {}], 3), partial([{}, {2: (1.0, 0)}, {}], 3)], 3)
    assert merged.counts.tolist() == [0, 2, 0]
    assert merged.items.tolist() == [2, 1]


def test_no_partial_is_refused() -> None:
    """It would not say how many users there are."""
    with pytest.raises(ValueError, match="no partials"):
        merge([], 3)


@pytest.mark.parametrize("field", ["counts", "items", "scores", "reasons"])
def test_a_partial_that_holds_more_or_less_than_it_counts_is_refused(field: str) -> None:
    """Nothing is read beside it, whoever has written its bytes."""
    whole = partial([{1: (0.5, 0)}, {1: (0.5, 0), 2: (0.25, 1)}], 3)
    wrong: Any = whole.counts * 2**30 if field == "counts" else getattr(whole, field)[:-1]
    broken = whole._replace(**{field: wrong})
    with pytest.raises(ValueError, match="do not match its counts"):
        merge([broken], 3)


def test_partials_of_other_users_are_refused() -> None:
    """A candidate must not move to a neighbour's list."""
    with pytest.raises(ValueError, match="different numbers of users"):
        merge([partial([{}], 3), partial([{}, {}], 3)], 3)
