"""What operators do with lanes: to pause one, and to let it go on."""

from typing import TYPE_CHECKING

from shared.errors import UsageError
from shared.redis.keys import paused_key
from shared.redis.scripts import call

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.redis.keys import Keys
    from shared.wire import Lane


async def pause(redis: "Redis", keys: "Keys", lane: "Lane") -> int:
    """Have nothing more claimed from a lane; returns since when, in milliseconds since the epoch."""
    return int(await call(redis, "pause", [_paused(keys, lane)]))


async def resume(redis: "Redis", keys: "Keys", lane: "Lane") -> bool:
    """Have a lane's jobs claimed again; False when it was not paused."""
    return await call(redis, "resume", [keys.lane(lane), _paused(keys, lane)]) is not None


def _paused(keys: "Keys", lane: "Lane") -> str:
    if not keys.engine:
        raise UsageError("RECKONER_ENGINE is false, and stock workers have no lanes that could be paused.")
    return paused_key(keys.lane(lane))
