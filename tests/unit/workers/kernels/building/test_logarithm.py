"""Tests of the logarithm, exponential and powers that are the same on every processor."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.workers.kernels.building.logarithm import exp, log, logs, power, powers

SMALLEST, LARGEST = float(np.finfo(np.float64).tiny), float(np.finfo(np.float64).max)


def units_apart(found: float, wanted: float) -> float:
    """How far in units in the last place of what is wanted."""
    return abs(found - wanted) / math.ulp(wanted)


@given(x=st.floats(SMALLEST, LARGEST) | st.floats(0.5, 2.0) | st.integers(1, 10**9).map(float))
def test_a_logarithm_is_within_two_units_of_the_librarys(x: float) -> None:
    """Over all normal numbers, close to 1, and for counts."""
    assert units_apart(log(x), math.log(x)) <= 2


@given(x=st.floats(-700.0, 700.0) | st.floats(-1.0, 1.0))
def test_an_exponential_is_within_two_units_of_the_librarys(x: float) -> None:
    """In the range that it has."""
    assert units_apart(exp(x), math.exp(x)) <= 2


@given(x=st.floats(1e-30, 1e30), exponent=st.floats(-10.0, 10.0))
def test_a_power_is_as_close_as_its_logarithm_lets_it_be(x: float, exponent: float) -> None:
    """Two units of the logarithm, times the exponent, are that many more of the power."""
    wanted = math.pow(x, exponent)
    assert units_apart(power(x, exponent), wanted) <= 3 + 4 * abs(exponent * math.log(x))


def test_logarithm_exponential_and_powers_are_exact_where_counts_of_one_depend_on_it() -> None:
    """One user, nobody's neighbour, no exponent."""
    assert (log(1.0), exp(0.0), power(1.0, 0.37), power(1.0, -2.5)) == (0.0, 1.0, 1.0, 1.0)


@given(x=st.floats(SMALLEST, LARGEST))
def test_a_power_of_one_or_nothing_leaves_the_number_or_one(x: float) -> None:
    """Exactly: a similarity to the power of 1 is the similarity."""
    assert (power(x, 1.0), power(x, 0.0)) == (x, 1.0)


@pytest.mark.parametrize("exponent", [0.3, 0.5, 0.75, 1.5, 2.0])
def test_logarithms_and_powers_of_counts_rise_with_them(exponent: float) -> None:
    """No item falls behind one with fewer users by a rounding."""
    counts = np.arange(1, 1 << 20, dtype=np.float64)
    assert (np.diff(logs(counts)) > 0).all()
    assert (np.diff(powers(counts, exponent)) > 0).all()
    assert (np.diff(powers(counts, -exponent)) < 0).all()


def test_powers_and_logarithms_of_many_are_those_of_each() -> None:
    """Bit for bit; 0 stays 0."""
    numbers = np.random.default_rng(1).exponential(size=999)
    assert logs(numbers).tolist() == [log(x) for x in numbers]
    assert powers(numbers, 0.7).tolist() == [power(x, 0.7) for x in numbers]
    assert powers(np.array([0.0, 4.0]), -0.5).tolist() == [0.0, power(4.0, -0.5)]


@pytest.mark.parametrize(("x", "exponent"), [(1e-4, 100.0), (1e-300, 3.0), (0.5, 1e4), (1e300, -5.0)])
def test_a_power_too_small_to_be_written_is_zero(x: float, exponent: float) -> None:
    """A high power of a low similarity is no similarity."""
    assert power(x, exponent) == 0.0


@pytest.mark.parametrize(("x", "exponent"), [(1e4, 100.0), (1e-4, -100.0), (1e300, 3.0)])
def test_a_power_too_large_to_be_written_is_infinite(x: float, exponent: float) -> None:
    """As float32 is, much earlier."""
    assert power(x, exponent) == math.inf
