"""The engine's worker: an `arq.Worker` with a claim loop of its own."""

import asyncio
import contextlib
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from signal import Signals
from typing import TYPE_CHECKING, Any

import structlog
from arq import Worker
from arq.constants import abort_jobs_ss
from redis.asyncio import Redis
from redis.exceptions import RedisError

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.periodic import run_periodically
from reckoner.shared.redis.connections import is_transient_redis_error
from reckoner.shared.redis.refusals import invalid_id_reason, is_wrong_type
from reckoner.shared.redis.scripts import ask
from reckoner.workers.engine.backoff import RedisBackoff
from reckoner.workers.engine.claims import Claimed, Claims, EngineKeys, Settled
from reckoner.workers.engine.connection import JOBS_AT_ONCE, EngineRedis
from reckoner.workers.engine.lease import Lease
from reckoner.workers.engine.lease_keeper import LeaseKeeper
from reckoner.workers.engine.running import JobEnd, JobOptions, Running
from reckoner.workers.engine.slots import Room, Slots, any_number
from reckoner.workers.engine.wake import Wake

if TYPE_CHECKING:
    from arq.cron import CronJob
    from arq.worker import Function

# The longest time between two claims of a worker that was not woken.
CLAIM_EACH_S = 2.0
CRON_S = 0.5
CANCEL_S = 1.0
# The time to live of an abort request.
ABORT_LIFE_S = 86_400.0

log = structlog.get_logger()


