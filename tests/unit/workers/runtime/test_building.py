"""The tasks of a fit: rows against all more popular items, in tiles that fit into memory."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.build import Tile, build_tile
from reckoner.workers.kernels.building.keep import SPARE
from reckoner.workers.runtime.building import (
    BYTES_PER_COLUMN,
    BYTES_PER_ENTRY,
    Counting,
    build_tiles,
    join_tiles,
)
from tests.building import build, build_mixed, counting_for, flag, same_bytes
from tests.interactions import random_interactions

DATA = random_interactions(5, n_users=300, n_items=200, n_pairs=6000)
K = 7
BYTES = BYTES_PER_ENTRY * SPARE * K + BYTES_PER_COLUMN


def counting(config: ModelConfig) -> Counting:
    return counting_for(DATA, config, DATA.n_items)


@pytest.mark.parametrize("columns", [1, 30, 199, 1000])
@pytest.mark.parametrize("similarity", ["cosine", "rp3beta"])
def test_a_model_is_the_same_however_narrow_its_tiles_are(similarity: str, columns: int) -> None:
    """Each item has at most one list of K, or narrow tiles would take more memory."""
    config = ModelConfig(similarity, K)  # type: ignore[arg-type]
    found, tiles = counting(config), []
    for first, last in pairwise([0, 90, 150, 200]):
        tile = build_tiles(found, first, last, columns * BYTES, flag())
        assert tile is not None
        assert columns >= last or np.unique(tile.owners).size == tile.owners.size
        assert columns >= last or tile.counts.max() <= K
        tiles.append(tile)
    model = join_tiles(tiles, DATA.n_items, K, stop=flag())
    assert model is not None
    assert same_bytes(model, build(DATA, config))


@pytest.mark.parametrize("tile_bytes", [1, 3000, 1_000_000])
def test_a_task_may_have_dense_and_sparse_rows(tile_bytes: int) -> None:
    """With room for a few entries or for all."""
    config = ModelConfig(neighbours=K)
    assert same_bytes(build_mixed(DATA, config, 70, (40, 120), tile_bytes), build(DATA, config))


def test_a_task_that_is_stopped_brings_nothing() -> None:
    """With one tile or many, of dense rows or sparse ones."""
    for popular, tile_bytes in ((0, 1_000_000), (200, 1), (200, 1_000_000)):
        found = counting_for(DATA, ModelConfig(neighbours=K), popular)
        assert build_tiles(found, 0, 200, tile_bytes, flag(1)) is None


def test_no_rows_bring_nothing() -> None:
    """An empty catalogue."""
    tile = build_tiles(counting(ModelConfig(neighbours=K)), 0, 0, 1_000_000, flag())
    assert tile is not None
    assert [array.size for array in tile] == [0, 0, 0, 0]


def test_more_neighbours_than_there_are_items_make_no_narrower_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is never longer than the number of rows."""
    widths = []

    def tile(*arguments: Any, **options: Any) -> Tile | None:
        widths.append(arguments[6] - arguments[5])
        return build_tile(*arguments, **options)

    monkeypatch.setattr("reckoner.workers.runtime.building.build_tile", tile)
    wanted = ModelConfig(neighbours=1_000_000_000)
    build_tiles(counting(wanted), 150, 200, 200 * (BYTES_PER_ENTRY * 50 + BYTES_PER_COLUMN), flag())
    assert widths == [200]
