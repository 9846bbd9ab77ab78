"""Joins lists of targets into a model: a value that says how an item explains a target goes into the item's row."""

from collections.abc import Sequence

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.building.build import Tile
from reckoner.workers.kernels.building.join import Matrix, check
from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_INT64,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_INT64,
    WRITE_UINT32,
    compiled,
)

ONE = np.uint64(1)


def transpose(tiles: Sequence[Tile], item_count: int, *, stop: NDArray[np.uint8]) -> Matrix | None:
    """Join tiles with a list for each target, in any order, into a model. None if `stop`, uint8[1], was set.

    Raises:
        ValueError: a tile's arrays do not fit together, or it names items outside `item_count`.
    """
    if stop[0]:
        return None
    held = np.zeros(item_count, np.int64)
    for tile in tiles:
        check(tile, item_count)
        held += np.bincount(tile.items, minlength=item_count)
    row_ptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(held)))
    items, values, filled = np.empty(row_ptr[-1], np.uint32), np.empty(row_ptr[-1], np.float32), row_ptr[:-1].copy()
    owners, counts, entries, entry_values = (np.concatenate(arrays) for arrays in zip(*tiles, strict=True))
    begins = np.cumsum(counts, dtype=np.int64) - counts
    # Targets ascend, so each row does.
    order = np.argsort(owners, kind="stable")
    _scatter(owners[order], begins[order], counts[order], entries, entry_values, filled, items, values)
    return Matrix(row_ptr, items, values)


@compiled(
    types.void(
        *(READ_UINT32, READ_INT64, READ_UINT32, READ_UINT32, READ_FLOAT32),
        *(WRITE_INT64, WRITE_UINT32, WRITE_FLOAT32),
    )
)
def _scatter(
    owners: NDArray[np.uint32],
    begins: NDArray[np.int64],
    counts: NDArray[np.uint32],
    entries: NDArray[np.uint32],
    entry_values: NDArray[np.float32],
    filled: NDArray[np.int64],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    """Append each list's owner to the rows of its entries; `filled` int64[I] is where each row goes on."""
    for n in range(owners.size):
        begin = np.uint64(begins[n])
        for at in range(begin, begin + np.uint64(counts[n])):
            row = np.uint64(entries[at])
            to = np.uint64(filled[row])
            items[to], values[to], filled[row] = owners[n], entry_values[at], to + ONE
