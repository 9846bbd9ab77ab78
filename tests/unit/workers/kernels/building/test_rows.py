"""Tests of sparse rows: the same bytes as dense ones, wherever the border between them is."""

from threading import Timer

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.build import Tile
from reckoner.workers.kernels.building.rows import build_rows
from reckoner.workers.kernels.building.work import MOST_USERS
from tests.building import CONFIGS, build, build_mixed, counting_for, flag, label, same_bytes
from tests.interactions import (
    Interactions,
    everything,
    from_columns,
    from_pairs,
    random_interactions,
    small_interactions,
)

CUTS = st.lists(st.integers(0, 10), max_size=4)


def limited(config: ModelConfig, neighbours: int) -> ModelConfig:
    return msgspec.structs.replace(config, neighbours=neighbours)


def rows(
    data: Interactions, config: ModelConfig, popular: int, first: int, last: int, most_bytes: int = 10_000_000
) -> list[Tile]:
    counting = counting_for(data, config, popular)
    tiles = build_rows(
        *(counting.sparse, counting.weighting, counting.floors, first, last),
        neighbours=config.neighbours,
        most_bytes=most_bytes,
        stop=flag(),
    )
    assert tiles is not None
    return tiles


@given(
    data=small_interactions(),
    config=st.sampled_from(CONFIGS),
    neighbours=st.integers(1, 12),
    popular=st.integers(0, 10),
    cuts=CUTS,
    tile_bytes=st.sampled_from((1, 200, 1000, 1_000_000)),
)
def test_a_model_is_the_same_wherever_rows_begin_to_be_sparse(
    data: Interactions, config: ModelConfig, neighbours: int, popular: int, cuts: list[int], tile_bytes: int
) -> None:
    """Of every similarity, weighted or not, in any tasks and however little room there is."""
    wanted, cuts = limited(config, neighbours), [min(cut, data.n_items) for cut in cuts]
    mixed = build_mixed(data, wanted, min(popular, data.n_items), cuts, tile_bytes)
    assert same_bytes(mixed, build(data, wanted))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_a_model_of_many_items_is_the_same_wherever_rows_begin_to_be_sparse(
    config: ModelConfig, weighted: bool
) -> None:
    """With rows of several blocks, and more entries than are kept, for popular items too."""
    data = random_interactions(5, n_users=90, n_items=700, n_pairs=9000, weighted=weighted)
    wanted = limited(config, 7)
    whole = build(data, wanted)
    for popular, cuts, tile_bytes in ((0, (300,), 1_000_000), (40, (20, 41, 300), 6000), (690, (), 1_000_000)):
        assert same_bytes(build_mixed(data, wanted, popular, cuts, tile_bytes), whole)


@pytest.mark.parametrize("neighbours", [1, 2, 64, 65, 100, 600])
def test_rows_of_any_length_stand_by_item(neighbours: int) -> None:
    """Whichever way they are sorted, one list of K with room for none more among them."""
    data = random_interactions(6, n_users=150, n_items=500, n_pairs=6000)
    wanted = ModelConfig(neighbours=neighbours)
    assert same_bytes(build_mixed(data, wanted, 0), build(data, wanted))
    for tile in rows(data, wanted, 0, 0, 500):
        ends = np.cumsum(tile.counts)
        assert all(
            (np.diff(tile.items[end - n : end].astype(int)) > 0).all() for n, end in zip(tile.counts, ends, strict=True)
        )


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_at_a_tied_last_place_the_smaller_index_stands(config: ModelConfig) -> None:
    """Of 900 items with the same three users, and two places: more than a row gathers at a time."""
    data = from_pairs({(user, item): 1.0 for user in range(3) for item in range(900)}, n_users=9, n_items=900)
    wanted = limited(config, 2)
    assert same_bytes(build_mixed(data, wanted, 0), build(data, wanted))
    assert same_bytes(build_mixed(data, wanted, 10), build(data, wanted))


