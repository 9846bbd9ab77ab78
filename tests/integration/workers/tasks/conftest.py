"""Fixtures for tests of the tasks that change what is in the store, or need data with weights and times there."""

import numpy as np
import pytest
from msgspec import UNSET

from reckoner.shared.store.snapshots import write_snapshot
from reckoner.shared.wire.shapes import FitSpec, Recency, Record
from tests.interactions import random_interactions
from tests.world import ITEMS, LIST_LENGTH, Hand, World


@pytest.fixture
def world(own_world: World) -> World:
    """The test's own, which it may change."""
    return own_world


@pytest.fixture
async def weighted(own_world: World, hand: Hand) -> Record:
    """A generation of data with weights and times, fitted by that worker."""
    return await _fitted(own_world, hand)


@pytest.fixture
async def recent(own_world: World, hand: Hand) -> Record:
    """A generation of the same data, with recency."""
    return await _fitted(own_world, hand, recency=0.5)


async def _fitted(own_world: World, hand: Hand, recency: Recency = UNSET) -> Record:
    store, pairs = own_world.store, random_interactions(3, n_users=25, n_items=40, n_pairs=400, weighted=True)
    assert pairs.user_weights is not None
    with store.scratch() as scratch:
        snapshot = write_snapshot(
            scratch,
            user_ids=[f"user {number:02}" for number in range(25)],
            item_ids=ITEMS,
            users=np.repeat(np.arange(25), np.diff(pairs.user_ptr)),
            items=pairs.user_items,
            weights=pairs.user_weights,
            # So few that some are the same, and some before 1970.
            times=np.random.default_rng(4).integers(-5, 5, pairs.user_items.size),
        )
        store.publish("snapshots", snapshot, scratch)
    spec = FitSpec(snapshot, "cosine", 6, 1.5, LIST_LENGTH, recency=recency)
    await hand.runtime.flows.create([spec], [hand.runtime.keys.join_fit("weighted")])
    await hand.deliver_all()
    newest = await hand.runtime.results.generations.pointer(hand.runtime.keys.newest)
    assert newest is not None
    return await hand.runtime.record(newest)
