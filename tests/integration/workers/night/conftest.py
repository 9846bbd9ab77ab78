"""Fixtures for tests of nights: a worker that has a night, on a world of its own."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.settings import Settings
from reckoner.workers.process.wiring import connect_worker
from tests.world import Hand, World


async def far_from_now(hand: Hand) -> str:
    """A time half a day ago, so that no other night becomes due during a test."""
    now = datetime.fromtimestamp(await hand.runtime.now_ms() / 1000, UTC)
    return f"{now - timedelta(hours=12):%H:%M}"


@pytest.fixture
async def night(own_world: World, redis_url: str, prefix: str) -> AsyncIterator[Hand]:
    """A worker by hand that has a night."""
    redis = connect_worker(Settings(), redis_url)
    without = Hand(own_world, redis, prefix)
    made = Hand(own_world, redis, prefix, nightly=await far_from_now(without))
    yield made
    made.close()
    without.close()
    await redis.aclose()


@pytest.fixture
async def working(night: Hand) -> AsyncIterator[None]:
    """All jobs are done as they come."""

    async def work() -> None:
        while True:
            await night.deliver_all()
            await asyncio.sleep(0.01)

    task = asyncio.create_task(work())
    yield
    await cancel_and_wait(task)
