"""Settings in a file: every process that a command starts reads them again, and a password goes to Redis alone."""

import json
import socket
from pathlib import Path

import psutil
import redis

from reckoner.shared.redis.embedded import EmbeddedServer
from tests.conftest import StartServer
from tests.processes import command_of, descendants, environment, run, started, wait_until
from tests.root import ROOT

SECRET = "hunter2 @:/"
# Programs that are started elsewhere find the packages of this repository.
HERE = environment(PYTHONPATH=ROOT)


def test_up_and_other_commands_read_the_settings_file(tmp_path: Path) -> None:
    """The server, the supervisor with its worker, and another command in the same directory."""
    where = tmp_path / "a shöp"
    where.mkdir()
    (where / "reckoner.toml").write_text('home = "data of ours"\nprefix = "shop"\n')
    options = ("--workers", "1", "--no-page")
    with started("producer", "up", *options, environ=HERE, log=tmp_path / "log", cwd=where) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        ended = run("producer", "status", "--json", environ=HERE, cwd=where)
        assert (ended.returncode, ended.stderr) == (0, "")
        (worker,) = json.loads(ended.stdout)["workers"]
        assert (worker["pid"], worker["host"]) == (worker_of(process.pid), socket.gethostname())
        assert worker["memory_bytes"] > 50 * 2**20
        ended = run("producer", "doctor", environ=HERE, cwd=where)
        assert (ended.returncode, ended.stderr) == (1, "")
        wrong = [line.split()[1] for line in ended.stdout.splitlines() if line.startswith("wrong ")]
        assert wrong == ["generation", "snapshot"]
    assert (where / "data of ours" / "store").is_dir()


def worker_of(pid: int) -> object:
    """The process of the one worker that `up` has started."""
    (worker,) = [each.pid for each in descendants(pid) if "--child" in command_of(each)]
    return worker


def test_up_does_not_cover_a_redis_of_the_file(tmp_path: Path) -> None:
    """It says where the URL is from."""
    (tmp_path / "reckoner.toml").write_text('redis_url = "redis://:hunter2@localhost:1"\n')
    ended = run("producer", "up", environ=HERE, cwd=tmp_path)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith(f"redis_url in {tmp_path / 'reckoner.toml'} is set, but `up` starts its own Redis")
    assert "hunter2" not in ended.stderr


def test_beside_a_kubernetes_service_of_our_name_every_process_starts(tmp_path: Path) -> None:
    """A worker logs the ignored variables at DEBUG."""
    service = {"RECKONER_REDIS_PORT": "tcp://10.0.0.11:6379", "RECKONER_SERVICE_HOST": "10.0.0.11"}
    environ = HERE | service | {"RECKONER_HOME": str(tmp_path), "RECKONER_LOG_LEVEL": "DEBUG"}
    ended = run("producer", "config", environ=environ, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (0, "")
    passed_over, *_, error = run("workers", "--healthcheck", environ=environ, cwd=tmp_path).stderr.splitlines()
    assert json.loads(passed_over)["level"] == "debug"
    assert json.loads(passed_over)["variables"] == sorted(service)
    assert error.startswith("No Redis: ")


def locked(fresh_server: StartServer) -> EmbeddedServer:
    """A server with a password."""
    server = fresh_server()
    with redis.Redis.from_url(server.url) as connection:
        connection.config_set("requirepass", SECRET)
    return server


def test_a_password_in_a_file_is_shown_by_no_process(tmp_path: Path, fresh_server: StartServer) -> None:
    """Supervisor, worker and command work with it, and neither their logs, their variables nor their command lines
    have it; with a wrong one they say so.
    """
    server = locked(fresh_server)
    (tmp_path / "the secret").write_text(f"{SECRET}\n")
    (tmp_path / "reckoner.toml").write_text(
        f'redis_url = "{server.url}"\nredis_password_file = "the secret"\nhome = "data"\nlog_level = "DEBUG"\n'
    )
    log = tmp_path / "log"
    with (
        redis.Redis.from_url(server.url, password=SECRET) as connection,
        started("producer", "worker", environ=HERE, log=log, cwd=tmp_path) as process,
    ):
        wait_until(lambda: connection.zcard("reckoner:workers"))
        shown = [
            str((each.cmdline(), each.environ())) for each in [psutil.Process(process.pid), *descendants(process.pid)]
        ]
        assert len(shown) == 2
        assert "hunter2" not in "".join(shown)
        assert run("producer", "status", environ=HERE, cwd=tmp_path).returncode == 0
        (tmp_path / "the secret").write_text("tiger")
        ended = run("producer", "status", environ=HERE, cwd=tmp_path)
        assert (ended.returncode, ended.stdout) == (1, "")
        assert "refuses the user name or password." in ended.stderr
        assert "tiger" not in ended.stderr
    assert "worker ready" in log.read_text()
    assert "hunter2" not in log.read_text()
