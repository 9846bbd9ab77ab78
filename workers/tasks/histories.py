"""Histories as the scoring kernel takes them: items, how much each weighs, and what is left out of each list."""

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.repeats import Repeats, Rows, merge_repeats
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import Frozen, Recency
from reckoner.workers.kernels.scoring.recency import recency_weights
from reckoner.workers.kernels.scoring.score import LeftOut

Value = TypeVar("Value", bound=np.generic)


class Weighed(NamedTuple):
    """Histories in CSR: int64[n + 1] pointers into uint32 items and float32 weights, None if all are 1."""

    ptr: NDArray[np.int64]
    items: NDArray[np.uint32]
    weights: NDArray[np.float32] | None


class Histories(NamedTuple):
    """Histories in CSR: int64[n + 1] pointers into uint32 items, their imported float32 weights, and int64 times.

    Weights of None are all 1; without times, None, all items are of the same time. `left` is what is left out of the
    lists: of None, the items themselves.
    """

    ptr: NDArray[np.int64]
    items: NDArray[np.uint32]
    weights: NDArray[np.float32] | None
    times: NDArray[np.int64] | None
    left: LeftOut | None = None

    @property
    def left_out(self) -> LeftOut:
        """What is left out of each list."""
        return self.left or LeftOut(self.ptr, self.items)

    @property
    def held(self) -> NDArray[np.uint32]:
        """The items of all histories, concatenated."""
        return self.items[self.ptr[0] : self.ptr[-1]]

    def weighed(self, recency: Recency, stop: NDArray[np.uint8]) -> Weighed | None:
        """The same with the weights of this recency; None if another thread set `stop`, uint8[1]."""
        if not recency or self.times is None:
            return Weighed(self.ptr, self.items, self.weights)
        weights = recency_weights(self.ptr, self.times, self.weights, recency, stop=stop)
        return None if weights is None else Weighed(self.ptr - self.ptr[0], self.held, weights)


def snapshot_histories(snapshot: Snapshot, users: range) -> Histories:
    """The histories of consecutive users of a snapshot."""
    some = slice(users.start, users.stop + 1)
    left = None
    if snapshot.left_ptr is not None and snapshot.left_items is not None:
        left = LeftOut(snapshot.left_ptr[some], snapshot.left_items)
    rows = snapshot.user_items, snapshot.user_weights, snapshot.user_times
    return Histories(snapshot.user_ptr[some], *rows, left)


class _Recent(NamedTuple):
    """The frozen events: `users` uint32[m], the start of the events of each, int64[m + 1], and the fields of events."""

    users: NDArray[np.uint32]
    starts: NDArray[np.int64]
    items: NDArray[np.uint32]
    weights: NDArray[np.float64]
    times: NDArray[np.int64]
    counting: NDArray[np.bool_]
    left: NDArray[np.bool_]


def _recent(frozen: Frozen) -> _Recent:
    counts = np.frombuffer(frozen.counts, np.uint32)
    return _Recent(
        np.frombuffer(frozen.users, np.uint32),
        np.concatenate((np.zeros(1, np.int64), np.cumsum(counts, dtype=np.int64))),
        np.frombuffer(frozen.items, np.uint32),
        np.frombuffer(frozen.weights, np.float64),
        np.frombuffer(frozen.times, np.int64),
        np.frombuffer(frozen.counting, np.bool_),
        np.frombuffer(frozen.left, np.bool_),
    )


def no_history(snapshot: Snapshot) -> Histories:
    """The history of a user who is not in a snapshot."""
    times = None if snapshot.user_times is None else np.empty(0, np.int64)
    return Histories(np.zeros(2, np.int64), np.empty(0, np.uint32), None, times)


def with_recent(histories: Histories, frozen: Frozen, repeats: Repeats) -> Histories:
    """The histories with the frozen events of their users, as if these had been imported.

    The pointers then start at 0. Events of a user and an item that the snapshot knows, or that are repeated, are merged
    by the snapshot's rule.
    """
    recent, histories = _recent(frozen), _alone(histories)
    if not recent.users.size:
        return histories
    merged = _merged(histories, recent, repeats)
    is_weighed = histories.weights is not None or merged.weights is not None
    rows = _Splice(histories.ptr, recent.users, merged.ptr)
    return Histories(
        rows.ptr,
        rows.join(histories.items, merged.items),
        rows.join(_or_ones(histories.weights, histories.items), _or_ones(merged.weights, merged.items))
        if is_weighed
        else None,
        None if histories.times is None or merged.times is None else rows.join(histories.times, merged.times),
        _left(histories, recent),
    )


