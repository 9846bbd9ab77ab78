"""Signals are recorded when they arrive, and raised where nothing is left behind."""

import asyncio
import os
import signal

import pytest

from reckoner.producer.cli.interruption import Interrupted, Interruption


def test_a_signal_acts_where_it_is_asked_for_and_not_before() -> None:
    """Nothing is interrupted between two checks."""
    with Interruption() as interruption:
        interruption.check()
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted) as raised:
            interruption.check()
    assert raised.value.exit_code == 143


def test_a_signal_cancels_the_running_work() -> None:
    """Running work can clean up before it ends."""
    steps: list[str] = []

    async def work() -> None:
        try:
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.sleep(60)
        finally:
            steps.append("in order")

    with Interruption() as interruption, pytest.raises(Interrupted):
        interruption.run(work())
    assert steps == ["in order"]


def test_after_a_signal_nothing_is_started() -> None:
    """It is recorded, so the work ends before its first step."""
    steps: list[str] = []

    async def work() -> None:
        steps.append("begun")

    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted):
            interruption.run(work())
    assert steps == []


def test_the_first_signal_says_how_it_ends() -> None:
    """Ctrl-C after a stop is still a stop."""
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(Interrupted, match="stopped by SIGTERM"):
            interruption.check()


def test_uninterrupted_work_returns_its_answer() -> None:
    """The former handlers are restored afterwards."""

    async def work() -> str:
        await asyncio.sleep(0)
        return "answer"

    before = signal.getsignal(signal.SIGINT)
    with Interruption() as interruption:
        assert interruption.run(work()) == "answer"
    assert signal.getsignal(signal.SIGINT) is before


def test_a_hang_up_that_is_ignored_stays_so() -> None:
    """As under `nohup`."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Interruption() as interruption:
            os.kill(os.getpid(), signal.SIGHUP)
            interruption.check()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_every_further_signal_is_reported_at_once() -> None:
    """A second signal calls `on_repeat`."""
    each: list[str] = []
    with Interruption() as interruption:
        interruption.on_repeat = lambda: each.append("again")
        for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
            os.kill(os.getpid(), signum)
        with pytest.raises(Interrupted) as raised:
            interruption.check()
    assert (each, raised.value.exit_code) == (["again", "again"], 130)
