"""What operators do with lanes and workers: to pause a lane and let it go on, and to drain a worker."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reckoner.producer.client.waiting import patiently
from reckoner.shared.errors import DrainRefusedError, UsageError, WorkerUnknownError
from reckoner.shared.flows.heartbeats import Heartbeats, LiveWorker
from reckoner.shared.redis.keys import paused_key
from reckoner.shared.redis.scripts import call

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys
    from reckoner.shared.wire.shapes import Lane

LOOK_S = 0.2
# As many names as a sentence can hold.
MAX_NAMES = 5


async def pause(redis: "Redis", keys: "Keys", lane: "Lane") -> int:
    """Have nothing more claimed from a lane; returns since when, in milliseconds since the epoch."""
    return int(await call(redis, "pause", [paused_key(keys.lane(lane))]))


async def resume(redis: "Redis", keys: "Keys", lane: "Lane") -> bool:
    """Have a lane's jobs claimed again; False when it was not paused."""
    queue = keys.lane(lane)
    return await call(redis, "resume", [queue, paused_key(queue)]) is not None


def find_worker(alive: Sequence[LiveWorker], part: str) -> LiveWorker:
    """The one worker of this id, or with this part in its id.

    Raises:
        WorkerUnknownError: there is none.
        UsageError: there are several.
    """
    found = [heard for heard in alive if heard.worker == part] or [heard for heard in alive if part in heard.worker]
    if not found:
        raise WorkerUnknownError
    if len(found) > 1:
        names = ", ".join(heard.worker for heard in found[:MAX_NAMES]) + (", ..." if len(found) > MAX_NAMES else "")
        raise UsageError(f"{len(found):,} workers have that in their ids ({names}): give more of the one you mean.")
    return found[0]


async def drain(redis: "Redis", keys: "Keys", workers: Sequence[LiveWorker]) -> None:
    """Tell workers to claim nothing any more, and to end when they have done what they run.

    Raises:
        DrainRefusedError: what one of them says of itself cannot be read; none was told then.
    """
    for heard in workers:
        if heard.beat is None:
            raise DrainRefusedError(
                f"{heard.worker} is a worker of another release, and cannot be drained: stop its process with SIGTERM, "
                "and it hands its jobs back."
            )
    await _tell(redis, keys, [heard.worker for heard in workers])


async def _tell(redis: "Redis", keys: "Keys", workers: Sequence[str]) -> None:
    for worker in workers:
        await call(redis, "tell", [keys.mail(worker)], ["drain"])


async def gone(redis: "Redis", keys: "Keys", workers: Sequence[str]) -> AsyncIterator[str]:
    """Yield workers that were told to drain as they end; those that have not heard of it are told again.

    Raises:
        RedisUnavailableError: Redis was away for longer than a minute.
    """
    heartbeats, left = Heartbeats(redis, keys), set(workers)
    while left:
        alive = {heard.worker: heard for heard in await patiently(heartbeats.alive) if heard.worker in left}
        for worker in sorted(left - alive.keys()):
            left.remove(worker)
            yield worker
        deaf = [heard.worker for heard in alive.values() if heard.beat and not heard.beat.draining]
        await patiently(partial(_tell, redis, keys, deaf))
        if left:
            await asyncio.sleep(LOOK_S)
