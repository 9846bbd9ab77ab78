"""A snapshot holds the same interactions by user and by item."""

from collections.abc import Iterable
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.ids import MAX_ID_BYTES
from reckoner.shared.store import snapshots
from reckoner.shared.store.snapshots import Pairs, Snapshot, open_snapshot, write_snapshot

pairs = st.dictionaries(
    st.tuples(st.integers(0, 6), st.integers(0, 8)), st.tuples(st.sampled_from([0.5, 1.0, 3.0]), st.integers(0, 10**13))
)
IDS = ["", "\0", "\n", "007", "7", "a", "é", "ä" * (MAX_ID_BYTES // 2), "😀"]
ITEM_IDS = sorted(IDS)
USER_IDS = sorted(IDS[:7])


def write(directory: Path, entries: dict[tuple[int, int], tuple[float, int]], left: Pairs | None = None) -> str:
    return write_snapshot(
        directory,
        user_ids=USER_IDS,
        item_ids=ITEM_IDS,
        users=np.array([user for user, _ in entries], dtype=np.int64),
        items=np.array([item for _, item in entries], dtype=np.int64),
        weights=np.array([weight for weight, _ in entries.values()]),
        times=np.array([time for _, time in entries.values()], dtype=np.int64),
        titles=[f"title of {item}" if item else "" for item in ITEM_IDS],
        left=left,
    )


def as_pairs(pairs: Iterable[tuple[int, int]]) -> Pairs:
    return Pairs(*np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T)


def by_user(snapshot: Snapshot) -> dict[tuple[int, int], tuple[float, int]]:
    assert snapshot.user_times is not None
    found = {}
    for user in range(snapshot.n_users):
        items = range(snapshot.user_ptr[user], snapshot.user_ptr[user + 1])
        assert all(snapshot.user_items[i] < snapshot.user_items[i + 1] for i in items[:-1])
        for i in items:
            weight = 1.0 if snapshot.user_weights is None else float(snapshot.user_weights[i])
            found[user, int(snapshot.user_items[i])] = (weight, int(snapshot.user_times[i]))
    return found


def by_item(snapshot: Snapshot) -> dict[tuple[int, int], float]:
    found = {}
    for item in range(snapshot.n_items):
        users = range(snapshot.item_ptr[item], snapshot.item_ptr[item + 1])
        assert all(snapshot.item_users[i] < snapshot.item_users[i + 1] for i in users[:-1])
        for i in users:
            found[int(snapshot.item_users[i]), item] = (
                1.0 if snapshot.item_weights is None else float(snapshot.item_weights[i])
            )
    return found


@given(pairs)
def test_interactions_are_there_by_user_and_by_item(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[tuple[int, int], tuple[float, int]]
) -> None:
    """Both ways hold each interaction once, with its weight and time, in index order."""
    directory = tmp_path_factory.mktemp("snapshot")
    write(directory, entries)
    snapshot = open_snapshot(directory, verify=True)
    assert by_user(snapshot) == entries
    assert by_item(snapshot) == {pair: weight for pair, (weight, _) in entries.items()}
    assert [snapshot.items.find(item) for item in ITEM_IDS] == list(range(len(ITEM_IDS)))
    assert [snapshot.title(item) for item in range(2)] == [None, "title of \0"]


@given(pairs, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[tuple[int, int], tuple[float, int]], random: Random
) -> None:
    """The same interactions in another order are the same snapshot."""
    shuffled = list(entries.items())
    random.shuffle(shuffled)
    first, second = tmp_path_factory.mktemp("first"), tmp_path_factory.mktemp("second")
    assert write(first, entries) == write(second, dict(shuffled))


@given(pairs, st.randoms(use_true_random=False))
def test_rows_beyond_one_slice_are_the_same(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[tuple[int, int], tuple[float, int]], random: Random
) -> None:
    """Rows are sorted a slice at a time; the snapshot does not tell."""
    whole, sliced = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("sliced")
    shuffled = dict(sorted(entries.items(), key=lambda _: random.random()))
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(snapshots, "AT_ONCE", 1)
        sliced_id = write(sliced, shuffled)
    assert write(whole, entries) == sliced_id
    assert by_item(open_snapshot(sliced, verify=True)) == {pair: weight for pair, (weight, _) in entries.items()}


def test_weights_that_are_all_one_are_no_weights(tmp_path: Path) -> None:
    """Nothing is stored for weights of 1, so that data with and without them are the same snapshot."""
    write(tmp_path, {(0, 0): (1.0, 5), (1, 0): (1.0, 6)})
    snapshot = open_snapshot(tmp_path)
    assert snapshot.user_weights is None
    assert snapshot.item_weights is None


def test_popular_items_have_the_most_users(tmp_path: Path) -> None:
    """The most users come first, and of two with as many the smaller index."""
    write(tmp_path, dict.fromkeys([(0, 3), (1, 3), (2, 3), (0, 5), (1, 5), (0, 1), (1, 1), (6, 0)], (1.0, 0)))
    snapshot = open_snapshot(tmp_path)
    assert snapshot.popular(4).tolist() == [3, 1, 5, 0]
    assert snapshot.popular(4).dtype == np.uint32
    assert len(snapshot.popular(100)) == len(ITEM_IDS)


def test_a_repeated_pair_is_refused(tmp_path: Path) -> None:
    """Merging repeats is the importer's work; two of a pair would count twice."""
    with pytest.raises(ValueError, match="unique"):
        write_snapshot(tmp_path, user_ids=["u"], item_ids=["i"], users=np.array([0, 0]), items=np.array([0, 0]))


def test_ids_out_of_order_are_refused(tmp_path: Path) -> None:
    """An id could not be found by bisection."""
    with pytest.raises(ValueError, match="sorted"):
        write_snapshot(tmp_path, user_ids=["b", "a"], item_ids=["i"], users=np.array([0]), items=np.array([0]))


@given(pairs, st.sets(st.tuples(st.integers(0, 6), st.integers(0, 8))))
def test_the_items_that_are_left_out_are_those_given(
    tmp_path_factory: pytest.TempPathFactory,
    entries: dict[tuple[int, int], tuple[float, int]],
    left: set[tuple[int, int]],
) -> None:
    """Whether a user has interacted with them or not; the interactions are as ever."""
    directory = tmp_path_factory.mktemp("snapshot")
    write(directory, entries, as_pairs(left))
    snapshot = open_snapshot(directory, verify=True)
    ptr, items = snapshot.left_out
    users = np.repeat(np.arange(len(USER_IDS)), np.diff(ptr))
    assert list(zip(users.tolist(), items.tolist(), strict=True)) == sorted(left)
    assert by_user(snapshot) == entries


@given(pairs)
def test_what_is_left_out_is_not_stored_if_it_is_the_interactions(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[tuple[int, int], tuple[float, int]]
) -> None:
    """So that data with and without roles are the same snapshot."""
    plain, same = tmp_path_factory.mktemp("plain"), tmp_path_factory.mktemp("same")
    assert write(plain, entries) == write(same, entries, as_pairs(entries))
    snapshot = open_snapshot(same)
    assert (snapshot.left_ptr, snapshot.left_items) == (None, None)
    assert snapshot.left_out == (snapshot.user_ptr, snapshot.user_items)


def test_pairs_to_leave_out_in_another_order_are_refused(tmp_path: Path) -> None:
    """An item could not be found by bisection."""
    with pytest.raises(ValueError, match="ascend"):
        write(tmp_path, {(0, 0): (1.0, 0)}, Pairs(np.array([1, 0]), np.array([0, 0])))
