"""`reckoner worker` as real processes: one signal stops all, a crash stops nothing, failed starts name the reason."""

import os
import signal
import site
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.redis.keys import Keys
from tests.patience import PATIENCE_S
from tests.processes import command_of, descendants, environment, run, started, still_there, wait_until
from tests.root import ROOT

StartServer = Callable[..., EmbeddedServer]


@pytest.fixture
def environ(redis_url: str, prefix: str, tmp_path: Path) -> dict[str, str]:
    """The environment of this test's worker."""
    return environment(RECKONER_REDIS_URL=redis_url, RECKONER_PREFIX=prefix, RECKONER_HOME=tmp_path / "a höme")


def children_of(supervisor: "subprocess.Popen[str]") -> list[psutil.Process]:
    return [process for process in descendants(supervisor.pid) if "--child" in command_of(process)]


def beating(redis_url: str, prefix: str, processes: list[psutil.Process]) -> bool:
    """Whether all these workers, whose names hold their process ids, send heartbeats."""
    with redis.Redis.from_url(redis_url) as connection:
        names = [name.decode() for name in connection.zrange(Keys(prefix).workers, 0, -1)]
    return bool(processes) and all(any(f"-{process.pid}-" in name for name in names) for process in processes)


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_one_signal_stops_all(
    environ: dict[str, str], redis_url: str, prefix: str, tmp_path: Path, signum: signal.Signals
) -> None:
    """The supervisor waits for its workers and exits with 0, for Ctrl-C and SIGTERM."""
    with started("producer", "worker", "--processes", "2", environ=environ, log=tmp_path / "log") as supervisor:
        wait_until(lambda: len(children_of(supervisor)) == 2, supervisor)
        children = children_of(supervisor)
        wait_until(lambda: beating(redis_url, prefix, children), supervisor)
        os.killpg(supervisor.pid, signum)
        assert supervisor.wait(PATIENCE_S) == 0
    assert still_there(children) == []
    log = (tmp_path / "log").read_text()
    assert log.count("worker stopped") == 2
    assert "Traceback" not in log


def test_a_signal_stops_workers_that_have_not_begun(environ: dict[str, str], tmp_path: Path) -> None:
    """A worker that still imports its kernels stops at once."""
    with started("producer", "worker", "--processes", "2", environ=environ, log=tmp_path / "log") as supervisor:
        wait_until(lambda: len(children_of(supervisor)) == 2, supervisor)
        children = children_of(supervisor)
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(PATIENCE_S) == 0
    assert still_there(children) == []
    assert "Traceback" not in (tmp_path / "log").read_text()


