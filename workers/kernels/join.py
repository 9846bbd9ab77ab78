"""Joins tiles into a model: of all that they have found for an item, the best K."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from workers.kernels.build import Tile
from workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_INT64,
    WRITE_UINT32,
    compiled,
)
from workers.kernels.ranking import nth_largest

# After so many items it is looked at the stop flag: some milliseconds.
ITEMS_AT_ONCE = 500


class Matrix(NamedTuple):
    """A whole model in CSR: row_ptr int64[I + 1], row_items uint32 ascending in each row, row_values float32."""

    row_ptr: NDArray[np.int64]
    row_items: NDArray[np.uint32]
    row_values: NDArray[np.float32]


def join_tiles(tiles: Sequence[Tile], item_count: int, neighbours: int, *, stop: NDArray[np.uint8]) -> Matrix | None:
    """The model of `item_count` items out of the tiles of all their pairs, in any order; None if `stop` was set.

    What stands in a row is gathered by the item that it names, and then by the row: so each row is sorted.

    Raises ValueError for a tile that does not hold as much as it counts, or is of other items.
    """
    row_ends, item_ends = np.zeros(item_count + 1, np.int64), np.zeros(item_count + 1, np.int64)
    for tile in tiles:
        held = tile.counts.sum(dtype=np.int64)
        if tile.owners.size != tile.counts.size or not tile.items.size == tile.values.size == held:
            raise ValueError("a tile does not hold as much as it counts")
        if any((named >= item_count).any() for named in (tile.owners, tile.items)):
            raise ValueError(f"a tile is not of these {item_count} items")
        _count(tile.owners, tile.counts, tile.items, row_ends, item_ends)
    np.cumsum(row_ends, out=row_ends)
    np.cumsum(item_ends, out=item_ends)
    by_item, by_row = np.empty(2 * item_ends[-1], np.uint32), np.empty(2 * item_ends[-1], np.uint32)
    filled = item_ends[:-1].copy()
    for tile in tiles:
        if stop[0]:
            return None
        _put_by_item(*tile, filled, by_item, by_item.view(np.float32))
    filled = row_ends[:-1].copy()
    ranges = [(first, min(first + ITEMS_AT_ONCE, item_count)) for first in range(0, item_count, ITEMS_AT_ONCE)]
    for first, last in ranges:
        if stop[0]:
            return None
        _put_by_row(item_ends, first, last, by_item, filled, by_row)
    row_ptr, items, values = np.zeros_like(row_ends), np.empty(row_ends[-1], np.uint32), by_item.view(np.float32)
    for first, last in ranges:
        if stop[0]:
            return None
        _keep_best(row_ends, first, last, neighbours, by_row, by_row.view(np.float32), row_ptr, items, values)
    # Copies, so that the unused rest of the arrays is not kept alive.
    return Matrix(row_ptr, items[: row_ptr[-1]].copy(), values[: row_ptr[-1]].copy())


@compiled(types.void(READ_UINT32, READ_UINT32, READ_UINT32, WRITE_INT64, WRITE_INT64))
def _count(
    owners: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    items: NDArray[np.uint32],
    row_ends: NDArray[np.int64],
    item_ends: NDArray[np.int64],
) -> None:
    """Count what a tile has for each row, and of each item, one place further on."""
    for entry in range(owners.size):
        row_ends[np.int64(owners[entry]) + 1] += counts[entry]
    for entry in range(items.size):
        item_ends[np.int64(items[entry]) + 1] += 1


@compiled(types.void(READ_UINT32, READ_UINT32, READ_UINT32, READ_FLOAT32, WRITE_INT64, WRITE_UINT32, WRITE_FLOAT32))
def _put_by_item(
    tile_owners: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    tile_items: NDArray[np.uint32],
    tile_values: NDArray[np.float32],
    filled: NDArray[np.int64],
    owners: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Append what a tile holds to what there is of each item: whose it is, and its value beside that."""
    begin = 0
    for entry in range(tile_owners.size):
        end = begin + counts[entry]
        for at in range(begin, end):
            to = filled[tile_items[at]]
            owners[2 * to], values[2 * to + 1] = tile_owners[entry], tile_values[at]
            filled[tile_items[at]] = to + 1
        begin = end


@compiled(types.void(READ_INT64, types.int64, types.int64, READ_UINT32, WRITE_INT64, WRITE_UINT32))
def _put_by_row(
    item_ends: NDArray[np.int64],
    first: int,
    last: int,
    by_item: NDArray[np.uint32],
    filled: NDArray[np.int64],
    by_row: NDArray[np.uint32],
) -> None:
    """Append the items first..last-1 to the rows that hold them, with their values."""
    for item in range(first, last):
        for at in range(item_ends[item], item_ends[item + 1]):
            row = by_item[2 * at]
            to = filled[row]
            by_row[2 * to], by_row[2 * to + 1] = item, by_item[2 * at + 1]
            filled[row] = to + 1


@compiled(
    types.void(
        *(READ_INT64, types.int64, types.int64, types.int64, READ_UINT32, READ_FLOAT32),
        *(WRITE_INT64, WRITE_UINT32, WRITE_FLOAT32),
    ),
    allocates=True,
)
def _keep_best(
    row_ends: NDArray[np.int64],
    first: int,
    last: int,
    neighbours: int,
    row_items: NDArray[np.uint32],
    row_values: NDArray[np.float32],
    row_ptr: NDArray[np.int64],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Append the best of the rows first..last-1 to those of the rows before."""
    for row in range(first, last):
        begin, end, to = row_ends[row], row_ends[row + 1], row_ptr[row]
        floor, ties = 0.0, end - begin
        if end - begin > neighbours:
            floor = nth_largest(row_values[2 * begin + 1 : 2 * end + 1 : 2].copy(), end - begin, neighbours)
            ties = neighbours
            for at in range(begin, end):
                ties -= row_values[2 * at + 1] > floor
        for at in range(begin, end):
            value = row_values[2 * at + 1]
            # At a tied last place stand those that come first, as they are sorted.
            if value > floor or (value == floor and ties > 0):
                ties -= value == floor
                items[to], values[to] = row_items[2 * at], value
                to += 1
        row_ptr[row + 1] = to
