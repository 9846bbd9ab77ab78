"""Pause and resume lanes, drain workers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reckoner.producer.client.waiting import retry_while_away
from reckoner.shared.errors import DrainRefusedError, UsageError, WorkerUnknownError
from reckoner.shared.flows.heartbeats import Heartbeats, LiveWorker
from reckoner.shared.redis.keys import paused_key
from reckoner.shared.redis.scripts import call

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys
    from reckoner.shared.wire.shapes import Lane

LOOK_S = 0.2
# Names listed in a message.
MAX_NAMES = 5


async def pause(redis: "Redis", keys: "Keys", lane: "Lane") -> int:
    """Pause a lane; returns the time of the pause in milliseconds since the epoch."""
    return int(await call(redis, "pause", [paused_key(keys.lane(lane))]))


async def resume(redis: "Redis", keys: "Keys", lane: "Lane") -> bool:
    """Resume a lane; False if it was not paused."""
    queue = keys.lane(lane)
    return await call(redis, "resume", [queue, paused_key(queue)]) is not None


def find_worker(alive: Sequence[LiveWorker], part: str) -> LiveWorker:
    """The worker with this id, or with this part in its id.

    Raises:
        WorkerUnknownError: no worker matches.
        UsageError: several workers match.
    """
    found = [each for each in alive if each.worker == part] or [each for each in alive if part in each.worker]
    if not found:
        raise WorkerUnknownError
    if len(found) > 1:
        names = ", ".join(each.worker for each in found[:MAX_NAMES]) + (", ..." if len(found) > MAX_NAMES else "")
        raise UsageError(f"{len(found):,} workers match ({names}). Give a longer part of the id.")
    return found[0]


async def drain(redis: "Redis", keys: "Keys", workers: Sequence[LiveWorker]) -> None:
    """Let workers finish their running jobs and exit.

    Raises:
        DrainRefusedError: the heartbeat of one is unreadable; then none of them is drained.
    """
    for each in workers:
        if each.beat is None:
            raise DrainRefusedError(
                f"Cannot drain {each.worker}: it is of another release. Stop its process with SIGTERM; its jobs are "
                "handed back."
            )
    await _send_drain(redis, keys, [each.worker for each in workers])


async def _send_drain(redis: "Redis", keys: "Keys", workers: Sequence[str]) -> None:
    for worker in workers:
        await call(redis, "tell", [keys.mail(worker)], ["drain"])


async def drained(redis: "Redis", keys: "Keys", workers: Sequence[str]) -> AsyncIterator[str]:
    """Yield draining workers as they exit; repeats the message to workers that do not drain yet.

    Raises:
        RedisUnavailableError: Redis was away for longer than a minute.
    """
    heartbeats, left = Heartbeats(redis, keys), set(workers)
    while left:
        alive = {each.worker: each for each in await retry_while_away(heartbeats.alive) if each.worker in left}
        for worker in sorted(left - alive.keys()):
            left.remove(worker)
            yield worker
        unnotified = [each.worker for each in alive.values() if each.beat and not each.beat.draining]
        await retry_while_away(partial(_send_drain, redis, keys, unnotified))
        if left:
            await asyncio.sleep(LOOK_S)
