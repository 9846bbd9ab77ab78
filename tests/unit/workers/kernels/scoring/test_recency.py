"""Tests of the kernel that weighs histories by recency."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from reckoner.workers.kernels.scoring.recency import recency_weights
from tests.building import flag
from tests.reference import reference_weights

LEAST, GREATEST = np.iinfo(np.int64).min, np.iinfo(np.int64).max
# Few different times, times of some decades, and times whose distances need all bits.
TIMES = (
    st.integers(-2, 2),
    st.integers(0, 2_000_000_000_000),
    st.integers(LEAST, GREATEST) | st.sampled_from([LEAST, GREATEST]),
)
WEIGHTS = st.floats(2.0**-10, 2.0**10, width=32)


def weights_of(
    user_ptr: NDArray[np.int64], times: NDArray[np.int64], weights: NDArray[np.float32] | None, recency: float
) -> NDArray[np.float32]:
    found = recency_weights(user_ptr, times, weights, recency, stop=flag(False))
    assert found is not None
    return found


@given(
    lengths=st.lists(st.integers(0, 6) | st.integers(30, 70), min_size=1, max_size=5),
    times=st.sampled_from(TIMES),
    weighted=st.booleans(),
    recency=st.sampled_from([0.25, 0.5, 1.0, 3.0]),
    data=st.data(),
)
def test_weights_are_those_of_the_reference(
    lengths: list[int], times: st.SearchStrategy[int], weighted: bool, recency: float, data: st.DataObject
) -> None:
    """Bit for bit, for histories short and long, with any times, by block of users and by user."""

    def drawn(values: st.SearchStrategy[Any], kind: type[np.generic]) -> NDArray[Any]:
        return np.array(data.draw(st.lists(values, min_size=sum(lengths), max_size=sum(lengths))), kind)

    user_ptr = np.cumsum([0, *lengths], dtype=np.int64)
    at, imported = drawn(times, np.int64), drawn(WEIGHTS, np.float32) if weighted else None
    expected = reference_weights(user_ptr, at, imported, recency)
    assert weights_of(user_ptr, at, imported, recency).tobytes() == expected.tobytes()
    for user, (first, last) in enumerate(pairwise(user_ptr.tolist())):
        found = weights_of(user_ptr[user : user + 2], at, imported, recency)
        assert found.tobytes() == expected[first:last].tobytes()


@pytest.mark.parametrize("spread", [1, 10**4, 10**12, 2**62])
def test_a_long_history_has_the_weights_of_the_reference(spread: int) -> None:
    """Its times and places together have fewer bits than a word, or more."""
    rng = np.random.default_rng(spread % 1000)
    times, user_ptr = rng.integers(-spread, spread, 3000), np.array([0, 3000])
    found = weights_of(user_ptr, times, None, 0.25)
    later = 3000 - np.searchsorted(np.sort(times), times, side="right")
    assert found.tolist() == ((1.0 + later) ** -0.25).astype(np.float32).tolist()


def test_equal_times_weigh_alike() -> None:
    """An item's weight depends on the number of later items alone, so that the order of an import has no say."""
    found = weights_of(np.array([0, 5]), np.array([7, 9, 7, 9, 1]), None, 1.0)
    assert found.tolist() == pytest.approx([1 / 3, 1, 1 / 3, 1, 1 / 5])
    assert found[0] == found[2]


def test_times_are_compared_and_not_measured() -> None:
    """Whether an item was a second or a year before the next one makes no difference."""
    close, far = (weights_of(np.array([0, 3]), np.array(times), None, 0.5) for times in ([1, 2, 3], [-9, 0, 10**12]))
    assert close.tolist() == far.tolist()
    assert close[2] == 1


def test_no_weight_vanishes() -> None:
    """The smallest weight with the largest recency is still above zero, as scoring requires."""
    least = np.finfo(np.float32).smallest_subnormal
    found = weights_of(np.array([0, 40_000]), np.arange(40_000), np.full(40_000, least, np.float32), 10.0)
    assert found.min() == least


def test_it_can_be_stopped() -> None:
    """Then there are no weights."""
    assert recency_weights(np.array([0, 2]), np.array([1, 2]), None, 0.5, stop=flag(True)) is None
