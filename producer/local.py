"""The embedded Redis of one home with workers beside it: what `up` and `demo` start, watch and stop in order."""

import asyncio
import os
import signal
import subprocess
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self, TypeVar

from producer.client import Reckoner
from producer.operations import wait_for_workers
from shared.cancelling import end
from shared.errors import EmbeddedServerError, RedisUnavailableError, WorkersUnavailableError
from shared.interpreter import module_command
from shared.redis.embedded import EmbeddedServer
from shared.settings import load_settings
from shared.stopping import starter_patience_s

T = TypeVar("T")

READY_WITHIN_S = 30.0
LOOK_S = 0.05


class LocalSystem:
    """A running server and a supervisor of `processes` workers; leaving it stops the workers first, then the server.

    Enter it in the main thread, which the server ends with. `environ` is the workers' environment, which has to name
    the same home; their log goes to `log`, or to standard error.
    """

    def __init__(self, home: Path, processes: int, environ: Mapping[str, str], log: IO[bytes] | None = None) -> None:
        self._home = home
        self._processes = processes
        self._environ = environ
        self._log = log
        self._stop_s = load_settings(environ).stop_s

    def __enter__(self) -> Self:
        self._server = EmbeddedServer.start(self._home)
        try:
            # Whatever was heard before belongs to workers of another time. The server's clock is this machine's.
            self._since_ms = time.time_ns() // 1_000_000
            # What earlier workers have left, stock ones too, is taken over: they ended before this server started.
            options = ["--processes", str(self._processes), "--parent", str(os.getpid()), "--drain-old"]
            self._supervisor = subprocess.Popen(
                module_command("workers", *options),
                env=self._environ,
                stdin=subprocess.DEVNULL,
                stderr=self._log,
                # A session of its own: Ctrl-C reaches this process alone, which then stops everything in order.
                start_new_session=True,
            )
        except BaseException:
            self._server.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._supervisor.terminate()
            self._supervisor.wait(starter_patience_s(self._stop_s))
        except subprocess.TimeoutExpired:
            # Its workers notice that it is gone, and end.
            self._supervisor.kill()
            self._supervisor.wait()
        finally:
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
            raise WorkersUnavailableError(f"The workers have ended (exit code {code}).", code=code)

    async def guard(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` as long as both run; see `check`."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                self.check()
                await asyncio.wait({task}, timeout=LOOK_S)
            return task.result()
        finally:
            await end(task)
            if not task.cancelled():
                task.exception()  # looked at, so that nobody is told that it never was

    async def ready(self, prefix: str, within_s: float = READY_WITHIN_S) -> None:
        """Wait until all workers answer; `prefix` is that of their keys.

        Raises:
            EmbeddedServerError: the server has ended, or does not answer.
            WorkersUnavailableError: the workers have ended, or were not ready in time.
        """
        try:
            async with Reckoner(self.url, prefix=prefix) as reckoner:
                in_time = await self.guard(wait_for_workers(reckoner, self._processes, self._since_ms, within_s))
        except RedisUnavailableError as error:
            raise EmbeddedServerError("The embedded server does not answer any more; its data are kept.") from error
        if not in_time:
            raise WorkersUnavailableError(f"The workers were not ready within {within_s:g} s.")
