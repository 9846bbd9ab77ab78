"""One delivery of a job: its tries, its deadline and its failure."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from reckoner.shared.errors import ReckonerError
from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.scripts import LeaseLostError
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.runtime.environment_trouble import failure_reason, postpone_if_trouble

if TYPE_CHECKING:
    from reckoner.workers.engine.lease import Lease
    from reckoner.workers.runtime.runtime import Runtime

MAX_TRIES = 3
TRIES_EXHAUSTED = f"its worker died {MAX_TRIES} times"

T = TypeVar("T")

log = structlog.get_logger()


class Delivery:
    """One delivery of one job. `ctx` is the argument with which arq calls the job's function."""

    def __init__(self, ctx: dict[Any, Any], job_id: str) -> None:
        self.runtime: Runtime = ctx["runtime"]
        self.job_id = job_id
        self.tries: int = ctx["job_try"]
        """The number of this try, from 1."""
        self.deaths: int = ctx["job_deaths"]
        """How many earlier tries ended with the worker's death."""
        self.run_id = ""
        """The run of the job, empty for none."""
        self.lease: Lease = ctx["lease"]

    @property
    def tries_exhausted(self) -> bool:
        """Whether the job has killed its worker too often to be started again."""
        return self.deaths >= MAX_TRIES

    @property
    def _will_retry(self) -> bool:
        """Whether the job is tried again after an exception. Deaths are counted separately."""
        return self.tries - self.deaths < MAX_TRIES

    async def run(self, work: Callable[[], Awaitable[None]]) -> None:
        """Do the work, and show the job as running meanwhile."""
        self.runtime.running[self.job_id] = time.time_ns() // 1_000_000
        try:
            await work()
        finally:
            self.runtime.running.pop(self.job_id, None)

    async def within_deadline(self, work: Callable[[], Awaitable[None]]) -> str | None:
        """Do the work within the deadline. Returns the reason of a final failure, None on success.

        Raises:
            Exception: the job is tried again; the engine decides when.
        """
        deadline_s, began_s = self.runtime.settings.task_deadline_s, asyncio.get_running_loop().time()
        try:
            async with self.runtime.scheduler.deadline(deadline_s) as limit:
                await work()
        except (TimeoutError, asyncio.CancelledError) as error:
            if limit.expired():
                _forget_cancelling()
                if self.lease.lapsed:
                    # This process was frozen, so the deadline says nothing of the job. Another worker may have it.
                    raise LeaseLostError from error
                if await run_uncancellable(self.runtime.store_watch.was_away(began_s)):
                    # The job may have waited for the store.
                    raise NotNowError from error
                return f"{self.job_id.partition(':')[0]} ran longer than {deadline_s:g} s"
            if isinstance(error, TimeoutError):
                await postpone_if_trouble(self.runtime, self.job_id, self.run_id, error)
            if isinstance(error, asyncio.CancelledError) or self._will_retry:
                raise
            return self._failed(error)
        except Exception as error:
            if is_transient_redis_error(error) or isinstance(error, NotNowError | LeaseLostError):
                raise
            await postpone_if_trouble(self.runtime, self.job_id, self.run_id, error)
            if self._will_retry and not isinstance(error, ReckonerError | OSError | MemoryError):
                raise
            return self._failed(error)
        return None

    def _failed(self, error: Exception) -> str:
        """Log a final failure. Returns its reason."""
        reason = failure_reason(error)
        log.error("task failed", job=self.job_id, reason=reason, exc_info=not isinstance(error, ReckonerError))
        return reason


async def run_uncancellable(work: Coroutine[Any, Any, T]) -> T:
    """Finish the work even if arq's own timeout cancels this task, as it does after the event loop was blocked."""
    task = asyncio.create_task(work)
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            _forget_cancelling()
    return task.result()


def _forget_cancelling() -> None:
    task = asyncio.current_task()
    while task is not None and task.cancelling():
        task.uncancel()
