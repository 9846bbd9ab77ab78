"""Fixtures for tests of the tasks that change what is in the store."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from shared.settings import Settings
from tests.world import Hand, World, make_world
from workers.settings import connect_worker


@pytest.fixture
def own_world(tmp_path: Path) -> World:
    """A world of the test's own, which it may change and damage."""
    return make_world(tmp_path / "a störe")


@pytest.fixture
async def hand(own_world: World, redis_url: str, prefix: str) -> AsyncIterator[Hand]:
    """A worker on that world whose jobs the test delivers."""
    redis = connect_worker(Settings(), redis_url)
    made = Hand(own_world, redis, prefix)
    yield made
    made.close()
    await redis.aclose()
