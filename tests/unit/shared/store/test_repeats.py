"""Rows of the same pair are merged by the chosen rule."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store.repeats import Repeats, Rows, merge_repeats

row = st.tuples(st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.5, 1.0, 2.0, 8.0]), st.integers(0, 3))


def rows_of(rows: list[tuple[int, int, float, int]], timed: bool, first: int = 0) -> Rows:
    users, items, weights, times = np.array(rows, dtype=np.float64).reshape(-1, 4).T
    return Rows(
        users.astype(np.uint32) + np.uint32(first),
        items.astype(np.uint32) + np.uint32(first),
        weights,
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


def weights_of(rows: Rows) -> list[float]:
    return [1.0] * len(rows) if rows.weights is None else rows.weights.tolist()


@given(
    st.lists(row, max_size=30), st.booleans(), st.sampled_from(["last", "sum", "max"]), st.sampled_from([0, 2**32 - 4])
)
def test_one_row_of_each_pair_remains(
    rows: list[tuple[int, int, float, int]], timed: bool, rule: Repeats, first: int
) -> None:
    """Each rule equals its plain implementation, with and without times, for small and large numbers."""
    merged = merge_repeats(rows_of(rows, timed, first), rule)
    times = merged.times.tolist() if merged.times is not None else [None] * len(merged)
    pairs = list(zip((merged.users - first).tolist(), (merged.items - first).tolist(), strict=True))
    assert pairs == sorted(pairs)
    assert dict(zip(pairs, zip(weights_of(merged), times, strict=True), strict=True)) == merged_plainly(
        rows, timed, rule
    )


@given(st.lists(row, max_size=30), st.booleans(), st.sampled_from(["last", "sum", "max"]))
def test_no_weights_are_weights_of_one(rows: list[tuple[int, int, float, int]], timed: bool, rule: Repeats) -> None:
    """Their sum counts the rows."""
    given = rows_of([(user, item, 1.0, time) for user, item, _, time in rows], timed)
    merged, bare = merge_repeats(given, rule), merge_repeats(replace(given, weights=None), rule)
    assert weights_of(bare) == weights_of(merged)
    assert bare.users.tolist() == merged.users.tolist()


def test_weights_are_added_in_the_order_of_their_times() -> None:
    """A sum in another order may be rounded to another number."""
    rows = [(0, 0, 1.0, 3), (0, 0, 2.0**53, 1), (0, 0, 1.0, 2), (0, 1, 1.0, 0), (0, 1, 1.0, 1), (0, 1, 2.0**53, 2)]
    assert weights_of(merge_repeats(rows_of(rows, timed=True), "sum")) == [2.0**53 + 2, 2.0**53]


@pytest.mark.parametrize(("timed", "kept"), [(True, 1.0), (False, 3.0)])
def test_the_last_is_by_time_and_then_by_row(timed: bool, kept: float) -> None:
    """An older row further down loses when there are times, and wins when there are none."""
    rows = [(0, 0, 2.0, 5), (0, 0, 1.0, 5), (0, 0, 3.0, 4)]
    assert weights_of(merge_repeats(rows_of(rows, timed), "last")) == [kept]
