"""Cancels tasks reliably, and finishes what must not be cut off."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

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


async def run_to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Finish the work before a cancellation of the caller is raised, so that the caller can undo it."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        # Mark a failure as retrieved.
        _ = task.cancelled() or task.exception()
        raise
