"""Leaves out the pairs whose weights sum to zero or below, such as a purchase and its cancellation."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.checking import Checker
from reckoner.producer.importing.judging.rejected import RejectedRows
from reckoner.producer.importing.judging.roles import COUNTS, EXCLUDE, LEFT_OUT
from reckoner.producer.importing.merging.collecting import Merged
from reckoner.producer.importing.reading.tables import Table
from reckoner.shared.store.repeats import Rows

REASON = "the weights of the user and the item sum to zero or below"
# Of the largest weight: 0.1 + 0.2 - 0.3 is not above zero.
ROUNDING = 1e-12


def leave_out_cancelled(merged: Merged, table: Table, checker: Checker, rejected: RejectedRows) -> Merged:
    """Keep the pairs with a sum above zero, and their ids; the rows of the others are added to `rejected`.

    The table is read again, since the places of rows are not kept.
    """
    rows = merged.rows
    if rows.weights is None:
        return merged
    is_kept = rows.weights.astype(np.float32) > ROUNDING * checker.largest_weight
    if is_kept.all():
        return merged
    cancelled = only_used(replace(merged, rows=rows.take(np.flatnonzero(~is_kept)), left=None))
    pairs = _pairs(cancelled.rows.users, cancelled.rows.items, cancelled)
    for batch in table.batches(checker.chosen.names(), lambda *_: None, checker.chosen.whole()):
        good = checker.check(batch, RejectedRows())
        assert good.places is not None
        users, items = _indices(good.users, cancelled.user_ids), _indices(good.items, cancelled.item_ids)
        is_cancelled = (users >= 0) & (items >= 0) & np.isin(_pairs(users, items, cancelled), pairs)
        if good.roles is not None:
            is_cancelled &= good.roles & COUNTS != 0
        if is_cancelled.any():
            places = good.places[is_cancelled]
            rejected.add_rows("left_out", REASON, batch, places, checker.chosen.weight)
    kept = rows.take(np.flatnonzero(is_kept))
    return only_used(replace(merged, rows=kept, left=_without_cancelled(merged, is_kept)))


def _without_cancelled(merged: Merged, is_kept: NDArray[np.bool_]) -> Rows | None:
    """What lists leave out after pairs have been cancelled: of those only the ones with an excluded row."""
    left, rows = merged.left, merged.rows
    if left is None or left.roles is None:
        return None
    cancelled = _pairs(rows.users[~is_kept], rows.items[~is_kept], merged)
    roles = np.where(np.isin(_pairs(left.users, left.items, merged), cancelled), left.roles & EXCLUDE, left.roles)
    return replace(left, roles=roles).take(np.flatnonzero(roles & LEFT_OUT))


def only_used(merged: Merged) -> Merged:
    """The same pairs, and only their ids."""
    rows, left = merged.rows, merged.left
    all_rows = [rows] if left is None else [rows, left]
    users, user_of = np.unique(np.concatenate([some.users for some in all_rows]), return_inverse=True)
    items, item_of = np.unique(np.concatenate([some.items for some in all_rows]), return_inverse=True)
    user_ranks, item_ranks, n = user_of.astype(np.uint32), item_of.astype(np.uint32), len(rows)
    return Merged(
        merged.user_ids.take(pa.array(users)),
        merged.item_ids.take(pa.array(items)),
        replace(rows, users=user_ranks[:n], items=item_ranks[:n]),
        None if left is None else replace(left, users=user_ranks[n:], items=item_ranks[n:]),
    )


def _pairs(users: NDArray[np.integer], items: NDArray[np.integer], merged: Merged) -> NDArray[np.int64]:
    return users.astype(np.int64) * len(merged.item_ids) + items


def _indices(ids: pa.DictionaryArray, among: pa.Array) -> NDArray[np.int64]:
    """The index of each id among some, -1 if it is not there."""
    of_distinct = pc.fill_null(pc.index_in(ids.dictionary.cast(pa.large_string()), among), -1).to_numpy()
    return np.asarray(of_distinct[ids.indices.to_numpy()].astype(np.int64))
