"""The model kind `slim`: its values, their bytes, and what they must satisfy."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reckoner.workers.kernels.building.build import Tile
from reckoner.workers.kernels.building.join import Matrix
from reckoner.workers.kernels.regression.regress import regress
from reckoner.workers.kernels.regression.sums import Shared, share, units_of
from reckoner.workers.kernels.regression.transpose import transpose
from tests.building import flag, same_bytes
from tests.interactions import Interactions, from_pairs, random_interactions, small_interactions
from tests.slim import DEFAULTS, Options, exact, reference_slim, slim_of, target_of

TIGHT = DEFAULTS._replace(tolerance=1e-4)


def shared_of(data: Interactions, popular: int = 0, user_norm: float = 0.5) -> Shared:
    """The data laid out for regressions."""
    shared = share(data.item_ptr, data.item_users, data.user_ptr, user_norm, popular, stop=flag())
    assert shared is not None
    return shared


def tile_of(shared: Shared, first: int, last: int, options: Options = DEFAULTS) -> Tile | None:
    """The lists of the targets of some ranks."""
    return regress(
        *(shared, first, last),
        candidates=options.candidates,
        neighbours=options.neighbours,
        l1=options.l1,
        l2=options.l2,
        l2_share=options.l2_share,
        tolerance=options.tolerance,
        stop=flag(),
    )


def whole(data: Interactions, popular: int, options: Options) -> Tile:
    """The lists of all targets."""
    tile = tile_of(shared_of(data, popular, options.user_norm), 0, data.n_items, options)
    assert tile is not None
    return tile


def build(data: Interactions, popular: int = 0, cuts: Sequence[int] = (), options: Options = DEFAULTS) -> Matrix:
    """The model, built with a table of the `popular` most popular items, from ranges of targets cut here."""
    shared, tiles = shared_of(data, popular, options.user_norm), []
    for first, last in pairwise([0, *sorted(min(cut, data.n_items) for cut in cuts), data.n_items]):
        tile = tile_of(shared, first, last, options)
        assert tile is not None
        tiles.append(tile)
    model = transpose(tiles, data.n_items, stop=flag())
    assert model is not None
    return model


def taste_groups(seed: int, *, n_users: int = 300, n_items: int = 60) -> Interactions:
    """Users of one of three tastes, who also have popular items: so some items explain others."""
    rng = np.random.default_rng(seed)
    pairs = {}
    for user in range(n_users):
        taste, size = user % 3, int(rng.integers(3, 15))
        for item in (n_items * rng.random(size) ** 2).astype(int):
            pairs[user, int(item) // 3 * 3 + taste if rng.random() < 0.7 else int(item)] = 1.0
    return from_pairs({pair: 1.0 for pair in pairs if pair[1] < n_items}, n_users=n_users, n_items=n_items)


@given(
    data=small_interactions(),
    popular=st.integers(0, 10),
    cuts=st.lists(st.integers(0, 10), max_size=3),
    options=st.builds(
        Options,
        candidates=st.integers(1, 6),
        neighbours=st.integers(1, 4),
        user_norm=st.sampled_from([0.0, 0.5, 1.0]),
        l1=st.sampled_from([0.0, 0.25]),
        l2=st.sampled_from([0.0, 0.5]),
        l2_share=st.sampled_from([0.0, 0.1]),
        tolerance=st.just(1e-2),
    ),
)
def test_a_model_is_the_reference_bit_for_bit(
    data: Interactions, popular: int, cuts: list[int], options: Options
) -> None:
    """With a table of any size, cut anywhere, whatever the weights of interactions."""
    assert same_bytes(build(data, min(popular, data.n_items), cuts, options), reference_slim(data, options))


@pytest.mark.parametrize("neighbours", [100, 4])
def test_a_larger_model_is_the_reference_bit_for_bit(neighbours: int) -> None:
    """With more values than are kept, and more candidates than are taken."""
    data, options = taste_groups(1), Options(candidates=25, neighbours=neighbours)
    found = build(data, 20, [7, 31], options)
    assert same_bytes(found, reference_slim(data, options))
    assert found.row_values.size > 100


@pytest.mark.parametrize(
    "options",
    [
        Options(candidates=1, neighbours=1000),
        Options(candidates=5, neighbours=1, user_norm=0, l1=0, l2=0, l2_share=0),
        Options(neighbours=1000, user_norm=10, l1=0, l2=0, l2_share=0),
        Options(candidates=2, neighbours=1, l1=1e6, l2=0, l2_share=0),
        Options(candidates=7, neighbours=3, l1=0, l2=1e9, l2_share=1e6),
    ],
)
@pytest.mark.parametrize("popular", [0, 7, 60])
def test_extreme_options_give_the_reference(options: Options, popular: int) -> None:
    """Without penalties, with huge ones, and with users who count the most."""
    data = taste_groups(0)
    found = build(data, popular, [10, 30], options)
    assert same_bytes(found, reference_slim(data, options))
    assert np.isfinite(found.row_values).all()


def test_more_candidates_than_items_take_no_more_memory() -> None:
    """A problem of a million candidates would take eight terabytes."""
    data, many = taste_groups(1), DEFAULTS._replace(candidates=1_000_000, neighbours=1_000_000)
    assert same_bytes(build(data, 20, options=many), build(data, 20, options=DEFAULTS._replace(neighbours=60)))


def test_other_numbers_of_ranks_and_sums_give_the_same_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranks of 32 bits, which many items need, and sums of 64 bits, which many users need."""
    data = taste_groups(2)
    expected = build(data, 20)
    for narrow, most in ((10, 2.0**32), (1 << 16, 0.0), (10, 0.0)):
        monkeypatch.setattr("reckoner.workers.kernels.compiled.NARROW", narrow)
        monkeypatch.setattr("reckoner.workers.kernels.regression.sums.MOST_32_BITS", most)
        assert shared_of(data, 20).user_ranks.dtype == (np.uint32 if narrow == 10 else np.uint16)
        assert shared_of(data, 20).table.dtype == (np.uint32 if most else np.float64)
        assert same_bytes(build(data, 20), expected)


