"""Snapshots: all interactions at one moment, by user and by item, with ids and titles."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from reckoner.shared.store.artifacts import JSON, Artifact, open_artifact, write_artifact
from reckoner.shared.store.catalogue import Catalogue, open_catalogue
from reckoner.shared.store.identifiers import TextTable, build
from reckoner.shared.store.integrity import check_counts, check_pointers, check_rows, check_texts, check_values
from reckoner.shared.store.repeats import Repeats
from reckoner.shared.store.sorting import count_each, stable_order

KIND: Final = "snapshots"
# The rows that are sorted at a time.
AT_ONCE = 1 << 20


class ItemsOfUsers(NamedTuple):
    """Some items of each user: those of `u` are `items`[`ptr`[u]:`ptr`[u + 1]], ascending.

    `ptr` int64[U + 1], `items` uint32[].
    """

    ptr: NDArray[np.int64]
    items: NDArray[np.uint32]


class Pairs(NamedTuple):
    """Distinct pairs of indices of users and items, ascending; `users`[n], `items`[n]."""

    users: NDArray[np.integer[Any]]
    items: NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The U by I matrix of interactions in CSR and CSC; index order is the byte order of the ids.

    `user_ptr` int64[U + 1], `user_items` uint32[nnz] (ascending within each user), `user_weights` float32[nnz] (None
    when each is 1) and `user_times` int64[nnz] (milliseconds since 1970, None when the source had none) are the rows;
    `item_ptr` int64[I + 1], `item_users` uint32[nnz] (ascending within each item) and `item_weights` float32[nnz] are
    the columns. `left_ptr` int64[U + 1] and `left_items` uint32[] are the items that each user's lists leave out; None
    when these are the user's interactions. All are read-only memory maps.
    """

    id: str
    users: TextTable
    items: TextTable
    titles: TextTable | None
    user_ptr: NDArray[np.int64]
    user_items: NDArray[np.uint32]
    user_weights: NDArray[np.float32] | None
    user_times: NDArray[np.int64] | None
    item_ptr: NDArray[np.int64]
    item_users: NDArray[np.uint32]
    item_weights: NDArray[np.float32] | None
    catalogue: Catalogue = Catalogue()  # noqa: RUF009 - it is frozen
    left_ptr: NDArray[np.int64] | None = None
    left_items: NDArray[np.uint32] | None = None
    repeats: Repeats = "last"
    """The rule by which repeated rows were merged."""
    mark: str = ""
    """The id in the stream up to which it holds the recorded events; empty if it holds none."""
    source_ms: int | None = None
    """The newest time of the rows of sources, where recorded events have newer ones."""

    @property
    def left_out(self) -> ItemsOfUsers:
        """The items that each user's lists leave out."""
        if self.left_ptr is None or self.left_items is None:
            return ItemsOfUsers(self.user_ptr, self.user_items)
        return ItemsOfUsers(self.left_ptr, self.left_items)

    @property
    def n_users(self) -> int:
        """U, the number of users."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        """I, the number of items."""
        return len(self.items)

    def title(self, item: int) -> str | None:
        """The title of an item by its index, None without one."""
        return (self.titles[item] or None) if self.titles is not None else None

    def popular(self, n: int, now_ms: int | None = None) -> NDArray[np.uint32]:
        """The n items with the most users, uint32[min(n, I)]; ties by the smaller index.

        With `now_ms`, only those that are available at that moment.
        """
        order = np.argsort(-np.diff(self.item_ptr), kind="stable")
        if now_ms is not None:
            order = order[self.catalogue.available_at(now_ms, self.n_items)[order]]
        return order[:n].astype(np.uint32)


def write_snapshot(
    directory: Path,
    *,
    user_ids: Sequence[str] | TextTable,
    item_ids: Sequence[str] | TextTable,
    users: NDArray[np.integer[Any]],
    items: NDArray[np.integer[Any]],
    weights: NDArray[np.floating[Any]] | None = None,
    times: NDArray[np.int64] | None = None,
    titles: Sequence[str] | None = None,
    catalogue: Catalogue | None = None,
    left: Pairs | None = None,
    repeats: Repeats = "last",
    mark: str = "",
    source_ms: int | None = None,
    training: bool = False,
) -> str:
    """Write the snapshot of n interactions into `directory`, and return its id, which is a hash of its contents.

    `user_ids` and `item_ids` are distinct and sorted (by code point, which is the byte order of UTF-8), which is not
    checked for tables; `users`[n] and `items`[n] are indices into them, each pair at most once, in any order, and
    fastest in that of the pairs; `weights`[n]; `times`[n] in milliseconds since 1970; `titles` one an item, empty for
    an item without one; `catalogue` that of the items. `left` are the items that users' lists leave out, None if these
    are the interactions; if they are the same, the id is, too. A `training` part of an evaluation has another id than
    any import of the same interactions, so that it can be deleted.

    Raises:
        ValueError: ids are not distinct and sorted, a pair is repeated, or `left` does not ascend.
        StoreError: the directory cannot be written, or the disk is full.
    """
    for ids in (user_ids, item_ids):
        if not isinstance(ids, TextTable) and any(first >= second for first, second in pairwise(ids)):
            raise ValueError("ids must be distinct and sorted")
    if not _ascend(users, items):
        by_user = np.lexsort((items, users))
        users, items = users[by_user], items[by_user]
        weights, times = None if weights is None else weights[by_user], None if times is None else times[by_user]
        if not _ascend(users, items):
            raise ValueError("each pair of user and item must be unique")
    sorted_users, sorted_items = users.astype(np.uint32, copy=False), items.astype(np.uint32, copy=False)
    rounded = None if weights is None else weights.astype(np.float32, copy=False)
    if rounded is not None and np.all(rounded == 1):
        rounded = None
    item_ptr, item_users, item_weights = _by_item(len(item_ids), sorted_users, sorted_items, rounded)
    arrays: dict[str, NDArray[Any]] = {
        "user_ptr": _starts(sorted_users, len(user_ids)),
        "user_items": sorted_items,
        "item_ptr": item_ptr,
        "item_users": item_users,
    }
    if rounded is not None and item_weights is not None:
        arrays |= {"user_weights": rounded, "item_weights": item_weights}
    if times is not None:
        arrays["user_times"] = times.astype(np.int64, copy=False)
    facts: dict[str, JSON] = {"users": len(user_ids), "items": len(item_ids), "interactions": len(users)}
    if left is not None and not all(map(np.array_equal, left, (sorted_users, sorted_items))):
        arrays |= _left(left, len(user_ids))
        facts["left"] = len(left.items)
    arrays |= _texts("user_ids", user_ids) | _texts("item_ids", item_ids) | _texts("titles", titles)
    arrays |= catalogue.arrays() if catalogue is not None else {}
    if training:
        arrays["training"] = np.empty(0, np.uint8)
    origin = {"repeats": repeats if repeats != "last" else "", "mark": mark}
    facts |= {name: value for name, value in origin.items() if value}
    facts |= {} if source_ms is None else {"source_ms": source_ms}
    return write_artifact(directory, KIND, arrays, facts)


def _ascend(users: NDArray[np.integer[Any]], items: NDArray[np.integer[Any]]) -> bool:
    """Whether each pair is greater than the one before."""
    for start in range(0, len(users) - 1, AT_ONCE):
        some, after = slice(start, min(start + AT_ONCE, len(users) - 1)), slice(start + 1, start + AT_ONCE + 1)
        next_item = (users[some] == users[after]) & (items[some] < items[after])
        if not np.all((users[some] < users[after]) | next_item):
            return False
    return True


def _texts(name: str, texts: Sequence[str] | TextTable | None) -> dict[str, NDArray[Any]]:
    """The arrays of a table, if there is one."""
    if texts is None:
        return {}
    table = texts if isinstance(texts, TextTable) else build(texts)
    return {f"{name}_offsets": table.offsets, f"{name}_blob": table.blob}


def _left(pairs: Pairs, n_users: int) -> dict[str, NDArray[Any]]:
    """The arrays of the items that are left out."""
    if not _ascend(pairs.users, pairs.items):
        raise ValueError("the pairs that are left out must ascend")
    users, items = (column.astype(np.uint32, copy=False) for column in pairs)
    return {"left_ptr": _starts(users, n_users), "left_items": items}


def _starts(users: NDArray[np.uint32], n: int) -> NDArray[np.int64]:
    """The start of each of n users, who are sorted, int64[n + 1]."""
    return np.searchsorted(users, np.arange(n + 1, dtype=np.uint32))


def _by_item(
    n: int, users: NDArray[np.uint32], items: NDArray[np.uint32], weights: NDArray[np.float32] | None
) -> tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32] | None]:
    """The start of each of n items, int64[n + 1], and its users and weights, which keep their order.

    Rows go to their places a slice at a time, so that the order of all rows is never in memory.
    """
    at_once = max(AT_ONCE, n)
    slices = [slice(start, start + at_once) for start in range(0, len(items), at_once)]
    starts = np.concatenate(([0], np.cumsum(count_each(items, n))))
    item_users, item_weights = np.empty_like(users), None if weights is None else np.empty_like(weights)
    filled = starts[:-1].copy()
    for some in slices:
        order, counts = stable_order(items[some], n), np.bincount(items[some], minlength=n)
        places = np.repeat(filled - (np.cumsum(counts) - counts), counts)
        places += np.arange(len(order))
        item_users[places] = users[some][order]
        if item_weights is not None and weights is not None:
            item_weights[places] = weights[some][order]
        filled += counts
    return starts, item_users, item_weights


def open_snapshot(directory: Path, *, verify: bool = False) -> Snapshot:
    """Open the snapshot in `directory`; with `verify`, check hashes and integrity too.

    Raises:
        ArtifactMissingError: there is none.
        ArtifactDamagedError: a file does not match the manifest, or is invalid for a snapshot.
        StoreError: a file is temporarily unreadable.
    """
    artifact = open_artifact(directory, KIND, verify=verify)
    origin, described = _origin(artifact), {"users", "items", "interactions"}
    has_left = any(name in artifact.arrays for name in ("left_ptr", "left_items"))
    counts = {name: count for name, count in artifact.facts.items() if name not in origin}
    if counts.keys() != described | ({"left"} if has_left else set()) or not all(map(_is_count, counts.values())):
        raise artifact.fact_damage("does not describe a snapshot")
    users, items, interactions = (artifact.facts[name] for name in ("users", "items", "interactions"))
    weights = ("user_weights", "item_weights")
    has_weights = any(name in artifact.arrays for name in weights)
    snapshot = Snapshot(
        id=artifact.id,
        users=_table(artifact, "user_ids", users),
        items=_table(artifact, "item_ids", items),
        titles=_table(artifact, "titles", items) if "titles_blob" in artifact.arrays else None,
        user_ptr=artifact.array("user_ptr", np.int64, users + 1),
        user_items=artifact.array("user_items", np.uint32, interactions),
        user_weights=artifact.array("user_weights", np.float32, interactions) if has_weights else None,
        user_times=artifact.array("user_times", np.int64, interactions) if "user_times" in artifact.arrays else None,
        item_ptr=artifact.array("item_ptr", np.int64, items + 1),
        item_users=artifact.array("item_users", np.uint32, interactions),
        item_weights=artifact.array("item_weights", np.float32, interactions) if has_weights else None,
        **origin,
        catalogue=open_catalogue(artifact, items, verify=verify),
        left_ptr=artifact.array("left_ptr", np.int64, users + 1) if has_left else None,
        left_items=artifact.array("left_items", np.uint32, artifact.facts["left"]) if has_left else None,
    )
    if verify:
        for side, other in (("user", "item"), ("item", "user")):
            check_texts(artifact, f"{side}_ids", are_ids=True)
            check_pointers(artifact, f"{side}_ptr", interactions)
            check_rows(artifact, f"{side}_{other}s", f"{side}_ptr", items if other == "item" else users)
        check_counts(artifact, "user_ptr", "item_users")
        check_counts(artifact, "item_ptr", "user_items")
        if has_left:
            check_pointers(artifact, "left_ptr", artifact.facts["left"])
            check_rows(artifact, "left_items", "left_ptr", items)
        for name in weights if has_weights else ():
            check_values(artifact, name)
        if snapshot.titles is not None:
            check_texts(artifact, "titles", are_ids=False)
    return snapshot


def _is_count(value: object) -> bool:
    return isinstance(value, int) and value >= 0


def _origin(artifact: Artifact) -> dict[str, Any]:
    """The fields that say how the snapshot was made."""
    kinds = {"repeats": str, "mark": str, "source_ms": int}
    found = {name: artifact.facts[name] for name in kinds if name in artifact.facts}
    are_valid = all(isinstance(value, kinds[name]) for name, value in found.items())
    if not are_valid or found.get("repeats", "last") not in get_args(Repeats):
        raise artifact.fact_damage("does not describe a snapshot")
    return found


def _table(artifact: Artifact, name: str, count: int) -> TextTable:
    offsets = artifact.array(f"{name}_offsets", np.int64, count + 1)
    return TextTable(offsets, artifact.array(f"{name}_blob", np.uint8))
