"""docker-compose.yml and its page as processes, without Docker: the same commands in the image's environment."""

import contextlib
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests import debian
from tests.compose import image_command, image_environment, read_compose
from tests.pages import shown_commands
from tests.patience import PATIENCE_S
from tests.processes import descendants, environment, wait_until
from tests.root import ROOT
from tests.servers import server_program

pytestmark = pytest.mark.install

# Configuration files, URLs and shells would each parse this differently.
PASSWORD = """it's "a" \\ pass:w@rd/100% $HOME é"""
TOKEN = "0123456789abcdef"
RATINGS = [("user", "item"), *((f"{user}", f"{item}") for user in range(600, 608) for item in range(user, user + 6))]
PAGE = "docs/deployment.md"
# The part of redis-cli that the health check uses: the server splits inline commands itself.
REDIS_CLI = """
import socket, sys
with socket.create_connection(("127.0.0.1", {port}), 3) as server:
    server.sendall(sys.stdin.buffer.read() + b"QUIT\\n")
    while answer := server.recv(1000):
        sys.stdout.buffer.write(answer)
"""


class Host:
    """A directory that plays the host: its secrets, volumes, network and services."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.services: dict[str, Any] = read_compose({"RECKONER_LIST_LENGTH": "4"})["services"]
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = int(listener.getsockname()[1])
            # Not the same, as both are bound.
            with socket.create_server(("127.0.0.1", 0)) as another:
                self.http_port = int(another.getsockname()[1])
        for name in ("secrets", "artifacts", "redis", "data", "bin"):
            (place / name).mkdir()
        (place / "secrets" / "redis_password").write_text(PASSWORD + "\n")
        (place / "secrets" / "http_tokens").write_text(f"read metrics {TOKEN}\n")
        (place / "data" / "ratings.csv").write_text("\n".join(",".join(pair) for pair in RATINGS))
        self._place_program("redis-server", shlex.join([server_program()]))
        self._place_program("redis-cli", self._redis_cli())
        self.seen: dict[int, str] = {}
        self.redis: subprocess.Popen[str] | None = None
        self.workers: list[subprocess.Popen[str]] = []
        self.http: subprocess.Popen[str] | None = None
        self.built: list[str] = []

    def _redis_cli(self) -> str:
        if os.environ.get("TESTS_REDIS_SERVER"):
            return shlex.join([str(debian.find("redis-tools", "usr/bin/redis-cli")), "-p", str(self.port)])
        return shlex.join([sys.executable, "-I", "-S", "-c", REDIS_CLI.format(port=self.port)])

    def _place_program(self, name: str, command: str) -> None:
        path = self.place / "bin" / name
        path.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        path.chmod(0o755)

    def here(self, text: str) -> str:
        """A command or value with the containers' paths and names replaced by this host's."""
        text = text.replace("/run/secrets/", f"{self.place}/secrets/").replace("/artifacts", f"{self.place}/artifacts")
        text = text.replace("127.0.0.1:8321", f"127.0.0.1:{self.http_port}")
        text = text.replace("dir /data\n", f"dir {self.place}/redis\nbind 127.0.0.1\nport {self.port}\n")
        return text.replace("redis://redis:6379", f"redis://127.0.0.1:{self.port}").replace(
            "/data/", f"{self.place}/data/"
        )

    def environ(self, service: str) -> dict[str, str]:
        """A service's environment: the image's variables, then the file's."""
        if service == "redis":
            return environment() | {"PATH": f"{self.place}/bin:{os.environ['PATH']}"}
        changed = {
            "PATH": os.environ["PATH"],
            "RECKONER_HOME": f"{self.place}/home",
            "NUMBA_CACHE_DIR": f"{self.place}/kernels",
        }
        own = {name: self.here(value) for name, value in self.services[service]["environment"].items()}
        return environment() | image_environment() | changed | own

    def start(self, service: str, *command: str) -> "subprocess.Popen[str]":
        """Start a service, or run a command in it, as the image does."""
        words = [self.here(word) for word in command or self.services[service]["command"]]
        if service != "redis":
            (program,) = image_command("ENTRYPOINT")
            assert program == "reckoner"
            published = ["--port", str(self.http_port)] if service == "http" else []
            words = [sys.executable, "-m", "reckoner.producer", *words, *published]
        return self._popen(words, service)

    def _popen(self, words: list[str], service: str) -> "subprocess.Popen[str]":
        with (self.place / f"{service}.log").open("ab") as log:
            return subprocess.Popen(
                words, cwd=ROOT, env=self.environ(service), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=log, text=True, start_new_session=True,
            )  # fmt: skip

    def ended(self, process: "subprocess.Popen[str]") -> tuple[int, str]:
        """Wait for a process, and record what other users of the host can see of it."""
        until = time.monotonic() + PATIENCE_S
        while process.poll() is None:
            self.look(process.pid)
            assert time.monotonic() < until
            time.sleep(0.005)
        assert process.stdout is not None
        with process.stdout:
            return process.returncode, process.stdout.read()

    def run(self, *command: str) -> str:
        """Run a command in `producer`, which has to succeed; returns its output."""
        code, out = self.ended(self.start("producer", *command))
        assert code == 0, (self.place / "producer.log").read_text()
        return out

    def compose(self, line: str) -> str:
        """Do what `docker compose` does for a line of the page; returns its output."""
        match shlex.split(line)[2:]:
            case ["run", "--rm", "producer", *command]:
                return self.run(*command)
            case ["stop", "worker"]:
                for worker in self.workers:
                    assert stop(worker, self.services["worker"]) == 0
                self.workers = []
            case ["--profile", "metrics", "up", "--detach"]:
                # Prometheus and Grafana are not here: `make test-alerts` checks their files.
                pass
            case ["up", "--detach", *options]:
                self.up(*options)
            case words:
                raise AssertionError(f"nobody has tried {words}")
        return ""

    def up(self, *options: str) -> None:
        """Start Redis, wait until it is healthy, and start the missing workers."""
        scale = [int(option.removeprefix("worker=")) for option in options if option.startswith("worker=")]
        assert {*options} <= {"--build", "--scale", *(f"worker={count}" for count in scale)}
        if self.redis is None:
            self.redis = self.start("redis")
        wait_until(lambda: healthy(self, "redis"))
        if "--build" in options:
            self.built.append(self.compile_kernels())
        if self.http is None:
            self.http = self.start("http")
        wait_until(lambda: healthy(self, "http"))
        count = scale[0] if scale else 1
        self.workers += [self.start("worker") for _ in range(count - len(self.workers))]
        wait_until(lambda: healthy(self, "worker"))
        wait_until(lambda: len(json.loads(self.run("status", "--json"))["workers"]) == count)
        for process in (self.redis, self.http, *self.workers):
            self.look(process.pid)

    def compile_kernels(self) -> str:
        """Compile the kernels as the image's build does; returns the output."""
        code, out = self.ended(self._popen([sys.executable, "-m", "reckoner.workers.kernels"], "worker"))
        assert code == 0
        return out

    def check(self, service: str) -> int:
        """A service's health check, from its file or the image."""
        if service == "redis":
            kind, words = self.services["redis"]["healthcheck"]["test"]
            assert kind == "CMD-SHELL"
            return self.ended(self._popen(["sh", "-c", self.here(words)], "redis"))[0]
        check = self.services[service].get("healthcheck", {}).get("test", ["CMD", *image_command("HEALTHCHECK")])
        kind, python, *rest = check
        assert (kind, python) == ("CMD", "python")
        return self.ended(self._popen([sys.executable, *map(self.here, rest)], service))[0]

    def look(self, pid: int) -> None:
        """Record command line and environment of a process and its children."""
        for process in [psutil.Process(pid), *descendants(pid)]:
            with contextlib.suppress(psutil.Error, OSError):
                folder = Path("/proc") / str(process.pid)
                self.seen[process.pid] = self.seen.get(process.pid, "") + "\0".join(
                    (folder / name).read_bytes().decode(errors="replace") for name in ("cmdline", "environ")
                )


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """The host. Processes left by a failing test are killed."""
    place = tmp_path / "host"
    place.mkdir()
    made = Host(place)
    before = {child.pid for child in psutil.Process().children(recursive=True)}
    yield made
    for left in psutil.Process().children(recursive=True):
        if left.pid not in before:
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()


