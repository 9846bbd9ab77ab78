"""One job that a worker of the engine runs, from its claim to how it is settled."""

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import structlog
from arq.jobs import SerializationError, deserialize_job_raw, serialize_result
from arq.utils import ms_to_datetime
from arq.worker import JobExecutionFailed

from shared.redis.connections import is_server_trouble
from shared.redis.scripts import Lease
from workers.engine.claims import How, Settled
from workers.engine.outcomes import OverranError, after_error, most_tries

if TYPE_CHECKING:
    from arq.cron import CronJob
    from arq.worker import Function

    from workers.engine.worker import EngineWorker

# Why a job's task is cancelled: its worker stops, its lease is lost, or somebody has asked for its end.
Why = Literal["stop", "lost", "aborted"]

log = structlog.get_logger()


@dataclass(eq=False)
class Running:
    """A job under a lease of this worker."""

    lease: Lease
    lane: int
    tries: int
    """Its try, from 1."""
    body: bytes | None
    suspect: bool
    """Whether it was tried before, and runs alone."""
    ctx: dict[Any, Any] | None = None
    """What its function was called with; None when none was."""
    why: Why | None = None
    settled: Settled | None = None
    """How it ended; None while it runs, and when there is nothing left to say of it."""
    in_trouble: bool = False
    """Whether Redis itself ended it."""


@dataclass(frozen=True)
class _Call:
    """What a job's body says."""

    function: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    enqueued_ms: int
    first_try: int | None


UNKNOWN = _Call("<unknown>", (), {}, 0, None)


class _RefusedError(Exception):
    """A job that no function can be called for."""


async def run_to_end(worker: "EngineWorker", running: Running) -> None:
    """Run a job, and note in `running` how it is to be settled."""
    call, started_ms = UNKNOWN, _now_ms()
    function: Function | CronJob | None = None
    try:
        call = _read(worker, running)
        function = worker.functions.get(call.function)
        result = await _run(worker, running, call, function)
    except asyncio.CancelledError as error:
        note_cancelled(worker, running, error, call, started_ms)
    except Exception as error:
        _note_error(worker, running, call, function, error, started_ms)
    else:
        worker.jobs_complete += 1
        _end(worker, running, call, function, result, started_ms)


def _read(worker: "EngineWorker", running: Running) -> _Call:
    if running.body is None:
        raise _RefusedError("its body is gone")
    try:
        name, arguments, options, first_try, enqueued_ms = deserialize_job_raw(
            running.body, deserializer=worker.job_deserializer
        )
    except SerializationError as error:
        raise _RefusedError("its body cannot be read") from error
    return _Call(name, arguments, options, enqueued_ms, first_try)


async def _run(worker: "EngineWorker", running: Running, call: _Call, function: "Function | CronJob | None") -> Any:
    lease = running.lease
    if function is None:
        raise _RefusedError(f"there is no function {call.function[:100]!a}")
    running.tries = max(running.tries, call.first_try or 0)
    if running.tries > most_tries(function, worker.max_tries):
        raise _RefusedError("it was tried too often")
    if worker.allow_abort_jobs and await worker.is_aborted(lease.job_id):
        running.why = "aborted"
        raise asyncio.CancelledError
    running.ctx = ctx = {
        **worker.ctx,
        "job_id": lease.job_id,
        "job_try": running.tries,
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


def note_cancelled(
    worker: "EngineWorker",
    running: Running,
    error: asyncio.CancelledError,
    call: _Call = UNKNOWN,
    started_ms: int = 0,
) -> None:
    """Note how a job is to be settled that was cancelled, be it before it began."""
    lease = running.lease
    if lease.job_id in worker.aborting_tasks:
        worker.aborting_tasks.remove(lease.job_id)
        running.why = "aborted"
    if running.why == "lost":
        log.warning("a job was taken from this worker", job=lease.job_id)
    elif running.why == "aborted":
        worker.jobs_failed += 1
        data, life_ms = _result(worker, running, call, None, error, started_ms)
        running.settled = Settled(lease.job_id, lease.token, "done", life_ms, data)
    else:
        worker.jobs_retried += 1
        running.settled = Settled(lease.job_id, lease.token, "back")


def _note_error(
    worker: "EngineWorker",
    running: Running,
    call: _Call,
    function: "Function | CronJob | None",
    error: Exception,
    started_ms: int,
) -> None:
    lease = running.lease
    if is_server_trouble(error):
        running.in_trouble = True
        running.settled = Settled(lease.job_id, lease.token, "back")
        return
    refused = isinstance(error, _RefusedError)
    most = 0 if refused or function is None else most_tries(function, worker.max_tries)
    how, delay_ms = after_error(error, running.tries, most, worker.retry_jobs)
    if how != "done":
        worker.jobs_retried += 1
        running.settled = Settled(lease.job_id, lease.token, how, delay_ms, b"%d" % running.tries)
        if how == "later":
            log.warning(
                "a job will be tried again", job=lease.job_id, tries=running.tries, error=type(error).__name__,
                again_in_ms=delay_ms,
            )  # fmt: skip
        return
    worker.jobs_failed += 1
    told = refused or isinstance(error, OverranError)
    reason = str(error) if told else f"{type(error).__name__} in try {running.tries}"
    log.error("a job failed", job=lease.job_id, reason=reason, exc_info=None if told else error)
    shown = JobExecutionFailed(reason) if refused else TimeoutError(reason) if told else error
    # Where the body is gone there is nothing to keep.
    _end(worker, running, call, function, shown, started_ms, reason if running.body else "")


def _end(
    worker: "EngineWorker",
    running: Running,
    call: _Call,
    function: "Function | CronJob | None",
    result: Any,
    started_ms: int,
    reason: str = "",
) -> None:
    lease = running.lease
    if lease.closed:
        return
    # Another worker whose clock is late may create the same tick again.
    how: How = "kept" if hasattr(function, "next_run") else "done"
    data, life_ms = _result(worker, running, call, function, result, started_ms)
    running.settled = Settled(lease.job_id, lease.token, how, life_ms, data, reason)


def _result(
    worker: "EngineWorker",
    running: Running,
    call: _Call,
    function: "Function | CronJob | None",
    result: Any,
    started_ms: int,
) -> tuple[bytes, int]:
    """A job's result as arq keeps it, and for how many milliseconds, 0 for ever; empty when none is kept."""
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
        running.tries,
        call.enqueued_ms,
        not isinstance(result, BaseException),
        result,
        started_ms,
        _now_ms(),
        f"{running.lease.job_id}:{call.function}",
        running.lease.queue,
        job_id=running.lease.job_id,
        serializer=worker.job_serializer,
    )
    return data or b"", 0 if for_ever else int(life_s * 1000)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
