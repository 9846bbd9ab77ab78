"""A generation to export."""

import pytest

from tests.world import Generation, Hand, World


@pytest.fixture
async def whole(hand: Hand, world: World) -> Generation:
    """A generation with all lists, which is the current one."""
    generation = await hand.adopt(world, 1)
    await hand.runtime.runs.start(generation.record, 2)
    await hand.deliver_all()
    return generation
