"""Renews the leases of a worker, and releases jobs that have none."""

import asyncio
from collections.abc import Callable, Collection

import structlog

from reckoner.workers.engine.backoff import RedisBackoff
from reckoner.workers.engine.claims import Claims
from reckoner.workers.engine.running import Running

log = structlog.get_logger()


class LeaseKeeper:
    """The leases of one worker. `held` returns its jobs that run or wait to be settled."""

    def __init__(
        self, claims: Claims, backoff: RedisBackoff, lease_s: float, held: Callable[[], Collection[Running]]
    ) -> None:
        self._claims = claims
        self._backoff = backoff
        self._pause_s = lease_s / 3
        self._held = held

    async def keep_leases(self) -> None:
        """Renew leases three times per lease, for ever. An error that is not trouble of Redis is raised."""
        while True:
            await asyncio.sleep(self._pause_s)
            for queue in {running.lease.queue for running in self._held()}:
                try:
                    await self._renew(queue)
                except Exception as error:
                    self._backoff.back_off(error)

    async def _renew(self, queue: str) -> None:
        held = [running for running in self._held() if running.lease.queue == queue and not running.lease.closing]
        lost = await self._claims.renew(queue, [running.lease for running in held]) if held else []
        for running in (held[number] for number in lost):
            if not running.lease.closing:
                running.cancel("lost")

    async def release_unheld(self) -> None:
        """Release claimed jobs without a lease. Only a foreign write can leave one."""
        if count := await self._claims.release_unheld():
            log.warning("jobs without a lease released", count=count)
