"""The tests run on the configured server."""

from redis.asyncio import Redis

from tests.servers import server_version


async def test_the_server_is_the_one_that_was_asked_for(redis: Redis) -> None:
    """Its version is that of the named program; Valkey also reports a Redis version."""
    said = await redis.info("server")
    assert said.get("valkey_version", said["redis_version"]) == server_version()
