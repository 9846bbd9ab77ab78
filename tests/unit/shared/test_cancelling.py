"""A task ends though it swallows a cancellation, as one within CPython 3.11's wait_for can."""

import asyncio

from reckoner.shared.cancelling import cancel_and_wait


async def test_a_task_that_swallows_a_cancellation_ends_with_the_next() -> None:
    """And one that has ended, or ends by itself meanwhile, is left as it is."""
    swallowed = 0

    async def stubborn() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    tasks = [
        asyncio.create_task(stubborn()),
        asyncio.create_task(asyncio.sleep(60)),
        asyncio.create_task(asyncio.sleep(0)),
    ]
    await tasks[2]
    await cancel_and_wait(*tasks)
    assert swallowed == 3
    assert [task.cancelled() for task in tasks] == [True, True, False]