def test_a_worker_that_crashes_is_started_again(
    environ: dict[str, str], redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """Its neighbour continues, and the log says how it ended."""
    with started("producer", "worker", "--processes", "2", environ=environ, log=tmp_path / "log") as supervisor:
        wait_until(lambda: len(children_of(supervisor)) == 2, supervisor)
        crashed, neighbour = children_of(supervisor)
        crashed.kill()
        wait_until(lambda: len({crashed, *children_of(supervisor)}) == 3, supervisor)
        wait_until(lambda: beating(redis_url, prefix, children_of(supervisor)), supervisor)
        assert neighbour in children_of(supervisor)
    assert '"code": -9' in (tmp_path / "log").read_text()


def test_workers_end_when_their_supervisor_was_killed(
    environ: dict[str, str], redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """They stop themselves in order."""
    with started("producer", "worker", "--processes", "2", environ=environ, log=tmp_path / "log") as supervisor:
        wait_until(lambda: len(children_of(supervisor)) == 2, supervisor)
        children = children_of(supervisor)
        wait_until(lambda: beating(redis_url, prefix, children), supervisor)
        supervisor.kill()
        wait_until(lambda: not still_there(children))
    assert (tmp_path / "log").read_text().count("worker stopped") == 2


def test_workers_that_have_not_begun_end_when_their_supervisor_was_killed(
    environ: dict[str, str], tmp_path: Path
) -> None:
    """Even a worker that starts after the supervisor's death."""
    with started("producer", "worker", "--processes", "2", environ=environ, log=tmp_path / "log") as supervisor:
        wait_until(lambda: len(children_of(supervisor)) == 2, supervisor)
        children = children_of(supervisor)
        supervisor.kill()
        wait_until(lambda: not still_there(children))


def test_members_that_no_job_can_have_stop_no_worker(
    environ: dict[str, str], redis_url: str, prefix: str, tmp_path: Path
) -> None:
    """They are set aside and counted before workers start."""
    keys = Keys(prefix)
    with redis.Redis.from_url(redis_url) as connection:
        connection.zadd(keys.click, {b"\xff\xfe": 1, b"\x80": 2})
        with started("producer", "worker", environ=environ, log=tmp_path / "log") as supervisor:
            wait_until(lambda: beating(redis_url, prefix, children_of(supervisor)), supervisor)
            assert connection.zcard(keys.click) == 0
        assert connection.hgetall(keys.refused) == {b"member": b"2"}
    assert "worker ended" not in (tmp_path / "log").read_text()


def test_the_package_workers_of_a_project_is_not_taken_for_ours(environ: dict[str, str], tmp_path: Path) -> None:
    """`reckoner worker` is called in users' own directories, and `workers` is a likely name there."""
    (tmp_path / "workers").mkdir()
    (tmp_path / "workers" / "__main__.py").write_text("print('not ours')")
    without_redis = {name: value for name, value in environ.items() if name != "RECKONER_REDIS_URL"}
    ended = run("producer", "worker", environ=without_redis, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr == (
        "No Redis: set RECKONER_REDIS_URL, or keep the embedded server running with `reckoner up`.\n"
    )


@pytest.mark.parametrize(
    ("variable", "value", "code", "sentence"),
    [
        ("RECKONER_REDIS_URL", "redis://localhost:1", 1, "cannot be reached (Connection refused)."),
        ("RECKONER_REDIS_URL", "http://localhost", 2, "redis://, rediss://, unix:// or redis+sentinel://."),
        ("RECKONER_STORE_URL", "file:///dev/null/store", 1, "cannot be created: Not a directory."),
        ("RECKONER_STORE_URL", "s3://", 1, "Write s3://bucket/prefix."),
        ("RECKONER_CHUNKS", "none", 2, "RECKONER_CHUNKS is invalid"),
        ("RECKONER_TYPO", "1", 2, "RECKONER_TYPO is not a setting"),
    ],
)
def test_what_cannot_start_says_so_and_ends(
    environ: dict[str, str], variable: str, value: str, code: int, sentence: str
) -> None:
    """One sentence and an exit code, without restarts."""
    ended = run("producer", "worker", "--processes", "2", environ=environ | {variable: value})
    assert (ended.returncode, ended.stdout) == (code, "")
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_wrong_password_says_so_and_ends(environ: dict[str, str], fresh_server: StartServer) -> None:
    """Without showing the password."""
    url = fresh_server().url
    with redis.Redis.from_url(url) as connection:
        connection.config_set("requirepass", "right")
        ended = run("producer", "worker", environ=environ | {"RECKONER_REDIS_URL": f"{url}?password=tiger"})
    assert ended.returncode == 1
    assert "refuses the user name or password." in ended.stderr
    assert "tiger" not in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_without_numba_and_numpy_the_message_says_what_to_install(environ: dict[str, str], tmp_path: Path) -> None:
    """The client's installation lacks numba and numpy."""
    packages = tmp_path / "client packages"
    packages.mkdir()
    for place in map(Path, site.getsitepackages()):
        for path in place.iterdir():
            if not path.name.startswith(("numba", "numpy", "llvmlite")):
                (packages / path.name).symlink_to(path)
    ended = subprocess.run(
        # Without site-packages; the path replaces them.
        [sys.executable, "-S", "-m", "reckoner.workers"],
        env=environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(packages)])},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )
    assert ended.stderr == "Workers need numpy and numba. Run: pip install 'ready-reckoner[worker]'.\n"
    assert ended.returncode == 1
