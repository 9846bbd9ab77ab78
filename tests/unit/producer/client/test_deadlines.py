"""Time limits that share a timer."""

import asyncio
import contextlib
from collections.abc import Iterator

import pytest

from reckoner.producer.client.deadlines import Deadlines

SOON_S = 0.01
LONG_S = 3600.0


@pytest.fixture
def deadlines() -> Iterator[Deadlines]:
    made = Deadlines()
    yield made
    made.close()


async def call(deadlines: Deadlines, limit_s: float) -> str:
    """How a call with a time limit ends that waits for ever."""
    deadline = deadlines.start(limit_s)
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        if deadline.ended():
            return "late"
        raise
    finally:
        deadlines.stop(deadline)
    return "done"


async def test_each_call_ends_at_its_own_limit(deadlines: Deadlines) -> None:
    """Whichever was begun first; a longer limit goes on."""
    calls = [asyncio.create_task(call(deadlines, limit)) for limit in (LONG_S, 3 * SOON_S, SOON_S, 2 * SOON_S)]
    assert await asyncio.gather(*calls[1:]) == ["late"] * 3
    assert not calls[0].done()
    calls[0].cancel()
    await asyncio.wait(calls)
    assert calls[0].cancelled()


async def test_a_cancellation_by_others_stays_one(deadlines: Deadlines) -> None:
    """It is passed on."""
    task = asyncio.create_task(call(deadlines, SOON_S))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_a_task_goes_on_after_a_late_call(deadlines: Deadlines) -> None:
    """It may make the next call, and is not cancelled any more."""
    for _ in range(3):
        assert await call(deadlines, SOON_S) == "late"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_call_that_ends_in_the_moment_of_its_limit_leaves_no_cancellation(deadlines: Deadlines) -> None:
    """The count of the task's cancellations is as before."""
    task, deadline = asyncio.current_task(), deadlines.start(0.0)
    assert task is not None
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(LONG_S)
    deadlines.stop(deadline)
    assert task.cancelling() == 0


async def test_many_calls_share_one_timer(deadlines: Deadlines, monkeypatch: pytest.MonkeyPatch) -> None:
    """A timer is set for the first, and not for those after it."""
    loop, timers = asyncio.get_running_loop(), list[float]()
    call_later = loop.call_later

    def noted(delay: float, *work: object) -> asyncio.TimerHandle:
        timers.append(delay)
        return call_later(delay, *work)  # type: ignore[arg-type]

    monkeypatch.setattr(loop, "call_later", noted)
    for _ in range(100):
        deadlines.stop(deadlines.start(LONG_S))
    assert len(timers) == 1
