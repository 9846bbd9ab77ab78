"""Whether a worker of this host is heard of: what a container is asked again and again, so it imports little."""

import asyncio
import re
import socket

from redis.exceptions import RedisError

from reckoner.shared.errors import WorkersUnavailableError
from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.embedded import find_redis
from reckoner.shared.redis.keys import Keys
from reckoner.shared.settings import Settings


def require_worker(settings: Settings) -> None:
    """Make sure that a worker process with this host's name has been heard of within its lease.

    Raises:
        WorkersUnavailableError: none was, or Redis cannot tell.
    """
    try:
        names = asyncio.run(_heard(settings))
    except RedisError as error:
        raise WorkersUnavailableError("Redis cannot tell which workers there are.") from error
    host = socket.gethostname()
    if not any(re.fullmatch(rf"{re.escape(host)}-\d+-[0-9a-f]+", name) for name in names):
        raise WorkersUnavailableError(f"No worker of {host} has been heard of within its lease.")


async def _heard(settings: Settings) -> list[str]:
    async with connect(find_redis(settings)) as redis:
        return [heard.worker for heard in await Heartbeats(redis, Keys(settings.prefix)).alive()]
