"""What a worker of the engine holds: its leases are renewed, and what nobody holds is let go."""

import asyncio
from collections.abc import Callable, Collection

import structlog

from reckoner.workers.engine.backoff import RedisBackoff
from reckoner.workers.engine.claims import Claims
from reckoner.workers.engine.running import Running

log = structlog.get_logger()


class LeaseKeeper:
    """The leases of one worker: `held` tells under which of its jobs it has them, running or just ended."""

    def __init__(
        self, claims: Claims, backoff: RedisBackoff, lease_s: float, held: Callable[[], Collection[Running]]
    ) -> None:
        self._claims = claims
        self._backoff = backoff
        self._pause_s = lease_s / 3
        self._held = held

    async def keep_leases(self) -> None:
        """Renew them three times within their length, for ever; an error that is no trouble of Redis's is raised."""
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
        """Mend what others have done to the leases: no script leaves a job claimed and without one."""
        if count := await self._claims.release_unheld():
            log.warning("jobs without a lease released", count=count)