def healthy(host: Host, service: str) -> bool:
    return host.check(service) == 0


def stop(process: "subprocess.Popen[str]", service: Mapping[str, str]) -> int:
    """Stop a service as compose does; returns its exit code. Fails after the grace period."""
    process.send_signal(signal.SIGTERM)
    code = process.wait(float(service["stop_grace_period"].removesuffix("s")))
    assert process.stdout is not None
    process.stdout.close()
    return code


def test_the_services_work_together_and_show_no_password(host: Host) -> None:
    """The page's commands in order, with a password of every awkward character."""
    lines = [line for line in shown_commands((ROOT / PAGE).read_text()) if line.startswith("docker compose ")]
    said = "".join(map(host.compose, lines))
    assert "8 users" in said
    assert "User 601" in said
    # The caller's setting arrives: four, not twenty.
    assert len(host.run("get", "601", "--json").split('"item"')) - 1 == 4
    assert re.fullmatch(r"(\d+) kernels: \1 compiled, 0 loaded\n", host.built[0])
    assert re.fullmatch(r"(\d+) kernels: 0 compiled, \1 loaded\n", host.built[-1])
    assert len(host.workers) == 4

    metrics = f"http://127.0.0.1:{host.http_port}/metrics"
    assert httpx.get(metrics).status_code == 401
    shown = httpx.get(metrics, headers={"Authorization": f"Bearer {TOKEN}"})
    assert 'reckoner_workers{kind="alive"} 4.0' in shown.text

    host.compose("docker compose stop worker")
    assert not healthy(host, "worker")
    assert host.http
    assert stop(host.http, host.services["http"]) == 0
    assert not healthy(host, "http")
    assert host.redis
    assert stop(host.redis, host.services["redis"]) == 0
    assert not healthy(host, "redis")

    # All processes were really recorded: programs by name, environments by a variable.
    everything = "\n".join(host.seen.values())
    for word in (
        f"127.0.0.1:{host.port}",
        "redis-cli",
        "workers",
        "producer",
        "--healthcheck",
        "RECKONER_REDIS_PASSWORD_FILE",
    ):
        assert word in everything
    assert PASSWORD not in everything
    assert "pass:w@rd" not in everything
    assert TOKEN not in everything
    assert PASSWORD not in "".join(log.read_text() for log in host.place.glob("*.log"))
    (kept,) = (host.place / "redis").rglob("*.incr.aof")
    assert b"pass:w@rd" not in kept.read_bytes()


def test_redis_refuses_a_wrong_password(host: Host) -> None:
    """With another password in its file, a command says so in one sentence."""
    redis = host.start("redis")
    wait_until(lambda: healthy(host, "redis"))
    (host.place / "secrets" / "redis_password").write_text("another")
    code, out = host.ended(host.start("producer"))
    assert (code, out) == (1, "")
    assert (host.place / "producer.log").read_text() == (
        f"Redis at redis://127.0.0.1:{host.port}/0 refuses the user name or password.\n"
    )
    assert not healthy(host, "redis")
    assert stop(redis, host.services["redis"]) == 0
