"""Fixtures for tests of the client and the commands: a generation with a worker."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from reckoner.shared.cancelling import cancel_and_wait
from tests.world import Generation, Hand, World


@pytest.fixture
async def generation(hand: Hand, world: World) -> AsyncIterator[Generation]:
    """The world's second generation, and a worker whose jobs are delivered."""
    made = await hand.adopt(world, 1)
    working = asyncio.create_task(work(hand))
    yield made
    await cancel_and_wait(working)


async def work(hand: Hand) -> None:
    """Do all jobs, forever."""
    while True:
        await hand.deliver_all()
        await asyncio.sleep(0.01)
