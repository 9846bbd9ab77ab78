"""Tests of what rows cost, of which are counted as bits, and of the ranges in which they are built."""

import math

import numpy as np
import pytest
from hypothesis import given

from reckoner.shared.store.model_config import ModelConfig
from reckoner.workers.kernels.building.work import (
    MOST_USERS,
    PER_BLOCKED,
    PER_MET,
    PER_PAIR,
    PER_USER,
    Cost,
    are_counted,
    bit_ranks,
    cost_of,
    estimated_cost,
    plan_rows,
    row_work,
)
from tests.building import BIT_BYTES, CONFIGS, label, ranked_of, weighting_of
from tests.interactions import (
    Interactions,
    everything,
    from_columns,
    from_pairs,
    random_interactions,
    small_interactions,
)


def cost(data: Interactions, config: ModelConfig | None = None) -> Cost:
    weighting = weighting_of(data, config or ModelConfig())
    return cost_of(ranked_of(data, weighting), weighting)


@given(data=small_interactions())
def test_a_row_costs_its_pairs_and_its_additions_where_it_is_not_counted_as_bits(data: Interactions) -> None:
    """And less where it is; pairs that are met, or whose block is, cost more: as many as chance would have."""
    found, expected = cost(data), []
    for rank, (added, users) in enumerate(zip(found.additions.tolist(), found.holders.tolist(), strict=True)):
        met, blocked = (1 - math.exp(-added * pairs / max(rank, 1)) for pairs in (1, 256))
        pairs = rank * (PER_PAIR + met * PER_MET + blocked * PER_BLOCKED)
        expected.append(added + pairs + users * PER_USER)
    costs = np.array(expected)
    work, bits = row_work(found, BIT_BYTES), bit_ranks(found, BIT_BYTES)
    assert work[bits:] == pytest.approx(costs[bits:], abs=1)
    assert work.sum() <= math.ceil(costs.sum())


@pytest.mark.parametrize(("config", "weighted"), [(ModelConfig("tfidf"), False), (ModelConfig(), True)])
def test_where_users_weigh_no_row_is_counted_as_bits(config: ModelConfig, weighted: bool) -> None:
    """A bit is there or not."""
    assert bit_ranks(cost(everything(100, weighted=weighted), config), BIT_BYTES) == 0


def test_items_that_everybody_has_are_counted_as_bits_and_others_are_not() -> None:
    """On every processor: 100 of 10,000 users' bits are two words, and each of 10,000 items has one user of 10,000."""
    assert bit_ranks(cost(everything(100)), BIT_BYTES) == 100
    data = random_interactions(1, n_users=10_000, n_items=10_000, n_pairs=10_000)
    assert bit_ranks(cost(data), BIT_BYTES) < 100


def test_no_more_items_are_counted_as_bits_than_have_room() -> None:
    """Two words for the 100 users of each, and 64 counts; those for whom there is none cost their additions."""
    found, each = cost(everything(100)), 2 * 8 + 64 * 4
    assert bit_ranks(found, 31 * each - 1) == 30
    assert row_work(found, 30 * each)[30:].tolist() == [
        int(rank * (100 + PER_PAIR + PER_BLOCKED + PER_MET) + 100 * PER_USER) for rank in range(30, 100)
    ]


def test_no_bits_are_set_for_rows_that_gain_less_by_them() -> None:
    """The last rows that are worth it are not worth the bits of all those before them."""
    found = cost(random_interactions(6, n_users=500, n_items=500, n_pairs=50_000))
    ranks = bit_ranks(found, BIT_BYTES)
    assert bit_ranks(found, BIT_BYTES, 0, 500) == ranks > 100
    assert bit_ranks(found, BIT_BYTES, 0, 100) == 100
    assert bit_ranks(found, BIT_BYTES, 100, 500) == ranks
    assert bit_ranks(found, BIT_BYTES, ranks - 1, 500) == bit_ranks(found, BIT_BYTES, ranks, 500) == 0


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_one_interaction_shows_whether_users_are_counted(config: ModelConfig, weighted: bool) -> None:
    """As all of them do."""
    data = random_interactions(2, n_users=20, n_items=20, n_pairs=100, weighted=weighted)
    assert are_counted(config, weighted) == cost(data, config).are_counted


@given(data=small_interactions())
def test_what_few_interactions_cost_is_known_without_a_layout(data: Interactions) -> None:
    """Exactly, as all users are looked at."""
    estimated, found = estimated_cost(data.item_ptr, data.user_ptr, data.user_items, are_counted=True), cost(data)
    assert estimated.dense.additions.tolist() == found.additions.tolist()
    assert estimated.dense.holders.tolist() == found.holders.tolist() == sorted(np.diff(data.item_ptr).tolist())[::-1]
    assert estimated.dense.users == found.users
    lengths = np.diff(data.user_ptr)
    pairs = np.bincount(data.user_items, np.repeat(lengths - 1, lengths), minlength=data.n_items)
    assert estimated.pairs.tolist() == pairs[estimated.order].tolist()


