"""Splits against a plain reference; no test interaction reaches training."""

import math
import random
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.producer.evaluation.splits import (
    DAY_MS,
    NEW,
    HeldOut,
    Interactions,
    Protocol,
    Split,
    hold_out,
    interactions_of,
)
from reckoner.shared.errors import UsageError
from reckoner.shared.store.identifiers import build
from reckoner.shared.store.snapshots import Pairs, Snapshot, open_snapshot, write_snapshot


class Row(NamedTuple):
    """One interaction. Its weight is a mark of its own."""

    user: str
    item: str
    time: int
    mark: float


def data_of(rows: list[Row], *, times: bool = True) -> Interactions:
    """The interactions of rows with distinct pairs."""
    rows = sorted(rows)
    users, items = sorted({row.user for row in rows}), sorted({row.item for row in rows})
    return Interactions(
        user_ids=build(users),
        item_ids=build(items),
        users=np.array([users.index(row.user) for row in rows], np.uint32),
        items=np.array([items.index(row.item) for row in rows], np.uint32),
        weights=np.array([row.mark for row in rows], np.float32),
        times=np.array([row.time for row in rows], np.int64) if times else None,
    )


@st.composite
def tables(draw: st.DrawFn) -> list[Row]:
    """Interactions of a few users and items, with many equal times."""
    pairs = st.tuples(st.sampled_from("abcdefgh"), st.sampled_from("rstuvwxyz"))
    found = sorted(draw(st.sets(pairs, min_size=4, max_size=60)))
    times = draw(st.lists(st.integers(0, 12), min_size=len(found), max_size=len(found)))
    return [
        Row(*pair, time * DAY_MS, number + 1.0) for number, (pair, time) in enumerate(zip(found, times, strict=True))
    ]


protocols = st.one_of(
    st.builds(Protocol, share=st.sampled_from([0.1, 0.2, 0.5])),
    st.builds(Protocol, days=st.sampled_from([0.5, 2, 5])),
    st.builds(Protocol, split=st.just("last"), share=st.sampled_from([0.1, 0.2, 0.5])),
    st.builds(Protocol, split=st.just("random"), share=st.sampled_from([0.1, 0.2]), seed=st.integers(0, 3)),
)


def reference(rows: list[Row], protocol: Protocol, fold: int) -> tuple[set[float], set[float]]:
    """The marks of the training part and of the test part."""
    if protocol.split == "global":
        cuts = [_cut(sorted(row.time for row in rows), protocol, parts) for parts in (fold + 1, fold)]
        kept = {row.mark for row in rows if row.time < cuts[0]}
        return kept, {row.mark for row in rows if cuts[0] <= row.time and (fold == 0 or row.time < cuts[1])}
    by_time = sorted(rows, key=lambda row: (row.user, row.time, row.item))
    drawn = np.random.default_rng(protocol.seed + fold).random(len(rows)).tolist()
    key = {row: (drawn[at] if protocol.split == "random" else row.time, row.item) for at, row in enumerate(by_time)}
    held = set[float]()
    for user, n in Counter(row.user for row in rows).items():
        own = sorted((row for row in rows if row.user == user), key=key.__getitem__)
        count = max(1, math.floor(n * protocol.share + 1e-9)) if n >= 3 else 0
        held |= {row.mark for row in own[n - count :]}
    return {row.mark for row in rows} - held, held


def _cut(times: list[int], protocol: Protocol, parts: int) -> float:
    """The time from which on the last so many test parts are."""
    if protocol.days is not None:
        return times[-1] - parts * protocol.days * DAY_MS + 1
    return times[min(max(int(len(times) * (1 - parts * protocol.share)), 0), len(times) - 1)]


def held_by_user(split: Split, held: HeldOut, item_ids: list[str]) -> dict[str, list[str]]:
    """The items of each user of the training part, `new` for others."""
    found = dict[str, list[str]]()
    for at, user in enumerate(held.users.tolist()):
        items = held.items[held.ptr[at] : held.ptr[at + 1]].tolist()
        found[split.training.user_ids[user]] = ["new" if item == NEW else item_ids[item] for item in items]
    return found


def split_or_none(rows: list[Row], protocol: Protocol, fold: int) -> Split | None:
    try:
        return hold_out(data_of(rows), protocol, fold)
    except UsageError:
        return None


@given(tables(), protocols, st.integers(0, 2))
def test_no_test_interaction_reaches_training(rows: list[Row], protocol: Protocol, fold: int) -> None:
    """Each interaction is marked by its weight: the training part holds exactly the marks of the reference's."""
    train, test = reference(rows, protocol, fold)
    assert not train & test
    split = split_or_none(rows, protocol, fold)
    if split is None:
        assert not train or not test
        return
    training = split.training
    assert training.weights is not None
    assert training.times is not None
    kept = [row for row in sorted(rows) if row.mark in train]
    assert training.weights.tolist() == [row.mark for row in kept]
    assert training.times.tolist() == [row.time for row in kept]
    assert [training.user_ids[user] for user in training.users.tolist()] == [row.user for row in kept]
    assert [training.item_ids[item] for item in training.items.tolist()] == [row.item for row in kept]
    # Not even an id of the test part alone.
    assert [training.user_ids[at] for at in range(len(training.user_ids))] == sorted({row.user for row in kept})
    assert [training.item_ids[at] for at in range(len(training.item_ids))] == sorted({row.item for row in kept})


