"""Leaves out the pairs whose weights sum to zero or below, such as a purchase and its cancellation."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from reckoner.producer.importing.judging.checking import Checker
from reckoner.producer.importing.judging.rejected import RejectedRows
from reckoner.producer.importing.merging.collecting import Merged
from reckoner.producer.importing.merging.repeats import Rows
from reckoner.producer.importing.reading.tables import Table

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
    cancelled = _only_used(merged, ~is_kept)
    pairs = _pairs(cancelled.rows.users, cancelled.rows.items, cancelled)
    for batch in table.batches(checker.chosen.names(), lambda *_: None, checker.chosen.whole()):
        good = checker.check(batch, RejectedRows())
        assert good.places is not None
        users, items = _indices(good.users, cancelled.user_ids), _indices(good.items, cancelled.item_ids)
        is_cancelled = (users >= 0) & (items >= 0) & np.isin(_pairs(users, items, cancelled), pairs)
        if is_cancelled.any():
            places = good.places[is_cancelled]
            rejected.add_rows("left_out", REASON, batch, places, checker.chosen.weight)
    return _only_used(merged, is_kept)


def _only_used(merged: Merged, kept: NDArray[np.bool_]) -> Merged:
    """Some of the pairs, and only their ids."""
    rows = merged.rows.take(np.flatnonzero(kept))
    users, user_of = np.unique(rows.users, return_inverse=True)
    items, item_of = np.unique(rows.items, return_inverse=True)
    return Merged(
        merged.user_ids.take(pa.array(users)),
        merged.item_ids.take(pa.array(items)),
        Rows(user_of.astype(np.uint32), item_of.astype(np.uint32), rows.weights, rows.times),
    )


def _pairs(users: NDArray[np.integer], items: NDArray[np.integer], merged: Merged) -> NDArray[np.int64]:
    return users.astype(np.int64) * len(merged.item_ids) + items


def _indices(ids: pa.DictionaryArray, among: pa.Array) -> NDArray[np.int64]:
    """The index of each id among some, -1 if it is not there."""
    of_distinct = pc.fill_null(pc.index_in(ids.dictionary.cast(pa.large_string()), among), -1).to_numpy()
    return np.asarray(of_distinct[ids.indices.to_numpy()].astype(np.int64))
