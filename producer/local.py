"""The embedded Redis of one home with workers beside it: what `up` and `demo` start, watch and stop in order."""

import asyncio
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
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
# As a worker names itself.
WORKER = re.compile(r".*-(\d+)-[0-9a-f]+")

# Called repeatedly with the current step, its unit, how much is done, and the total, None where that is not known.
Show = Callable[[str, str, int, int | None], object]


class _Starting:
    """What is known of workers that start."""

    def __init__(self) -> None:
        self.started = set[int]()
        self.ended = dict[int, int]()
        self.ready = set[int]()
        self.kernels = 0

    def hear(self, news: StartupEvent) -> None:
        """Note what a worker or the supervisor has told."""
        if news.what == "started":
            self.started.add(news.pid)
        elif news.what == "ended":
            self.ended[news.pid] = news.number
        else:
            self.kernels = max(self.kernels, news.number)

    def heard_of(self, workers: Sequence[str]) -> None:
        """Note the names of workers that beat."""
        self.ready |= {int(named[1]) for named in map(WORKER.fullmatch, workers) if named}


class LocalSystem:
    """A running server and a supervisor of `processes` workers; leaving it stops the workers first, then the server.

    Enter it in the main thread, which the server ends with. `environ` is the workers' environment, which has to name
    the same home; their log goes to `log`, or to standard error. Starting may take as long as it needs, but not
    stall for `stall_timeout_s` seconds. `look` is called repeatedly while the server starts, with whether it loads its
    data; an exception from it ends the start.
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
        self._still_s = stall_timeout_s
        self._stop_s = load_settings(environ).stop_s

    def __enter__(self) -> Self:
        self._server = EmbeddedServer.start(self._home, stall_timeout_s=self._still_s, look=self._look)
        self._receiver = EventReceiver()
        try:
            # Whatever was heard before belongs to workers of another time. The server's clock is this machine's.
            self._since_ms = time.time_ns() // 1_000_000
            sender = self._receiver.sender_end
            options = ["--processes", str(self._processes), "--parent", str(os.getpid()), "--tell", str(sender)]
            self._supervisor = subprocess.Popen(
                module_command("reckoner.workers", *options),
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stderr=self._log,
                pass_fds=[sender],
                # A session of its own: Ctrl-C reaches this process alone, which then stops everything in order.
                start_new_session=True,
            )
            self._receiver.close_sender_end()
        except BaseException:
            self._receiver.close()
            self._server.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._supervisor.terminate()
            self._supervisor.wait(launcher_exit_timeout_s(self._stop_s))
        except subprocess.TimeoutExpired:
            # Its workers notice that it is gone, and end.
            self._supervisor.kill()
            self._supervisor.wait()
        finally:
            self._receiver.close()
            self._server.stop()

    def hurry(self) -> None:
        """Have workers that are stopping hand back what they do at once."""
        # Not SIGTERM, with which it might be one when both come at the same moment.
        self._supervisor.send_signal(signal.SIGINT)

    @property
    def url(self) -> str:
        """The URL of the server."""
        return self._server.url

    def check(self) -> None:
        """Make sure that both still run.

        Raises:
            EmbeddedServerError: the server has ended.
            WorkersUnavailableError: the supervisor has ended; the evidence `code` is its exit code.
        """
        if not self._server.is_running:
            raise EmbeddedServerError("The embedded server has ended, and the workers with it; its data are kept.")
        code = self._supervisor.poll()
        if code is not None:
            raise WorkersUnavailableError(f"The workers have ended ({_end(code)}).{self._last_words()}", code=code)

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` as long as both run; see `check`."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                self.check()
                await asyncio.wait({task}, timeout=LOOK_S)
            return task.result()
        finally:
            await cancel_and_wait(task)
            if not task.cancelled():
                task.exception()  # looked at, so that nobody is told that it never was

    async def ready(self, prefix: str, show: Show) -> None:
        """Wait until all workers answer; `prefix` is that of their keys. `show` is told how far they are.

        Raises:
            EmbeddedServerError: the server has ended.
            WorkersUnavailableError: the workers have ended, or one of them before it was ready, or they stand still.
        """
        async with Reckoner(self.url, prefix=prefix) as reckoner:
            await self.guard(self._ready(reckoner, show))
        # Later news has no listener.
        self._receiver.close()

    async def _ready(self, reckoner: Reckoner, show: Show) -> None:
        progress, starting = ProgressWatch(self._still_s), _Starting()
        while True:
            for news in self._receiver.receive():
                progress.note_progress()
                starting.hear(news)
            try:
                heard = await reckoner.operator.workers(self._since_ms)
            except RedisUnavailableError:
                # The server runs; a busy machine may keep it from answering.
                heard = []
            starting.heard_of(heard)
            # The supervisor starts a worker again that was ready before.
            for worker in starting.ended.keys() - starting.ready:
                end = _end(starting.ended[worker])
                raise WorkersUnavailableError(
                    f"A worker (process {worker}) ended before it was ready ({end}).{self._last_words()}"
                )
            if len(heard) >= self._processes:
                return
            if starting.kernels and not heard:
                show("Compiling kernels, once", "kernels", starting.kernels, None)
            else:
                show("Starting the workers", "workers", len(heard), self._processes)
            if progress.is_stalled(starting.started - starting.ready or {self._supervisor.pid}):
                raise WorkersUnavailableError(
                    f"{len(heard)} of {self._processes} workers are ready, and nothing else has used the processor for "
                    f"{self._still_s:g} s.{self._last_words()}"
                )
            await asyncio.sleep(LOOK_S)

    def _last_words(self) -> str:
        """How the workers' log ends, as a sentence, where it does not go to standard error."""
        if self._log is None:
            return ""
        lines = Path(self._log.name).read_text("utf-8", "replace").splitlines()[-LAST_LINES:]
        return f" Their log ends with: {' / '.join(lines)}" if lines else " Their log is empty."


def _end(code: int) -> str:
    """How a process has ended, by its return code."""
    named = -code in list(signal.Signals)
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name if named else f"signal {-code}"