@given(tables(), protocols, st.integers(0, 2), st.integers(1, 4), st.booleans())
def test_the_tested_users_have_their_test_interactions(
    rows: list[Row], protocol: Protocol, fold: int, least: int, new: bool
) -> None:
    """Users without a history stand apart; those with a short one are counted; new items count if asked."""
    protocol = Protocol(
        split=protocol.split, share=protocol.share, days=protocol.days, seed=protocol.seed,
        least_history=least, new_items=new,
    )  # fmt: skip
    split = split_or_none(rows, protocol, fold)
    if split is None:
        return
    train, test = reference(rows, protocol, fold)
    histories = Counter(row.user for row in rows if row.mark in train)
    known = {row.item for row in rows if row.mark in train}
    wanted = dict[str, list[str]]()
    for row in sorted(rows, key=lambda row: (row.user, row.item not in known, row.item)):
        if row.mark in test and histories[row.user] >= least and (new or row.item in known):
            wanted.setdefault(row.user, []).append(row.item if row.item in known else "new")
    items = [split.training.item_ids[item] for item in range(len(split.training.item_ids))]
    assert held_by_user(split, split.test, items) == wanted
    assert [data_of(rows).user_ids[user] for user in split.tested.tolist()] == sorted(wanted)
    tested = [row for row in rows if row.mark in test]
    cold = {row.user for row in tested if not histories[row.user] and (new or row.item in known)}
    assert split.without_history.users.size == len(cold)
    assert split.short_history == len({row.user for row in tested if 0 < histories[row.user] < least})
    assert split.new_items == sum(row.item not in known and histories[row.user] >= least for row in tested)


def test_a_training_part_never_has_the_id_of_an_import(tmp_path: Path) -> None:
    """So deleting it deletes no snapshot of anybody; its interactions are those of an import."""
    rows = [Row(f"u{number % 5}", f"i{number}", number, 1.0 + number) for number in range(20)]
    data = data_of(rows)
    places = tmp_path / "import", tmp_path / "training"
    for place in places:
        place.mkdir()
    imported = write_snapshot(
        places[0], user_ids=data.user_ids, item_ids=data.item_ids, users=data.users, items=data.items,
        weights=data.weights, times=data.times,
    )  # fmt: skip
    assert data.write(places[1]) != imported
    first, second = (open_snapshot(place, verify=True) for place in places)
    assert same_interactions(first, second)


def same_interactions(first: Snapshot, second: Snapshot) -> bool:
    one, other = interactions_of(first), interactions_of(second)
    names = ("users", "items", "weights", "times")
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)


@pytest.mark.parametrize("split", ["global", "last"])
def test_data_without_times_have_no_split_by_time(split: str) -> None:
    rows = [Row(f"u{number % 5}", f"i{number}", 0, 1.0) for number in range(random.Random(1).randint(20, 30))]
    with pytest.raises(UsageError, match="no times"):
        hold_out(data_of(rows, times=False), Protocol(split=split))  # type: ignore[arg-type]
    assert hold_out(data_of(rows, times=False), Protocol(split="random")).training.times is None


@given(tables(), protocols, st.data())
def test_a_training_part_leaves_out_what_was_left_out_by_then(
    rows: list[Row], protocol: Protocol, drawn: st.DataObject
) -> None:
    """What counts and was bought, or disliked; not what is held out, nor of users and items that are not there."""
    data = data_of(rows)
    users, items = names_of(data)
    pairs = drawn.draw(st.sets(st.tuples(st.sampled_from(users), st.sampled_from(items)), max_size=40))
    left = np.array(sorted((users.index(user), items.index(item)) for user, item in pairs), np.uint32).reshape(-1, 2)
    try:
        training = hold_out(replace(data, left=Pairs(left[:, 0], left[:, 1])), protocol).training
    except UsageError:
        return
    users, items = names_of(training)
    kept = {
        (users[user], items[item]) for user, item in zip(training.users.tolist(), training.items.tolist(), strict=True)
    }
    later = {(row.user, row.item) for row in rows} - kept
    assert training.left is not None
    found = zip(training.left.users.tolist(), training.left.items.tolist(), strict=True)
    assert [(users[user], items[item]) for user, item in found] == sorted(
        (user, item) for user, item in pairs - later if user in users and item in items
    )


def names_of(data: Interactions) -> tuple[list[str], list[str]]:
    """The ids of users and items."""
    return (
        [data.user_ids[at] for at in range(len(data.user_ids))],
        [data.item_ids[at] for at in range(len(data.item_ids))],
    )
