"""A plain model of what counts for users and of what their lists hold, in dicts, without the project's own code."""

from collections.abc import Collection, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from msgspec import UNSET, UnsetType
from numpy.typing import NDArray

from reckoner.shared.serving.events import BEGINNING, Mark, UserEvent
from reckoner.shared.store.models import Model
from reckoner.shared.store.snapshots import Snapshot
from reckoner.shared.wire.shapes import RESULT, Event, Options, Result
from tests.reference import reference_diverse, reference_lists, reference_weights
from tests.snapshots import left_out
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
    """The users of a snapshot."""
    found, left = {}, left_out(snapshot)
    for user in range(snapshot.n_users):
        rows = slice(snapshot.user_ptr[user], snapshot.user_ptr[user + 1])
        items = [snapshot.items[int(item)] for item in snapshot.user_items[rows]]
        weights = [1.0] * len(items) if snapshot.user_weights is None else snapshot.user_weights[rows].tolist()
        times = [0] * len(items) if snapshot.user_times is None else snapshot.user_times[rows].tolist()
        name = snapshot.users[user]
        counting = dict(zip(items, zip(weights, times, strict=True), strict=True))
        found[name] = PlainUser(counting, {item for who, item in left if who == name})
    return found


class Rows(NamedTuple):
    """The matrix of a model."""

    row_ptr: NDArray[np.int64]
    row_items: NDArray[np.uint32]
    row_values: NDArray[np.float32]


def plain_list(
    user: PlainUser,
    model: Model | Rows,
    options: Options,
    item_ids: Mapping[str, int],
    hidden: set[str],
    spare: int = 0,
    diversity: float = 0.0,
    record_mask: str | UnsetType = UNSET,
) -> bytes:
    """The bytes of a user's list by a model of these items, and the items of the history that it does not know.

    A short list names what is hidden if that is not the mask of the generation's record.
    """
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
        length=options.list_length + spare,
        left=(np.array([0, left.size]), left),
        hidden=mask,
    )
    if diversity:
        entries = reference_diverse(entries, model.row_ptr, model.row_items, model.row_values, diversity)
    unknown = sorted(item for item in user.counting if item not in item_ids)
    name = plain_mask(hidden)
    is_noted = len(entries) < options.list_length + spare and name != (record_mask or "")
    return RESULT.encode(Result(2, places(entries, list(item_ids)), unknown, name if is_noted else UNSET))


def plain_mask(hidden: Collection[str]) -> str:
    """The name of hidden items; empty without any."""
    text = b"".join(b"%d:%b" % (len(item), item) for item in sorted(item.encode() for item in hidden))
    return sha256(text).hexdigest()[:16] if hidden else ""


@dataclass(frozen=True)
class PlainEvent:
    """A recorded event and its id in the stream."""

    mark: Mark
    user: str
    item: str
    role: str
    weight: float
    time_ms: int


@dataclass(frozen=True)
class PlainSnapshot:
    """What counts for the users of a snapshot, which holds the events up to a mark."""

    mark: Mark
    users: dict[str, PlainUser]


class PlainShop:
    """The whole: recorded events, hidden items, and the snapshots that imports of the events make."""

    def __init__(self, repeats: str, snapshot: str, users: dict[str, PlainUser]) -> None:
        self.repeats = repeats
        self.snapshot = snapshot
        """The current snapshot."""
        self.snapshots = {snapshot: PlainSnapshot(BEGINNING, users)}
        self.stream: list[PlainEvent] = []
        self.hides: dict[str, set[str]] = {}
        self.hidden: set[str] = set()
        self.taken = BEGINNING
        """The mark up to which an import has taken the events."""
        self._seen: set[str] = set()

    def record(self, events: Sequence[UserEvent]) -> list[tuple[str, Event] | None]:
        """What the stream gets for each event: None for an id that was recorded before."""
        found: list[tuple[str, Event] | None] = []
        for user, event, event_id in events:
            found.append(None if event_id in self._seen else (user, event))
            self._seen |= {event_id} - {""}
        return found

    def move(self, visitor: str, user: str) -> list[tuple[str, Event] | None]:
        """Move a visitor's events that no import has taken, which the stream gets again, and hides."""
        moved = [event for event in self.stream if event.user == visitor and event.mark > self.taken]
        self.stream = [event for event in self.stream if event not in moved]
        self.hides[user] = self.hides.get(user, set()) | self.hides.pop(visitor, set())
        return [(user, Event(e.item, e.role, e.weight, "a type", e.time_ms)) for e in moved]  # type: ignore[arg-type]

    def imports(self, snapshot: str, mark: Mark) -> None:
        """Make a snapshot of the current one and the events up to a mark, and make it the current one."""
        before = self.snapshots[self.snapshot]
        users = {**before.users, **{event.user: PlainUser() for event in self.stream if event.mark <= mark}}
        now = {user: self.counted(user, self.snapshot, mark) for user in users}
        self.snapshots[snapshot], self.snapshot = PlainSnapshot(mark, now), snapshot

    def counted(self, user: str, snapshot: str, last: Mark | None = None) -> PlainUser:
        """What counts for a user, and is left out, by a snapshot and the events after it, up to the `last` one."""
        base = self.snapshots[snapshot]
        plain = deepcopy(base.users.get(user, PlainUser()))
        for event in self.stream:
            if event.user == user and base.mark < event.mark and (last is None or event.mark <= last):
                plain.add(event.item, event.role, event.weight, event.time_ms, self.repeats)
        return plain

    def left(self, user: str) -> set[str]:
        """The items that readers leave out for a user."""
        return self.hides.get(user, set()) | {e.item for e in self.stream if e.user == user and e.role != "signal"}
