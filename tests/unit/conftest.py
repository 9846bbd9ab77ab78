"""Fixtures for unit tests of what speaks to Redis: fakeredis, which runs the scripts in this process."""

from collections.abc import AsyncIterator

import fakeredis
import pytest
from redis.asyncio import Redis


@pytest.fixture
def fake_server() -> fakeredis.FakeServer:
    """What several clients of one test have in common."""
    return fakeredis.FakeServer()


@pytest.fixture
async def redis(fake_server: fakeredis.FakeServer) -> AsyncIterator[Redis]:
    """A client of it, in the place of the real server's pool."""
    client = fakeredis.FakeAsyncRedis(server=fake_server)
    yield client
    await client.aclose()
