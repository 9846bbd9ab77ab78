"""One running job, from its claim to the decision how to settle it."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol

import structlog
from arq.jobs import SerializationError, deserialize_job_raw, serialize_job, serialize_result
from arq.utils import ms_to_datetime
from arq.worker import JobExecutionFailed

from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.scripts import LeaseLostError
from reckoner.workers.engine.claims import Claimed, How, Settled
from reckoner.workers.engine.outcomes import JobTimeoutError, NotNowError, after_error, backoff_ms, most_tries

if TYPE_CHECKING:
    from arq.cron import CronJob
    from arq.worker import Function

    from reckoner.workers.engine.lease import Lease

# Why a job's task was cancelled: its worker stops, its lease was lost, or a caller aborted it.
Why = Literal["stop", "lost", "aborted"]
# How a delivery ended: "handed back" did not count as a try, "lost" was taken over by another worker.
Outcome = Literal["done", "failed", "retried", "handed back", "lost"]

log = structlog.get_logger()


class JobEnd(NamedTuple):
    """A finished delivery, for observers."""

    lane: int
    """The number of its lane, from 0."""
    kind: str
    """The name of its function."""
    outcome: Outcome
    waited_s: float
    """From its creation to this start, by the clocks of two hosts."""
    ran_s: float


@dataclass(frozen=True)
class JobOptions:
    """The defaults of all jobs of a worker; a function may override them. See the options of `arq.Worker`."""

    serializer: Callable[[dict[str, Any]], bytes] | None
    deserializer: Callable[[bytes], dict[str, Any]] | None
    max_tries: int
    timeout_s: float | None
    keep_result_s: float
    keep_result_forever: bool


class Host(Protocol):
    """What a running job needs of its worker."""

    options: JobOptions
    retry_jobs: bool

    def find(self, name: str) -> "Function | CronJob | None":
        """The function of that name."""

    def new_context(self) -> dict[Any, Any]:
        """A new `ctx` for a function call; the job adds to it."""

    async def is_aborted(self, job_id: str) -> bool:
        """Whether a job was aborted before it started."""

    def was_aborted(self, job_id: str) -> bool:
        """Whether a job was cancelled by an abort. True only once."""

    async def before_job(self, ctx: dict[Any, Any]) -> None:
        """Called before the function."""

    async def after_job(self, ctx: dict[Any, Any]) -> None:
        """Called after the function, whatever it did."""

    def note_end(self, running: "Running") -> None:
        """Called when the job has ended and can be settled."""


@dataclass(frozen=True)
class _Call:
    """A decoded job body."""

    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    enqueued_ms: int
    attempt: int
    """From 1; each exception adds one."""


UNKNOWN = _Call("<unknown>", (), {}, 0, 1)


class _RefusedError(Exception):
    """The job cannot be run at all."""


class Running:
    """A job that a worker runs under a lease."""

    def __init__(self, host: Host, lease: "Lease", job: Claimed) -> None:
        self.lease = lease
        self.lane = job.lane
        self.suspect = job.deaths > 0
        """Whether it may have killed a worker, and must run alone."""
        self.task: asyncio.Task[None] | None = None
        """Its task; None if it was refused."""
        self.ctx: dict[Any, Any] | None = None
        """The argument of its function; None if no function was called."""
        self.why: Why | None = None
        self.settled: Settled | None = None
        """How to settle it; None while it runs, and if another script has settled it."""
        self.trouble: Exception | None = None
        """The Redis error that ended it; None if there was none."""
        self.outcome: Outcome = "failed"
        """How it ended. Valid only after its end."""
        self._host = host
        self._job_id = job.job_id
        self._body = job.body
        self._deaths = job.deaths
        self._call = UNKNOWN
        self._function: Function | CronJob | None = None
        self._started_ms = 0
        self._ended_ms = 0

    def start(self) -> "asyncio.Task[None]":
        """Start its task. The host is notified of its end."""
        self.task = asyncio.get_running_loop().create_task(self._run())
        self.task.add_done_callback(self._on_end)
        return self.task

    def cancel(self, why: Why) -> None:
        """Cancel its task, if it is still running."""
        if self.task and not self.task.done():
            self.why = why
            self.task.cancel()

    def refuse(self, reason: str) -> None:
        """Make it a dead letter without running it."""
        self._settle("done", reason=reason)

    @property
    def end(self) -> JobEnd:
        """The finished delivery."""
        waited_s = max(0, self._started_ms - self._call.enqueued_ms) / 1000 if self._call.enqueued_ms else 0.0
        ran_s = max(0, self._ended_ms - self._started_ms) / 1000 if self._started_ms else 0.0
        return JobEnd(self.lane, self._call.function, self.outcome, waited_s, ran_s)

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            self._note_cancelled(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            log.error("engine failed", job=self.lease.job_id, error=type(error).__name__, exc_info=error)
            self.outcome = "retried"
            self._settle("later", backoff_ms(1))
        self._ended_ms = _now_ms()
        self._host.note_end(self)

    async def _run(self) -> None:
        self._started_ms = _now_ms()
        try:
            self._call = self._read()
            self._function = self._host.find(self._call.function)
            result = await self._call_function()
        except asyncio.CancelledError as error:
            self._note_cancelled(error)
        except LeaseLostError:
            self._note_lost()
        except Exception as error:
            self._note_error(error)
        else:
            self.outcome = "done"
            self._end(result)

    def _note_cancelled(self, error: asyncio.CancelledError) -> None:
        # The task may not have started.
        if self._host.was_aborted(self.lease.job_id):
            self.why = "aborted"
        if self.why == "lost":
            self._note_lost()
        elif self.why == "aborted":
            self._end(error)
        else:
            self.outcome = "handed back"
            self._settle("back")

    def _note_lost(self) -> None:
        self.why = self.outcome = "lost"
        log.warning("job lost", job=self.lease.job_id, reason="another worker has its lease")

    def _read(self) -> _Call:
        if self._body is None:
            raise _RefusedError("its body is gone")
        try:
            name, arguments, options, attempt, enqueued_ms = deserialize_job_raw(
                self._body, deserializer=self._host.options.deserializer
            )
        except SerializationError as error:
            raise _RefusedError("its body cannot be read") from error
        return _Call(name, arguments, options, enqueued_ms, attempt or 1)

    async def _call_function(self) -> Any:
        host, call, function, lease = self._host, self._call, self._function, self.lease
        if function is None:
            raise _RefusedError(f"there is no function {call.function[:100]!a}")
        if self._tries > most_tries(function, host.options.max_tries):
            raise _RefusedError("it was tried too often")
        if await host.is_aborted(lease.job_id):
            self.why = "aborted"
            raise asyncio.CancelledError
        self.ctx = ctx = {
            **host.new_context(),
            "job_id": lease.job_id,
            "job_try": self._tries,
            "job_deaths": self._deaths,
            "enqueue_time": ms_to_datetime(call.enqueued_ms),
            "score": lease.score,
            "lease": lease,
        }
        await host.before_job(ctx)
        limit_s = host.options.timeout_s if function.timeout_s is None else function.timeout_s
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                return await function.coroutine(ctx, *call.arguments, **call.options)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise JobTimeoutError(f"it ran longer than {limit_s:g} s") from error
        finally:
            await host.after_job(ctx)

    def _note_error(self, error: Exception) -> None:
        if is_transient_redis_error(error):
            self.trouble, self.outcome = error, "handed back"
            self._settle("back")
            return
        refused = isinstance(error, _RefusedError)
        options, function, tries = self._host.options, self._function, self._tries
        most = 0 if refused or function is None else most_tries(function, options.max_tries)
        how, delay_ms = after_error(error, tries, most, self._host.retry_jobs)
        if how == "done":
            self._give_up(error, refused)
            return
        self.outcome = "handed back" if isinstance(error, NotNowError) else "retried"
        if isinstance(error, NotNowError):
            self._settle(how, delay_ms)
            return
        log.warning(
            "job retried", job=self.lease.job_id, tries=tries, error=type(error).__name__, retry_in_ms=delay_ms
        )  # fmt: skip
        self._settle_later(delay_ms)

    def _give_up(self, error: Exception, refused: bool) -> None:
        ours = refused or isinstance(error, JobTimeoutError)
        reason = str(error) if ours else f"{type(error).__name__} in try {self._tries}"
        log.error("job failed", job=self.lease.job_id, reason=reason, exc_info=None if ours else error)
        shown = JobExecutionFailed(reason) if refused else TimeoutError(reason) if ours else error
        # Without a body there is nothing to keep as a dead letter.
        self._end(shown, reason if self._body else "")

    def _end(self, result: Any, reason: str = "") -> None:
        if self.lease.closed:
            return
        # A cron job's id is kept: another worker whose clock is late may create the same tick again.
        how: How = "kept" if hasattr(self._function, "next_run") else "done"
        data, life_ms = self._result(result)
        self._settle(how, life_ms, data, reason)

    def _settle_later(self, delay_ms: int) -> None:
        """Retry it. As in stock arq, its body counts the tries."""
        call = self._call
        body = serialize_job(
            call.function, call.arguments, call.options, call.attempt + 1, call.enqueued_ms,
            serializer=self._host.options.serializer,
        )  # fmt: skip
        self._settle("later", delay_ms, body)

    @property
    def _tries(self) -> int:
        """The number of this try, from 1: deaths and exceptions both count."""
        return self._deaths + self._call.attempt

    def _settle(self, how: How, amount: int = 0, data: bytes = b"", reason: str = "") -> None:
        self.settled = Settled(self._job_id, self.lease.token, how, amount, data, reason)

    def _result(self, result: Any) -> tuple[bytes, int]:
        """Its result in arq's format, empty to keep none; and its time to live in milliseconds, 0 for ever."""
        options, call, function, lease = self._host.options, self._call, self._function, self.lease
        for_ever, life_s = options.keep_result_forever, options.keep_result_s
        if function is not None:
            for_ever = for_ever if function.keep_result_forever is None else function.keep_result_forever
            life_s = life_s if function.keep_result_s is None else function.keep_result_s
        if not for_ever and life_s <= 0:
            return b"", 0
        data = serialize_result(
            call.function,
            call.arguments,
            call.options,
            self._tries,
            call.enqueued_ms,
            not isinstance(result, BaseException),
            result,
            self._started_ms,
            _now_ms(),
            f"{lease.job_id}:{call.function}",
            lease.queue,
            job_id=lease.job_id,
            serializer=options.serializer,
        )
        return data or b"", 0 if for_ever else int(life_s * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
