"""The health check of a container: is a worker of this host alive? It runs often, so it imports little."""

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
    """Require a live worker process on this host.

    Raises:
        WorkersUnavailableError: no worker of this host sent a heartbeat within its lease, or Redis is unavailable.
    """
    try:
        names = asyncio.run(_alive_workers(settings))
    except RedisError as error:
        raise WorkersUnavailableError("Redis did not answer. The workers are unknown.") from error
    host = socket.gethostname()
    if not any(re.fullmatch(rf"{re.escape(host)}-\d+-[0-9a-f]+", name) for name in names):
        raise WorkersUnavailableError(f"No worker of {host} sent a heartbeat within its lease.")


async def _alive_workers(settings: Settings) -> list[str]:
    async with connect(find_redis(settings)) as redis:
        return [alive.worker for alive in await Heartbeats(redis, Keys(settings.prefix)).alive()]
