"""`reckoner up`, with real processes: ready soon, found by others, ended in order, and never half alive."""

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import redis

from producer.local import LocalSystem
from shared.errors import EmbeddedServerError, WorkersUnavailableError
from shared.redis.embedded import find_embedded
from tests.processes import command_of, descendants, environment, run, started, still_there, wait_until

if TYPE_CHECKING:
    import subprocess


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a space and an umlaut."""
    return tmp_path / "mein Zuhäuse"


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    """The environment of an `up` of this test alone."""
    return environment(RECKONER_HOME=home)


def ready(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Wait until `up` prints that it is ready; returns all its processes."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return descendants(process.pid)


def the_one(processes: list[psutil.Process], word: str) -> psutil.Process:
    (found,) = [
        process for process in processes if word in command_of(process) and "--child" not in command_of(process)
    ]
    return found


def slowness() -> float:
    """How many times as long as on a quick machine Python takes here for a million additions."""
    began = time.perf_counter()
    sum(number * number for number in range(1_000_000))
    return (time.perf_counter() - began) / 0.045


def test_it_is_ready_within_eight_seconds_with_nothing_compiled(
    environ: dict[str, str], home: Path, tmp_path: Path
) -> None:
    """Ready means that Redis and all workers answer; other commands find it in the home.

    The seconds are those of a quick machine that does nothing else; a slower one, and one that is busy, is allowed for.
    """
    cold = environ | {"NUMBA_CACHE_DIR": str(tmp_path / "nothing compiled")}
    began = time.monotonic()
    with started("producer", "up", "--workers", "2", environ=cold, log=tmp_path / "log") as process:
        ready(process)
        took_s = time.monotonic() - began
        assert took_s < 8 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)) * max(1.0, slowness())
        url = find_embedded(home)
        assert url is not None
        with redis.Redis.from_url(url) as connection:
            assert connection.zcard("reckoner:workers") == 2


def test_ctrl_c_ends_the_workers_first_and_keeps_the_data(environ: dict[str, str], home: Path, tmp_path: Path) -> None:
    """Nothing is left but the home, and the next `up` finds there what this one had."""
    for told in ("first", "second"):
        with started("producer", "up", environ=environ, log=tmp_path / "log") as process:
            processes = ready(process)
            url = find_embedded(home)
            assert url is not None
            with redis.Redis.from_url(url) as connection:
                assert connection.getset("kept", told) == {"first": None, "second": b"first"}[told]
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(15) == 0
        assert still_there(processes) == []
        log = (tmp_path / "log").read_text()
        # A worker that had lost its Redis would have said so.
        assert log.count("worker stopped") == 2
        assert [line for line in log.splitlines() if '"level": "info"' not in line] == []
        assert find_embedded(home) is None


def test_a_second_one_in_the_same_home_is_refused(environ: dict[str, str], tmp_path: Path) -> None:
    """It ends with a sentence; the first goes on."""
    with started("producer", "up", environ=environ, log=tmp_path / "log") as process:
        ready(process)
        told = run("producer", "up", environ=environ)
        assert (told.returncode, told.stdout) == (1, "")
        assert f"is already run by process {process.pid}, and every command finds it there: use it, " in told.stderr
        assert told.stderr.count("\n") == 1
        assert process.poll() is None


def test_a_redis_that_is_set_and_an_embedded_one_exclude_each_other(environ: dict[str, str], redis_url: str) -> None:
    """Who sets a Redis expects that one to be used, so `up` says that it would not."""
    told = run("producer", "up", environ=environ | {"RECKONER_REDIS_URL": redis_url})
    assert (told.returncode, told.stdout) == (2, "")
    assert told.stderr == (
        "RECKONER_REDIS_URL is set, and `up` runs a Redis of its own: unset it, or use `reckoner worker`.\n"
    )


@pytest.mark.parametrize(
    ("victim", "sentence"),
    [
        ("valkey-server", "The embedded server has ended, and the workers with it; its data are kept."),
        ("workers", "The workers have ended (exit code -9)."),
    ],
)
def test_when_one_half_dies_the_other_is_stopped(
    environ: dict[str, str], tmp_path: Path, victim: str, sentence: str
) -> None:
    """What made it die would likely do so again; so it ends with a sentence, and who started it decides."""
    with started("producer", "up", environ=environ, log=tmp_path / "log") as process:
        processes = ready(process)
        the_one(processes, victim).kill()
        assert process.wait(20) == 1
        wait_until(lambda: not still_there(processes), 10)
    assert sentence in (tmp_path / "log").read_text().splitlines()


def test_nothing_outlives_one_that_was_killed(environ: dict[str, str], home: Path, tmp_path: Path) -> None:
    """Server and workers end by themselves, and the home can be used at once."""
    with started("producer", "up", environ=environ, log=tmp_path / "log") as process:
        processes = ready(process)
        process.kill()
        wait_until(lambda: not still_there(processes), 10)
    assert find_embedded(home) is None


def test_what_keeps_the_workers_from_starting_is_told_once(environ: dict[str, str], tmp_path: Path) -> None:
    """The supervisor's sentence and its exit code are those of `up`."""
    told = run("producer", "up", environ=environ | {"RECKONER_STORE_URL": "file:///dev/null/store"})
    assert (told.returncode, told.stdout) == (1, "")
    assert told.stderr == "The store /dev/null/store cannot be created: Not a directory.\n"


def test_workers_that_are_not_ready_in_time_are_stopped(home: Path) -> None:
    """The wait is bounded, and everything is stopped afterwards."""
    before = descendants(os.getpid())
    with LocalSystem(home, 1, environment(RECKONER_HOME=home)) as system:
        processes = [process for process in descendants(os.getpid()) if process not in before]
        with pytest.raises(WorkersUnavailableError, match=r"were not ready within 0\.1 s\."):
            asyncio.run(system.ready("reckoner", within_s=0.1))
    assert len(processes) >= 2
    assert still_there(processes) == []
    assert find_embedded(home) is None


def test_a_home_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """Nothing was started then."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="cannot be run in"), LocalSystem(tmp_path / "file", 1, environment()):
        pytest.fail("it started")
