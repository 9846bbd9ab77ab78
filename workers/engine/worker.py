"""The engine's worker: an `arq.Worker` with another claim loop."""

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

# Between two claims at most, should nobody have been woken.
LOOK_S = 2.0
CRON_S = 0.5
CANCEL_S = 1.0
# After a day nobody waits any more for the end of a job that was to be aborted.
FORGET_S = 86_400.0

log = structlog.get_logger()


class EngineWorker(Worker):
    """Claims jobs of one or several lanes under leases, runs them, and settles them in batches.

    It takes what `arq.Worker` takes, a pool that is an `EngineRedis`, and: `place`, where its jobs are; `waiting`, a
    connection of its own on which it may block; `lease_s`, after how many seconds without a sign of this worker others
    take over its jobs; `wants`, which tells how many more jobs of a lane would not only wait here, and whose giver
    calls `claim_soon` when they are some again; `observe`, which is told of each job that has ended here.
    `poll_delay`, `queue_read_limit` and the settings of the health check have no effect.
    """

    def __init__(
        self,
        functions: Sequence[Any],
        *,
        keys: EngineKeys,
        waiting: Redis,
        lease_s: float = 5.0,
        wants: Callable[[int], int] = any_number,
        observe: Callable[[JobEnd], None] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(functions, queue_name=keys.lanes[0], **options)
        if not isinstance(self._pool, EngineRedis):
            raise TypeError("the pool of an engine is an EngineRedis")
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
        self.keys = keys
        self.lease_s = lease_s
        self._waiting = waiting
        self._claims = Claims(self._pool, keys, lease_s)
        self._wake = Wake(waiting, keys, self._on_token, self._on_mail)
        self._stir = asyncio.Event()
        self._slots = Slots(self.max_jobs, len(keys.lanes), wants)
        # What has ended and is to be settled.
        self._ended: list[Running] = []
        self._backoff = RedisBackoff()
        self._lease_keeper = LeaseKeeper(
            self._claims, self._backoff, lease_s, lambda: [*self._slots.running, *self._ended]
        )
        self._after = set[asyncio.Task[None]]()
        # Tokens of claims whose answer has not arrived.
        self._unanswered: list[str] = []
        self._token_taken = False
        # Whether a claim may bring something: the last one was full, there is room where there was none, or a job is
        # being ended that may have made others.
        self._more = True
        self._closing = False
        self._look_at = 0.0
        self._stopping = False
        self._drained = False
        self._grace_until: float | None = None

    # What others ask of it.

    def stop(self, grace_s: float | None = None) -> None:
        """Claim nothing any more, let what runs come to its end, and hand it back after so many seconds.

        `main` returns then. None is for no end of that patience.
        """
        self._stopping = True
        if grace_s is not None:
            self._grace_until = time.monotonic() + grace_s
        self._stir.set()

    @property
    def stopping(self) -> bool:
        """Whether it claims nothing any more."""
        return self._stopping

    @property
    def drained(self) -> bool:
        """Whether it was told by its mail to end when it has done what it runs."""
        return self._drained

    def claim_soon(self) -> None:
        """Claim at the next turn, since a lane has room that had none."""
        self._more = True
        self._stir.set()

    def handle_sig(self, signum: Signals) -> None:
        """Stop and hand back what runs."""
        log.info("worker stopping", signal=Signals(signum).name, running=len(self.tasks))
        self.stop(0.0)
        if self.on_stop:
            self.on_stop(Signals(signum))

    def handle_sig_wait_for_completion(self, signum: Signals) -> None:
        """Stop, and hand back what still runs after `job_completion_wait`."""
        log.info("worker stopping", signal=Signals(signum).name, running=len(self.tasks))
        self.stop(self._job_completion_wait)
        if self.on_stop:
            self.on_stop(Signals(signum))

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Create the jobs of the ticks that are due; those that Redis refuses are left out: arq has noted the next."""
        try:
            await super().run_cron(n, delay, num_windows)
        except Exception as error:
            if not is_transient_redis_error(error) and not is_wrong_type(error):
                raise
            log.warning("cron tick refused", error=type(error).__name__)

    async def main(self) -> None:
        """Work until it is told to stop, or as a burst until nothing is left."""
        self.ctx["redis"] = self.pool
        if self.on_startup:
            await self.on_startup(self.ctx)
        # Workers keep order at different times.
        order = run_periodically(
            "keeping order", self.lease_s * random.uniform(1.0, 3.0), self._lease_keeper.release_unheld
        )
        background = [asyncio.create_task(task) for task in (self._wake.run(), self._lease_keeper.keep_leases(), order)]
        if self.cron_jobs:
            background.append(asyncio.create_task(self._keep_cron()))
        if self.allow_abort_jobs:
            aborting = run_periodically("aborting jobs", self.poll_delay_s, self._cancel_aborted_jobs)
            background.append(asyncio.create_task(aborting))
        for task in background:
            task.add_done_callback(lambda _: self._stir.set())
        try:
            await self._work(background)
        finally:
            await cancel_and_wait(*background)
        # A token may just have been taken that is another worker's now: an empty claim tells one.
        self._token_taken = True
        await self._claim()

    async def close(self) -> None:
        """Close the connections of a worker that has stopped; what still runs is handed back first."""
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

    # What a job that runs asks of it.

    def find(self, name: str) -> "Function | CronJob | None":
        """The function of that name."""
        return self.functions.get(name)

    def new_context(self) -> dict[Any, Any]:
        """What every function is called with, which a job adds to."""
        return dict(self.ctx)

    async def is_aborted(self, job_id: str) -> bool:
        """Whether somebody has asked for the end of a job before it began."""
        return self.allow_abort_jobs and bool(await ask(self.pool, "ZREM", abort_jobs_ss, job_id))

    def was_aborted(self, job_id: str) -> bool:
        """Whether a job was cancelled since somebody has asked for its end; true once."""
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
        """Settle a job that has ended at the next turn."""
        self._slots.running.remove(running)
        job_id = running.lease.job_id
        if self.tasks.get(job_id) is running.task:
            del self.tasks[job_id], self.job_tasks[job_id]
        self.aborting_tasks.discard(job_id)
        if running.trouble is not None:
            self._backoff.back_off(running.trouble)
        self._count(running)
        self._ended.append(running)
        self._stir.set()

    def _count(self, running: Running) -> None:
        """Count a job that has ended as arq does, and tell of it."""
        match running.outcome:
            case "done":
                self.jobs_complete += 1
            case "failed":
                self.jobs_failed += 1
            case "retried" | "handed back":
                self.jobs_retried += 1
        if self._observe is not None:
            self._observe(running.end)

    # The loop.

    async def _work(self, background: Sequence[asyncio.Task[None]]) -> None:
        while True:
            for task in background:
                if task.done():
                    task.result()
            if (pause_s := self._backoff.pause_s) > 0:
                await asyncio.sleep(pause_s)
            await self._turn()
            if self._ended or self._unanswered or self._backoff.pause_s > 0:
                if self._stopping and not self._slots.running and self._backoff.lasts_s > self.lease_s:
                    log.warning("settling abandoned", jobs=len(self._ended))
                    return
                continue
            self._backoff.is_over()
            idle = not self._slots.running and not self._after
            if idle and (self._stopping or (self.burst and await self._is_burst_over())):
                return
            await self._wait()

    async def _turn(self) -> None:
        """Settle what has ended and claim for the free slots, in one round trip."""
        ended, self._ended = self._ended, []
        batches: dict[str, list[Settled]] = {}
        for running in ended:
            if running.settled is not None:
                batches.setdefault(running.lease.queue, []).append(running.settled)
        # The claim's command is written down when the first of these tasks runs, and goes with theirs.
        settling = [asyncio.create_task(self._claims.settle(queue, batch)) for queue, batch in batches.items()]
        if settling:
            await asyncio.sleep(0)
        try:
            await self._claim()
            await asyncio.gather(*settling)
        except BaseException as error:
            # What was settled all the same is no longer under its claim, and settling it again changes nothing.
            self._ended = ended + self._ended
            if not isinstance(error, Exception):
                raise
            self._backoff.back_off(error)
        else:
            self._call_after(ended)

    async def _claim(self) -> None:
        """Claim for the free slots if that may bring something, and start what was claimed."""
        room, lanes = self._room()
        due = self._more or self._closing or time.monotonic() >= self._look_at
        # A token that was taken while there was no room is another worker's: an empty claim tells one.
        if not (self._token_taken or self._unanswered or (room > 0 and due)):
            return
        self._token_taken = self._closing = False
        self._more, self._look_at = True, time.monotonic() + LOOK_S
        token = _fresh_token()
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
        for job in claim.jobs:
            self._start(job, token, lapses_at)
        if claim.next_ms is not None:
            self._look_at = min(self._look_at, time.monotonic() + claim.next_ms / 1000)
        if claim.suspect is not None or lanes[self._slots.suspect_lane or 0] > 0:
            self._slots.suspect_lane = claim.suspect
        # Where a lane gave all it had and could have given more, whoever makes its next job wakes somebody.
        taken = Counter(job.lane for job in claim.jobs)
        full = len(claim.jobs) >= room or any(taken[lane] >= most for lane, most in enumerate(lanes))
        self._more = claim.suspect is not None or full
        if claim.jobs:
            # They begin before it is asked whether there is enough of them.
            await asyncio.sleep(0)

    def _room(self) -> Room:
        """What may be claimed now."""
        if self._stopping or not self.allow_pick_jobs:
            return self._slots.none
        room = self._slots.room
        if self.burst and self.max_burst_jobs >= 0:
            return room._replace(jobs=min(room.jobs, self.max_burst_jobs - self._jobs_started()))
        return room

    def _start(self, job: Claimed, token: str, lapses_at: float) -> None:
        queue = self.keys.lanes[job.lane]
        if reason := fault_of_id(job.job_id):
            log.warning("a job was refused whose id no job can have", size=len(job.job_id))
            refused = Running(self, Lease("", queue, token, job.score, self._on_closing, lapses_at), job)
            refused.refuse(reason)
            self._ended.append(refused)
            return
        job_id = job.job_id.decode()
        running = Running(self, Lease(job_id, queue, token, job.score, self._on_closing, lapses_at), job)
        self._slots.running.add(running)
        self.tasks[job_id] = self.job_tasks[job_id] = running.start()

    def _call_after(self, ended: Sequence[Running]) -> None:
        """Tell who wants to know it of the jobs that have been called and are settled."""
        if not self.after_job_end:
            return
        for running in ended:
            if running.ctx is not None and running.why != "lost":
                task = self.loop.create_task(self._after_job(running.lease.job_id, self.after_job_end(running.ctx)))
                self._after.add(task)
                task.add_done_callback(self._on_after)

    async def _after_job(self, job_id: str, hook: Awaitable[None]) -> None:
        try:
            await hook
        except Exception:
            log.exception("after-job hook failed", job=job_id)

    def _on_after(self, task: asyncio.Task[None]) -> None:
        self._after.discard(task)
        self._stir.set()

    async def _is_burst_over(self) -> bool:
        if 0 <= self.max_burst_jobs <= self._jobs_started():
            return True
        return not sum([int(await ask(self.pool, "ZCARD", queue)) for queue in self.keys.lanes])

    async def _wait(self) -> None:
        """Wait until something has ended or can be claimed."""
        room, lanes = self._room()
        listening = [lane for lane, most in enumerate(lanes) if most > 0] if room > 0 else []
        if not self._wake.listen(listening):
            with contextlib.suppress(RedisError):
                await self._claims.say("stir")
        until = self._look_at if room > 0 else time.monotonic() + LOOK_S
        if self._grace_until is not None:
            if time.monotonic() >= self._grace_until:
                self._cancel_all()
            else:
                until = min(until, self._grace_until)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(until - time.monotonic()):
                await self._stir.wait()
        self._stir.clear()

    def _cancel_all(self) -> None:
        """Cancel what runs, upon which it is handed back; again after a while, since a job may lose a cancellation."""
        late = [running for running in self._slots.running if not running.lease.closed]
        self._grace_until = time.monotonic() + CANCEL_S if late else None
        if new := sum(running.why != "stop" for running in late):
            log.info("jobs handed back", count=new)
        for running in late:
            running.cancel("stop")

    def _on_closing(self) -> bool:
        self._closing = True
        self._stir.set()
        return self._room().jobs > 0

    def _on_token(self) -> None:
        self._token_taken = True
        self._stir.set()

    def _on_mail(self, word: str) -> None:
        if word == "drain":
            if not self._drained:
                log.info("worker draining", running=len(self._slots.running))
            self._drained = True
            self.stop()
        self._stir.set()

    # What goes on beside the loop.

    async def _keep_cron(self) -> None:
        while True:
            await self.run_cron(datetime.now(tz=self.timezone), CRON_S)
            await asyncio.sleep(CRON_S)

    async def _cancel_aborted_jobs(self) -> None:
        """Cancel those of this worker's jobs that somebody has asked to end, and forget what nobody has heeded."""
        now_s = time.time()
        oldest, latest = int((now_s - FORGET_S) * 1000), int((now_s + FORGET_S) * 1000)
        await asyncio.gather(
            ask(self.pool, "ZREMRANGEBYSCORE", abort_jobs_ss, "-inf", oldest),
            ask(self.pool, "ZREMRANGEBYSCORE", abort_jobs_ss, latest, "+inf"),
        )
        running = list(self.job_tasks)
        # Anybody may write there, and as much as they like: only this worker's jobs are looked for.
        asked = await ask(self.pool, "ZMSCORE", abort_jobs_ss, *running) if running else []
        mine = [job_id for job_id, score in zip(running, asked, strict=True) if score is not None]
        for job_id in mine:
            if job_id in self.job_tasks:
                self.aborting_tasks.add(job_id)
                self.job_tasks[job_id].cancel()
        if mine:
            await ask(self.pool, "ZREM", abort_jobs_ss, *mine)


def _fresh_token() -> str:
    return os.urandom(12).hex()
