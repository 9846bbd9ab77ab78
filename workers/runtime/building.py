"""Builds models: lays a snapshot out, and computes tiles, each in one thread.

To compile what it stands on takes seconds where that was never done; so it is imported when the first fit is asked for.
"""

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
from reckoner.workers.kernels.building.similarity import Weighting, weigh

__all__ = ["Counting", "Matrix", "Tile", "build_tiles", "counting_of", "join_tiles", "lay_out"]

# What a tile holds of each column: a list of an item and a value a place, and beside it sums, values and floors.
BYTES_PER_PLACE, BYTES_PER_COLUMN = 8, 40


class Counting(NamedTuple):
    """What the tiles of a model are built from, and what is learned on the way.

    `floors` float32[I] has for each rank what a similarity must have at least to be among the item's best: the K-th
    best of one of the tiles that were built from this. What is below that cannot be among the best of all tiles. They
    are those of one K, `neighbours`.
    """

    ranked: Ranked
    weighting: Weighting
    floors: NDArray[np.float32]
    neighbours: int


def lay_out(snapshot: Snapshot, config: ModelConfig, stop: NDArray[np.uint8]) -> Counting | None:
    """A snapshot laid out for the similarity of a configuration; None if `stop`, uint8[1], was set meanwhile."""
    weighting = weigh(config, snapshot.item_ptr, snapshot.item_users, snapshot.item_weights, snapshot.user_ptr)
    weights = weighting.item_weights if weighting.item_weights.size else None
    ranked = rank(snapshot.item_ptr, snapshot.item_users, weights, snapshot.user_ptr, stop=stop)
    return None if ranked is None else counting_of(ranked, weighting, config.neighbours)


def counting_of(ranked: Ranked, weighting: Weighting, neighbours: int) -> Counting:
    """What is laid out, and nothing learned yet."""
    return Counting(ranked, weighting, np.zeros(ranked.order.size, np.float32), neighbours)


def build_tiles(counting: Counting, first: int, last: int, tile_bytes: int, stop: NDArray[np.uint8]) -> Tile | None:
    """What the pairs of the ranks first..last-1 with more popular items bring; None if `stop` was set meanwhile.

    The columns are taken in as many tiles, one after the other, as it needs for none to have more than so many bytes;
    items that are counted as bits may take as many again.
    """
    ranked, weighting, floors, neighbours = counting
    places = min(SPARE * neighbours, last - first)
    width = max(1, tile_bytes // (BYTES_PER_PLACE * places + BYTES_PER_COLUMN))
    found, most = [], tile_bytes
    for low, high in pairwise([*range(0, last, width), last]):
        span = first, last, low, high
        tile = build_tile(ranked, weighting, floors, *span, neighbours=neighbours, bit_bytes=tile_bytes, stop=stop)
        if tile is None:
            return None
        found.append(tile)
        # Each tile has a list for each row: of many only the best are kept, or narrow tiles would need more memory.
        if len(found) > 1 and (high == last or _bytes(found) > most):
            best = _best(found, ranked.order.size, neighbours, stop)
            if best is None:
                return None
            found, most = [best], tile_bytes + 2 * _bytes([best])
    return found[0] if found else Tile(*_NOTHING)


def _bytes(tiles: Sequence[Tile]) -> int:
    return sum(array.nbytes for tile in tiles for array in tile)


def _best(tiles: Sequence[Tile], items: int, neighbours: int, stop: NDArray[np.uint8]) -> Tile | None:
    """One tile with the best of all lists that some tiles have for an item; None if stopped."""
    matrix = join_tiles(tiles, items, neighbours, stop=stop)
    if matrix is None:
        return None
    counts = np.diff(matrix.row_ptr).astype(np.uint32)
    owners = np.flatnonzero(counts).astype(np.uint32)
    return Tile(owners, counts[owners], matrix.row_items, matrix.row_values)


_NOTHING = (np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.uint32), np.empty(0, np.float32))
