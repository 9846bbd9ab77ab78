"""Tests of the kernel that scores candidates."""

from dataclasses import replace
from itertools import pairwise
from threading import Timer

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shared.balance import balance
from tests.interactions import Interactions, from_pairs, random_interactions, small_interactions
from tests.reference import Entry, reference_lists, reference_rows
from workers.kernels.merge import Partial, merge
from workers.kernels.score import score_users

Model = tuple[NDArray[np.int64], NDArray[np.uint32], NDArray[np.float32]]


def model_of(data: Interactions, *, neighbours: int) -> Model:
    return reference_rows(
        *(data.item_ptr, data.item_users, data.item_weights),
        *(data.user_ptr, data.user_items, data.user_weights),
        neighbours=neighbours,
    )


def model(rows: list[dict[int, float]]) -> Model:
    """A model written out: for each item, its neighbours and their values."""
    return (
        np.cumsum([0, *map(len, rows)], dtype=np.int64),
        np.array([item for row in rows for item in sorted(row)], np.uint32),
        np.array([row[item] for row in rows for item in sorted(row)], np.float32),
    )


def score(
    rows: Model,
    data: Interactions,
    candidates: tuple[int, int] | None = None,
    *,
    length: int,
    users: slice = slice(None),
    exclude_history: bool = True,
) -> Partial:
    first, last = (0, data.n_items) if candidates is None else candidates
    block = range(data.n_users)[users]
    partial = score_users(
        *rows,
        *(data.user_ptr[block.start : block.stop + 1], data.user_items, data.user_weights),
        *(first, last, length),
        exclude_history=exclude_history,
        stop=np.zeros(1, np.uint8),
    )
    assert partial is not None
    return partial


def lists_of(partial: Partial) -> list[list[Entry]]:
    flat = [
        Entry(*entry) for entry in zip(partial.items.tolist(), partial.scores, partial.reasons.tolist(), strict=True)
    ]
    ends = np.cumsum(partial.counts)
    return [flat[end - count : end] for end, count in zip(ends, partial.counts, strict=True)]


def same_bytes(one: Partial, other: Partial) -> bool:
    return [(a.dtype, a.tobytes()) for a in one] == [(a.dtype, a.tobytes()) for a in other]


def history(*items: int, n_items: int, weights: tuple[float, ...] = ()) -> Interactions:
    """One user who has had these items."""
    pairs = {(0, item): weight for item, weight in zip(items, weights or [1.0] * len(items), strict=True)}
    return from_pairs(pairs, n_users=1, n_items=n_items, weighted=bool(weights))


def test_a_checkerboard_recommends_the_one_item_that_is_missing() -> None:
    """Each is the only one of its colour that the user has not had; all similarities in a colour are 2 / 3."""
    pairs = {(user, item): 1.0 for user in range(8) for item in range(user % 2, 8, 2) if item != user}
    data = from_pairs(pairs, n_users=8, n_items=8)
    lists = lists_of(score(model_of(data, neighbours=8), data, length=5))
    firsts = [min(item for item in range(user % 2, 8, 2) if item != user) for user in range(8)]
    assert lists == [[Entry(user, np.float32(2 / 3), firsts[user])] for user in range(8)]


@given(
    data=small_interactions(),
    neighbours=st.integers(1, 10),
    length=st.integers(1, 12),
    exclude_history=st.booleans(),
)
def test_lists_are_the_reference_bit_for_bit(
    data: Interactions, neighbours: int, length: int, exclude_history: bool
) -> None:
    """Items, scores and reasons, weighted or not, also with lists longer than the catalogue."""
    rows = model_of(data, neighbours=neighbours)
    expected = reference_lists(
        *(*rows, data.user_ptr, data.user_items, data.user_weights), length=length, exclude_history=exclude_history
    )
    assert lists_of(score(rows, data, length=length, exclude_history=exclude_history)) == expected


@given(data=small_interactions(), cuts=st.lists(st.integers(0, 10), max_size=4), length=st.integers(1, 12))
def test_chunks_cut_anywhere_merge_into_the_same_bytes(data: Interactions, cuts: list[int], length: int) -> None:
    """Also ranges without a candidate."""
    rows = model_of(data, neighbours=4)
    bounds = [0, *sorted(min(cut, data.n_items) for cut in cuts), data.n_items]
    partials = [score(rows, data, span, length=length) for span in pairwise(bounds)]
    assert same_bytes(merge(partials, length), score(rows, data, length=length))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("chunks", [1, 2, 5, 32, 300])
def test_any_number_of_chunks_gives_the_reference(chunks: int, weighted: bool) -> None:
    """Up to a chunk for each item."""
    data = random_interactions(3, n_users=80, n_items=300, n_pairs=3000, weighted=weighted)
    rows = model_of(data, neighbours=25)
    bounds = balance(np.bincount(rows[1], minlength=300), chunks).tolist()
    partials = [score(rows, data, span, length=20) for span in pairwise(bounds)]
    assert len(partials) == chunks
    expected = reference_lists(*rows, data.user_ptr, data.user_items, data.user_weights, length=20)
    assert lists_of(merge(partials, 20)) == expected


