"""Tests of the similarities: each against what its paper says, summed in float64."""

from math import log, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from reckoner.shared.store.model_config import PARAMETERS, ModelConfig
from reckoner.workers.kernels.building.similarity import WEIGHTINGS
from tests.building import CONFIGS, EXACT, Model, build, label, same_bytes
from tests.interactions import Interactions, from_pairs, random_interactions, small_interactions
from tests.reference import reference_rows, reference_similarities

# What has no bound is compared by its size.
UNBOUNDED = ("asymmetric", "bm25", "llr", "rp3beta")


def dense(model: Model) -> np.ndarray:
    """A model's values, 0 where it stores nothing."""
    row_ptr, row_items, row_values = model
    values = np.zeros((row_ptr.size - 1, row_ptr.size - 1))
    values[np.repeat(np.arange(row_ptr.size - 1), np.diff(row_ptr)), row_items] = row_values
    return values


def assert_is_the_reference(data: Interactions, config: ModelConfig) -> None:
    """The model of all pairs is close to the reference's similarities."""
    facts = {name: value for name, value in config.facts().items() if name != "neighbours"}
    wanted = np.array(list(reference_similarities(*data.arrays, **facts)))
    found = dense(build(data, replace(config, neighbours=data.n_items)))
    unbounded = config.similarity in UNBOUNDED
    np.testing.assert_allclose(found, wanted, rtol=1e-5 if unbounded else 0, atol=1e-9 if unbounded else 1e-6)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_a_similarity_is_the_references(config: ModelConfig, weighted: bool) -> None:
    """Of all pairs of some hundred items, in both directions: within 1e-6, or 1e-5 of the value without a bound."""
    data = random_interactions(5, n_users=100, n_items=180, n_pairs=2500, weighted=weighted)
    assert_is_the_reference(data, config)


@given(data=small_interactions(), config=st.sampled_from(CONFIGS))
def test_a_similarity_of_few_items_is_the_references(data: Interactions, config: ModelConfig) -> None:
    """Where users have nothing or everything, and items have nobody or all."""
    assert_is_the_reference(data, config)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("config", EXACT, ids=label)
def test_counted_and_multiplied_similarities_equal_the_reference_bit_for_bit(
    config: ModelConfig, weighted: bool
) -> None:
    """Including the last neighbour of a row."""
    data = random_interactions(6, n_users=100, n_items=180, n_pairs=2500, weighted=weighted)
    limited = replace(config, neighbours=20)
    assert same_bytes(build(data, limited), reference_rows(*data.arrays, **limited.facts()))


@given(data=small_interactions(), config=st.sampled_from(CONFIGS), neighbours=st.integers(1, 12))
def test_a_limited_model_is_the_best_of_the_whole_one(data: Interactions, config: ModelConfig, neighbours: int) -> None:
    """The highest values of each row, the smaller index at a tie, and the same bits."""
    limited = build(data, replace(config, neighbours=neighbours))
    whole = dense(build(data, replace(config, neighbours=data.n_items)))
    for item, row in enumerate(whole):
        best = sorted(np.flatnonzero(row).tolist(), key=lambda other: (-row[other], other))[:neighbours]
        span = slice(limited.row_ptr[item], limited.row_ptr[item + 1])
        assert limited.row_items[span].tolist() == sorted(best)
        assert limited.row_values[span].tolist() == row[sorted(best)].tolist()


def value(data: Interactions, config: ModelConfig, item: int = 0, other: int = 1) -> float:
    return float(dense(build(data, config))[item, other])


@pytest.fixture
def two_and_three() -> Interactions:
    """Of six users 0 and 1 have item 0, and 1, 2 and 3 have item 1; user 4 has item 2, user 5 nothing."""
    pairs = [(0, 0), (1, 0), (1, 1), (2, 1), (3, 1), (4, 2)]
    return from_pairs(dict.fromkeys(pairs, 1.0), n_users=6, n_items=3)


