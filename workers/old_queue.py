"""The queue of stock arq workers, the only one of release 0.1.0: its workers are noticed, and its jobs are moved."""

from redis.asyncio import Redis

from shared.errors import StockWorkersError
from shared.redis.keys import Keys
from shared.redis.scripts import ask, call

# One script with more would hold up the server for longer than some 5 ms.
SLICE = 500


async def require_no_stock_workers(redis: Redis, keys: Keys) -> None:
    """Make sure that no stock arq worker has said within the last hour that it is there.

    arq removes what they say when any of them closes, and it lives for an hour when one crashes.

    Raises:
        StockWorkersError: one has.
    """
    if await ask(redis, "EXISTS", keys.stock_health):
        raise StockWorkersError


async def drain_old(redis: Redis, keys: Keys) -> int:
    """Move what waits in the queue of stock workers to the lanes; returns how many jobs were taken from there.

    Release 0.1.0 puts all of a flow's jobs there, whoever did those before. What a stock worker runs is left to it.
    """
    names, taken, left = [keys.stock, *keys.lanes], 0, 0
    while True:
        answer = await call(redis, "drain_old", names, [keys.flow(""), left, SLICE])
        some_taken, some_left = map(int, answer)
        taken, left = taken + some_taken, left + some_left
        if some_taken + some_left < SLICE:
            return taken
