"""Fixtures for unit tests of Redis code: fakeredis, which runs the scripts in this process."""

from collections.abc import AsyncIterator

import fakeredis
import pytest
from redis.asyncio import Redis


@pytest.fixture
def fake_server() -> fakeredis.FakeServer:
    """The server that all clients of one test share."""
    return fakeredis.FakeServer()


@pytest.fixture
async def redis(fake_server: fakeredis.FakeServer) -> AsyncIterator[Redis]:
    """A client of it, in place of the real server's pool."""
    client = fakeredis.FakeAsyncRedis(server=fake_server)
    yield client
    await client.aclose()
