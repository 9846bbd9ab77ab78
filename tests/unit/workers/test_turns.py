"""Turns: many jobs side by side, a suspect alone, and nobody waits for ever."""

import asyncio

import pytest

from workers.turns import NotNowError, Turns


class Gate:
    """Notes whether the worker may claim jobs."""

    def __init__(self) -> None:
        self._open = True

    def __call__(self, allowed: bool) -> None:
        self._open = allowed

    def is_open(self) -> bool:
        return self._open


async def hold(turns: Turns, suspect: bool, until: asyncio.Event, log: list[str], name: str) -> None:
    async with turns.turn(suspect):
        log.append(f"{name} in")
        await until.wait()
        log.append(f"{name} out")


async def test_jobs_run_side_by_side() -> None:
    """Jobs on their first try do not wait for each other."""
    turns, until, log = Turns(Gate(), 1.0), asyncio.Event(), list[str]()
    jobs = [asyncio.create_task(hold(turns, False, until, log, name)) for name in "ab"]
    await asyncio.sleep(0)
    assert log == ["a in", "b in"]
    until.set()
    await asyncio.gather(*jobs)


async def test_a_suspect_waits_for_the_jobs_beside_it_and_runs_alone() -> None:
    """Until it is done nothing is claimed and nothing starts, so that its death takes nobody along."""
    gate, log = Gate(), list[str]()
    turns, first, second = Turns(gate, 5.0), asyncio.Event(), asyncio.Event()
    beside = asyncio.create_task(hold(turns, False, first, log, "beside"))
    await asyncio.sleep(0)
    suspect = asyncio.create_task(hold(turns, True, second, log, "suspect"))
    await asyncio.sleep(0.2)
    assert log == ["beside in"]
    assert not gate.is_open()
    with pytest.raises(NotNowError):
        await hold(turns, False, second, log, "late")
    first.set()
    await beside
    await asyncio.sleep(0.01)
    assert log == ["beside in", "beside out", "suspect in"]
    with pytest.raises(NotNowError):
        await hold(turns, True, second, log, "another suspect")
    assert not gate.is_open()
    second.set()
    await suspect
    assert gate.is_open()
    await hold(turns, False, second, log, "next")


async def test_a_suspect_goes_back_when_the_jobs_beside_it_take_too_long() -> None:
    """Waiting in place would run into arq's own time-out."""
    gate, until, log = Gate(), asyncio.Event(), list[str]()
    turns = Turns(gate, 0.05)
    beside = asyncio.create_task(hold(turns, False, until, log, "beside"))
    await asyncio.sleep(0)
    with pytest.raises(NotNowError):
        await hold(turns, True, until, log, "suspect")
    assert gate.is_open()
    until.set()
    await beside
    await hold(turns, True, until, log, "suspect")
    assert log == ["beside in", "beside out", "suspect in", "suspect out"]


@pytest.mark.parametrize("suspect", [False, True])
async def test_a_turn_ends_with_an_error_too(suspect: bool) -> None:
    """A job that fails or is cancelled leaves no turn behind."""
    gate = Gate()
    turns = Turns(gate, 0.05)
    with pytest.raises(ZeroDivisionError):
        async with turns.turn(suspect):
            raise ZeroDivisionError
    cancelled = asyncio.create_task(hold(turns, suspect, asyncio.Event(), [], "cancelled"))
    await asyncio.sleep(0.1)
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    assert gate.is_open()
    async with turns.turn(suspect=True):
        pass


async def test_a_suspect_that_ends_does_not_open_what_was_closed() -> None:
    """A worker that was told to stop claims no more."""
    gate = Gate()
    turns = Turns(gate, 0.01)
    async with turns.turn(suspect=True):
        turns.close()
    assert not gate.is_open()


async def test_few_kernels_run_at_once_and_those_behind_them_go_back_after_a_while() -> None:
    """Waiting for a thread is no part of a deadline; jobs without a kernel do not wait."""
    turns, until, log = Turns(Gate(), 0.05), asyncio.Event(), list[str]()

    async def compute(name: str) -> None:
        async with turns.turn(suspect=False, kernel=True):
            await hold(turns, False, until, log, name)

    jobs = [asyncio.create_task(compute(name)) for name in "abc"]
    with pytest.raises(NotNowError):
        await jobs[2]
    assert log == ["a in", "b in"]
    async with turns.turn(suspect=False):
        until.set()
    await asyncio.gather(*jobs[:2])
    await compute("d")
    assert log[-1] == "d out"
