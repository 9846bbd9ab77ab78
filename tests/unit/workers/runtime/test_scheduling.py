"""Turns: so many kernels of a lane at once, and nobody waits for ever."""

import asyncio

import pytest

from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.scheduling import AHEAD_S, REMEMBERED, Turns
from tests.patience import PATIENCE_S


async def test_only_so_many_of_a_lane_compute_at_once() -> None:
    """The third one of a lane for two waits for the first to end."""
    turns, running, most = Turns({"click": 1, "batch": 2}, patience_s=5.0), 0, 0

    async def compute() -> None:
        nonlocal running, most
        async with turns.turn("batch"):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1

    await asyncio.gather(*(compute() for _ in range(6)))
    assert most == 2


async def test_a_click_does_not_wait_for_the_other_lane() -> None:
    """Each lane has turns of its own."""
    turns = Turns({"click": 1, "batch": 1}, patience_s=0.01)
    async with turns.turn("batch"), turns.turn("click"):
        pass


async def test_who_waits_for_too_long_goes_back() -> None:
    """To where another worker may have a turn; and the turn that it did not get is not lost."""
    turns = Turns({"click": 1, "batch": 1}, patience_s=0.01)
    async with turns.turn("click"):
        with pytest.raises(NotNowError):
            async with turns.turn("click"):
                pass
    async with turns.turn("click"):
        pass


async def test_a_deadline_stands_still_for_who_waits_for_a_turn() -> None:
    """What is ahead takes longer than the deadline is away; the wait over, it is as far away as before."""
    turns = Turns({"click": 1, "batch": 1}, patience_s=60.0)
    waiting = asyncio.Event()

    async def compute(seconds: float) -> str:
        try:
            async with turns.deadline(0.2):
                waiting.set()
                async with turns.turn("batch"):
                    await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        return "in time"

    for seconds, ended in ((0.0, "in time"), (60.0, "late")):
        async with turns.turn("batch"):
            task = asyncio.create_task(compute(seconds))
            await waiting.wait()
            await asyncio.sleep(0.4)
            assert not task.done()
        assert await task == ended


async def test_a_deadline_runs_for_who_does_not_wait() -> None:
    """And one that was kept leaves nothing behind."""
    turns = Turns({"click": 1, "batch": 1}, patience_s=60.0)
    async with turns.deadline(60.0) as limit:
        pass
    assert not limit.expired()
    with pytest.raises(TimeoutError):
        async with turns.deadline(0.01), turns.turn("click"):
            await asyncio.sleep(60)
    async with turns.turn("click"):
        pass


async def test_what_a_block_does_waits_for_a_click_to_pass() -> None:
    """For all that run at once, and not a moment where there is none."""
    turns = Turns({"click": 1, "batch": 1}, 1.0)
    await asyncio.wait_for(turns.let_clicks_pass(), 0.01)
    with turns.click():
        with turns.click():
            pass
        waiting = asyncio.create_task(turns.let_clicks_pass())
        await asyncio.sleep(0)
        assert not waiting.done()
    await asyncio.wait_for(waiting, 0.01)


async def test_clicks_without_an_end_hold_a_block_up_for_a_moment_only() -> None:
    """A night goes on under a flood of them."""
    turns = Turns({"click": 1, "batch": 1}, 1.0)
    with turns.click():
        await asyncio.wait_for(turns.let_clicks_pass(), PATIENCE_S)


async def test_there_is_room_for_one_that_computes_and_one_that_waits_in_each_thread() -> None:
    """Who will ask for a turn takes up room from the start, and gives it back with its turn; each lane has its own."""
    turns = Turns({"click": 1, "batch": 2}, patience_s=5.0)
    assert turns.room("batch") == 4
    with turns.coming("batch"):
        assert turns.room("batch") == 3
        async with turns.turn("batch"):
            assert turns.room("batch") == 3
            waiting = asyncio.gather(*(take(turns, asyncio.Event()) for _ in range(4)))
            await asyncio.sleep(0)
            assert turns.room("batch") == 0
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)
        assert turns.room("batch") == 4
    assert turns.room("click") == 2


async def take(turns: Turns, end: asyncio.Event) -> None:
    """Hold a turn of the batch lane until its end."""
    async with turns.turn("batch"):
        await end.wait()


async def test_it_is_told_when_there_is_room_that_was_not() -> None:
    """As soon as a turn ends, and not again for the next one."""
    turns, told, ends = (
        Turns({"click": 1, "batch": 1}, patience_s=5.0),
        list[int](),
        [asyncio.Event() for _ in range(3)],
    )
    turns.on_room = lambda: told.append(turns.room("batch"))
    tasks = [asyncio.create_task(take(turns, end)) for end in ends]
    await asyncio.sleep(0)
    assert turns.room("batch") == 0
    for end, task, expected in zip(ends, tasks, ([], [1], [1]), strict=True):
        end.set()
        await task
        assert told == expected


async def test_there_is_room_for_more_where_a_turn_is_short() -> None:
    """A thread would be idle before more has come; and for as many as before where they are long again."""
    turns = Turns({"click": 1, "batch": 1}, patience_s=5.0)
    for _ in range(4 * REMEMBERED):
        turns.skip("batch")
    assert turns.room("batch") > 10
    async with turns.turn("batch"):
        await asyncio.sleep(AHEAD_S * REMEMBERED)
    assert turns.room("batch") == 2
