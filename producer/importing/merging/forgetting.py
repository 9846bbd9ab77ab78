"""Leaves out the rows of forgotten users."""

from dataclasses import replace

import numpy as np

from reckoner.producer.importing.merging.collecting import Merged
from reckoner.producer.importing.merging.subtracting import only_used
from reckoner.shared.store.forgotten import Forgotten


def leave_out_forgotten(merged: Merged, forgotten: Forgotten) -> Merged:
    """The rows of users who are not forgotten, and only their ids."""
    if not forgotten.users:
        return merged
    is_kept = ~np.array(forgotten.among(merged.user_ids.to_pylist()), np.bool_)
    if is_kept.all():
        return merged
    rows, left = merged.rows, merged.left
    kept = replace(merged, rows=rows.take(np.flatnonzero(is_kept[rows.users])))
    return only_used(kept if left is None else replace(kept, left=left.take(np.flatnonzero(is_kept[left.users]))))