def test_users_who_count_for_nothing_take_no_room() -> None:
    """A user of all but one item has a factor of zero in TF-IDF; each of its items would be met anew for each user."""
    pairs = {(user, item): 1.0 for user in range(50) for item in range(9)} | {(50, 9): 1.0}
    data = from_pairs(pairs, n_users=51, n_items=10)
    for weighted in (None, np.ones(data.user_items.size, np.float32)):
        found = build_mixed(
            Interactions(**vars(data) | {"user_weights": weighted, "item_weights": weighted}),
            ModelConfig("tfidf", neighbours=3),
            0,
        )
        assert found.row_items.size == 0


def test_a_row_costs_no_room_for_what_it_does_not_meet() -> None:
    """A million items, of which two share a user."""
    pairs = {(0, 0): 1.0, (0, 999_999): 1.0, (1, 5): 1.0}
    data = from_pairs(pairs, n_users=2, n_items=1_000_000)
    model = build_mixed(data, ModelConfig(), 0)
    assert (model.row_items.tolist(), model.row_values.tolist()) == ([999_999, 0], [1.0, 1.0])


def test_offers_below_a_popular_items_floor_are_not_kept() -> None:
    """Of all sparse rows together a popular item gets K, and it knows from then on what is too little."""
    data, wanted = random_interactions(6, n_users=150, n_items=500, n_pairs=20_000), ModelConfig(neighbours=5)
    counting = counting_for(data, wanted, 100)
    limits = {"neighbours": 5, "most_bytes": 1_000_000}
    tiles = build_rows(counting.sparse, counting.weighting, counting.floors, 100, 500, **limits, stop=flag())
    assert tiles is not None
    [tile] = tiles
    assert tile.owners[400:].tolist() == counting.sparse.order[:100].tolist()
    assert tile.counts[400:].max() == 5
    assert (counting.floors > 0).all()
    again = build_rows(counting.sparse, counting.weighting, counting.floors, 100, 200, **limits, stop=flag())
    assert again is not None
    assert again[0].counts[100:].sum() < rows(data, wanted, 100, 100, 200)[0].counts[100:].sum()


def test_little_room_gives_many_tiles() -> None:
    """Each with its own rows."""
    data = random_interactions(6, n_users=150, n_items=500, n_pairs=6000)
    tiles = rows(data, ModelConfig(neighbours=9), 0, 0, 500, most_bytes=2000)
    assert len(tiles) > 10
    assert np.concatenate([tile.owners for tile in tiles]).tolist() == list(range(500))


@pytest.mark.parametrize("bounds", [(1, 5), (5, 9), (6, 4)])
def test_rows_of_popular_or_of_no_items_are_refused(bounds: tuple[int, int]) -> None:
    """A kernel would read past its arrays."""
    with pytest.raises(ValueError, match="not among 8 items from 2 on"):
        rows(everything(8), ModelConfig(), 2, *bounds)


def test_a_row_has_room_for_one_neighbour_at_least() -> None:
    """K below 1 is refused."""
    data = everything(8)
    counting = counting_for(data, ModelConfig(), 0)
    with pytest.raises(ValueError, match="0 neighbours"):
        build_rows(
            *(counting.sparse, counting.weighting, counting.floors, 0, 8), neighbours=0, most_bytes=1, stop=flag()
        )


def test_more_users_than_sixteen_bits_hold_are_refused() -> None:
    """Their counter would be at 0 again; the plan makes such rows dense."""
    data = from_columns([np.arange(MOST_USERS + 1), np.arange(3)], n_users=MOST_USERS + 1)
    with pytest.raises(ValueError, match="more than 65535 users"):
        rows(data, ModelConfig(), 0, 0, 2)
    assert same_bytes(build_mixed(data, ModelConfig(), 1), build(data, ModelConfig()))


@pytest.mark.parametrize("config", [ModelConfig("tfidf"), ModelConfig()], ids=label)
def test_the_stop_flag_is_read_while_rows_are_under_way(config: ModelConfig) -> None:
    """Another thread sets it in the middle of seconds of work, for counts and for weights."""
    counting, stop = counting_for(everything(3000), config, 0), flag()
    timer = Timer(0.05, stop.fill, [1])
    timer.start()
    found = build_rows(
        *(counting.sparse, counting.weighting, counting.floors, 0, 3000), neighbours=10, most_bytes=1_000_000, stop=stop
    )
    timer.join()
    assert found is None
