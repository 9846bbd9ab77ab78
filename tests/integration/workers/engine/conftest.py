"""Fixtures for tests of the engine."""

from collections.abc import AsyncIterator

import pytest

from tests.lanes import Lanes


@pytest.fixture
async def lanes(redis_url: str, prefix: str) -> AsyncIterator[Lanes]:
    """Two lanes on the shared server."""
    made = Lanes(redis_url, prefix)
    yield made
    await made.close()
