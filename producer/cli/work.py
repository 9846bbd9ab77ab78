"""What a command says while it waits and no worker runs."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from producer.client import Reckoner

# A worker that has just been started is given the time to be heard.
PAUSE_S = 1.0

NOBODY = "No worker is running; this waits until one is, for example one started with `reckoner worker`."


@asynccontextmanager
async def minding_workers(reckoner: "Reckoner", tell: Callable[[str], None]) -> AsyncIterator[None]:
    """While the block waits, tell once whenever no worker is running."""
    import asyncio

    minding = asyncio.create_task(_mind(reckoner, tell))
    try:
        yield
    finally:
        minding.cancel()
        await asyncio.gather(minding, return_exceptions=True)


async def _mind(reckoner: "Reckoner", tell: Callable[[str], None]) -> None:
    import asyncio

    from producer.status import read_workers
    from producer.waiting import patiently

    told = False
    while True:
        await asyncio.sleep(PAUSE_S)
        nobody = not await patiently(lambda: read_workers(reckoner.redis, reckoner.keys))
        if nobody and not told:
            tell(NOBODY)
        told = nobody
