"""Builds models: lays a snapshot out and computes tiles. Imported at the first fit, as its kernels may be compiled."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.store.snapshots import Snapshot
from reckoner.workers.kernels.building.build import Tile, build_tile
from reckoner.workers.kernels.building.join import Matrix, join_tiles
from reckoner.workers.kernels.building.keep import SPARE
from reckoner.workers.kernels.building.ranked import Ranked, rank
from reckoner.workers.kernels.building.rows import build_rows
from reckoner.workers.kernels.building.similarity import Weighting, weigh
from reckoner.workers.kernels.building.sparse import Sparse, lay_out_sparse

__all__ = ["Counting", "Matrix", "Tile", "build_tiles", "counting_of", "join_tiles", "lay_out"]

# Of each column of a tile: an item and a value for each list entry, and the column's sums, values and floors.
BYTES_PER_ENTRY, BYTES_PER_COLUMN = 8, 40


class Counting(NamedTuple):
    """The input of a model's tiles: the `ranked` items have dense rows, and the others of `sparse` have sparse rows.

    `floors` float32[R] has a lower bound for each rank: the item's K-th best similarity in any finished tile. Smaller
    ones cannot be among its best K, K being `neighbours`. Each tile raises the floors.
    """

    ranked: Ranked
    sparse: Sparse
    weighting: Weighting
    floors: NDArray[np.float32]
    neighbours: int


def lay_out(snapshot: Snapshot, config: ModelConfig, popular: int, stop: NDArray[np.uint8]) -> Counting | None:
    """Lay out a snapshot for a configuration's similarity, with dense rows of the `popular` most popular items.

    None if `stop`, uint8[1], was set.
    """
    weighting = weigh(config, snapshot.item_ptr, snapshot.item_users, snapshot.item_weights, snapshot.user_ptr)
    by_user, by_item = (snapshot.user_ptr, snapshot.user_items), (snapshot.item_ptr, snapshot.item_users)
    return counting_of(weighting, *by_item, *by_user, popular, config.neighbours, stop=stop)


def counting_of(
    weighting: Weighting,
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    popular: int,
    neighbours: int,
    *,
    stop: NDArray[np.uint8],
) -> Counting | None:
    """A layout with all floors at zero. None if `stop`, uint8[1], was set."""
    weights = weighting.item_weights
    ranked = rank(item_ptr, item_users, weights if weights.size else None, user_ptr, popular, stop=stop)
    if ranked is None:
        return None
    sparse = lay_out_sparse(item_ptr, item_users, weights, user_ptr, user_items, ranked.order)
    return Counting(ranked, sparse, weighting, np.zeros(popular, np.float32), neighbours)


def build_tiles(counting: Counting, first: int, last: int, tile_bytes: int, stop: NDArray[np.uint8]) -> Tile | None:
    """The tile of the rows first..last-1: dense ones with more popular items, sparse ones with all items.

    None if `stop`, uint8[1], was set. Tiles of dense and of sparse rows take at most `tile_bytes` each, while they are
    computed; items that are counted as bits may take as much again.
    """
    _, sparse, weighting, floors, neighbours = counting
    border, found = min(max(first, floors.size), last), []
    if first < border:
        dense = _build_dense(counting, first, border, tile_bytes, stop)
        if dense is None:
            return None
        found.append(dense)
    if border < last:
        places, limits = (border, last), {"neighbours": neighbours, "most_bytes": tile_bytes}
        rows = build_rows(sparse, weighting, floors, *places, **limits, stop=stop)
        if rows is None:
            return None
        found += rows
    if len(found) == 1:
        return found[0]
    return Tile(*(np.concatenate(arrays) for arrays in zip(*found, strict=True))) if found else Tile(*_NOTHING)


def _build_dense(counting: Counting, first: int, last: int, tile_bytes: int, stop: NDArray[np.uint8]) -> Tile | None:
    """The tile of the ranks first..last-1 with all more popular items. None if `stop`, uint8[1], was set.

    It is computed in narrower tiles of at most `tile_bytes`. Items that are counted as bits may take as much again.
    """
    ranked, sparse, weighting, floors, neighbours = counting
    entries = min(SPARE * neighbours, last - first)
    width = max(1, tile_bytes // (BYTES_PER_ENTRY * entries + BYTES_PER_COLUMN))
    found, most = [], tile_bytes
    for low, high in pairwise([*range(0, last, width), last]):
        span = first, last, low, high
        tile = build_tile(ranked, weighting, floors, *span, neighbours=neighbours, bit_bytes=tile_bytes, stop=stop)
        if tile is None:
            return None
        found.append(tile)
        # Each tile has a list for each row: merge them now and then to bound memory.
        if len(found) > 1 and (high == last or _bytes(found) > most):
            best = _best(found, sparse.order.size, neighbours, stop)
            if best is None:
                return None
            found, most = [best], tile_bytes + 2 * _bytes([best])
    return found[0]


def _bytes(tiles: Sequence[Tile]) -> int:
    return sum(array.nbytes for tile in tiles for array in tile)


def _best(tiles: Sequence[Tile], items: int, neighbours: int, stop: NDArray[np.uint8]) -> Tile | None:
    """Merge tiles into one with the best entries of each item. None if stopped."""
    matrix = join_tiles(tiles, items, neighbours, stop=stop)
    if matrix is None:
        return None
    counts = np.diff(matrix.row_ptr).astype(np.uint32)
    owners = np.flatnonzero(counts).astype(np.uint32)
    return Tile(owners, counts[owners], matrix.row_items, matrix.row_values)


_NOTHING = (np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32))
