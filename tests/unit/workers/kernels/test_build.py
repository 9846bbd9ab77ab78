"""Tests of the kernel that builds a model."""

from dataclasses import replace
from itertools import pairwise
from math import sqrt
from threading import Timer

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.interactions import Interactions, from_pairs, random_interactions, small_interactions
from tests.reference import reference_rows
from workers.kernels.build import Matrix, Rows, build_rows, join_rows


def rows_of(
    data: Interactions, first: int, last: int, *, neighbours: int, shrink: float = 0.0, stop: int = 0
) -> Rows | None:
    return build_rows(
        *(data.item_ptr, data.item_users, data.item_weights),
        *(data.user_ptr, data.user_items, data.user_weights),
        *(first, last),
        similarity="cosine",
        neighbours=neighbours,
        shrink=shrink,
        stop=np.array([stop], np.uint8),
    )


def model_of(data: Interactions, *, neighbours: int, shrink: float = 0.0, cuts: tuple[int, ...] = ()) -> Matrix:
    bounds = [0, *sorted(cuts), data.n_items]
    parts = [rows_of(data, first, last, neighbours=neighbours, shrink=shrink) for first, last in pairwise(bounds)]
    return joined([part for part in parts if part is not None])


def joined(parts: list[Rows]) -> Matrix:
    matrix = join_rows(parts, stop=np.zeros(1, np.uint8))
    assert matrix is not None
    return matrix


def row(model: Matrix, item: int) -> dict[int, float]:
    span = slice(model.row_ptr[item], model.row_ptr[item + 1])
    return dict(zip(model.row_items[span].tolist(), model.row_values[span].tolist(), strict=True))


