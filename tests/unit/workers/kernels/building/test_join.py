"""Tests of what joins tiles into a model."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.workers.kernels.building.build import Tile
from reckoner.workers.kernels.building.join import ITEMS_AT_ONCE, join_tiles
from tests.building import flag, same_bytes

VALUES = st.sampled_from([0.25, 0.5, 1.0]) | st.floats(2.0**-100, 2.0**100, width=32)
# Some tiles of ten items: whose each list is, and what is in it.
PAIRS = st.dictionaries(st.tuples(st.integers(0, 9), st.integers(0, 9)), VALUES)


def tile(lists: list[tuple[int, dict[int, float]]]) -> Tile:
    """A tile written out: owners, each with other items and their values."""
    return Tile(
        np.array([owner for owner, _ in lists], np.uint32),
        np.array([len(entries) for _, entries in lists], np.uint32),
        np.array([item for _, entries in lists for item in entries], np.uint32),
        np.array([value for _, entries in lists for value in entries.values()], np.float32),
    )


@given(pairs=PAIRS, parts=st.lists(st.integers(0, 3)), neighbours=st.integers(1, 12))
def test_a_row_is_the_best_of_all_tiles_sorted_by_item(
    pairs: dict[tuple[int, int], float], parts: list[int], neighbours: int
) -> None:
    """The smaller index first at a tie; an owner may have lists in many tiles, and two in one."""
    lists: list[list[tuple[int, dict[int, float]]]] = [[] for _ in range(4)]
    for number, ((owner, item), value) in enumerate(pairs.items()):
        lists[parts[number] if number < len(parts) else 0].append((owner, {item: value}))
    model = join_tiles([tile(part) for part in lists], 10, neighbours, stop=flag())
    assert model is not None
    for owner in range(10):
        row = {item: value for (of, item), value in pairs.items() if of == owner}
        best = sorted(sorted(row, key=lambda item: (-row[item], item))[:neighbours])
        span = slice(model.row_ptr[owner], model.row_ptr[owner + 1])
        assert model.row_items[span].tolist() == best
        assert model.row_values[span].tolist() == [row[item] for item in best]


@pytest.mark.parametrize("item_count", [0, 3])
def test_no_tiles_make_a_model_of_empty_rows(item_count: int) -> None:
    """Arrays of the right types all the same."""
    model = join_tiles([], item_count, 5, stop=flag())
    assert model is not None
    assert same_bytes(model, (np.zeros(item_count + 1, np.int64), np.empty(0, np.uint32), np.empty(0, np.float32)))


def test_a_stopped_join_returns_none() -> None:
    """With tiles to take, and with rows to finish."""
    assert join_tiles([tile([(0, {1: 0.5})])], 2, 3, stop=flag(1)) is None
    assert join_tiles([], ITEMS_AT_ONCE + 1, 3, stop=flag(1)) is None


@pytest.mark.parametrize("field", ["owners", "counts", "items", "values"])
def test_a_tile_that_holds_more_or_less_than_it_counts_is_refused(field: str) -> None:
    """Nothing is read beside it, whoever has written its bytes."""
    whole = tile([(0, {1: 0.5}), (1, {0: 0.5, 2: 0.25})])
    changed: Any = whole.counts * 2**30 if field == "counts" else getattr(whole, field)[:-1]
    with pytest.raises(ValueError, match="do not match its counts"):
        join_tiles([whole, whole._replace(**{field: changed})], 3, 5, stop=flag())


@pytest.mark.parametrize("wrong", [tile([(3, {1: 0.5})]), tile([(0, {3: 0.5})])])
def test_a_tile_of_other_items_is_refused(wrong: Tile) -> None:
    """Nothing is written beside the model."""
    with pytest.raises(ValueError, match="outside the 3 items"):
        join_tiles([wrong], 3, 5, stop=flag())


def test_a_tile_is_refused_without_items() -> None:
    """As nothing could be written."""
    with pytest.raises(ValueError, match="outside the 0 items"):
        join_tiles([tile([(0, {0: 0.5})])], 0, 5, stop=flag())
