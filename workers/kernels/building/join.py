"""Joins tiles into a model: gathers the entries of each item from all tiles and keeps the best K."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.building.build import Tile
from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_INT64,
    WRITE_UINT32,
    WRITE_UINT64,
    Index,
    compiled,
)
from reckoner.workers.kernels.ranking import DIGITS, key_of, sort_by_digits, value_of
from reckoner.workers.kernels.selection import select_best

ZERO, ONE = np.uint64(0), np.uint64(1)
# The stop flag is checked after this many items, a few milliseconds.
ITEMS_AT_ONCE = 500


class Matrix(NamedTuple):
    """A whole model in CSR: row_ptr int64[I + 1], row_items uint32 ascending in each row, row_values float32."""

    row_ptr: NDArray[np.int64]
    row_items: NDArray[np.uint32]
    row_values: NDArray[np.float32]


def join_tiles(tiles: Sequence[Tile], item_count: int, neighbours: int, *, stop: NDArray[np.uint8]) -> Matrix | None:
    """Join the tiles of all pairs, in any order, into a model. None if `stop`, uint8[1], was set.

    Raises:
        ValueError: a tile's arrays do not fit together, or it names items outside `item_count`.
    """
    held, lists = np.zeros(item_count, np.int64), []
    firsts = np.arange(0, item_count, ITEMS_AT_ONCE)
    for tile in tiles:
        if stop[0]:
            return None
        entries = tile.counts.sum(dtype=np.int64)
        if tile.owners.size != tile.counts.size or not tile.items.size == tile.values.size == entries:
            raise ValueError("a tile's arrays do not match its counts")
        if any((named >= item_count).any() for named in (tile.owners, tile.items)):
            raise ValueError(f"a tile names items outside the {item_count} items")
        order = np.argsort(tile.owners, kind="stable")
        owners, begins = tile.owners[order], np.cumsum(tile.counts, dtype=np.int64) - tile.counts
        bounds = [*np.searchsorted(owners, firsts).tolist(), owners.size]
        lists.append((bounds, (owners, begins[order], tile.counts[order], tile.items, tile.values)))
        held += np.bincount(tile.owners, tile.counts, item_count).astype(np.int64)
    row_ptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.minimum(held, neighbours))))
    items, values = np.empty(row_ptr[-1], np.uint32), np.empty(row_ptr[-1], np.float32)
    for n, first in enumerate(firsts.tolist()):
        if stop[0]:
            return None
        last = min(first + ITEMS_AT_ONCE, item_count)
        ends = np.cumsum(held[first:last])
        keys, filled = np.empty(ends[-1], np.uint64), ends - held[first:last]
        for bounds, of_tile in lists:
            _gather(*of_tile, bounds[n], bounds[n + 1], first, filled, keys)
        _keep_best(keys, filled, held, first, neighbours, item_count, row_ptr, items, values)
    return Matrix(row_ptr, items, values)


@compiled(
    types.void(
        *(READ_UINT32, READ_INT64, READ_UINT32, READ_UINT32, READ_FLOAT32),
        *(types.uint64, types.uint64, types.uint64, WRITE_INT64, WRITE_UINT64),
    )
)
def _gather(
    owners: NDArray[np.uint32],
    begins: NDArray[np.int64],
    counts: NDArray[np.uint32],
    tile_items: NDArray[np.uint32],
    tile_values: NDArray[np.float32],
    first_list: Index,
    last_list: Index,
    first: Index,
    filled: NDArray[np.int64],
    keys: NDArray[np.uint64],
) -> None:
    """Append the lists first_list..last_list-1 of a tile to the keys of their owners, from the item `first` on."""
    for entry in range(first_list, last_list):
        begin, owner = np.uint64(begins[entry]), np.uint64(owners[entry]) - first
        to = np.uint64(filled[owner])
        for at in range(begin, begin + np.uint64(counts[entry])):
            keys[to] = key_of(tile_values[at], tile_items[at])
            to += ONE
        filled[owner] = to


@compiled(
    types.void(
        *(WRITE_UINT64, READ_INT64, READ_INT64, types.uint64, types.uint64, types.uint64),
        *(READ_INT64, WRITE_UINT32, WRITE_FLOAT32),
    ),
    allocates=True,
)
def _keep_best(
    keys: NDArray[np.uint64],
    ends: NDArray[np.int64],
    held: NDArray[np.int64],
    first: Index,
    neighbours: Index,
    item_count: Index,
    row_ptr: NDArray[np.int64],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Write the rows from the item `first` on: the best keys of each, sorted by item."""
    bits = ZERO
    while item_count >> bits > ZERO:
        bits += ONE
    scratch, counts = np.empty(keys.size, np.uint64), np.empty(DIGITS, np.int64)
    for n in range(np.uint64(ends.size)):
        size = np.uint64(held[first + n])
        begin, to = np.uint64(ends[n]) - size, np.uint64(row_ptr[first + n])
        size = select_best(keys, begin, size, neighbours)
        sort_by_digits(keys, begin, begin + size, ZERO, bits, scratch, counts)
        for at in range(begin, begin + size):
            items[to], values[to] = keys[at], value_of(keys[at])
            to += ONE
