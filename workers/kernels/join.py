"""Joins tiles into a model: of all that they have found for an item, the best K."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.build import Tile
from workers.kernels.compiled import (
    READ_FLOAT32,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_INT64,
    WRITE_UINT32,
    compiled,
)
from workers.kernels.ranking import select_best

# After so many rows it is looked at the stop flag: some milliseconds.
ROWS_AT_ONCE = 500


class Matrix(NamedTuple):
    """A whole model in CSR: row_ptr int64[I + 1], row_items uint32 ascending in each row, row_values float32."""

    row_ptr: NDArray[np.int64]
    row_items: NDArray[np.uint32]
    row_values: NDArray[np.float32]


def join_tiles(tiles: Sequence[Tile], item_count: int, neighbours: int, *, stop: NDArray[np.uint8]) -> Matrix | None:
    """The model of `item_count` items out of the tiles of all their pairs, in any order; None if `stop` was set.

    Raises ValueError for a tile that does not hold as much as it counts, or is of other items.
    """
    ends = np.zeros(item_count + 1, np.int64)
    for tile in tiles:
        held = tile.counts.sum(dtype=np.int64)
        if tile.owners.size != tile.counts.size or not tile.items.size == tile.values.size == held:
            raise ValueError("a tile does not hold as much as it counts")
        if max(tile.owners.max(initial=0), tile.items.max(initial=0)) >= max(item_count, 1):
            raise ValueError(f"a tile is not of these {item_count} items")
        ends[1:] += np.bincount(tile.owners, tile.counts, minlength=item_count).astype(np.int64)
    np.cumsum(ends, out=ends)
    items, values = np.empty(ends[-1], np.uint32), np.empty(ends[-1], np.float32)
    filled = ends[:-1].copy()
    for tile in tiles:
        if stop[0]:
            return None
        _put(tile.owners, tile.counts, tile.items, tile.values, filled, items, values)
    row_ptr = np.zeros_like(ends)
    for first in range(0, item_count, ROWS_AT_ONCE):
        if stop[0]:
            return None
        _finish(ends, first, min(first + ROWS_AT_ONCE, item_count), neighbours, row_ptr, items, values)
    # Copies, so that the unused rest of the arrays is not kept alive.
    return Matrix(row_ptr, items[: row_ptr[-1]].copy(), values[: row_ptr[-1]].copy())


@compiled(types.void(READ_UINT32, READ_UINT32, READ_UINT32, READ_FLOAT32, WRITE_INT64, WRITE_UINT32, WRITE_FLOAT32))
def _put(
    owners: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    tile_items: NDArray[np.uint32],
    tile_values: NDArray[np.float32],
    filled: NDArray[np.int64],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Append the lists of a tile to those of their owners."""
    at = 0
    for entry in range(owners.size):
        to = filled[owners[entry]]
        for n in range(counts[entry]):
            items[to + n], values[to + n] = tile_items[at + n], tile_values[at + n]
        at += counts[entry]
        filled[owners[entry]] = to + counts[entry]


@compiled(types.void(WRITE_UINT32, WRITE_FLOAT32, types.int64, types.int64, types.int64))
def _sink(items: NDArray[np.uint32], values: NDArray[np.float32], base: int, at: int, size: int) -> None:
    """Let the entry at `at` sink in a heap of `size` entries, whose root is the largest item."""
    while 2 * at + 1 < size:
        largest = 2 * at + 1
        if largest + 1 < size and items[base + largest + 1] > items[base + largest]:
            largest += 1
        a, b = base + at, base + largest
        if items[b] <= items[a]:
            return
        values[a], values[b] = values[b], values[a]
        items[a], items[b] = items[b], items[a]
        at = largest


@compiled(types.void(WRITE_INT64, types.int64, types.int64, types.int64, WRITE_INT64, WRITE_UINT32, WRITE_FLOAT32))
def _finish(
    ends: NDArray[np.int64],
    first: int,
    last: int,
    neighbours: int,
    row_ptr: NDArray[np.int64],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Keep the best of the rows first..last-1, sort them by item, and move them up to those before."""
    for row in range(first, last):
        base = ends[row]
        size = select_best(values, items, base, ends[row + 1] - base, neighbours)
        for start in range(size // 2 - 1, -1, -1):
            _sink(items, values, base, start, size)
        for end in range(size - 1, 0, -1):
            values[base], values[base + end] = values[base + end], values[base]
            items[base], items[base + end] = items[base + end], items[base]
            _sink(items, values, base, 0, end)
        to = row_ptr[row]
        for n in range(size):
            items[to + n], values[to + n] = items[base + n], values[base + n]
        row_ptr[row + 1] = to + size
