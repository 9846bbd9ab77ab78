"""An embedded Redis and workers of one home, which `up` and `demo` start, watch and stop."""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self, TypeVar

from reckoner.producer.client.reckoner import Reckoner
from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.errors import EmbeddedServerError, RedisUnavailableError, WorkersUnavailableError
from reckoner.shared.interpreter import module_command
from reckoner.shared.progress import STALL_TIMEOUT_S, ProgressWatch
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.settings import load_settings
from reckoner.shared.startup import EventReceiver, StartupEvent
from reckoner.shared.stopping import launcher_exit_timeout_s

T = TypeVar("T")

LOOK_S = 0.05
LAST_LINES = 3
# The id of a worker, with its process id.
WORKER = re.compile(r".*-(\d+)-[0-9a-f]+")

# Called repeatedly with the current step, its unit, the amount done, and the total or None if unknown.
Show = Callable[[str, str, int, int | None], object]


class _Startup:
    """The state of starting workers, by process id."""

    def __init__(self) -> None:
        self.started = set[int]()
        self.ended = dict[int, int]()
        self.ready = set[int]()
        self.kernels = 0

    def record(self, event: StartupEvent) -> None:
        """Record an event from a worker or the supervisor."""
        if event.what == "started":
            self.started.add(event.pid)
        elif event.what == "ended":
            self.ended[event.pid] = event.number
        else:
            self.kernels = max(self.kernels, event.number)

    def mark_ready(self, workers: Sequence[str]) -> None:
        """Record the ids of workers with a heartbeat."""
        self.ready |= {int(named[1]) for named in map(WORKER.fullmatch, workers) if named}


class LocalSystem:
    """A running server and a supervisor of `processes` workers; leaving it stops the workers, then the server.

    Enter it in the main thread, since the server ends with the starting thread. `environ` is the workers' environment
    with the same home. Their log goes to `log`, or to standard error. The start fails after `stall_timeout_s` seconds
    without progress. `look` is called repeatedly while the server starts, with whether it loads data; it may raise.
    """

    def __init__(
        self,
        home: Path,
        processes: int,
        environ: Mapping[str, str],
        log: IO[bytes] | None = None,
        look: Callable[[bool], object] = bool,
        stall_timeout_s: float = STALL_TIMEOUT_S,
    ) -> None:
        self._home = home
        self._processes = processes
        self._environ = environ
        self._log = log
        self._look = look
        self._stall_timeout_s = stall_timeout_s
        self._stop_s = load_settings(environ).stop_s

    def __enter__(self) -> Self:
        self._server = EmbeddedServer.start(self._home, stall_timeout_s=self._stall_timeout_s, look=self._look)
        self._receiver = EventReceiver()
        try:
            # Older heartbeats belong to earlier workers. The server uses this machine's clock.
            self._since_ms = time.time_ns() // 1_000_000
            events_fd = self._receiver.sender_end
            options = ["--processes", str(self._processes), "--parent", str(os.getpid()), "--tell", str(events_fd)]
            self._supervisor = subprocess.Popen(
                module_command("reckoner.workers", *options),
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stderr=self._log,
                pass_fds=[events_fd],
                # A new session: Ctrl-C reaches this process only, which stops everything in order.
                start_new_session=True,
            )
            self._receiver.close_sender_end()
        except BaseException:
            self._receiver.close()
            self._server.stop()
            raise
        return self

    def __exit__(self, *raised: object) -> None:
        try:
            self._supervisor.terminate()
            self._supervisor.wait(launcher_exit_timeout_s(self._stop_s))
        except subprocess.TimeoutExpired:
            # The workers exit when they lose their supervisor.
            self._supervisor.kill()
            self._supervisor.wait()
        finally:
            self._receiver.close()
            self._server.stop()

    def stop_faster(self) -> None:
        """Let stopping workers hand their jobs back at once."""
        # Not SIGTERM: two equal signals at the same time may merge into one.
        self._supervisor.send_signal(signal.SIGINT)

    @property
    def url(self) -> str:
        """The URL of the server."""
        return self._server.url

    def check(self) -> None:
        """Check that both still run.

        Raises:
            EmbeddedServerError: the server has ended.
            WorkersUnavailableError: the supervisor has ended; the evidence `code` is its exit code.
        """
        if not self._server.is_running:
            raise EmbeddedServerError("The embedded server has ended, and so have the workers. Its data are kept.")
        code = self._supervisor.poll()
        if code is not None:
            raise WorkersUnavailableError(f"The workers have ended ({_end(code)}).{self._log_tail()}", code=code)

    async def watch(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` while both run; see `check`."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                self.check()
                await asyncio.wait({task}, timeout=LOOK_S)
            return task.result()
        finally:
            await cancel_and_wait(task)
            if not task.cancelled():
                task.exception()  # retrieved, or asyncio logs a warning

    async def ready(self, prefix: str, show: Show) -> None:
        """Wait until all workers with keys under `prefix` answer; `show` gets the progress.

        Raises:
            EmbeddedServerError: the server has ended.
            WorkersUnavailableError: the workers have ended, one ended before it was ready, or they made no progress.
        """
        async with Reckoner(self.url, prefix=prefix) as reckoner:
            await self.watch(self._ready(reckoner, show))
        self._receiver.close()

    async def _ready(self, reckoner: Reckoner, show: Show) -> None:
        progress, startup = ProgressWatch(self._stall_timeout_s), _Startup()
        while True:
            for event in self._receiver.receive():
                progress.note_progress()
                startup.record(event)
            try:
                workers = await reckoner.operator.workers(self._since_ms)
            except RedisUnavailableError:
                # The server runs, but may answer late on a busy machine.
                workers = []
            startup.mark_ready(workers)
            # The supervisor restarts a worker that was ready before.
            for worker in startup.ended.keys() - startup.ready:
                end = _end(startup.ended[worker])
                raise WorkersUnavailableError(
                    f"A worker (process {worker}) ended before it was ready ({end}).{self._log_tail()}"
                )
            if len(workers) >= self._processes:
                return
            if startup.kernels and not workers:
                show("Compiling kernels for the first start", "kernels", startup.kernels, None)
            else:
                show("Starting the workers", "workers", len(workers), self._processes)
            if progress.is_stalled(startup.started - startup.ready or {self._supervisor.pid}):
                raise WorkersUnavailableError(
                    f"{len(workers)} of {self._processes} workers are ready; the others made no progress for "
                    f"{self._stall_timeout_s:g} s.{self._log_tail()}"
                )
            await asyncio.sleep(LOOK_S)

    def _log_tail(self) -> str:
        """A sentence with the last lines of the workers' log, unless that is standard error."""
        if self._log is None:
            return ""
        lines = Path(self._log.name).read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
        return f" Their log ends with: {' / '.join(lines)}" if lines else " Their log is empty."


def _end(code: int) -> str:
    """A return code in words."""
    named = -code in list(signal.Signals)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name if named else f"signal {-code}"
