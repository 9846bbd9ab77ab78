"""Sentinel: finds the current primary of a service."""

from redis.asyncio import Redis
from redis.asyncio.sentinel import MasterNotFoundError, Sentinel

from reckoner.shared.redis.pools import BoundedPool, ConnectFailedError
from reckoner.shared.redis.urls import Service


async def find_primary(service: Service, timeout_s: float | None) -> tuple[str, int]:
    """Ask the Sentinels of a service, one after the other, for the host and port of its primary.

    Raises:
        ConnectFailedError: no Sentinel names a healthy primary within `timeout_s`.
    """
    pools = [
        BoundedPool(
            host=host,
            port=port,
            username=service.username,
            password=service.password,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
        )
        for host, port in service.hosts
    ]
    sentinel = Sentinel(())  # type: ignore[no-untyped-call]
    sentinel.sentinels = [Redis(connection_pool=pool) for pool in pools]
    try:
        host, port = await sentinel.discover_master(service.name)
    except MasterNotFoundError as error:
        raise ConnectFailedError("has no primary: no Sentinel answers or names a healthy one") from error
    finally:
        for pool in pools:
            await pool.aclose()
    return str(host), int(port)
