"""Ends tasks for certain."""

import asyncio
from typing import Any

LOOK_S = 0.2


async def cancel_and_wait(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel tasks until they have ended; how they did is left to the caller.

    Once is not always enough: arq runs tasks through `asyncio.wait_for`, and that of CPython 3.11 drops a cancellation
    that comes just when what it waits for has ended. (Our connections to Redis do not: see `shared.redis.pools`.)
    """
    while under_way := [task for task in tasks if not task.done()]:
        for task in under_way:
            task.cancel()
        await asyncio.wait(under_way, timeout=LOOK_S)
