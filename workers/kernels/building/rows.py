"""Builds whole rows of items that share users with few others: their cost is the pairs that exist.

For each user of an item, each item of the user adds to its sum, and is listed when it is met first. Only listed sums
are read and cleared (Gustavson, "Two Fast Algorithms for Sparse Matrices", ACM TOMS 4(3), 1978). Pairs of two such
items are met from both sides, so these rows are complete. A pair with a popular item is offered to its list too.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numpy.typing import NDArray

from reckoner.workers.kernels.building.build import Tile
from reckoner.workers.kernels.building.keep import BLOCK
from reckoner.workers.kernels.building.offers import Offers, offer, prune
from reckoner.workers.kernels.building.similarity import FORMULA, Formula, Weighting, round_similarities
from reckoner.workers.kernels.building.sparse import SPARSE, Sparse
from reckoner.workers.kernels.building.work import MOST_USERS
from reckoner.workers.kernels.compiled import (
    READ_FLOAT32,
    READ_FLOAT64,
    READ_INT64,
    READ_UINT8,
    READ_UINT32,
    WRITE_FLOAT32,
    WRITE_FLOAT64,
    WRITE_INT64,
    WRITE_UINT16,
    WRITE_UINT32,
    WRITE_UINT64,
    Index,
    compiled,
)
from reckoner.workers.kernels.processor import prefetch
from reckoner.workers.kernels.ranking import DIGITS, key_of, sort_by_digits, value_of
from reckoner.workers.kernels.selection import select_best

ZERO, ONE, NONE = np.uint64(0), np.uint64(1), np.float32(0.0)
LOWER = np.uint64(0xFFFFFFFF)
# So many entries are sorted by comparing each with all.
FEW = np.uint64(64)
# Each key of a value above zero is smaller.
NOTHING = np.uint64(0xFFFFFFFF00000000)
# A row gathers this many times K entries before it is pruned to K.
SPARE = np.uint64(2)
# The pointers of a user, and the user's items, are prefetched this many users ahead.
FAR, NEAR, LINE = np.uint64(24), np.uint64(12), np.uint64(16)
BYTES_PER_OFFER, BYTES_PER_ENTRY = 24, 8


class Scratch(NamedTuple):
    """The sums of a row by item, zeroed; its items as they are met; and its entries.

    `counts` uint16[I], or `weighed` float64[I] for sums of factors or products; the other one is empty.
    """

    counts: NDArray[np.uint16]
    weighed: NDArray[np.float64]
    met: NDArray[np.uint32]
    keys: NDArray[np.uint64]
    sorting: NDArray[np.uint64]
    digits: NDArray[np.int64]


SCRATCH = types.NamedTuple(
    [WRITE_UINT16, WRITE_FLOAT64, WRITE_UINT32, WRITE_UINT64, WRITE_UINT64, WRITE_INT64], Scratch
)


@compiled(types.void(SPARSE, types.uint64), inner=True)
def _fetch(of: Sparse, at: Index) -> None:
    """Prefetch what the users after `at` will need, also those of the next items: most have few users."""
    if at + FAR < np.uint64(of.item_users.size):
        prefetch(of.user_ptr, np.uint64(of.item_users[at + FAR]))
        user = np.uint64(of.item_users[at + NEAR])
        for line in range(np.uint64(of.user_ptr[user]), np.uint64(of.user_ptr[user + ONE]), LINE):
            prefetch(of.user_items, line)


@compiled(types.uint64(SPARSE, types.uint64, types.uint64, READ_FLOAT32, SCRATCH, READ_UINT8), inner=True)
def _sum_up(
    of: Sparse,
    begin: Index,
    end: Index,
    user_factors: NDArray[np.float32],
    scratch: Scratch,
    stop: NDArray[np.uint8],
) -> Index:
    """Sum over the users at begin..end-1 for each of their items. Returns how many items were met.

    Each user counts as one, or adds its factor, or the product of both weights, in float64 and in user order.
    """
    met, counts, sums, size = scratch.met, scratch.counts, scratch.weighed, ZERO
    is_counted, is_factor = counts.size > 0, user_factors.size > 0
    for at in range(begin, end):
        if stop[0]:
            break
        _fetch(of, at)
        user = np.uint64(of.item_users[at])
        first, last = np.uint64(of.user_ptr[user]), np.uint64(of.user_ptr[user + ONE])
        if is_counted:
            for n in range(first, last):
                item = np.uint64(of.user_items[n])
                met[size] = item
                size += np.uint64(counts[item] == 0)
                counts[item] += 1
        else:
            weight = np.float64(user_factors[user]) if is_factor else np.float64(of.item_weights[at])
            for n in range(first, last):
                item = np.uint64(of.user_items[n])
                # A product of two float32 is exact in float64, so it is the same from both sides.
                added = weight if is_factor else weight * np.float64(of.user_weights[n])
                met[size] = item
                # What adds nothing is not listed: it would be listed again.
                size += np.uint64((sums[item] == 0.0) & (added != 0.0))
                sums[item] += added
    return size


@compiled(types.void(SCRATCH, types.uint64, types.uint64, READ_FLOAT64, WRITE_FLOAT64), inner=True)
def _put_terms(scratch: Scratch, at: Index, n: Index, terms: NDArray[np.float64], ys: NDArray[np.float64]) -> None:
    """Copy the terms of n met items from `at` on."""
    for k in range(n):
        ys[k] = terms[np.uint64(scratch.met[at + k])]


@compiled(types.void(SCRATCH, types.uint64, types.uint64, READ_FLOAT64, WRITE_FLOAT64, WRITE_FLOAT64), inner=True)
def _take(
    scratch: Scratch,
    at: Index,
    n: Index,
    terms: NDArray[np.float64],
    dots: NDArray[np.float64],
    ys: NDArray[np.float64],
) -> None:
    """Move the sums of n met items from `at` on into `dots`, leaving zeros, and their terms into `ys`."""
    met, counts, weighed = scratch.met, scratch.counts, scratch.weighed
    if counts.size > 0:
        for k in range(n):
            item = np.uint64(met[at + k])
            dots[k], counts[item] = counts[item], 0
            ys[k] = terms[item]
    else:
        for k in range(n):
            item = np.uint64(met[at + k])
            dots[k], weighed[item] = weighed[item], 0.0
            ys[k] = terms[item]


@compiled(
    types.UniTuple(types.uint64, 2)(
        *(SCRATCH, types.uint64, types.uint64, READ_FLOAT32, types.uint64),
        *(types.uint64, types.uint64, types.uint64),
    ),
    inner=True,
)
def _gather(
    scratch: Scratch,
    at: Index,
    n: Index,
    values: NDArray[np.float32],
    item: Index,
    longest: Index,
    found: Index,
    bound: Index,
) -> tuple[Index, Index]:
    """Gather the keys of n met items from `at` on, but the row's own, below `bound`.

    Returns the number of gathered keys, and a bound of those that can be among the best `longest`.
    """
    met, keys = scratch.met, scratch.keys
    for k in range(n):
        key = key_of(values[k], met[at + k])
        keys[found] = key
        found += np.uint64((values[k] > NONE) & (key < bound) & (met[at + k] != item))
    if found >= SPARE * longest:
        found = select_best(keys, ZERO, found, longest)
        bound = keys[ZERO]
        for k in range(found):
            bound = max(bound, keys[k])
    return found, bound


@compiled(types.uint64(SCRATCH, types.uint64, types.uint64, WRITE_UINT32, WRITE_FLOAT32), inner=True)
def _write(
    scratch: Scratch, size: Index, entries: Index, items: NDArray[np.uint32], values: NDArray[np.float32]
) -> Index:
    """Write the entries of `size` keys, by item. Returns the number of all entries."""
    keys, found = scratch.keys, scratch.met
    if size <= FEW:
        for n in range(size):
            found[n] = keys[n] & LOWER
        for n in range(size):
            # Without a branch, comparing each with all is faster than any sort.
            place, item = np.uint32(0), found[n]
            for other in range(size):
                place += np.uint32(found[other] < item)
            items[entries + np.uint64(place)], values[entries + np.uint64(place)] = item, value_of(keys[n])
        return entries + size
    high, greatest = ZERO, np.uint64(found.size)
    while greatest >> high > ZERO:
        high += ONE
    sort_by_digits(keys, ZERO, size, ZERO, high, scratch.sorting, scratch.digits)
    for n in range(size):
        items[entries + n], values[entries + n] = keys[n] & LOWER, value_of(keys[n])
    return entries + size


@compiled(
    types.int64(
        *(READ_INT64, READ_UINT32, READ_FLOAT32, READ_INT64, READ_UINT32, READ_FLOAT32, READ_UINT32, READ_UINT32),
        *(types.FunctionType(FORMULA), READ_FLOAT32, READ_FLOAT64, READ_FLOAT64, types.boolean),
        *(types.float64, types.float64, types.float64, types.uint64, types.uint64, types.uint64),
        *(
            WRITE_UINT32,
            WRITE_UINT64,
            WRITE_FLOAT32,
            WRITE_UINT32,
            WRITE_UINT32,
            WRITE_FLOAT32,
            WRITE_INT64,
            READ_UINT8,
        ),
    ),
    allocates=True,
)
def _build(
    item_ptr: NDArray[np.int64],
    item_users: NDArray[np.uint32],
    item_weights: NDArray[np.float32],
    user_ptr: NDArray[np.int64],
    user_items: NDArray[np.uint32],
    user_weights: NDArray[np.float32],
    order: NDArray[np.uint32],
    rank_of: NDArray[np.uint32],
    formula: Formula,
    user_factors: NDArray[np.float32],
    row_terms: NDArray[np.float64],
    column_terms: NDArray[np.float64],
    is_asymmetric: bool,
    shrink: float,
    exponent: float,
    users: float,
    first: Index,
    last: Index,
    neighbours: Index,
    offer_ranks: NDArray[np.uint32],
    offer_keys: NDArray[np.uint64],
    floors: NDArray[np.float32],
    row_sizes: NDArray[np.uint32],
    items: NDArray[np.uint32],
    values: NDArray[np.float32],
    filled: NDArray[np.int64],
    stop: NDArray[np.uint8],
) -> int:
    """Build rows from `first` on, until `items` or `offers` may be too small. Returns the next row, -1 if stopped.

    `filled` int64[2] gets the number of entries and of offers.
    """
    of = Sparse(item_ptr, item_users, item_weights, user_ptr, user_items, user_weights, order, rank_of)
    offers = Offers(offer_ranks, offer_keys, np.empty(offer_keys.size, np.uint64), floors)
    all_items = np.uint64(order.size)
    longest, offer_room = min(neighbours, all_items), np.uint64(offer_keys.size)
    counted = all_items if user_factors.size == 0 and item_weights.size == 0 else ZERO
    scratch = Scratch(
        np.zeros(counted, np.uint16),
        np.zeros(all_items - counted, np.float64),
        np.empty(all_items + ONE, np.uint32),
        np.empty(SPARE * longest + BLOCK, np.uint64),
        np.empty(longest, np.uint64),
        np.empty(DIGITS, np.int64),
    )
    dots, ys, similar = np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float64), np.empty(BLOCK, np.float64)
    block, popular = np.empty(BLOCK, np.float32), np.uint64(offers.floors.size)
    entries, offered, keys, met = ZERO, ZERO, scratch.keys, scratch.met
    row = np.uint64(first)
    while row < last:
        if offered + popular > offer_room:
            offered = prune(offers, offered, neighbours)
        if entries + longest + offer_room > np.uint64(items.size) or offered + popular > offer_room:
            break
        item = np.uint64(of.order[row])
        begin, end = np.uint64(of.item_ptr[item]), np.uint64(of.item_ptr[item + ONE])
        size = _sum_up(of, begin, end, user_factors, scratch, stop)
        if stop[0]:
            return -1
        found, bound = ZERO, NOTHING
        for at in range(ZERO, size, BLOCK):
            n = min(BLOCK, size - at)
            _take(scratch, at, n, column_terms, dots, ys)
            formula(dots, n, row_terms[item], ys, ZERO, shrink, users, similar)
            round_similarities(similar, n, exponent, block, ZERO)
            found, bound = _gather(scratch, at, n, block, item, longest, found, bound)
            if is_asymmetric and popular > ZERO:
                _put_terms(scratch, at, n, row_terms, ys)
                formula(dots, n, column_terms[item], ys, ZERO, shrink, users, similar)
                round_similarities(similar, n, exponent, block, ZERO)
            if popular > ZERO:
                offered = offer(of.rank_of, met, at, n, block, np.uint32(item), offers, offered)
        found = select_best(keys, ZERO, found, longest)
        row_sizes[row - first] = found
        entries = _write(scratch, found, entries, items, values)
        row += ONE
    offered = prune(offers, offered, neighbours) if popular > ZERO else ZERO
    for n in range(offered):
        items[entries + n], values[entries + n] = offer_keys[n] & LOWER, value_of(offer_keys[n])
    filled[0], filled[1] = entries, offered
    return np.int64(row)


def build_rows(
    sparse: Sparse,
    weighting: Weighting,
    floors: NDArray[np.float32],
    first: int,
    last: int,
    *,
    neighbours: int,
    most_bytes: int,
    stop: NDArray[np.uint8],
) -> list[Tile] | None:
    """The rows of the items at places first..last-1 of `order`, each complete, and their entries for popular items.

    Formula, rounding and order are those of `build_tile`. `floors` float32[popular] are the popular items' lower
    bounds, which the rows raise. A tile takes about `most_bytes`. None if another thread set `stop`, uint8[1].
    Raises ValueError for places outside the items that are not popular, fewer than 1 neighbours, or too many users.
    """
    item_count, popular = sparse.order.size, floors.size
    if not popular <= first <= last <= item_count:
        raise ValueError(f"rows {first} to {last} are not among {item_count} items from {popular} on")
    if neighbours < 1:
        raise ValueError(f"a row cannot hold {neighbours} neighbours")
    rows, columns, factors = weighting.row_terms, weighting.column_terms, weighting.user_factors
    counted = item_count if not (factors.size or sparse.item_weights.size) else 0
    owners = sparse.order[first:last]
    if counted and last > first and (sparse.item_ptr[owners + 1] - sparse.item_ptr[owners]).max() > MOST_USERS:
        raise ValueError(f"an item has more than {MOST_USERS} users")
    longest = min(neighbours, item_count)
    # Memory that is not written to takes no room.
    offers = max(2 * popular, min((last - first) * popular, most_bytes // BYTES_PER_OFFER))
    room = offers + max(min((last - first) * longest, most_bytes // BYTES_PER_ENTRY), longest)
    offer_ranks, offer_keys = np.empty(offers, np.uint32), np.empty(offers, np.uint64)
    found, filled = [], np.zeros(2, np.int64)
    while first < last:
        sizes = np.empty(last - first, np.uint32)
        items, values = np.empty(room, np.uint32), np.empty(room, np.float32)
        row = _build(
            *sparse,
            *(weighting.formula, factors, rows, columns, rows is not columns),
            *(weighting.shrink, weighting.power, weighting.users),
            *(first, last, neighbours, offer_ranks, offer_keys, floors, sizes, items, values, filled, stop),
        )
        if row < 0:
            return None
        size, offered = filled.tolist()
        ranks, counts = np.unique(offer_ranks[:offered], return_counts=True)
        owners = np.concatenate((sparse.order[first:row], sparse.order[ranks]))
        counts = np.concatenate((sizes[: row - first], counts.astype(np.uint32)))
        found.append(Tile(owners, counts, items[: size + offered], values[: size + offered]))
        first = row
    return found
