"""One job that a worker of the engine runs, from its claim to how it is settled."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import structlog
from arq.jobs import SerializationError, deserialize_job_raw, serialize_job, serialize_result
from arq.utils import ms_to_datetime
from arq.worker import JobExecutionFailed

from shared.redis.connections import is_server_trouble
from shared.redis.scripts import LeaseLostError
from workers.engine.claims import Claimed, How, Settled
from workers.engine.outcomes import NotNowError, OverranError, after_error, backoff_ms, most_tries

if TYPE_CHECKING:
    from arq.cron import CronJob
    from arq.worker import Function

    from shared.redis.scripts import Lease
    from workers.engine.worker import EngineWorker

# Why a job's task is cancelled: its worker stops, its lease is lost, or somebody has asked for its end.
Why = Literal["stop", "lost", "aborted"]

log = structlog.get_logger()


@dataclass(frozen=True)
class _Call:
    """What a job's body says."""

    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    enqueued_ms: int
    attempt: int
    """From 1, and one more behind each exception."""


UNKNOWN = _Call("<unknown>", (), {}, 0, 1)


class _RefusedError(Exception):
    """A job that no function can be called for."""


class Running:
    """A job under a lease of a worker: what it is called with, and how it is to be settled."""

    def __init__(self, worker: "EngineWorker", lease: "Lease", job: Claimed) -> None:
        self.lease = lease
        self.lane = job.lane
        self.suspect = job.deaths > 0
        """Whether it may have ended a worker, and runs alone."""
        self.task: asyncio.Task[None] | None = None
        """What runs it; None when nothing does, since it was refused."""
        self.ctx: dict[Any, Any] | None = None
        """What its function was called with; None when none was."""
        self.why: Why | None = None
        self.settled: Settled | None = None
        """How it ended; None while it runs, and when there is nothing left to say of it."""
        self.trouble: Exception | None = None
        """The error by which Redis itself ended it; None where it did not."""
        self._worker = worker
        self._job_id = job.job_id
        self._body = job.body
        self._deaths = job.deaths
        self._call = UNKNOWN
        self._function: Function | CronJob | None = None
        self._started_ms = 0

    def start(self) -> "asyncio.Task[None]":
        """Run it; the worker is told of its end, when it is noted how it is to be settled."""
        self.task = self._worker.loop.create_task(self._run())
        self.task.add_done_callback(self._on_end)
        return self.task

    def cancel(self, why: Why) -> None:
        """End it for this reason, if it runs still."""
        if self.task and not self.task.done():
            self.why = why
            self.task.cancel()

    def refuse(self, reason: str) -> None:
        """Note that it is not run at all, and becomes a dead letter."""
        self._settle("done", reason=reason)

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        if task.cancelled():
            self._note_cancelled(asyncio.CancelledError())
        elif (error := task.exception()) is not None:
            log.error("the engine failed at a job", job=self.lease.job_id, error=type(error).__name__, exc_info=error)
            self._settle("later", backoff_ms(1))
        self._worker.note_end(self)

    async def _run(self) -> None:
        self._started_ms = _now_ms()
        try:
            self._call = self._read()
            self._function = self._worker.functions.get(self._call.function)
            result = await self._call_function()
        except asyncio.CancelledError as error:
            self._note_cancelled(error)
        except LeaseLostError:
            self._note_lost()
        except Exception as error:
            self._note_error(error)
        else:
            self._worker.jobs_complete += 1
            self._end(result)

    def _note_cancelled(self, error: asyncio.CancelledError) -> None:
        # It may not have begun.
        job_id = self.lease.job_id
        if job_id in self._worker.aborting_tasks:
            self._worker.aborting_tasks.remove(job_id)
            self.why = "aborted"
        if self.why == "lost":
            self._note_lost()
        elif self.why == "aborted":
            self._worker.jobs_failed += 1
            self._end(error)
        else:
            self._worker.jobs_retried += 1
            self._settle("back")

    def _note_lost(self) -> None:
        self.why = "lost"
        log.warning("a job was taken from this worker", job=self.lease.job_id)

    def _read(self) -> _Call:
        if self._body is None:
            raise _RefusedError("its body is gone")
        try:
            name, arguments, options, attempt, enqueued_ms = deserialize_job_raw(
                self._body, deserializer=self._worker.job_deserializer
            )
        except SerializationError as error:
            raise _RefusedError("its body cannot be read") from error
        return _Call(name, arguments, options, enqueued_ms, attempt or 1)

    async def _call_function(self) -> Any:
        worker, call, function, lease = self._worker, self._call, self._function, self.lease
        if function is None:
            raise _RefusedError(f"there is no function {call.function[:100]!a}")
        if self._tries > most_tries(function, worker.max_tries):
            raise _RefusedError("it was tried too often")
        if worker.allow_abort_jobs and await worker.is_aborted(lease.job_id):
            self.why = "aborted"
            raise asyncio.CancelledError
        self.ctx = ctx = {
            **worker.ctx,
            "job_id": lease.job_id,
            "job_try": self._tries,
            "job_deaths": self._deaths,
            "enqueue_time": ms_to_datetime(call.enqueued_ms),
            "score": lease.place,
            "lease": lease,
        }
        if worker.on_job_start:
            await worker.on_job_start(ctx)
        limit_s = worker.job_timeout_s if function.timeout_s is None else function.timeout_s
        limit = asyncio.timeout(limit_s)
        try:
            async with limit:
                return await function.coroutine(ctx, *call.arguments, **call.options)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise OverranError(f"it ran longer than {limit_s:g} s") from error
        finally:
            if worker.on_job_end:
                await worker.on_job_end(ctx)

    def _note_error(self, error: Exception) -> None:
        if is_server_trouble(error):
            self.trouble = error
            self._settle("back")
            return
        refused = isinstance(error, _RefusedError)
        worker, function, tries = self._worker, self._function, self._tries
        most = 0 if refused or function is None else most_tries(function, worker.max_tries)
        how, delay_ms = after_error(error, tries, most, worker.retry_jobs)
        if how == "done":
            worker.jobs_failed += 1
            self._give_up(error, refused)
            return
        worker.jobs_retried += 1
        if isinstance(error, NotNowError):
            self._settle(how, delay_ms)
            return
        log.warning(
            "a job will be tried again", job=self.lease.job_id, tries=tries, error=type(error).__name__,
            again_in_ms=delay_ms,
        )  # fmt: skip
        self._settle_later(delay_ms)

    def _give_up(self, error: Exception, refused: bool) -> None:
        told = refused or isinstance(error, OverranError)
        reason = str(error) if told else f"{type(error).__name__} in try {self._tries}"
        log.error("a job failed", job=self.lease.job_id, reason=reason, exc_info=None if told else error)
        shown = JobExecutionFailed(reason) if refused else TimeoutError(reason) if told else error
        # Where the body is gone there is nothing to keep.
        self._end(shown, reason if self._body else "")

    def _end(self, result: Any, reason: str = "") -> None:
        if self.lease.closed:
            return
        # Another worker whose clock is late may create the same tick again.
        how: How = "kept" if hasattr(self._function, "next_run") else "done"
        data, life_ms = self._result(result)
        self._settle(how, life_ms, data, reason)

    def _settle_later(self, delay_ms: int) -> None:
        """Have it tried again; its body says how many tries have ended with an exception, as arq's own has it."""
        call = self._call
        body = serialize_job(
            call.function, call.arguments, call.options, call.attempt + 1, call.enqueued_ms,
            serializer=self._worker.job_serializer,
        )  # fmt: skip
        self._settle("later", delay_ms, body)

    @property
    def _tries(self) -> int:
        """Which try this is, from 1: after so many deaths, and so many exceptions."""
        return self._deaths + self._call.attempt

    def _settle(self, how: How, amount: int = 0, data: bytes = b"", reason: str = "") -> None:
        self.settled = Settled(self._job_id, self.lease.token, how, amount, data, reason)

    def _result(self, result: Any) -> tuple[bytes, int]:
        """Its result as arq keeps it, and for how many milliseconds, 0 for ever; empty when none is kept."""
        worker, call, function, lease = self._worker, self._call, self._function, self.lease
        for_ever, life_s = worker.keep_result_forever, worker.keep_result_s or 0.0
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
            serializer=worker.job_serializer,
        )
        return data or b"", 0 if for_ever else int(life_s * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