@pytest.mark.parametrize("block", [1, 7, 80])
def test_blocks_of_any_size_give_the_same_lists(block: int) -> None:
    """What a user gets does not depend on who else is in the block."""
    data = random_interactions(4, n_users=80, n_items=100, n_pairs=2000, weighted=True)
    rows = model_of(data, neighbours=10)
    lists = [
        user_list
        for start in range(0, 80, block)
        for user_list in lists_of(score(rows, data, length=6, users=slice(start, start + block)))
    ]
    assert lists == lists_of(score(rows, data, length=6))


def test_a_score_is_the_weighted_mean_of_similarities() -> None:
    """(3 * 0.5 + 1 * 0.25) / 4, although only two of the three items in the history are similar."""
    rows = model([{3: 0.5}, {3: 0.25}, {}, {}])
    three = history(0, 1, 2, n_items=4, weights=(3.0, 1.0, 4.0))
    assert lists_of(score(rows, three, length=9)) == [[Entry(3, np.float32(1.75 / 8), 0)]]


def test_the_reason_is_the_largest_share_and_not_the_largest_similarity() -> None:
    """2 * 0.5 is more than 1 * 0.75."""
    rows = model([{2: 0.75}, {2: 0.5}, {}])
    assert lists_of(score(rows, history(0, 1, n_items=3, weights=(1.0, 2.0)), length=1))[0][0].reason == 1


def test_of_equal_shares_the_smaller_index_is_the_reason() -> None:
    """In whichever order the shares come."""
    assert lists_of(score(model([{2: 0.5}, {2: 0.5}, {}]), history(0, 1, n_items=3), length=1))[0][0].reason == 0


def test_of_equal_scores_the_smaller_index_stands_first() -> None:
    """Judged as float32: item 2 is ahead by 1e-12 in float64, and that does not count."""
    rows = model([{1: 0.5, 2: 0.5, 3: 0.5}, {}, {}, {}, {2: 1e-12}])
    best = score(rows, history(0, 4, n_items=5), length=2)
    assert best.items.tolist() == [1, 2]
    assert best.scores.tolist() == [0.25, 0.25]


def test_the_history_is_left_out_unless_it_is_asked_for() -> None:
    """A user may want what was had before."""
    rows, two = model([{1: 0.5, 2: 0.25}, {0: 0.5}, {}]), history(0, 1, n_items=3)
    assert score(rows, two, length=3).items.tolist() == [2]
    assert score(rows, two, length=3, exclude_history=False).items.tolist() == [0, 1, 2]


def test_an_empty_history_gives_an_empty_list() -> None:
    """And leaves the other users' lists alone."""
    data = from_pairs({(1, 0): 1.0}, n_users=3, n_items=2)
    assert lists_of(score(model([{1: 0.5}, {}]), data, length=2)) == [[], [Entry(1, np.float32(0.5), 0)], []]


def test_scores_that_round_to_zero_are_not_returned() -> None:
    """Only positive scores are, as they are stored."""
    tiny = float(np.finfo(np.float32).smallest_subnormal)
    assert score(model([{2: tiny}, {}, {}]), history(0, 1, n_items=3), length=2).items.size == 0


def test_read_only_arrays_are_taken() -> None:
    """Models and snapshots are memory-mapped and cannot be written."""
    data = random_interactions(12, n_users=10, n_items=10, n_pairs=50, weighted=True)
    rows = model_of(data, neighbours=3)
    expected = score(rows, data, length=4)
    for array in (*rows, *vars(data).values()):
        array.flags.writeable = False
    assert same_bytes(score(rows, data, length=4), expected)


def test_a_block_that_is_stopped_has_no_lists() -> None:
    """Also one that is stopped before it began."""
    one = history(0, n_items=2)
    stop = np.ones(1, np.uint8)
    assert score_users(*model([{1: 0.5}, {}]), one.user_ptr, one.user_items, None, 0, 2, 5, stop=stop) is None


def test_the_stop_flag_is_read_while_a_block_is_under_way() -> None:
    """Another thread sets it, in the middle of what would take seconds."""
    size, stop = 2000, np.zeros(1, np.uint8)
    ptr = np.arange(0, size * size + 1, size, dtype=np.int64)
    everything = np.tile(np.arange(size, dtype=np.uint32), size)
    timer = Timer(0.1, stop.fill, [1])
    timer.start()
    values = np.ones(everything.size, np.float32)
    partial = score_users(ptr, everything, values, ptr, everything, None, 0, size, 10, stop=stop)
    timer.join()
    assert partial is None


@pytest.mark.parametrize("candidates", [(-1, 2), (2, 1), (0, 3)])
def test_candidates_outside_the_items_are_refused(candidates: tuple[int, int]) -> None:
    """A kernel would read past its arrays."""
    with pytest.raises(ValueError, match="not among 2 items"):
        score(model([{}, {}]), history(0, n_items=2), candidates, length=3)


def test_a_list_has_room_for_one_item_at_least() -> None:
    """A length below 1 is refused."""
    with pytest.raises(ValueError, match="0 items"):
        score(model([{}, {}]), history(0, n_items=2), length=0)


def test_weights_of_one_are_no_weights() -> None:
    """Both give the same bytes."""
    data = random_interactions(8, n_users=30, n_items=50, n_pairs=500)
    rows = model_of(data, neighbours=9)
    weighted = replace(data, user_weights=np.ones(data.user_items.size, np.float32))
    assert same_bytes(score(rows, weighted, length=7), score(rows, data, length=7))
