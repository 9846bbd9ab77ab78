"""Serving: a listening socket, one or several processes, and their end in good order."""

import asyncio
import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING

import structlog
import uvicorn

from reckoner.producer.http.app import make_app
from reckoner.producer.http.config import HttpConfig
from reckoner.producer.http.limits import BoundedProtocol
from reckoner.shared.errors import UsageError
from reckoner.shared.tracing import NO_DISTRIBUTION, configure_traces, end_traces

if TYPE_CHECKING:
    from reckoner.producer.http.calls import Server

log = structlog.get_logger()

BACKLOG = 1_024
POLL_S = 0.1
FIRST_PAUSE_S, LONGEST_PAUSE_S, STEADY_S = 0.2, 10.0, 60.0
# What a stopping process may take beyond its open requests.
MARGIN_S = 3.0
# What open requests get when a thread stops serving.
THREAD_STOP_S = 2.0


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        UsageError: the port is taken or needs other rights, or the host is unknown.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"The host {host} is unknown: {error.strerror}.") from error
    family, kind, protocol, _, address = found[0]
    listening = socket.socket(family, kind, protocol)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(BACKLOG)
    except OSError as error:
        listening.close()
        raise UsageError(f"Port {port} of {host} cannot be used: {os.strerror(error.errno or 0).lower()}.") from error
    return listening


def url_of(listening: socket.socket) -> str:
    """Where a socket listens."""
    host, port = listening.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class GracefulServer(uvicorn.Server):
    """Stops in steps: not ready, then no new connections, then no open requests."""

    def __init__(self, config: HttpConfig) -> None:
        app, limits = make_app(config), config.limits
        super().__init__(
            uvicorn.Config(
                app,
                loop="uvloop" if sys.platform != "win32" else "asyncio",
                http=partial(BoundedProtocol, limits),  # type: ignore[arg-type] # it makes one
                ws="none",
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=int(limits.keep_alive_s),
                timeout_graceful_shutdown=int(config.longest_timeout_s + MARGIN_S),
            )
        )
        self._app = app
        self._linger_s = config.linger_s
        self._alive_fd = config.alive_fd
        self._check_s = limits.check_s
        self._check_at = 0.0
        self._stop_at: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to stop; a second signal ends open requests."""
        if self._stop_at is not None:
            self.should_exit = self.force_exit = True
            return
        self._stop_at = time.monotonic() + (self._linger_s if sig == signal.SIGTERM else 0.0)
        server: Server | None = getattr(self._app.state, "server", None)
        if server is not None:
            server.stopping = True

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and stop when the parent dies."""
        await super().startup(sockets)
        if self._alive_fd is not None:
            asyncio.get_running_loop().add_reader(self._alive_fd, self._orphaned)

    def _orphaned(self) -> None:
        assert self._alive_fd is not None
        asyncio.get_running_loop().remove_reader(self._alive_fd)
        self.handle_exit(signal.SIGTERM, None)

    async def on_tick(self, counter: int) -> bool:
        """Check the connections, and stop when load balancers have seen that it is not ready."""
        now = time.monotonic()
        if now >= self._check_at:
            self._check_at = now + self._check_s
            for connection in list(self.server_state.connections):
                assert isinstance(connection, BoundedProtocol)
                connection.check(now)
        if self._stop_at is not None and now >= self._stop_at:
            self.should_exit = True
        return await super().on_tick(counter)


def run_process(config: HttpConfig, listening: socket.socket) -> None:
    """Serve in this process until a signal."""
    if not configure_traces(os.environ):
        log.warning("traces not exported", reason=NO_DISTRIBUTION)
    # It warns of each client that does not speak HTTP.
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
    # A full collection over all imported modules would stall requests.
    gc.freeze()
    GracefulServer(config).run(sockets=[listening])


def serve_on(listening: socket.socket, config: HttpConfig, processes: int = 1) -> None:
    """Serve on a socket until SIGINT or SIGTERM; a second one ends open requests."""
    if processes == 1:
        run_process(config, listening)
    else:
        Processes(config, listening, processes).run()


@contextmanager
def serve_beside(listening: socket.socket, config: HttpConfig) -> Iterator[None]:
    """Serve on a socket in a thread during the block; at its end, requests that stay open are ended."""
    server = GracefulServer(config)
    thread = threading.Thread(target=server.run, args=([listening],), name="serve", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.handle_exit(signal.SIGINT, None)
        thread.join(THREAD_STOP_S)
        server.handle_exit(signal.SIGINT, None)
        thread.join()


@dataclass
class Child:
    """One of several processes."""

    pid: int | None = None
    due: float = 0.0
    started: float = 0.0
    pause_s: float = FIRST_PAUSE_S


class Processes:
    """Several processes that accept from one socket; one that dies is started again."""

    def __init__(self, config: HttpConfig, listening: socket.socket, count: int) -> None:
        self._config = config
        self._listening = listening
        self._children = [Child() for _ in range(count)]
        self._signals: list[int] = []
        # A child reads the end of this pipe when its parent dies.
        self._alive = os.pipe()

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM; a second one ends open requests."""
        for signum in (signal.SIGINT, signal.SIGTERM):
            signal.signal(signum, lambda signum, _: self._signals.append(signum))
        while not self._signals:
            self._config.access.reload()
            self._reap()
            self._start()
            time.sleep(POLL_S)
        self._stop()

    def _start(self) -> None:
        now = time.monotonic()
        for child in self._children:
            if child.pid is None and now >= child.due:
                child.started, child.pid = now, os.fork()
                if child.pid == 0:
                    self._become_child()

    def _become_child(self) -> None:
        code = 1
        try:
            # Ctrl-C reaches the parent alone, and each child gets one signal.
            os.setsid()
            for signum in (signal.SIGINT, signal.SIGTERM):
                signal.signal(signum, signal.SIG_DFL)
            os.close(self._alive[1])
            run_process(replace(self._config, alive_fd=self._alive[0]), self._listening)
            end_traces()
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except BaseException:
            log.exception("process failed")
        finally:
            os._exit(code)

    def _reap(self) -> None:
        for child in self._children:
            if child.pid is None or os.waitpid(child.pid, os.WNOHANG)[0] == 0:
                continue
            now = time.monotonic()
            if now - child.started > STEADY_S:
                child.pause_s = FIRST_PAUSE_S
            log.warning("process ended", pid=child.pid, restart_in_s=child.pause_s)
            child.pid, child.due = None, now + child.pause_s
            child.pause_s = min(2 * child.pause_s, LONGEST_PAUSE_S)

    def _stop(self) -> None:
        self._listening.close()
        until = time.monotonic() + self._config.linger_s + self._config.longest_timeout_s + 2 * MARGIN_S
        while pids := [child.pid for child in self._children if child.pid is not None]:
            late = time.monotonic() >= until
            for signum in [signal.SIGKILL] if late else self._signals:
                _signal(pids, signum)
            self._signals.clear()
            for child in self._children:
                if child.pid is not None and os.waitpid(child.pid, os.WNOHANG)[0]:
                    child.pid = None
            time.sleep(POLL_S)


def _signal(pids: Sequence[int], signum: int) -> None:
    for pid in pids:
        os.kill(pid, signum)
