"""Tests of how work is shared out."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store.balance import balance

WORK = st.lists(st.integers(0, 1000), max_size=50)


@given(work=WORK, parts=st.integers(1, 60), taper=st.booleans())
def test_ranges_cover_everything_and_none_is_empty(work: list[int], parts: int, taper: bool) -> None:
    """There are as many as were asked for, or one for each position where those are fewer."""
    bounds = balance(np.array(work, np.int64), parts, taper=taper)
    assert bounds.dtype == np.int64
    assert len(bounds) == min(parts, len(work)) + 1
    assert bounds[0] == 0
    assert bounds[-1] == len(work)
    assert (np.diff(bounds) > 0).all()


@given(work=st.lists(st.integers(1, 10), min_size=40, max_size=80), parts=st.integers(1, 4))
def test_no_range_is_further_off_its_share_than_the_heaviest_position(work: list[int], parts: int) -> None:
    """A position is never cut in two, so that is as near as it can be promised."""
    bounds = balance(np.array(work, np.int64), parts)
    for low, high in pairwise(bounds):
        assert abs(sum(work[low:high]) - sum(work) / parts) <= max(work)


def test_no_parts_cannot_be_asked_for() -> None:
    """Less than one part would leave work undone."""
    with pytest.raises(ValueError, match="0 parts"):
        balance(np.ones(3, np.int64), 0)


def test_ranges_that_taper_become_smaller() -> None:
    """From one and a quarter shares to two thirds of one."""
    assert np.diff(balance(np.ones(100, np.int64), 5, taper=True)).tolist() == [25, 23, 21, 18, 13]
    assert np.diff(balance(np.ones(3, np.int64), 5, taper=True)).tolist() == [1, 1, 1]
