"""Follows the embedded server of a home, which gets a new socket at each start."""

import asyncio
from typing import TYPE_CHECKING

import structlog

from reckoner.shared.redis.address import read_address
from reckoner.shared.redis.pools import BoundedPool
from reckoner.shared.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from redis.asyncio.connection import ConnectionPool

FOLLOW_S = 0.5

log = structlog.get_logger()


async def follow_embedded(settings: Settings, url: str, pools: "Sequence[ConnectionPool]") -> None:
    """Reconnect pools, of the server at `url`, when it restarts; with a configured server, do nothing."""
    directory = settings.home_path.absolute() / "redis"
    while not settings.redis_url:
        await asyncio.sleep(FOLLOW_S)
        address = read_address(directory)
        if address is None or address.state != "ready" or address.url == url:
            continue
        url = address.url
        log.info("embedded Redis moved")
        for pool in pools:
            if isinstance(pool, BoundedPool):
                await pool.move(str(address.socket_path))
