"""Cancels tasks reliably."""

import asyncio
from typing import Any

RETRY_S = 0.2


async def cancel_and_wait(*tasks: "asyncio.Future[Any]") -> None:
    """Cancel tasks repeatedly until all have ended; the caller reads their results.

    One cancellation may be lost: arq runs tasks through `asyncio.wait_for`, and CPython 3.11's drops a cancellation
    that arrives just when the awaited task ends.
    """
    while running := [task for task in tasks if not task.done()]:
        for task in running:
            task.cancel()
        await asyncio.wait(running, timeout=RETRY_S)
