"""Tests of what rows cost, and of which are counted as bits."""

import numpy as np
import pytest
from hypothesis import given

from shared.model_config import ModelConfig
from tests.building import BIT_BYTES, ranked_of, weighting_of
from tests.interactions import Interactions, everything, random_interactions, small_interactions
from workers.kernels.work import PER_PAIR, bit_ranks, row_work


@given(data=small_interactions())
def test_a_row_costs_its_pairs_and_its_additions_where_it_is_not_counted_as_bits(data: Interactions) -> None:
    """And less where it is."""
    weighting = weighting_of(data, ModelConfig())
    ranked = ranked_of(data, weighting)
    costs = (ranked.additions + np.arange(data.n_items) * PER_PAIR).astype(np.int64)
    work, bits = row_work(ranked, weighting, BIT_BYTES), bit_ranks(ranked, weighting, BIT_BYTES)
    assert work[bits:].tolist() == costs[bits:].tolist()
    assert work.sum() <= costs.sum()


@pytest.mark.parametrize(("config", "weighted"), [(ModelConfig("tfidf"), False), (ModelConfig(), True)])
def test_where_users_weigh_no_row_is_counted_as_bits(config: ModelConfig, weighted: bool) -> None:
    """A bit is there or not."""
    data = everything(100, weighted=weighted)
    weighting = weighting_of(data, config)
    assert bit_ranks(ranked_of(data, weighting), weighting, BIT_BYTES) == 0


def test_items_that_everybody_has_are_counted_as_bits_and_others_are_not() -> None:
    """On every processor: 100 of 10,000 users' bits are two words, and each of 10,000 items has one user of 10,000."""
    data = everything(100)
    weighting = weighting_of(data, ModelConfig())
    assert bit_ranks(ranked_of(data, weighting), weighting, BIT_BYTES) == 100
    data = random_interactions(1, n_users=10_000, n_items=10_000, n_pairs=10_000)
    weighting = weighting_of(data, ModelConfig())
    assert bit_ranks(ranked_of(data, weighting), weighting, BIT_BYTES) < 100


def test_no_more_items_are_counted_as_bits_than_have_room() -> None:
    """Two words for the 100 users of each; those for whom there is none cost their additions."""
    data = everything(100)
    weighting = weighting_of(data, ModelConfig())
    ranked = ranked_of(data, weighting)
    assert bit_ranks(ranked, weighting, 30 * 16 + 15) == 30
    assert row_work(ranked, weighting, 30 * 16)[30:].tolist() == [
        rank * (100 + int(PER_PAIR)) for rank in range(30, 100)
    ]
