"""Splits of interactions into a training part and a test part, and the training part as a snapshot of its own."""

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.errors import UsageError
from reckoner.shared.store.identifiers import TextTable
from reckoner.shared.store.snapshots import ItemsOfUsers, Pairs, Snapshot, write_snapshot
from reckoner.shared.store.sorting import stable_order

SplitKind: TypeAlias = Literal["global", "last", "random"]

DAY_MS = 86_400_000
MOST_DAYS = 36_500
# The index of an item that is not in the training part.
NEW = np.uint32(0xFFFFFFFF)
# Of a user with fewer interactions, `last` and `random` hold out none.
LEAST_TO_SPLIT = 3
# A share of n is rounded down; without this, 0.1 * 30 would give 2.
ROUNDING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Interactions:
    """Interactions by user, then by item: `users` and `items` uint32[n], `weights` float32[n], `times` int64[n] in ms.

    Weights of None are all 1; times are None where the data have none. Each user and each item has at least one.
    `left` are the items that users' lists leave out, None if these are the interactions.
    """

    user_ids: TextTable
    item_ids: TextTable
    users: NDArray[np.uint32]
    items: NDArray[np.uint32]
    weights: NDArray[np.float32] | None
    times: NDArray[np.int64] | None
    left: Pairs | None = None

    def write(self, directory: Path) -> str:
        """Write them as the snapshot of a training part; returns its id. See `write_snapshot`."""
        return write_snapshot(
            directory,
            user_ids=self.user_ids,
            item_ids=self.item_ids,
            users=self.users,
            items=self.items,
            weights=self.weights,
            times=self.times,
            left=self.left,
            training=True,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How interactions are split, and who is tested.

    `global`: the test part are the last `days`, or without them the last `share` of all interactions by time.
    `last`: the test part is the last `share` of each user's interactions by time, then by item.
    `random`: the test part is a `share` of each user's interactions, drawn with `seed`.
    Of users with fewer than three interactions, the last two hold out none; of others at least one.
    """

    split: SplitKind = "global"
    share: float = 0.2
    days: float | None = None
    seed: int = 0
    least_history: int = 1
    """Users with fewer interactions in the training part are not tested."""
    folds: int = 1
    """The number of splits: for `global` of test parts, each just before the one before; for `random` of draws."""
    new_items: bool | None = None
    """Whether test interactions with items that the training part does not have count, as misses. By default they do
    for `last` and `random`."""

    @property
    def counts_new_items(self) -> bool:
        """Whether test interactions with new items count."""
        return self.split != "global" if self.new_items is None else self.new_items

    def require_valid(self) -> None:
        """Check that the options fit together.

        Raises:
            UsageError: they do not; the message names the option.
        """
        if not 0 < self.share < 1:
            raise UsageError(f"--share is {self.share:g}, but must be above 0 and below 1.")
        if self.days is not None and self.split != "global":
            raise UsageError(f"--days is for the split global, not for {self.split}.")
        if self.days is not None and not 0 < self.days <= MOST_DAYS:
            raise UsageError(f"--days is {self.days:g}, but must be above 0 and at most {MOST_DAYS:,}.")
        if self.split == "global" and self.days is None and self.folds * self.share >= 1:
            raise UsageError(
                f"--folds {self.folds} with --share {self.share:g} leaves no training part: "
                "their product must be below 1."
            )
        if self.folds > 1 and self.split == "last":
            raise UsageError("--folds is for the splits global and random: each user has one last part.")

    def facts(self) -> dict[str, Any]:
        """The protocol as a JSON object."""
        return asdict(self) | {"new_items": self.counts_new_items}

    def in_words(self) -> str:
        """The protocol in words."""
        split, share, n = self.split, f"{self.share * 100:g} %", self.least_history
        held_out = {
            "global": f"the last {self.days:g} days" if self.days else f"the last {share} of all interactions by time",
            "last": f"the last {share} of each user's interactions",
            "random": f"{share} of each user's interactions, drawn at random (seed {self.seed})",
        }[split]
        honest = "Every model was fitted on what was before." if split == "global" else (
            "Every model was fitted on the rest, which holds interactions of other users that are later than the test "
            "part: figures are too good for what comes next."
        )  # fmt: skip
        folds = {
            "global": f" Figures are means over {self.folds} test parts of that size, each just before the next.",
            "random": f" Figures are means over {self.folds} draws.",
        }.get(split, "") if self.folds > 1 else ""  # fmt: skip
        tested = "a history" if n == 1 else f"at least {n} interactions"
        new = "count as misses" if self.counts_new_items else "are left out"
        return (
            f"Test part: {held_out}. {honest}{folds} Tested are users with {tested} in the training part. Lists of "
            f"20 are ranked over the whole catalogue, without the user's history. Test interactions with items that "
            f"the training part does not have {new}."
        )


@dataclass(frozen=True, slots=True)
class HeldOut:
    """The held-out interactions of some users: `users` uint32[n] in the training part, ascending, and theirs in CSR.

    `items` uint32 are indices in the training part, NEW for an item that it does not have, ascending within a user.
    """

    users: NDArray[np.uint32]
    ptr: NDArray[np.int64]
    items: NDArray[np.uint32]


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """A training part, and what the tested users had in the test part."""

    training: Interactions
    test: HeldOut
    tested: NDArray[np.uint32]
    """The indices of the tested users in the data that were split."""
    without_history: HeldOut
    """Users who are not in the training part; their indices are NEW."""
    short_history: int
    """Users who are not tested since their history is too short."""
    new_items: int
    """Test interactions of tested users with items that are not in the training part."""


def interactions_of(snapshot: Snapshot) -> Interactions:
    """The interactions of a snapshot."""
    users = np.repeat(np.arange(snapshot.n_users, dtype=np.uint32), np.diff(snapshot.user_ptr))
    return Interactions(
        user_ids=snapshot.users,
        item_ids=snapshot.items,
        users=users,
        items=snapshot.user_items,
        weights=snapshot.user_weights,
        times=snapshot.user_times,
        left=None if snapshot.left_ptr is None else _pairs(snapshot.left_out),
    )


def _pairs(left: ItemsOfUsers) -> Pairs:
    return Pairs(np.repeat(np.arange(left.ptr.size - 1, dtype=np.uint32), np.diff(left.ptr)), left.items)


def hold_out(data: Interactions, protocol: Protocol, fold: int = 0) -> Split:
    """Split interactions; `fold` is the number of the split, from 0 to `protocol.folds` - 1.

    Raises:
        UsageError: the data have no times, or a part would be empty.
    """
    if data.times is None and protocol.split != "random":
        raise UsageError(f"The data have no times, so there is no split {protocol.split}. Use --split random.")
    kept, held = parts_of(data, protocol, fold)
    if not held.any() or not kept.any():
        raise UsageError(f"The {'training' if held.any() else 'test'} part would be empty. Change the split.")
    n_users, n_items = len(data.user_ids), len(data.item_ids)
    histories = np.bincount(data.users[kept], minlength=n_users)
    known = np.bincount(data.items[kept], minlength=n_items) > 0
    user_index, item_index = _indices(histories > 0), _indices(known)
    training = Interactions(
        user_ids=data.user_ids.take(np.flatnonzero(histories)),
        item_ids=data.item_ids.take(np.flatnonzero(known)),
        users=user_index[data.users[kept]],
        items=item_index[data.items[kept]],
        weights=None if data.weights is None else data.weights[kept],
        times=None if data.times is None else data.times[kept],
        left=None if data.left is None else _left_of(data, kept, user_index, item_index),
    )
    users, items = data.users[held], item_index[data.items[held]]
    tested = histories[users] >= protocol.least_history
    new = items == NEW
    counts = np.ones(items.size, bool) if protocol.counts_new_items else ~new
    short = (histories[users] > 0) & ~tested
    cold = histories[users] == 0
    return Split(
        training=training,
        test=_by_user(users, user_index, items, tested & ~cold & counts),
        tested=np.unique(users[tested & ~cold & counts]),
        without_history=_by_user(users, user_index, items, cold & counts),
        short_history=int(np.unique(users[short]).size),
        new_items=int((tested & ~cold & new).sum()),
    )


def _left_of(
    data: Interactions, kept: NDArray[np.bool_], user_index: NDArray[np.uint32], item_index: NDArray[np.uint32]
) -> Pairs:
    """What the lists of the training part leave out: all that the data's do, but what was not there yet."""
    assert data.left is not None
    left, width = data.left, np.uint64(len(data.item_ids))
    mine = left.users.astype(np.uint64) * width + left.items
    interactions = data.users.astype(np.uint64) * width + data.items
    places = np.minimum(np.searchsorted(interactions, mine), interactions.size - 1)
    there = (interactions[places] != mine) | kept[places]
    users, items = user_index[left.users[there]], item_index[left.items[there]]
    known = (users != NEW) & (items != NEW)
    return Pairs(users[known], items[known])


def parts_of(data: Interactions, protocol: Protocol, fold: int) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Whether each interaction belongs to the training part, and whether to the test part, bool[n] each.

    Of earlier test parts, what is later belongs to neither.
    """
    if protocol.split == "global":
        assert data.times is not None
        kept = data.times < _cut(data.times, protocol, fold + 1)
        return kept, ~kept if fold == 0 else ~kept & (data.times < _cut(data.times, protocol, fold))
    held = _is_held_out(data, protocol, fold)
    return ~held, held


def _is_held_out(data: Interactions, protocol: Protocol, fold: int) -> NDArray[np.bool_]:
    """Whether each interaction is among the last of its user, or drawn, bool[n]."""
    n = np.bincount(data.users, minlength=len(data.user_ids))
    held = np.floor(n * protocol.share + ROUNDING).astype(np.int64)
    held = np.where(n >= LEAST_TO_SPLIT, np.maximum(held, 1), 0)
    order = _order_of_users(data, protocol, fold)
    # The order keeps each user's interactions together, so users stand in it as in the data.
    rank = np.arange(order.size) - (np.cumsum(n) - n)[data.users]
    found = np.empty(order.size, bool)
    found[order] = rank >= (n - held)[data.users]
    return found


def _cut(times: NDArray[np.int64], protocol: Protocol, parts: int) -> int:
    """The time of the first interaction of the last `parts` test parts."""
    if protocol.days is not None:
        return int(times.max()) - math.ceil(parts * protocol.days * DAY_MS) + 1
    at = min(max(int(times.size * (1 - parts * protocol.share)), 0), times.size - 1)
    return int(np.partition(times, at)[at])


def _order_of_users(data: Interactions, protocol: Protocol, fold: int) -> NDArray[np.int64]:
    """The order of interactions by user, then by time or at random, then by item."""
    by_time = np.arange(data.users.size)
    if data.times is not None:
        by_time = _order_by(data, (data.times - data.times.min()).astype(np.uint64))
    if protocol.split == "last":
        return by_time
    # What `numpy.random.default_rng(seed).random(n)` draws, by the raw numbers, which no release of numpy changes.
    drawn = np.empty(by_time.size, np.uint64)
    drawn[by_time] = np.random.PCG64(protocol.seed + fold).random_raw(by_time.size) >> np.uint64(11)
    return _order_by(data, drawn)


def _order_by(data: Interactions, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
    """The order of interactions by user, then by key, then by item, in which they stand."""
    order = stable_order(keys, int(keys.max()) + 1)
    return order[stable_order(data.users[order], len(data.user_ids))]


def _indices(kept: NDArray[np.bool_]) -> NDArray[np.uint32]:
    """The index of each place among the kept ones, NEW for the others."""
    indices = np.full(kept.size, NEW, np.uint32)
    indices[kept] = np.arange(np.count_nonzero(kept), dtype=np.uint32)
    return indices


def _by_user(
    users: NDArray[Any], index: NDArray[np.uint32], items: NDArray[np.uint32], kept: NDArray[np.bool_]
) -> HeldOut:
    """The kept of some interactions, which are sorted by user."""
    users, items = users[kept], items[kept]
    if np.any(items == NEW):
        items = items[np.lexsort((items, users))]
    found, starts = np.unique(users, return_index=True)
    return HeldOut(index[found], np.append(starts, users.size).astype(np.int64), items)