class EngineWorker(Worker):
    """Claims jobs of one or several lanes under leases, runs them, and settles them in batches.

    It takes the arguments of `arq.Worker`, of which `poll_delay`, `queue_read_limit` and those of the health check have
    no effect. The pool must be an `EngineRedis`.

    Args:
        functions: The arq functions.
        keys: The Redis keys of its lanes.
        waiting: A connection of its own on which it blocks.
        lease_s: After how many seconds without a renewal other workers take over its jobs.
        name: The beginning of its fencing tokens, by which the jobs of a dead worker are found.
        wants: How many more jobs of a lane to claim. Call `claim_soon` when it rises from 0.
        observe: Called for each finished delivery.
        on_lapse: Called with the number of leases that a claim has found lapsed.
        options: See `arq.Worker`.
    """

    def __init__(
        self,
        functions: Sequence[Any],
        *,
        keys: EngineKeys,
        waiting: Redis,
        lease_s: float = 5.0,
        name: str = "",
        wants: Callable[[int], int] = any_number,
        observe: Callable[[JobEnd], None] | None = None,
        on_lapse: Callable[[int], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(functions, queue_name=keys.lanes[0], **options)
        if not isinstance(self._pool, EngineRedis):
            raise TypeError("the pool of an engine must be an EngineRedis")
        if self.max_jobs > JOBS_AT_ONCE:
            raise ValueError(f"an engine runs at most {JOBS_AT_ONCE} jobs at once")
        self.options = JobOptions(
            self.job_serializer,
            self.job_deserializer,
            self.max_tries,
            self.job_timeout_s,
            self.keep_result_s or 0.0,
            self.keep_result_forever,
        )
        self._observe = observe
        self._on_lapse = on_lapse
        self.keys = keys
        self.lease_s = lease_s
        self._name = name
        self._waiting = waiting
        self._claims = Claims(self._pool, keys, lease_s)
        self._wake = Wake(waiting, keys, self._claims, self._on_token, self._on_mail)
        self._wakeup = asyncio.Event()
        self._slots = Slots(self.max_jobs, len(keys.lanes), wants)
        # Ended jobs that are not settled yet.
        self._ended: list[Running] = []
        self._backoff = RedisBackoff()
        self._lease_keeper = LeaseKeeper(
            self._claims, self._backoff, lease_s, lambda: [*self._slots.running, *self._ended]
        )
        self._hooks = set[asyncio.Task[None]]()
        # Tokens of claims whose answer has not arrived.
        self._unanswered: list[str] = []
        self._token_taken = False
        # Whether a claim may find jobs: the last one was full, or a full lane has room again.
        self._more = True
        # Whether a job is ending, which may have created others.
        self._closing = False
        self._claim_at = 0.0
        self._stopping = False
        self._drained = False
        self._grace_until: float | None = None

    def stop(self, grace_s: float | None = None) -> None:
        """Stop claiming, let running jobs finish, and hand them back after `grace_s` seconds; None waits for ever.

        `main` returns then.
        """
        self._stopping = True
        if grace_s is not None:
            self._grace_until = time.monotonic() + grace_s
        self._wakeup.set()

    @property
    def stopping(self) -> bool:
        """Whether it has stopped claiming."""
        return self._stopping

    @property
    def drained(self) -> bool:
        """Whether a message told it to stop after its running jobs."""
        return self._drained

    def claim_soon(self) -> None:
        """Claim in the next iteration: a full lane has room again."""
        self._more = True
        self._wakeup.set()

    def handle_sig(self, signum: Signals) -> None:
        """Stop, and hand back running jobs."""
        log.info("worker stopping", signal=Signals(signum).name, running=len(self.tasks))
        self.stop(0.0)
        if self.on_stop:
            self.on_stop(Signals(signum))

    def handle_sig_wait_for_completion(self, signum: Signals) -> None:
        """Stop, and hand back jobs still running after `job_completion_wait`."""
        log.info("worker stopping", signal=Signals(signum).name, running=len(self.tasks))
        self.stop(self._job_completion_wait)
        if self.on_stop:
            self.on_stop(Signals(signum))

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Create the jobs of due cron ticks. A tick that Redis refuses is skipped: arq has already noted the next."""
        try:
            await super().run_cron(n, delay, num_windows)
        except Exception as error:
            if not is_transient_redis_error(error) and not is_wrong_type(error):
                raise
            log.warning("cron tick refused", error=type(error).__name__)

    async def main(self) -> None:
        """Work until `stop` is called, or in burst mode until the queues are empty."""
        self.ctx["redis"] = self.pool
        if self.on_startup:
            await self.on_startup(self.ctx)
        # Random, so that workers do this at different times.
        releasing = run_periodically(
            "release of unheld jobs", self.lease_s * random.uniform(1.0, 3.0), self._lease_keeper.release_unheld
        )
        tasks = (self._wake.run(), self._lease_keeper.keep_leases(), releasing)
        background = [asyncio.create_task(task) for task in tasks]
        if self.cron_jobs:
            background.append(asyncio.create_task(self._keep_cron()))
        if self.allow_abort_jobs:
            aborting = run_periodically("abort of jobs", self.poll_delay_s, self._cancel_aborted_jobs)
            background.append(asyncio.create_task(aborting))
        for task in background:
            task.add_done_callback(lambda _: self._wakeup.set())
        try:
            await self._work(background)
        finally:
            await cancel_and_wait(*background)
        # It may just have popped a token: an empty claim wakes another worker instead.
        self._token_taken = True
        await self._claim()

    async def close(self) -> None:
        """Close the connections of a stopped worker. Jobs that still run are handed back first."""
        if not self._pool:
            return
        if self._slots.running or self._ended or self._unanswered:
            self.stop(0.0)
            await self._work([])
        if self.on_shutdown:
            await self.on_shutdown(self.ctx)
        await self._waiting.connection_pool.disconnect()
        await self.pool.connection_pool.disconnect()
        self._pool = None

    def find(self, name: str) -> "Function | CronJob | None":
        """The function of that name."""
        return self.functions.get(name)

    def new_context(self) -> dict[Any, Any]:
        """A new `ctx` for a function call; the job adds to it."""
        return dict(self.ctx)

    async def is_aborted(self, job_id: str) -> bool:
        """Whether a job was aborted before it started."""
        return self.allow_abort_jobs and bool(await ask(self.pool, "ZREM", abort_jobs_ss, job_id))

    def was_aborted(self, job_id: str) -> bool:
        """Whether a job was cancelled by an abort. True only once."""
        aborted = job_id in self.aborting_tasks
        self.aborting_tasks.discard(job_id)
        return aborted

    async def before_job(self, ctx: dict[Any, Any]) -> None:
        """Call arq's hook."""
        if self.on_job_start:
            await self.on_job_start(ctx)

    async def after_job(self, ctx: dict[Any, Any]) -> None:
        """Call arq's hook."""
        if self.on_job_end:
            await self.on_job_end(ctx)

    def note_end(self, running: Running) -> None:
        """Settle an ended job in the next iteration."""
        self._slots.running.remove(running)
        job_id = running.lease.job_id
        if self.tasks.get(job_id) is running.task:
            del self.tasks[job_id], self.job_tasks[job_id]
        self.aborting_tasks.discard(job_id)
        if running.trouble is not None:
            self._backoff.back_off(running.trouble)
        self._count(running)
        self._ended.append(running)
        self._wakeup.set()

    def _count(self, running: Running) -> None:
        """Count an ended job as arq does, and notify the observer."""
        match running.outcome:
            case "done":
                self.jobs_complete += 1
            case "failed":
                self.jobs_failed += 1
            case "retried" | "handed back":
                self.jobs_retried += 1
        if self._observe is not None:
            self._observe(running.end)

    async def _work(self, background: Sequence[asyncio.Task[None]]) -> None:
        while True:
            for task in background:
                if task.done():
                    task.result()
            if (pause_s := self._backoff.pause_s) > 0:
                await asyncio.sleep(pause_s)
            await self._settle_and_claim()
            if self._ended or self._unanswered or self._backoff.pause_s > 0:
                if self._stopping and not self._slots.running and self._backoff.lasts_s > self.lease_s:
                    log.warning("jobs left unsettled", jobs=len(self._ended))
                    return
                continue
            self._backoff.note_success()
            idle = not self._slots.running and not self._hooks
            if idle and (self._stopping or (self.burst and await self._is_burst_over())):
                return
            await self._wait()

    async def _settle_and_claim(self) -> None:
        """Settle ended jobs and claim for free slots, in one round trip."""
        ended, self._ended = self._ended, []
        batches: dict[str, list[Settled]] = {}
        for running in ended:
            if running.settled is not None:
                batches.setdefault(running.lease.queue, []).append(running.settled)
        # The sleep lets these tasks queue their commands first, so that the claim joins their batch.
        settling = [asyncio.create_task(self._claims.settle(queue, batch)) for queue, batch in batches.items()]
        if settling:
            await asyncio.sleep(0)
        try:
            await self._claim()
            await asyncio.gather(*settling)
        except BaseException as error:
            # Some may have been settled; settling is idempotent.
            self._ended = ended + self._ended
            if not isinstance(error, Exception):
                raise
            self._backoff.back_off(error)
        else:
            self._call_hooks(ended)

    async def _claim(self) -> None:
        """Claim for the free slots if that may find jobs, and start them."""
        room, lanes = self._room()
        due = self._more or self._closing or time.monotonic() >= self._claim_at
        # Without room for a popped token, an empty claim wakes another worker instead.
        if not (self._token_taken or self._unanswered or (room > 0 and due)):
            return
        self._token_taken = self._closing = False
        self._more, self._claim_at = True, time.monotonic() + CLAIM_EACH_S
        token = self._name + os.urandom(12).hex()
        try:
            if self._unanswered:
                await self._claims.release(self._unanswered)
            self._unanswered = [token]
            lapses_at = self._claims.lapses_at()
            claim = await self._claims.claim(token, room, lanes, alone=not self._slots.busy)
        except Exception as error:
            self._backoff.back_off(error)
            return
        self._unanswered = []
        if claim.lapsed:
            log.warning("leases lapsed", jobs=claim.lapsed)
            if self._on_lapse is not None:
                self._on_lapse(claim.lapsed)
        for job in claim.jobs:
            self._start(job, token, lapses_at)
        if claim.next_ms is not None:
            self._claim_at = min(self._claim_at, time.monotonic() + claim.next_ms / 1000)
        if claim.suspect is not None or lanes[self._slots.suspect_lane or 0] > 0:
            self._slots.suspect_lane = claim.suspect
        # If every lane was emptied, no further claim is needed: the next new job wakes a worker.
        taken = Counter(job.lane for job in claim.jobs)
        full = len(claim.jobs) >= room or any(taken[lane] >= most for lane, most in enumerate(lanes))
        self._more = claim.suspect is not None or full
        if claim.jobs:
            # They start before `wants` is asked again.
            await asyncio.sleep(0)

    def _room(self) -> Room:
        """How many jobs may be claimed now."""
        if self._stopping or not self.allow_pick_jobs:
            return self._slots.no_room
        room = self._slots.room
        if self.burst and self.max_burst_jobs >= 0:
            return room._replace(jobs=min(room.jobs, self.max_burst_jobs - self._jobs_started()))
        return room

    def _start(self, job: Claimed, token: str, lapses_at: float) -> None:
        queue = self.keys.lanes[job.lane]
        if reason := invalid_id_reason(job.job_id):
            log.warning("job refused", reason=reason, size=len(job.job_id))
            refused = Running(self, Lease("", queue, token, job.score, self._on_closing, lapses_at), job)
            refused.refuse(reason)
            self._ended.append(refused)
            return
        job_id = job.job_id.decode()
        words = job.prefetched or ()
        prefetched = dict(zip(words[::2], words[1::2], strict=True))
        running = Running(self, Lease(job_id, queue, token, job.score, self._on_closing, lapses_at, prefetched), job)
        self._slots.running.add(running)
        self.tasks[job_id] = self.job_tasks[job_id] = running.start()

    def _call_hooks(self, ended: Sequence[Running]) -> None:
        """Call arq's `after_job_end` for settled jobs."""
        if not self.after_job_end:
            return
        for running in ended:
            if running.ctx is not None and running.why != "lost":
                task = self.loop.create_task(self._call_hook(running.lease.job_id, self.after_job_end(running.ctx)))
                self._hooks.add(task)
                task.add_done_callback(self._on_hook_end)

    async def _call_hook(self, job_id: str, hook: Awaitable[None]) -> None:
        try:
            await hook
        except Exception:
            log.exception("after-job hook failed", job=job_id)

    def _on_hook_end(self, task: asyncio.Task[None]) -> None:
        self._hooks.discard(task)
        self._wakeup.set()

    async def _is_burst_over(self) -> bool:
        if 0 <= self.max_burst_jobs <= self._jobs_started():
            return True
        return not sum([int(await ask(self.pool, "ZCARD", queue)) for queue in self.keys.lanes])

    async def _wait(self) -> None:
        """Wait until a job has ended or can be claimed."""
        room, lanes = self._room()
        listening = [lane for lane, most in enumerate(lanes) if most > 0] if room > 0 else []
        if not self._wake.listen(listening):
            with contextlib.suppress(RedisError):
                await self._claims.send("stir")
        until = self._claim_at if room > 0 else time.monotonic() + CLAIM_EACH_S
        if self._grace_until is not None:
            if time.monotonic() >= self._grace_until:
                self._cancel_all()
            else:
                until = min(until, self._grace_until)
        timer = asyncio.get_running_loop().call_later(max(0.0, until - time.monotonic()), self._wakeup.set)
        try:
            await self._wakeup.wait()
        finally:
            timer.cancel()
        self._wakeup.clear()

    def _cancel_all(self) -> None:
        """Cancel running jobs, which are then handed back. Repeated, since a job may swallow a cancellation."""
        late = [running for running in self._slots.running if not running.lease.closed]
        self._grace_until = time.monotonic() + CANCEL_S if late else None
        if new := sum(running.why != "stop" for running in late):
            log.info("jobs handed back", count=new)
        for running in late:
            running.cancel("stop")

    def _on_closing(self) -> bool:
        self._closing = True
        self._wakeup.set()
        return self._room().jobs > 0

    def _on_token(self) -> None:
        self._token_taken = True
        self._wakeup.set()

    def _on_mail(self, word: str) -> None:
        if word == "drain":
            if not self._drained:
                log.info("worker draining", running=len(self._slots.running))
            self._drained = True
            self.stop()
        self._wakeup.set()

    async def _keep_cron(self) -> None:
        while True:
            await self.run_cron(datetime.now(tz=self.timezone), CRON_S)
            await asyncio.sleep(CRON_S)

    async def _cancel_aborted_jobs(self) -> None:
        """Cancel this worker's aborted jobs, and drop expired abort requests."""
        now_s = time.time()
        oldest, latest = int((now_s - ABORT_LIFE_S) * 1000), int((now_s + ABORT_LIFE_S) * 1000)
        await asyncio.gather(
            ask(self.pool, "ZREMRANGEBYSCORE", abort_jobs_ss, "-inf", oldest),
            ask(self.pool, "ZREMRANGEBYSCORE", abort_jobs_ss, latest, "+inf"),
        )
        running = list(self.job_tasks)
        # The set may be huge, so only this worker's jobs are looked up.
        asked = await ask(self.pool, "ZMSCORE", abort_jobs_ss, *running) if running else []
        mine = [job_id for job_id, score in zip(running, asked, strict=True) if score is not None]
        for job_id in mine:
            if job_id in self.job_tasks:
                self.aborting_tasks.add(job_id)
                self.job_tasks[job_id].cancel()
        if mine:
            await ask(self.pool, "ZREM", abort_jobs_ss, *mine)
