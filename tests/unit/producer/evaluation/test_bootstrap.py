"""The bootstrap: its intervals are as wide as theory says, and its bytes are the same in any order of users."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reckoner.producer.evaluation import bootstrap
from reckoner.producer.evaluation.bootstrap import Interval, intervals


def test_an_interval_is_as_wide_as_the_normal_one() -> None:
    """Of 2,000 users: 1.96 standard errors to each side of the mean."""
    values = np.random.default_rng(1).random(2000)
    [found] = intervals([values])
    error = 1.96 * values.std() / math.sqrt(values.size)
    assert found.mean == pytest.approx(values.mean(), abs=1e-9)
    assert found.low == pytest.approx(values.mean() - error, abs=0.2 * error)
    assert found.high == pytest.approx(values.mean() + error, abs=0.2 * error)


def test_columns_are_compared_in_pairs() -> None:
    """A difference of two columns that move together is known far better than each of them."""
    values = np.random.default_rng(1).random(500)
    both, apart = intervals([values, (values + 0.01 * (values > 0.5)) - values])
    assert apart.high - apart.low < 0.1 * (both.high - both.low)
    assert not apart.is_noise
    assert Interval(0.0, -0.1, 0.1).is_noise


@settings(max_examples=10)
@given(st.lists(st.floats(-1, 1), min_size=1, max_size=40))
def test_the_bounds_are_those_of_the_resamples(values: list[float]) -> None:
    """Recomputed one resample at a time, with exact sums."""
    n, bits = len(values), np.random.PCG64(bootstrap.SEED)
    means = []
    for _ in range(bootstrap.MOST_RESAMPLES):
        raw = [number for word in bits.random_raw((n + 1) // 2).tolist() for number in (word & 0xFFFFFFFF, word >> 32)]
        means.append(math.fsum(values[number * n >> 32] for number in raw[:n]) / n)
    means.sort()
    [found] = intervals([np.array(values)])
    assert found.mean == pytest.approx(math.fsum(values) / n, abs=1e-12)
    assert found.low == pytest.approx(means[25], abs=1e-12)
    assert found.high == pytest.approx(means[974], abs=1e-12)


def test_nobody_has_no_interval() -> None:
    assert intervals([np.empty(0)] * 2) == [Interval(0.0, 0.0, 0.0)] * 2


def test_sums_are_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """So they do not depend on how a library adds: resamples a few at a time give the same bytes."""
    columns = [np.random.default_rng(seed).random(3000) for seed in range(3)]
    expected = intervals(columns)
    monkeypatch.setattr(bootstrap, "AT_ONCE", 1)
    assert intervals(columns) == expected
    assert [intervals([column])[0] for column in columns] == expected