@pytest.mark.parametrize(
    ("config", "there", "back"),
    [
        (ModelConfig("cosine"), 1 / sqrt(6), 1 / sqrt(6)),
        (ModelConfig("cosine", shrink=10), 1 / (sqrt(6) + 10), 1 / (sqrt(6) + 10)),
        (ModelConfig("cosine", power=2), 1 / 6, 1 / 6),
        (ModelConfig("cosine", user_norm=1), 0.5 / sqrt(1.5 * 2.5), 0.5 / sqrt(1.5 * 2.5)),
        (ModelConfig("jaccard"), 1 / 4, 1 / 4),
        (ModelConfig("jaccard", shrink=4), 1 / 8, 1 / 8),
        (ModelConfig("dice"), 2 / 5, 2 / 5),
        (ModelConfig("dice", shrink=5), 2 / 10, 2 / 10),
        (ModelConfig("asymmetric", alpha=1), 1 / 2, 1 / 3),
        (ModelConfig("asymmetric", alpha=0, shrink=1), 1 / 4, 1 / 3),
        (ModelConfig("rp3beta", alpha=1, beta=0), 1 / 2 * 1 / 2, 1 / 3 * 1 / 2),
        (ModelConfig("rp3beta", alpha=2, beta=1), 1 / 4 * 1 / 4 / 3, 1 / 9 * 1 / 4 / 2),
        (ModelConfig("bm25", k1=0), log(3 / 3) ** 2, log(3 / 3) ** 2),
    ],
    ids=str,
)
def test_a_similarity_equals_the_value_worked_out_by_hand(
    two_and_three: Interactions, config: ModelConfig, there: float, back: float
) -> None:
    """From item 0 to 1 and from 1 to 0."""
    assert value(two_and_three, config) == pytest.approx(there, rel=1e-7)
    assert value(two_and_three, config, 1, 0) == pytest.approx(back, rel=1e-7)


def test_the_likelihood_ratio_is_that_of_a_known_table() -> None:
    """10 users with both items, 4 with one, 6 with the other, 80 with neither: the difference of entropies."""
    had = {0: [*range(10), *range(10, 14)], 1: [*range(10), *range(14, 20)]}
    data = from_pairs({(user, item): 1.0 for item in had for user in had[item]}, n_users=100, n_items=2)
    cells, rows, columns = [10, 4, 6, 80], [14, 86], [16, 84]
    entropy = [sum(k * log(k) for k in numbers) for numbers in (cells, rows, columns, [100])]
    wanted = 2 * (entropy[0] - entropy[1] - entropy[2] + entropy[3])
    assert value(data, ModelConfig("llr")) == pytest.approx(wanted, rel=1e-7)


def test_items_that_meet_by_chance_or_less_have_no_likelihood_ratio() -> None:
    """1 of 4 users has both where each has 2: as many as chance says; and 1 of 9 where they have 3 and 4."""
    for n_users, first, second in ((4, (0, 1), (1, 2)), (9, (0, 1, 2), (2, 3, 4, 5))):
        pairs = dict.fromkeys([(user, 0) for user in first] + [(user, 1) for user in second], 1.0)
        assert value(from_pairs(pairs, n_users=n_users, n_items=2), ModelConfig("llr")) == 0


def test_a_likelihood_ratio_ignores_weights() -> None:
    """It counts users."""
    data = random_interactions(9, n_users=40, n_items=60, n_pairs=500, weighted=True)
    ones = random_interactions(9, n_users=40, n_items=60, n_pairs=500)
    assert same_bytes(build(data, ModelConfig("llr")), build(ones, ModelConfig("llr")))


@pytest.mark.parametrize("config", CONFIGS, ids=label)
def test_nobody_and_nothing_have_no_similarities(config: ModelConfig) -> None:
    """No items, no users, or items that nobody has: nothing is divided by zero."""
    for n_users, n_items in ((0, 0), (0, 3), (3, 0), (3, 3)):
        model = build(from_pairs({}, n_users=n_users, n_items=n_items), config)
        assert same_bytes(model, (np.zeros(n_items + 1, np.int64), np.empty(0, np.uint32), np.empty(0, np.float32)))


def test_each_similarity_that_a_configuration_may_name_is_there() -> None:
    """And no other, and all of them are tested."""
    assert WEIGHTINGS.keys() == PARAMETERS.keys() - {"slim"} == {config.similarity for config in CONFIGS}