def _alone(histories: Histories) -> Histories:
    """The same histories without the rows of other users: pointers start at 0."""
    ptr, left = histories.ptr, histories.left_out
    some, some_left = slice(ptr[0], ptr[-1]), slice(left.ptr[0], left.ptr[-1])
    return Histories(
        ptr - ptr[0],
        histories.items[some],
        None if histories.weights is None else histories.weights[some],
        None if histories.times is None else histories.times[some],
        LeftOut(left.ptr - left.ptr[0], left.items[some_left]),
    )


def _merged(histories: Histories, recent: _Recent, repeats: Repeats) -> Histories:
    """The whole histories of the users with events."""
    ptr, users = histories.ptr, recent.users.astype(np.int64)
    earlier = np.concatenate([np.arange(ptr[user], ptr[user + 1]) for user in users])
    numbers = np.arange(users.size, dtype=np.uint32)
    counting = recent.counting
    of_events = np.repeat(numbers, np.diff(recent.starts))[counting]
    event_weights = recent.weights[counting]
    weights: NDArray[np.float64] | None = None
    if histories.weights is not None or not np.all(event_weights == 1):
        before = _or_ones(histories.weights, histories.items)[earlier].astype(np.float64)
        weights = np.concatenate((before, event_weights))
    rows = Rows(
        np.concatenate((np.repeat(numbers, ptr[users + 1] - ptr[users]), of_events)),
        np.concatenate((histories.items[earlier], recent.items[counting])),
        weights,
        None if histories.times is None else np.concatenate((histories.times[earlier], recent.times[counting])),
    )
    merged = merge_repeats(rows, repeats)
    starts = np.searchsorted(merged.users, np.arange(users.size + 1)).astype(np.int64)
    rounded = None if merged.weights is None else merged.weights.astype(np.float32)
    return Histories(starts, merged.items, rounded, merged.times)


def _left(histories: Histories, recent: _Recent) -> LeftOut:
    """What is left out of each list: as before, and the items of such events."""
    before = histories.left_out
    more = [recent.items[a:b][recent.left[a:b]] for a, b in zip(recent.starts[:-1], recent.starts[1:], strict=True)]
    ptr = before.ptr
    whole = [
        np.union1d(before.items[ptr[user] : ptr[user + 1]], some)
        for user, some in zip(recent.users.tolist(), more, strict=True)
    ]
    splice = _Splice(ptr, recent.users, _pointers(whole))
    return LeftOut(splice.ptr, splice.join(before.items, np.concatenate(whole)))


def _pointers(parts: Sequence[NDArray[np.uint32]]) -> NDArray[np.int64]:
    return np.concatenate((np.zeros(1, np.int64), np.cumsum([part.size for part in parts], dtype=np.int64)))


def _or_ones(weights: NDArray[np.float32] | None, items: NDArray[np.uint32]) -> NDArray[np.float32]:
    return np.ones(items.size, np.float32) if weights is None else weights


class _Splice:
    """Puts other rows of some users into a CSR matrix."""

    def __init__(self, ptr: NDArray[np.int64], users: NDArray[np.uint32], new_ptr: NDArray[np.int64]) -> None:
        """`ptr` int64[n + 1] are the old rows, `users` uint32[m] get those of `new_ptr` int64[m + 1]."""
        self._old, self._users, self._new = ptr, users.tolist(), new_ptr
        counts = np.diff(ptr)
        counts[self._users] = np.diff(new_ptr)
        self.ptr = np.concatenate((np.zeros(1, np.int64), np.cumsum(counts)))

    def join(self, old: NDArray[Value], new: NDArray[Value]) -> NDArray[Value]:
        """The elements of all rows, from 0."""
        parts, done = list[NDArray[Value]](), 0
        for number, user in enumerate(self._users):
            parts += [old[self._old[done] : self._old[user]], new[self._new[number] : self._new[number + 1]]]
            done = user + 1
        return np.concatenate((*parts, old[self._old[done] : self._old[-1]]))
