"""A plain model of what counts for users and of what their lists hold, in dicts, without the project's own code."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from reckoner.shared.store.models import Model
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import RESULT, Options, Result
from tests.reference import reference_lists, reference_weights
from tests.world import places


@dataclass
class PlainUser:
    """One user: the weight and time of each item that counts, and the items that lists leave out."""

    counting: dict[str, tuple[float, int]] = field(default_factory=dict)
    left: set[str] = field(default_factory=set)

    def add(self, item: str, role: str, weight: float, time_ms: int, repeats: str = "last") -> None:
        """Add an interaction as it is recorded, or as it stands in a file."""
        if role != "signal":
            self.left.add(item)
        if role == "exclude":
            return
        before, before_ms = self.counting.get(item, (None, time_ms))
        if before is None:
            self.counting[item] = weight, time_ms
        elif repeats == "last":
            self.counting[item] = (weight, time_ms) if time_ms >= before_ms else (before, before_ms)
        else:
            joined = before + weight if repeats == "sum" else max(before, weight)
            self.counting[item] = joined, max(time_ms, before_ms)


def plain_users(snapshot: Snapshot) -> dict[str, PlainUser]:
    """The users of a snapshot, whose interactions are all left out."""
    found = {}
    for user in range(snapshot.n_users):
        rows = slice(snapshot.user_ptr[user], snapshot.user_ptr[user + 1])
        items = [snapshot.items[int(item)] for item in snapshot.user_items[rows]]
        weights = [1.0] * len(items) if snapshot.user_weights is None else snapshot.user_weights[rows].tolist()
        times = [0] * len(items) if snapshot.user_times is None else snapshot.user_times[rows].tolist()
        found[snapshot.users[user]] = PlainUser(
            dict(zip(items, zip(weights, times, strict=True), strict=True)), set(items)
        )
    return found


def plain_list(user: PlainUser, model: Model, options: Options, item_ids: Mapping[str, int], hidden: set[str]) -> bytes:
    """The bytes of a user's list by a model of these items, and the items of the history that it does not know."""
    known = sorted(item_ids[item] for item in user.counting if item in item_ids)
    names = {index: item for item, index in item_ids.items()}
    ptr, items = np.array([0, len(known)]), np.array(known, np.uint32)
    weights = np.array([user.counting[names[index]][0] for index in known], np.float32)
    if options.recency:
        times = np.array([user.counting[names[index]][1] for index in known], np.int64)
        weights = reference_weights(ptr, times, weights, options.recency)
    left = np.array(sorted(item_ids[item] for item in user.left if item in item_ids), np.uint32)
    mask = np.zeros(len(item_ids), np.uint8)
    mask[[item_ids[item] for item in hidden if item in item_ids]] = 1
    [entries] = reference_lists(
        *(model.row_ptr, model.row_items, model.row_values, ptr, items, weights),
        length=options.list_length,
        left=(np.array([0, left.size]), left),
        hidden=mask,
    )
    unknown = sorted(item for item in user.counting if item not in item_ids)
    return RESULT.encode(Result(2, places(entries), unknown))
