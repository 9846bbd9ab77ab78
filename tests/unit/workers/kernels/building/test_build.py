"""Tests of the kernels that build a model out of tiles."""

from dataclasses import replace
from itertools import pairwise
from random import Random
from threading import Timer

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.build import Tile, build_tile
from reckoner.workers.kernels.building.join import Matrix
from reckoner.workers.kernels.building.pair import compare
from reckoner.workers.kernels.building.work import bit_ranks, cost_of
from tests.building import (
    BIT_BYTES,
    CONFIGS,
    EXACT,
    build,
    flag,
    join,
    label,
    no_floors,
    ranked_of,
    same_bytes,
    tiles_of,
    weighting_of,
)
from tests.interactions import (
    Interactions,
    everything,
    from_columns,
    from_pairs,
    random_interactions,
    small_interactions,
)
from tests.reference import reference_rows

CUTS = st.lists(st.integers(0, 10), max_size=4)


def limited(config: ModelConfig, neighbours: int) -> ModelConfig:
    return msgspec.structs.replace(config, neighbours=neighbours)


def cosine(neighbours: int, shrink: float = 0.0) -> ModelConfig:
    return ModelConfig("cosine", neighbours, shrink)


def inside(cuts: list[int], data: Interactions) -> list[int]:
    return [min(cut, data.n_items) for cut in cuts]


def row(model: Matrix, item: int) -> dict[int, float]:
    span = slice(model.row_ptr[item], model.row_ptr[item + 1])
    return dict(zip(model.row_items[span].tolist(), model.row_values[span].tolist(), strict=True))


def checkerboard(size: int) -> Interactions:
    """User u has had the items of u's parity except item u."""
    pairs = {(user, item): 1.0 for user in range(size) for item in range(user % 2, size, 2) if item != user}
    return from_pairs(pairs, n_users=size, n_items=size)


def tile(data: Interactions, bounds: tuple[int, int, int, int], neighbours: int = 3, stop: int = 0) -> Tile | None:
    weighting = weighting_of(data, cosine(neighbours))
    return build_tile(
        *(ranked_of(data, weighting), weighting, no_floors(data), *bounds),
        neighbours=neighbours,
        bit_bytes=BIT_BYTES,
        stop=flag(stop),
    )