def test_what_many_interactions_cost_is_known_from_some_users(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nearly, for ranges of rows as they are planned."""
    data = random_interactions(3, n_users=4000, n_items=300, n_pairs=80_000)
    monkeypatch.setattr("reckoner.workers.kernels.building.work.SAMPLE", 8000)
    estimated = estimated_cost(data.item_ptr, data.user_ptr, data.user_items, are_counted=True)
    exact = cost(data).additions.reshape(10, 30).sum(axis=1)
    assert estimated.dense.additions.reshape(10, 30).sum(axis=1) == pytest.approx(
        exact, rel=0.15, abs=0.02 * exact.sum()
    )


def test_what_all_rows_cost_is_known_where_few_users_bring_most_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One has had everything, and is none of those who are looked at."""
    some = random_interactions(5, n_users=2000, n_items=300, n_pairs=10_000)
    pairs = {
        (int(user), int(item)): 1.0
        for user in range(2000)
        for item in some.user_items[slice(*some.user_ptr[user : user + 2])]
    }
    data = from_pairs(pairs | {(1, item): 1.0 for item in range(300)}, n_users=2000, n_items=300)
    monkeypatch.setattr("reckoner.workers.kernels.building.work.SAMPLE", 1000)
    estimated = estimated_cost(data.item_ptr, data.user_ptr, data.user_items, are_counted=True)
    assert estimated.dense.additions.sum() == pytest.approx(cost(data).additions.sum())


def test_there_are_as_many_ranges_as_the_work_wants_and_they_become_smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of dense rows, no fewer and no more than was asked for; nobody waits long for the last one."""
    monkeypatch.setattr("reckoner.workers.kernels.building.work.PER_ROW", 1e9)
    data = random_interactions(4, n_users=200, n_items=1000, n_pairs=20_000)
    found = estimated_cost(data.item_ptr, data.user_ptr, data.user_items, are_counted=True)
    work = row_work(found.dense, BIT_BYTES)
    for additions, ranges in ((1, 20), (-(-int(work.sum()) // 9), 9), (int(work.sum()), 5)):
        popular, bounds = plan_rows(found, 10, 5, 20, additions, BIT_BYTES)
        assert popular == 1000
        sizes = np.add.reduceat(work, bounds[:-1])
        assert len(bounds) == ranges + 1
        assert sizes[0] > sizes[ranges // 2] > sizes[-1]
        assert sizes[-1] < 0.8 * work.sum() / ranges


def popular(data: Interactions, *, are_counted: bool = True) -> int:
    found = estimated_cost(data.item_ptr, data.user_ptr, data.user_items, are_counted)
    return plan_rows(found, 100, 4, 500, 1_000_000, BIT_BYTES).popular


def test_rows_are_dense_where_items_share_users_and_sparse_where_they_do_not() -> None:
    """All, or none, or the popular ones of a catalogue with a long tail."""
    assert popular(everything(300)) == 300
    assert popular(random_interactions(1, n_users=9000, n_items=9000, n_pairs=20_000)) == 0
    head = {(user, item): 1.0 for user in range(500) for item in range(200)}
    data = from_pairs(head | {(500 + user, 200 + user): 1.0 for user in range(5000)}, n_users=5500, n_items=5200)
    assert 100 <= popular(data) <= 500


def test_an_item_with_more_users_than_sparse_rows_count_has_a_dense_row(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where sums are weighted there is no such limit."""
    monkeypatch.setattr("reckoner.workers.kernels.building.work.PER_ROW", 0.0)
    pairs = [np.array([2 * item, 2 * item + 1]) for item in range(3000)]
    data = from_columns([np.arange(MOST_USERS + 1), *pairs], n_users=MOST_USERS + 1)
    assert popular(data) >= 1
    assert popular(data, are_counted=False) == 0


def test_a_plan_has_no_more_tasks_than_its_work_is_worth() -> None:
    """However many items share nothing."""
    data = random_interactions(1, n_users=50_000, n_items=100_000, n_pairs=100_000)
    found = estimated_cost(data.item_ptr, data.user_ptr, data.user_items, are_counted=True)
    assert len(plan_rows(found, 100, 4, 500, 520_000_000, BIT_BYTES).bounds) == 5


def test_an_empty_catalogue_has_a_plan_without_tasks() -> None:
    """Nothing to build."""
    data = from_pairs({}, n_users=0, n_items=0)
    found = estimated_cost(data.item_ptr, data.user_ptr, data.user_items, are_counted=True)
    assert plan_rows(found, 100, 4, 500, 1, BIT_BYTES) == (0, [0])
