"""The scheduler: a limited number of kernels per lane, and a bounded wait."""

import asyncio

import pytest

from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.scheduling import AHEAD_S, REMEMBERED, Scheduler
from tests.patience import PATIENCE_S


async def test_only_so_many_of_a_lane_compute_at_once() -> None:
    """With two threads the third kernel waits."""
    scheduler, running, most = Scheduler({"click": 1, "batch": 2}, patience_s=5.0), 0, 0

    async def compute() -> None:
        nonlocal running, most
        async with scheduler.turn("batch"):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.gather(*(compute() for _ in range(6)))
    assert most == 2


async def test_a_click_does_not_wait_for_the_other_lane() -> None:
    """Each lane has its own threads."""
    scheduler = Scheduler({"click": 1, "batch": 1}, patience_s=0.01)
    async with scheduler.turn("batch"), scheduler.turn("click"):
        pass


async def test_who_waits_for_too_long_goes_back() -> None:
    """Another worker may be free; the timed out wait holds no thread."""
    scheduler = Scheduler({"click": 1, "batch": 1}, patience_s=0.01)
    async with scheduler.turn("click"):
        with pytest.raises(NotNowError):
            async with scheduler.turn("click"):
                pass
    async with scheduler.turn("click"):
        pass


async def test_a_deadline_stops_while_a_task_waits_for_its_turn() -> None:
    """After a wait longer than the deadline, the full deadline is left."""
    scheduler = Scheduler({"click": 1, "batch": 1}, patience_s=60.0)
    waiting = asyncio.Event()

    async def compute(seconds: float) -> str:
        try:
            async with scheduler.deadline(0.2):
                waiting.set()
                async with scheduler.turn("batch"):
                    await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        return "in time"

    for seconds, ended in ((0.0, "in time"), (60.0, "late")):
        async with scheduler.turn("batch"):
            task = asyncio.create_task(compute(seconds))
            await waiting.wait()
            await asyncio.sleep(0.4)
            assert not task.done()
        assert await task == ended


async def test_a_deadline_runs_outside_of_waits() -> None:
    """A kept deadline leaves nothing behind."""
    scheduler = Scheduler({"click": 1, "batch": 1}, patience_s=60.0)
    async with scheduler.deadline(60.0) as limit:
        pass
    assert not limit.expired()
    with pytest.raises(TimeoutError):
        async with scheduler.deadline(0.01), scheduler.turn("click"):
            await asyncio.sleep(60)
    async with scheduler.turn("click"):
        pass


async def test_what_a_block_does_waits_for_a_click_to_pass() -> None:
    """A block waits for all running clicks, and not at all without clicks."""
    scheduler = Scheduler({"click": 1, "batch": 1}, 1.0)
    await asyncio.wait_for(scheduler.yield_to_clicks(), 0.01)
    with scheduler.click():
        with scheduler.click():
            pass
        waiting = asyncio.create_task(scheduler.yield_to_clicks())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 0.01)


async def test_clicks_without_an_end_hold_a_block_up_for_a_moment_only() -> None:
    """A nightly run makes progress under a flood of clicks."""
    scheduler = Scheduler({"click": 1, "batch": 1}, 1.0)
    with scheduler.click():
        await asyncio.wait_for(scheduler.yield_to_clicks(), PATIENCE_S)


async def test_there_is_room_for_one_that_computes_and_one_that_waits_in_each_thread() -> None:
    """An announced task takes up room until its turn ends; each lane has its own room."""
    scheduler = Scheduler({"click": 1, "batch": 2}, patience_s=5.0)
    assert scheduler.room("batch") == 4
    with scheduler.announced("batch"):
        assert scheduler.room("batch") == 3
        async with scheduler.turn("batch"):
            assert scheduler.room("batch") == 3
            waiting = asyncio.gather(*(take(scheduler, asyncio.Event()) for _ in range(4)))
            await asyncio.sleep(0)
            assert scheduler.room("batch") == 0
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert scheduler.room("batch") == 4
    assert scheduler.room("click") == 2


async def take(scheduler: Scheduler, end: asyncio.Event) -> None:
    """Hold a turn of the batch lane until its end."""
    async with scheduler.turn("batch"):
        await end.wait()


async def test_the_callback_runs_when_there_is_room_again() -> None:
    """The callback runs once, when the first turn ends."""
    scheduler, found, ends = (
        Scheduler({"click": 1, "batch": 1}, patience_s=5.0),
        list[int](),
        [asyncio.Event() for _ in range(3)],
    )
    scheduler.on_room = lambda: found.append(scheduler.room("batch"))
    tasks = [asyncio.create_task(take(scheduler, end)) for end in ends]
    await asyncio.sleep(0)
    assert scheduler.room("batch") == 0
    for end, task, expected in zip(ends, tasks, ([], [1], [1]), strict=True):
        end.set()
        await task
        assert found == expected


async def test_there_is_room_for_more_where_a_turn_is_short() -> None:
    """Short kernels get more room, or threads would idle; long ones get less again."""
    scheduler = Scheduler({"click": 1, "batch": 1}, patience_s=5.0)
    for _ in range(4 * REMEMBERED):
        scheduler.skip("batch")
    assert scheduler.room("batch") > 10
    async with scheduler.turn("batch"):
        await asyncio.sleep(AHEAD_S * REMEMBERED)
    assert scheduler.room("batch") == 2