@pytest.fixture(params=["bit sets", "counters"])
def counting(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How users are counted: most ranks as bit sets, which pay for few users, or none."""
    if request.param == "counters":
        monkeypatch.setattr("reckoner.workers.kernels.building.build.bit_ranks", lambda *_: 0)
    return str(request.param)


def test_a_checkerboard_has_one_similarity_within_a_colour_and_none_across() -> None:
    """Of 8 items each has 3 users and shares 2 with each other of its colour: 2 / 3."""
    model = build(checkerboard(8), cosine(8))
    for item in range(8):
        others = [other for other in range(item % 2, 8, 2) if other != item]
        assert row(model, item) == dict.fromkeys(others, float(np.float32(2 / 3)))


@given(data=small_interactions(), neighbours=st.integers(1, 12), config=st.sampled_from(EXACT), rows=CUTS, columns=CUTS)
def test_a_model_is_the_reference_bit_for_bit(
    data: Interactions, neighbours: int, config: ModelConfig, rows: list[int], columns: list[int]
) -> None:
    """Neighbours and values, weighted or not, out of any tiles."""
    wanted = limited(config, neighbours)
    expected = reference_rows(*data.arrays, **wanted.facts())
    assert same_bytes(build(data, wanted, inside(rows, data), inside(columns, data)), expected)


@given(data=small_interactions(), config=st.sampled_from(CONFIGS), rows=CUTS, columns=CUTS, random=st.randoms())
def test_tiles_cut_anywhere_give_the_same_model_in_any_order(
    data: Interactions, config: ModelConfig, rows: list[int], columns: list[int], random: Random
) -> None:
    """Of every similarity, also tiles without a row or without a column."""
    wanted = limited(config, 3)
    tiles = list(tiles_of(data, wanted, inside(rows, data), inside(columns, data)))
    random.shuffle(tiles)
    assert same_bytes(join(tiles, data, wanted), build(data, wanted))


@given(
    data=small_interactions(),
    config=st.sampled_from(CONFIGS),
    rows=CUTS,
    knowing=st.lists(st.integers(0, 2)),
    random=st.randoms(),
)
def test_what_tiles_know_of_others_changes_no_model(
    data: Interactions, config: ModelConfig, rows: list[int], knowing: list[int], random: Random
) -> None:
    """Processes build them in any order, and some anew when another one has learned from what is lost."""
    wanted = limited(config, 3)
    weighting = weighting_of(data, wanted)
    ranked, known = ranked_of(data, weighting), [no_floors(data) for _ in range(3)]
    spans = list(pairwise([0, *sorted(inside(rows, data)), data.n_items]))
    random.shuffle(spans)
    found = {}
    for number, (first, last) in enumerate(spans + spans[:2]):
        floors = known[knowing[number] if number < len(knowing) else 0]
        found[first, last] = build_tile(
            *(ranked, weighting, floors, first, last, 0, data.n_items), neighbours=3, bit_bytes=BIT_BYTES, stop=flag()
        )
    tiles = [tile for tile in found.values() if tile is not None]
    assert same_bytes(join(tiles, data, wanted), build(data, wanted))


def test_a_tile_brings_nothing_that_others_have_shown_to_be_too_little() -> None:
    """One that comes after others is smaller than it would be alone."""
    data = random_interactions(6, n_users=150, n_items=500, n_pairs=20_000)
    sizes = [tile.items.size for tile in tiles_of(data, cosine(5), (200,))]
    alone = tile(data, (200, 500, 0, 500), neighbours=5)
    assert alone is not None
    assert sizes[1] < alone.items.size


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
@pytest.mark.usefixtures("counting")
def test_tiles_of_many_items_give_the_same_model(config: ModelConfig, weighted: bool) -> None:
    """Wider than a block of columns and with longer rows and columns than are kept, as bit sets or not."""
    data = random_interactions(5, n_users=90, n_items=400, n_pairs=4000, weighted=weighted)
    wanted = limited(config, 7)
    whole = build(data, wanted)
    assert same_bytes(build(data, wanted, (17, 18, 150), (3, 290)), whole)
    assert same_bytes(build(data, wanted, range(0, 400, 64), ()), whole)
    assert same_bytes(build(data, wanted, (), range(0, 400, 64)), whole)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("neighbours", [1, 2, 20, 600])
def test_a_larger_model_is_the_reference_bit_for_bit(neighbours: int, weighted: bool, counting: str) -> None:
    """K of one, in the middle, and more than there are items."""
    data = random_interactions(6, n_users=150, n_items=500, n_pairs=6000, weighted=weighted)
    wanted = cosine(neighbours, 2.5)
    ranks = bit_ranks(cost_of(ranked_of(data, weighting_of(data, wanted)), weighting_of(data, wanted)), BIT_BYTES)
    assert (ranks == 0) if weighted else (10 < ranks < 490), counting
    assert same_bytes(build(data, wanted, (150,)), reference_rows(*data.arrays, **wanted.facts()))


@pytest.mark.usefixtures("counting")
def test_users_are_counted_beyond_what_sixteen_bits_hold() -> None:
    """65,536 users of two items: their counter would be at 0 again."""
    users = 1 << 16
    had = [np.arange(users), np.arange(users), np.arange(users - 1), np.arange(users - 10, users)]
    data = from_columns(had, n_users=users)
    model = build(data, cosine(3), (1, 2))
    for item, mine in enumerate(had):
        expected = {
            other: float(np.float32(np.intersect1d(mine, theirs).size / np.sqrt(mine.size * theirs.size)))
            for other, theirs in enumerate(had)
            if other != item
        }
        assert row(model, item) == expected


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_at_a_tied_last_place_the_smaller_index_stands(config: ModelConfig) -> None:
    """Of 300 items with the same three users, and two places."""
    pairs = {(user, item): 1.0 for user in range(3) for item in range(300)}
    data = from_pairs(pairs, n_users=9, n_items=300)
    model = build(data, limited(config, 2), (100,), (33,))
    assert [list(row(model, item)) for item in range(300)] == [[1, 2], [0, 2], *[[0, 1]] * 298]


def test_one_that_is_far_above_all_others_hides_none_of_them() -> None:
    """Three of 400 items share a user, others have one each; and all have one who counts for next to nothing."""
    pairs = {(0, item): 0.001 for item in range(400)} | {(max(item, 2), item): 1.0 for item in range(400)}
    data = from_pairs(pairs, n_users=400, n_items=400, weighted=True)
    wanted = cosine(3)
    rows = reference_rows(*data.arrays, **wanted.facts())
    assert rows[2].max() > 100_000 * rows[2].min() > 0
    assert same_bytes(build(data, wanted), rows)
    assert same_bytes(build(data, wanted, (100,), (50,)), rows)


def test_ties_are_judged_on_stored_values() -> None:
    """Item 2 is ahead of item 1 by 1e-10 in float64, and that does not count."""
    pairs = {(0, 0): 1.0, (0, 1): 1.0, (1, 1): 0.001, (0, 2): 1.0, (2, 2): 0.0009999}
    model = build(from_pairs(pairs, n_users=3, n_items=3, weighted=True), cosine(1))
    assert row(model, 0) == {1: row(model, 1)[0]}


def test_weights_count_in_dot_products_and_squares() -> None:
    """Vectors (3, 4) and (4, 3) have the cosine 24 / 25."""
    data = from_pairs({(0, 0): 3, (1, 0): 4, (0, 1): 4, (1, 1): 3}, n_users=2, n_items=2, weighted=True)
    model = build(data, cosine(1))
    assert row(model, 0) == {1: float(np.float32(24 / 25))}
    assert row(model, 1) == {0: float(np.float32(24 / 25))}


@pytest.mark.parametrize("config", EXACT, ids=label)
def test_weights_of_one_are_no_weights(config: ModelConfig) -> None:
    """Both give the same bytes."""
    data = random_interactions(7, n_users=40, n_items=60, n_pairs=600)
    ones = np.ones(data.user_items.size, np.float32)
    weighted = replace(data, user_weights=ones, item_weights=ones)
    assert same_bytes(build(data, limited(config, 9)), build(weighted, limited(config, 9)))


def test_an_item_without_users_has_an_empty_row() -> None:
    """It is nobody's neighbour either."""
    model = build(from_pairs({(0, 0): 1.0, (0, 2): 1.0}, n_users=1, n_items=3), cosine(5))
    assert [row(model, item) for item in range(3)] == [{2: 1.0}, {}, {0: 1.0}]


@pytest.mark.parametrize("weighted", [False, True])
def test_read_only_arrays_are_taken(weighted: bool) -> None:
    """Snapshots are memory-mapped and cannot be written."""
    data = random_interactions(11, n_users=10, n_items=10, n_pairs=50, weighted=weighted)
    expected = build(data, cosine(3))
    for array in vars(data).values():
        if array is not None:
            array.flags.writeable = False
    assert same_bytes(build(data, cosine(3)), expected)


def test_a_tile_that_is_stopped_before_its_start_returns_none() -> None:
    """The flag is checked before each row."""
    assert tile(checkerboard(8), (0, 8, 0, 8), stop=1) is None


@pytest.mark.parametrize(
    ("config", "weighted"), [(ModelConfig("tfidf"), False), (cosine(10), True), (cosine(10), False)], ids=str
)
def test_the_stop_flag_is_read_while_a_tile_is_under_way(
    config: ModelConfig, weighted: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread sets it in the middle of seconds of work, for every kind of sum."""
    monkeypatch.setattr("reckoner.workers.kernels.building.build.bit_ranks", lambda *_: 0)
    data = everything(2000, weighted=weighted)
    weighting = weighting_of(data, config)
    ranked, stop = ranked_of(data, weighting), flag()
    timer = Timer(0.05, stop.fill, [1])
    timer.start()
    found = build_tile(
        ranked, weighting, no_floors(data), 0, 2000, 0, 2000, neighbours=10, bit_bytes=BIT_BYTES, stop=stop
    )
    timer.join()
    assert found is None


@pytest.mark.parametrize(
    "bounds", [(-1, 2, 0, 8), (2, 1, 0, 8), (0, 9, 0, 8), (0, 8, -1, 8), (0, 8, 3, 2), (0, 8, 0, 9)]
)
def test_ranks_outside_the_items_are_refused(bounds: tuple[int, int, int, int]) -> None:
    """A kernel would read past its arrays."""
    with pytest.raises(ValueError, match="not among 8 items"):
        tile(checkerboard(8), bounds)


def test_a_row_has_room_for_one_neighbour_at_least() -> None:
    """K below 1 is refused."""
    with pytest.raises(ValueError, match="0 neighbours"):
        tile(checkerboard(8), (0, 8, 0, 8), neighbours=0)


def test_a_tile_holds_the_best_of_its_own_pairs_only() -> None:
    """Of rows and of columns, each pair once for both; items with as many users stand by index."""
    found = tile(checkerboard(8), (4, 8, 0, 3), neighbours=8)
    assert found is not None
    assert found.owners.tolist() == [4, 5, 6, 7, 0, 1, 2]
    ends = np.cumsum(found.counts)
    lists = [sorted(found.items[end - size : end].tolist()) for end, size in zip(ends, found.counts, strict=True)]
    assert lists == [[0, 2], [1], [0, 2], [1], [4, 6], [5, 7], [4, 6]]


def test_no_similarity_is_infinite_however_high_its_power_is() -> None:
    """A list with such a score could not be written as JSON; the largest float32 is as far as it goes."""
    data = random_interactions(3, n_users=400, n_items=60, n_pairs=3000)
    values = build(data, ModelConfig(similarity="bm25", power=100.0)).row_values
    assert np.isfinite(values).all()
    assert values.max() == np.finfo(np.float32).max


def test_no_similarity_of_tiny_weights_is_infinite() -> None:
    """Those of RP3beta may be as large without a power, and two items alone are compared to the same end."""
    data = from_pairs(dict.fromkeys([(0, 0), (0, 1), (1, 0)], 1e-6), n_users=2, n_items=2, weighted=True)
    config = ModelConfig("rp3beta", beta=10.0)
    found = compare(*data.arrays[:4], 0, 1, config, stop=flag())
    assert found is not None
    assert found.similarity == np.finfo(np.float32).max
    assert row(build(data, config), 0) == {1: float(found.similarity)}


def test_a_similarity_may_vanish_in_one_direction_only() -> None:
    """RP3beta divides by the popularity of one of the two, so much here that float32 has no number for it."""
    data = from_columns([np.arange(1000), np.arange(3)], n_users=1000)
    model = build(data, ModelConfig("rp3beta", beta=10.0, power=3.0))
    assert list(row(model, 0)) == [1]
    assert list(row(model, 1)) == []
