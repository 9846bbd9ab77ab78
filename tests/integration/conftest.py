"""Fixtures for tests that deliver jobs by hand: the tiny world, and a worker's functions on the shared server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reckoner.shared.settings import Settings
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.process.wiring import connect_worker
from tests.world import Hand, World, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A store with one snapshot and its models. Tests must not change it."""
    return make_world(tmp_path_factory.mktemp("a wörld") / "store")


@pytest.fixture
def own_world(tmp_path: Path) -> World:
    """A world of the test's own, which it may change and damage."""
    return make_world(tmp_path / "a störe")


@pytest.fixture
async def hand(world: World, redis_url: str, prefix: str) -> AsyncIterator[Hand]:
    """A worker whose jobs the test delivers."""
    redis = connect_worker(Settings(), redis_url)
    made = Hand(world, redis, prefix)
    yield made
    made.close()
    await redis.aclose()


@pytest.fixture
def sweeper(hand: Hand) -> Sweeper:
    """The sweeper of that worker."""
    return Sweeper(hand.runtime)
