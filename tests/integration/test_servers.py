"""Which server the tests run on."""

from arq import ArqRedis

from tests.servers import server_version


async def test_the_server_is_the_one_that_was_asked_for(redis: ArqRedis) -> None:
    """What answers says the version that the named program has; Valkey also says as which Redis it counts."""
    said = await redis.info("server")
    assert said.get("valkey_version", said["redis_version"]) == server_version()