@pytest.mark.parametrize("neighbours", [60, 5])
@pytest.mark.parametrize("seed", [3, 4])
def test_a_tight_tolerance_gives_the_exact_solution(seed: int, neighbours: int) -> None:
    """Every value is within 0.001 of that of an active-set method, where both keep the same candidates."""
    data = taste_groups(seed)
    slim, compared = slim_of(data), 0
    tile = whole(data, 30, TIGHT._replace(neighbours=neighbours))
    ends = np.cumsum(tile.counts, dtype=np.int64)
    for target, (begin, end) in enumerate(pairwise([0, *ends.tolist()])):
        of = target_of(slim, target)
        wanted = dict(zip(slim.order[of.candidates].tolist(), exact(of, 1.0, neighbours).tolist(), strict=True))
        found = dict(zip(tile.items[begin:end].tolist(), tile.values[begin:end].tolist(), strict=True))
        wanted = {item: value for item, value in wanted.items() if value > 0}
        # Values that are next to equal may change places at the cut.
        if len(wanted) < neighbours or wanted.keys() == found.keys():
            compared += 1
            for item in wanted | found:
                assert abs(wanted.get(item, 0.0) - found.get(item, 0.0)) < 1e-3
    assert compared > 0.9 * data.n_items


def test_no_value_could_be_better() -> None:
    """Where it is zero, what is left of the sum is at most l1; where it is above zero, it is l1 and the penalty."""
    data = random_interactions(5, n_users=800, n_items=120, n_pairs=9000)
    slim, tile = slim_of(data), whole(data, 50, TIGHT._replace(neighbours=data.n_items))
    ends, checked = np.cumsum(tile.counts, dtype=np.int64), 0
    rank_of = np.argsort(slim.order)
    for target, (begin, end) in enumerate(pairwise([0, *ends.tolist()])):
        of, values = target_of(slim, target), np.zeros(data.n_items)
        values[rank_of[tile.items[begin:end]]] = tile.values[begin:end]
        mine = values[of.candidates]
        left = of.dots - of.sums @ mine - of.penalty * mine
        scale = 1e-3 * max(slim.sums[target, target], 1.0)
        assert (left <= DEFAULTS.l1 + scale).all()
        assert np.allclose(left[mine > 0], DEFAULTS.l1, atol=scale, rtol=0)
        checked += int(np.count_nonzero(mine))
    assert checked > 100


def test_users_count_whole_units() -> None:
    """1,024 for a history of mean length; 0 without a history; at most 2^22."""
    ptr = np.array([0, 4, 4, 5, 12], np.int64)
    assert units_of(ptr, 0.5).tolist() == [1024, 0, 2048, 774]
    assert units_of(ptr, 0.0).tolist() == [1024, 0, 1024, 1024]
    assert units_of(np.array([0, 1, 10_000]), 10.0).tolist() == [1 << 22, 1]
    assert units_of(np.zeros(1, np.int64), 0.5).size == 0


def test_a_set_stop_flag_ends_each_step() -> None:
    """None instead of a result."""
    data = taste_groups(1)
    by_item = data.item_ptr, data.item_users
    assert share(*by_item, data.user_ptr, 0.5, 10, stop=flag(1)) is None
    tile = whole(data, 10, DEFAULTS)
    penalties = {"l1": 1.0, "l2": 20.0, "l2_share": 1.0}
    assert regress(shared_of(data), 0, 10, candidates=10, neighbours=5, **penalties, stop=flag(1)) is None
    assert transpose([tile], data.n_items, stop=flag(1)) is None


def test_tiles_that_do_not_fit_are_refused() -> None:
    """An item outside the catalogue."""
    with pytest.raises(ValueError, match="outside the 10 items"):
        transpose([whole(taste_groups(1), 10, DEFAULTS)], 10, stop=flag())
