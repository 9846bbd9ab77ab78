"""Numbers are sorted stably, whatever their size."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store import sorting
from reckoner.shared.store.sorting import stable_order

numbers = st.sampled_from([1, 2, 2**32, 2**63, 2**64]).flatmap(
    lambda below: st.tuples(st.lists(st.integers(max(0, below - 3), below - 1), max_size=40), st.just(below))
)


@given(numbers, st.booleans())
def test_equal_numbers_keep_their_order(case: tuple[list[int], int], flip: bool) -> None:
    """Small numbers, and those that do not fit into 64 bits with their index."""
    values, below = case
    flipped = [value ^ (2**40 + 1) if flip and (value ^ (2**40 + 1)) < below else value for value in values]
    order = stable_order(np.array(flipped, dtype=np.uint64), below)
    assert order.tolist() == sorted(range(len(flipped)), key=flipped.__getitem__)


@given(st.lists(st.integers(0, 9), max_size=40))
def test_numbers_are_counted_a_slice_at_a_time(values: list[int]) -> None:
    """Slices change no count."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sorting, "AT_ONCE", 1)
        counts = sorting.count_each(np.array(values, dtype=np.uint32), 10)
    assert counts.tolist() == [values.count(number) for number in range(10)]
