"""Fixtures for tests of the client and the commands: both on the shared server, and a generation with a worker."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.settings import Settings
from reckoner.workers.process.wiring import connect_worker
from tests.commands import CommandLine
from tests.world import Generation, Hand, World


@pytest.fixture
def commands(redis_url: str, prefix: str, tmp_path: Path) -> CommandLine:
    return CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path / "a höme")


@pytest.fixture
async def reckoner(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        yield client


@pytest.fixture
async def generation(hand: Hand, world: World) -> AsyncIterator[Generation]:
    """The world's second generation, and a worker whose jobs are delivered."""
    made = await hand.adopt(world, 1)
    working = asyncio.create_task(work(hand))
    yield made
    await cancel_and_wait(working)


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


async def work(hand: Hand) -> None:
    """Do all jobs, forever."""
    while True:
        await hand.deliver_all()
        await asyncio.sleep(0.01)
