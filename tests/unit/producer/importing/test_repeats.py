"""Rows of the same pair are merged by the chosen rule."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.producer.importing.repeats import Repeats, Rows, merge_repeats

row = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.5, 1.0, 2.0, 8.0]), st.integers(0, 3))


def rows_of(rows: list[tuple[int, int, float, int]], timed: bool) -> Rows:
    users, items, weights, times = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Rows(
        users.astype(np.int64),
        items.astype(np.int64),
        weights.astype(np.float64),
        times.astype(np.int64) if timed else None,
    )


def merged_plainly(rows: list[tuple[int, int, float, int]], timed: bool, rule: Repeats) -> dict[object, object]:
    by_pair: dict[tuple[int, int], list[tuple[float, int]]] = {}
    for user, item, weight, time in rows:
        by_pair.setdefault((user, item), []).append((weight, time if timed else 0))
    merged: dict[object, object] = {}
    for pair, entries in by_pair.items():
        latest = max(time for _, time in entries)
        last = [weight for weight, time in entries if time == latest][-1]
        weights = [weight for weight, _ in entries]
        merged[pair] = ({"last": last, "sum": sum(weights), "max": max(weights)}[rule], latest if timed else None)
    return merged


@given(st.lists(row, max_size=30), st.booleans(), st.sampled_from(["last", "sum", "max"]))
def test_one_row_of_each_pair_remains(rows: list[tuple[int, int, float, int]], timed: bool, rule: Repeats) -> None:
    """Each rule equals its plain implementation, with and without times."""
    merged = merge_repeats(rows_of(rows, timed), rule)
    times = merged.times.tolist() if merged.times is not None else [None] * len(merged)
    pairs = list(zip(merged.users.tolist(), merged.items.tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert dict(zip(pairs, zip(merged.weights.tolist(), times, strict=True), strict=True)) == merged_plainly(
        rows, timed, rule
    )


@pytest.mark.parametrize(("timed", "kept"), [(True, 1.0), (False, 3.0)])
def test_the_last_is_by_time_and_then_by_row(timed: bool, kept: float) -> None:
    """An older row further down loses when there are times, and wins when there are none."""
    rows = [(0, 0, 2.0, 5), (0, 0, 1.0, 5), (0, 0, 3.0, 4)]
    assert merge_repeats(rows_of(rows, timed), "last").weights.tolist() == [kept]
