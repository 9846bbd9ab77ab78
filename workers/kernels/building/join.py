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
    WRITE_UINT8,
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
    if stop[0]:
        return None
    held = np.zeros(item_count, np.int64)
    for tile in tiles:
        check(tile, item_count)
        _add_counts(tile.owners, tile.counts, held)
    row_ptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(np.minimum(held, neighbours))))
    items, values = np.empty(row_ptr[-1], np.uint32), np.empty(row_ptr[-1], np.float32)
    cut = []
    for tile in tiles:
        if stop[0]:
            return None
        begins, is_whole = np.cumsum(tile.counts, dtype=np.int64) - tile.counts, np.zeros(tile.owners.size, np.uint8)
        _copy_whole(*tile, begins, held, neighbours, row_ptr, items, values, is_whole)
        rest = np.flatnonzero(is_whole == 0)
        cut.append((tile, rest, begins[rest]))
    # The items that are left, and the place of each among these.
    left = np.flatnonzero(held)
    places, held, row_begins = np.cumsum(held > 0) - 1, held[left], row_ptr[left]
    firsts = np.arange(0, left.size, ITEMS_AT_ONCE)
    lists = [_by_owner(tile, rest, begins, places, firsts) for tile, rest, begins in cut]
    for n, first in enumerate(firsts.tolist()):
        if stop[0]:
            return None
        sizes = held[first : first + ITEMS_AT_ONCE]
        ends = np.cumsum(sizes)
        keys, filled = np.empty(ends[-1], np.uint64), ends - sizes
        for bounds, of_tile in lists:
            _gather(*of_tile, bounds[n], bounds[n + 1], first, filled, keys)
        _keep_best(
            keys, filled, sizes, neighbours, item_count, row_begins[first : first + ITEMS_AT_ONCE], items, values
        )
    return Matrix(row_ptr, items, values)


def check(tile: Tile, item_count: int) -> None:
    """Raise ValueError if a tile's arrays do not fit together, or name other items."""
    entries = tile.counts.sum(dtype=np.int64)
    if tile.owners.size != tile.counts.size or not tile.items.size == tile.values.size == entries:
        raise ValueError("a tile's arrays do not match its counts")
    if any(named.size and named.max() >= item_count for named in (tile.owners, tile.items)):
        raise ValueError(f"a tile names items outside the {item_count} items")


Lists = tuple[NDArray[np.uint32], NDArray[np.int64], NDArray[np.uint32], NDArray[np.uint32], NDArray[np.float32]]


def _by_owner(
    tile: Tile, rest: NDArray[np.int64], begins: NDArray[np.int64], places: NDArray[np.int64], firsts: NDArray[np.int64]
) -> tuple[list[int], Lists]:
    """The lists `rest` of a tile by the place of their owner, and the bounds of those from each of `firsts` on."""
    owners, counts = places[tile.owners[rest]].astype(np.uint32), tile.counts[rest]
    order = np.argsort(owners, kind="stable")
    bounds = [*np.searchsorted(owners[order], firsts).tolist(), owners.size]
    return bounds, (owners[order], begins[order], counts[order], tile.items, tile.values)


@compiled(types.void(READ_UINT32, READ_UINT32, WRITE_INT64))
def _add_counts(owners: NDArray[np.uint32], counts: NDArray[np.uint32], held: NDArray[np.int64]) -> None:
    """Count the entries of each item."""
    for entry in range(owners.size):
        held[np.uint64(owners[entry])] += np.int64(counts[entry])


@compiled(
    types.void(
        *(READ_UINT32, READ_UINT32, READ_UINT32, READ_FLOAT32, READ_INT64, WRITE_INT64, types.uint64),
        *(READ_INT64, WRITE_UINT32, WRITE_FLOAT32, WRITE_UINT8),
    )
)
def _copy_whole(
    owners: NDArray[np.uint32],
    counts: NDArray[np.uint32],
    tile_items: NDArray[np.uint32],
    tile_values: NDArray[np.float32],
    begins: NDArray[np.int64],
    held: NDArray[np.int64],
    neighbours: Index,
    row_ptr: NDArray[np.int64],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
    is_whole: NDArray[np.uint8],
) -> None:
    """Copy the lists that are whole rows: of all entries of an item, at most K, sorted by item.

    Their items hold no entries any more.
    """
    for entry in range(owners.size):
        owner, size, begin = np.uint64(owners[entry]), np.uint64(counts[entry]), np.uint64(begins[entry])
        whole = size == ZERO or (size == np.uint64(held[owner]) and size <= neighbours)
        if whole:
            for n in range(ONE, size):
                whole &= tile_items[begin + n - ONE] < tile_items[begin + n]
        is_whole[entry] = whole
        if whole and size > ZERO:
            to, held[owner] = np.uint64(row_ptr[owner]), 0
            for n in range(size):
                items[to + n], values[to + n] = tile_items[begin + n], tile_values[begin + n]


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
    """Append the lists first_list..last_list-1 of a tile to the keys of their owners, from the owner `first` on."""
    for entry in range(first_list, last_list):
        begin, owner = np.uint64(begins[entry]), np.uint64(owners[entry]) - first
        to = np.uint64(filled[owner])
        for at in range(begin, begin + np.uint64(counts[entry])):
            keys[to] = key_of(tile_values[at], tile_items[at])
            to += ONE
        filled[owner] = to


@compiled(
    types.void(
        *(WRITE_UINT64, READ_INT64, READ_INT64, types.uint64, types.uint64),
        *(READ_INT64, WRITE_UINT32, WRITE_FLOAT32),
    ),
    allocates=True,
)
def _keep_best(
    keys: NDArray[np.uint64],
    ends: NDArray[np.int64],
    sizes: NDArray[np.int64],
    neighbours: Index,
    item_count: Index,
    row_begins: NDArray[np.int64],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Write rows: the best of the `sizes` keys that end at `ends`, sorted by item, to places from `row_begins` on."""
    bits = ZERO
    while item_count >> bits > ZERO:
        bits += ONE
    scratch, counts = np.empty(keys.size, np.uint64), np.empty(DIGITS, np.int64)
    for n in range(np.uint64(ends.size)):
        size = np.uint64(sizes[n])
        begin, to = np.uint64(ends[n]) - size, np.uint64(row_begins[n])
        size = select_best(keys, begin, size, neighbours)
        sort_by_digits(keys, begin, begin + size, ZERO, bits, scratch, counts)
        for at in range(begin, begin + size):
            items[to], values[to] = keys[at], value_of(keys[at])
            to += ONE