def same_bytes(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return [(a.dtype, a.tobytes()) for a in one] == [(a.dtype, a.tobytes()) for a in other]


def checkerboard(size: int) -> Interactions:
    """User u has had the items of u's parity except item u."""
    pairs = {(user, item): 1.0 for user in range(size) for item in range(user % 2, size, 2) if item != user}
    return from_pairs(pairs, n_users=size, n_items=size)


def dense(size: int) -> Interactions:
    """Everybody has had everything."""
    ptr = np.arange(0, size * size + 1, size, dtype=np.int64)
    indices = np.tile(np.arange(size, dtype=np.uint32), size)
    return Interactions(ptr, indices, None, ptr, indices, None)


def test_a_checkerboard_has_one_similarity_within_a_colour_and_none_across() -> None:
    """Of 8 items each has 3 users and shares 2 with each other of its colour: 2 / 3."""
    model = model_of(checkerboard(8), neighbours=8)
    for item in range(8):
        others = [other for other in range(item % 2, 8, 2) if other != item]
        assert row(model, item) == dict.fromkeys(others, float(np.float32(2 / 3)))


@given(data=small_interactions(), neighbours=st.integers(1, 12), shrink=st.sampled_from([0.0, 0.5, 30.0]))
def test_a_model_is_the_reference_bit_for_bit(data: Interactions, neighbours: int, shrink: float) -> None:
    """Neighbours and values, weighted or not."""
    expected = reference_rows(
        *(data.item_ptr, data.item_users, data.item_weights),
        *(data.user_ptr, data.user_items, data.user_weights),
        neighbours=neighbours,
        shrink=shrink,
    )
    assert same_bytes(model_of(data, neighbours=neighbours, shrink=shrink), expected)


@given(data=small_interactions())
def test_without_weights_values_are_what_sets_of_users_say(data: Interactions) -> None:
    """The size of the intersection over the root of the product of both sizes."""
    model = model_of(replace(data, user_weights=None, item_weights=None), neighbours=data.n_items)
    users = [set(data.item_users[data.item_ptr[i] : data.item_ptr[i + 1]].tolist()) for i in range(data.n_items)]
    for i, mine in enumerate(users):
        expected = {
            j: float(np.float32(len(mine & other) / sqrt(len(mine) * len(other))))
            for j, other in enumerate(users)
            if j != i and mine & other
        }
        assert row(model, i) == expected


@given(data=small_interactions(), cuts=st.lists(st.integers(0, 10), max_size=4))
def test_rows_built_in_parts_are_the_rows_built_at_once(data: Interactions, cuts: list[int]) -> None:
    """A build can be split anywhere, also into ranges without a row."""
    inside = tuple(min(cut, data.n_items) for cut in cuts)
    assert same_bytes(model_of(data, neighbours=3, cuts=inside), model_of(data, neighbours=3))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_larger_model_is_the_reference_bit_for_bit(weighted: bool) -> None:
    """Rows longer than K, so that the choice at the K-th place counts."""
    data = random_interactions(5, n_users=120, n_items=300, n_pairs=4000, weighted=weighted)
    expected = reference_rows(
        *(data.item_ptr, data.item_users, data.item_weights),
        *(data.user_ptr, data.user_items, data.user_weights),
        neighbours=20,
        shrink=2.5,
    )
    assert same_bytes(model_of(data, neighbours=20, shrink=2.5, cuts=(17, 150)), expected)


def test_at_a_tied_last_place_the_smaller_index_stands() -> None:
    """Four items with the same users, two places."""
    data = from_pairs({(user, item): 1.0 for user in range(3) for item in range(4)}, n_users=3, n_items=4)
    model = model_of(data, neighbours=2)
    assert [list(row(model, item)) for item in range(4)] == [[1, 2], [0, 2], [0, 1], [0, 1]]


def test_weights_count_in_dot_products_and_squares() -> None:
    """Vectors (3, 4) and (4, 3) have the cosine 24 / 25."""
    data = from_pairs({(0, 0): 3, (1, 0): 4, (0, 1): 4, (1, 1): 3}, n_users=2, n_items=2, weighted=True)
    model = model_of(data, neighbours=1)
    assert row(model, 0) == {1: float(np.float32(24 / 25))}
    assert row(model, 1) == {0: float(np.float32(24 / 25))}


def test_weights_of_one_are_no_weights() -> None:
    """Both give the same bytes."""
    data = random_interactions(7, n_users=40, n_items=60, n_pairs=600)
    ones = np.ones(data.user_items.size, np.float32)
    weighted = replace(data, user_weights=ones, item_weights=ones)
    assert same_bytes(model_of(data, neighbours=9), model_of(weighted, neighbours=9))


def test_an_item_without_users_has_an_empty_row() -> None:
    """It is nobody's neighbour either."""
    model = model_of(from_pairs({(0, 0): 1.0, (0, 2): 1.0}, n_users=1, n_items=3), neighbours=5)
    assert [row(model, item) for item in range(3)] == [{2: 1.0}, {}, {0: 1.0}]


def test_no_items_give_an_empty_model() -> None:
    """Arrays of the right types all the same."""
    model = model_of(from_pairs({}, n_users=0, n_items=0), neighbours=5)
    assert same_bytes(model, (np.zeros(1, np.int64), np.empty(0, np.uint32), np.empty(0, np.float32)))


def test_read_only_arrays_are_taken() -> None:
    """Snapshots are memory-mapped and cannot be written."""
    data = random_interactions(11, n_users=10, n_items=10, n_pairs=50, weighted=True)
    expected = model_of(data, neighbours=3)
    for array in vars(data).values():
        array.flags.writeable = False
    assert same_bytes(model_of(data, neighbours=3), expected)


def test_a_build_that_is_stopped_has_no_rows() -> None:
    """Also one that is stopped before it began, and one that is stopped while its parts are joined."""
    assert rows_of(checkerboard(8), 0, 8, neighbours=3, stop=1) is None
    part = rows_of(checkerboard(8), 0, 8, neighbours=3)
    assert part is not None
    assert join_rows([part], stop=np.ones(1, np.uint8)) is None


def test_the_stop_flag_is_read_while_the_build_is_under_way() -> None:
    """Another thread sets it, in the middle of what would take seconds."""
    data, stop = dense(2000), np.zeros(1, np.uint8)
    timer = Timer(0.1, stop.fill, [1])
    timer.start()
    rows = build_rows(
        *(data.item_ptr, data.item_users, None, data.user_ptr, data.user_items, None, 0, 2000),
        similarity="cosine",
        neighbours=10,
        shrink=0.0,
        stop=stop,
    )
    timer.join()
    assert rows is None


@pytest.mark.parametrize(("first", "last"), [(-1, 2), (2, 1), (0, 9)])
def test_rows_outside_the_items_are_refused(first: int, last: int) -> None:
    """A kernel would read past its arrays."""
    with pytest.raises(ValueError, match="not among 8 items"):
        rows_of(checkerboard(8), first, last, neighbours=3)


def test_a_row_has_room_for_one_neighbour_at_least() -> None:
    """K below 1 is refused."""
    with pytest.raises(ValueError, match="0 neighbours"):
        rows_of(checkerboard(8), 0, 8, neighbours=0)


def test_an_unknown_similarity_is_named() -> None:
    """The message says which there are."""
    data = checkerboard(4)
    with pytest.raises(ValueError, match=r"no similarity jaccard; there are: .*cosine"):
        build_rows(
            *(data.item_ptr, data.item_users, None, data.user_ptr, data.user_items, None, 0, 4),
            similarity="jaccard",
            neighbours=1,
            shrink=0.0,
            stop=np.zeros(1, np.uint8),
        )
