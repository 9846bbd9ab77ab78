"""`reckoner up` as real processes: ready soon, found by other commands, ended in order, never half alive."""

import asyncio
import contextlib
import os
import re
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import psutil
import pytest
import redis

from reckoner.producer.cli.serve import DEFAULT_PORT
from reckoner.producer.local import LocalSystem
from reckoner.shared.errors import EmbeddedServerError, WorkersUnavailableError
from reckoner.shared.redis.embedded import find_embedded
from tests.patience import PATIENCE_S
from tests.processes import (
    command_of,
    descendants,
    environment,
    run,
    started,
    still_there,
    wait_until,
    without_progress,
)

if TYPE_CHECKING:
    import subprocess


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home with a space and an umlaut."""
    return tmp_path / "mein Zuhäuse"


@pytest.fixture
def environ(home: Path) -> dict[str, str]:
    """The environment of this test's `up`, with short leases."""
    return environment(RECKONER_HOME=home, RECKONER_LEASE_S=1)


def ready(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    """Wait for the line `ready`, the only one without the page; returns all its processes."""
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return descendants(process.pid)


def page_of(process: "subprocess.Popen[str]") -> str:
    """The URL of the page, printed before `ready`."""
    assert process.stdout is not None
    word, url = process.stdout.readline().split()
    assert word == "serving"
    return url


def the_one(processes: list[psutil.Process], word: str) -> psutil.Process:
    (found,) = [
        process for process in processes if word in command_of(process) and "--child" not in command_of(process)
    ]
    return found


def test_a_life_in_order_and_one_that_is_killed(environ: dict[str, str], home: Path, tmp_path: Path) -> None:
    """It compiles kernels, is found by others, is alone in its home, and stops its workers first on Ctrl-C.

    The next one finds the data, and when it is killed, nothing outlives it.
    """
    cold = environ | {"NUMBA_CACHE_DIR": str(tmp_path / "nothing compiled")}
    with started("producer", "up", "--workers", "1", "--no-page", environ=cold, log=tmp_path / "log") as process:
        processes = ready(process)
        text = (tmp_path / "log").read_text()
        assert re.search(r"^Compiling kernels for the first start: \d+ so far$", text, re.MULTILINE)
        assert text.count("kernel compilation started") == 1
        url = find_embedded(home)
        assert url is not None
        with redis.Redis.from_url(url) as connection:
            assert connection.zcard("reckoner:workers") == 1
            connection.set("kept", "by the first")

        second = run("producer", "up", environ=environ)
        assert (second.returncode, second.stdout) == (1, "")
        assert f"is already run by process {process.pid}. Every command finds it there: use it, " in second.stderr
        assert second.stderr.count("\n") == 1
        assert process.poll() is None

        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert still_there(processes) == []
    log = (tmp_path / "log").read_text()
    # A worker that loses its Redis logs it.
    assert log.count("worker stopped") == 1
    logged = [line for line in log.splitlines() if line.startswith("{")]
    assert [line for line in logged if '"level": "info"' not in line] == []
    assert find_embedded(home) is None

    with started("producer", "up", environ=environ, log=tmp_path / "log") as process:
        page_of(process)
        processes = ready(process)
        url = find_embedded(home)
        assert url is not None
        with redis.Redis.from_url(url) as connection:
            assert connection.zcard("reckoner:workers") == 2
            assert connection.get("kept") == b"by the first"
        process.kill()
        wait_until(lambda: not still_there(processes))
    assert find_embedded(home) is None


def test_it_serves_the_page_on_a_free_port_if_the_usual_one_is_taken(environ: dict[str, str], tmp_path: Path) -> None:
    """An open page does not hold up Ctrl-C, and nothing is logged as an error."""
    log = tmp_path / "log"
    with occupied(DEFAULT_PORT), started("producer", "up", "--workers", "1", environ=environ, log=log) as process:
        url = page_of(process)
        processes = ready(process)
        assert httpx.get(f"{url}/health/live").status_code == 200
        with httpx.stream("GET", url, headers={"Accept": "text/event-stream"}) as events:
            assert events.headers["content-type"].startswith("text/event-stream")
            os.killpg(process.pid, signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
    assert still_there(processes) == []
    text = log.read_text()
    taken = f"Port {DEFAULT_PORT} of 127.0.0.1 cannot be used: address already in use."
    assert f"{taken} The page takes a free one." in text.splitlines()
    assert "Traceback" not in text
    assert '"level": "error"' not in text


@contextlib.contextmanager
def occupied(port: int) -> Iterator[None]:
    """Somebody listens on a port of this machine, whoever it is."""
    with socket.socket() as listening, contextlib.suppress(OSError):
        listening.bind(("127.0.0.1", port))
        listening.listen()
        yield
        return
    yield


def test_without_the_extra_it_serves_nothing(environ: dict[str, str], tmp_path: Path) -> None:
    """And says nothing of it."""
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['starlette'] = None\n")
    lacking = environ | {"PYTHONPATH": str(tmp_path)}
    with started("producer", "up", "--workers", "1", environ=lacking, log=tmp_path / "log") as process:
        ready(process)
    assert "Who may what" not in (tmp_path / "log").read_text()


def test_a_redis_that_is_set_and_an_embedded_one_exclude_each_other(environ: dict[str, str], redis_url: str) -> None:
    """`up` refuses to ignore a configured Redis."""
    ended = run("producer", "up", environ=environ | {"RECKONER_REDIS_URL": redis_url})
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "RECKONER_REDIS_URL is set, but `up` starts its own Redis. Unset it, or use `reckoner worker`.\n"
    )


@pytest.mark.parametrize(
    ("victim", "sentence"),
    [
        ("valkey-server", "The embedded server has ended, and so have the workers. Its data are kept."),
        ("workers", "The workers have ended (SIGKILL)."),
    ],
)
def test_when_one_half_dies_the_other_is_stopped(
    environ: dict[str, str], tmp_path: Path, victim: str, sentence: str
) -> None:
    """A restart would likely die again, so `up` exits with a sentence."""
    with started("producer", "up", "--workers", "1", "--no-page", environ=environ, log=tmp_path / "log") as process:
        processes = ready(process)
        the_one(processes, victim).kill()
        assert process.wait(PATIENCE_S) == 1
        wait_until(lambda: not still_there(processes))
    assert sentence in (tmp_path / "log").read_text().splitlines()


def test_the_reason_why_no_worker_starts_is_printed_once(environ: dict[str, str], tmp_path: Path) -> None:
    """The supervisor's sentence and exit code become those of `up`."""
    ended = run("producer", "up", environ=environ | {"RECKONER_STORE_URL": "file:///dev/null/store"})
    assert (ended.returncode, ended.stdout) == (1, "")
    assert without_progress(ended.stderr) == "The store /dev/null/store cannot be created: Not a directory.\n"


def start_one(home: Path, before_it_starts: str, stall_timeout_s: float) -> list[tuple[str, str, int, int | None]]:
    """Start one worker that does something before Python starts; returns the output."""
    home.mkdir()
    (home / "sitecustomize.py").write_text(
        f"import os, signal, sys, time\nif '--child' in sys.orig_argv:\n    {before_it_starts}\n"
    )
    environ = environment(RECKONER_HOME=home, PYTHONPATH=home)
    shown: list[tuple[str, str, int, int | None]] = []
    with (
        (home / "log").open("wb") as log,
        LocalSystem(home, 1, environ, log, stall_timeout_s=stall_timeout_s) as system,
    ):
        asyncio.run(system.ready("reckoner", lambda *what: shown.append(what)))
    return shown


def test_a_worker_with_progress_may_start_slowly(home: Path) -> None:
    """`up` waits while it makes progress."""
    shown = start_one(home, "until = time.monotonic() + 3\n    while time.monotonic() < until: pass", stall_timeout_s=2)
    assert shown[0] == ("Starting the workers", "workers", 0, 1)


@pytest.mark.parametrize(
    ("does", "stall_timeout_s", "sentence"),
    [
        (
            "print('no luck', file=sys.stderr, flush=True); os._exit(3)",
            60,
            r"A worker \(process \d+\) ended before it was ready \(exit code 3\)\. Their log ends with: no luck / .*",
        ),
        (
            "time.sleep(0.3); os.kill(os.getpid(), signal.SIGKILL)",
            60,
            r"A worker \(process \d+\) ended before it was ready \(SIGKILL\)\. Their log ends with: .*",
        ),
        (
            "time.sleep(3600)",
            0.5,
            r"0 of 1 workers are ready; the others made no progress for 0\.5 s\. Their log is empty\.",
        ),
    ],
    ids=["dies at once", "dies after a while", "hangs"],
)
def test_a_worker_that_does_not_get_ready_is_reported_and_nothing_is_left(
    home: Path, does: str, stall_timeout_s: float, sentence: str
) -> None:
    """The sentence names what ended and how, or says that nothing moves, with the last log lines."""
    before = descendants(os.getpid())
    with pytest.raises(WorkersUnavailableError) as raised:
        start_one(home, does, stall_timeout_s)
    assert re.fullmatch(sentence, str(raised.value))
    assert [process for process in descendants(os.getpid()) if process not in before] == []
    assert find_embedded(home) is None


def test_a_home_that_cannot_be_created_is_reported(tmp_path: Path) -> None:
    """Nothing was started."""
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedServerError, match="cannot be run in"), LocalSystem(tmp_path / "file", 1, environment()):
        pytest.fail("it started")
