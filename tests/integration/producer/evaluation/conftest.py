"""A worker on a store of the test's own."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.settings import Settings
from reckoner.workers.process.wiring import connect_worker
from tests.integration.producer.conftest import work
from tests.world import Hand, World


@pytest.fixture
async def worker(redis_url: str, prefix: str, own_world: World) -> AsyncIterator[Hand]:
    """A worker on a store of the test's own, whose jobs are delivered."""
    redis = connect_worker(Settings(), redis_url)
    hand = Hand(own_world, redis, prefix)
    working = asyncio.create_task(work(hand))
    yield hand
    await cancel_and_wait(working)
    hand.close()
    await redis.aclose()
