"""What arq is told: a stock worker with our tasks, our wire format, and nothing of it kept or pickled."""

import asyncio
import os
import secrets
import socket
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import structlog
from arq import ArqRedis, Worker, cron
from arq.cron import CronJob

from shared.cancelling import end
from shared.flows import Flows
from shared.redis.connections import connect, is_server_trouble
from shared.redis.keys import Keys
from shared.results import Results
from shared.runs import Runs
from shared.settings import Settings
from shared.store import Store
from shared.wire import Night, arq_deserializer, arq_serializer
from workers.heartbeat import Heartbeat
from workers.runtime import Runtime
from workers.sweeper import Sweeper
from workers.tasks import arq_functions
from workers.tasks.night import night
from workers.turns import Turns

log = structlog.get_logger()

MAX_JOBS = 10
KERNEL_THREADS = 4
POLL_DELAY_S = 0.01


def connect_worker(settings: Settings, url: str) -> ArqRedis:
    """The pool of a worker or of a test's worker."""
    return connect(
        url,
        client_name="reckoner-worker",
        queue_name=Keys(settings.prefix).queue,
        job_serializer=arq_serializer,
        job_deserializer=arq_deserializer,
    )


class PatientWorker(Worker):
    """A stock arq worker that goes on where Redis refuses the job of a tick: the next tick is a minute away."""

    async def run_cron(self, n: datetime, delay: float, num_windows: int = 2) -> None:
        """Create the jobs of the ticks that are due; arq has noted when they are due next before it does."""
        try:
            await super().run_cron(n, delay, num_windows)
        except Exception as error:
            if not is_server_trouble(error):
                raise
            log.warning("redis refused a tick", error=type(error).__name__)


def _ticks(settings: Settings) -> list[CronJob]:
    """A minute's tick attempts to start the night's run, and so does a worker's start, which need not wait for it.

    It is tried once: whatever ends it, the next one comes.
    """
    return [cron(night, name=Night.name, run_at_startup=True)] if settings.nightly else []


def build_worker(settings: Settings, redis: ArqRedis, store: Store) -> Worker:
    """An arq worker that runs our tasks and heeds no signals; call it where its event loop runs."""
    keys = Keys(settings.prefix)
    # The task's own deadline first, then arq's, then the end of its claim: 15, 20 and 30 s unless set otherwise.
    deadline_s = settings.task_deadline_s
    flows = Flows(redis, keys, settings.first_look_s)

    def claiming(allowed: bool) -> None:
        worker.allow_pick_jobs = allowed

    runtime = Runtime(
        worker_id=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}",
        settings=settings,
        redis=redis,
        keys=keys,
        flows=flows,
        runs=Runs(redis, keys, settings.first_look_s),
        results=Results(redis, keys),
        store=store,
        # A wait and the task's own deadline together stay within arq's time-out.
        turns=Turns(claiming, patience_s=deadline_s / 4),
        threads=ThreadPoolExecutor(KERNEL_THREADS, thread_name_prefix="kernel"),
    )
    worker = PatientWorker(
        arq_functions(),
        cron_jobs=_ticks(settings),
        queue_name=keys.queue,
        redis_pool=redis,
        on_startup=_start_background,
        on_shutdown=_stop_background,
        max_jobs=MAX_JOBS,
        job_timeout=deadline_s * 4 / 3,
        poll_delay=POLL_DELAY_S,
        keep_result=0,
        # arq drops a job that used up its tries without a word; ours end as dead letters, so arq must never count.
        max_tries=2**31,
        ctx={"runtime": runtime},
        job_serializer=arq_serializer,
        job_deserializer=arq_deserializer,
        log_results=False,
        handle_signals=False,
    )
    worker.in_progress_timeout_s = deadline_s * 2
    return worker


async def _start_background(ctx: dict[Any, Any]) -> None:
    runtime: Runtime = ctx["runtime"]
    # Before the first job is claimed: what arq cannot read ends a worker, and the next one.
    if count := await runtime.flows.refusals.foreign_jobs():
        log.warning("what no job can be was set aside", count=count)
    ctx["heartbeat"] = heartbeat = Heartbeat(runtime)
    await heartbeat.beat()
    ctx["background"] = [asyncio.create_task(heartbeat.run()), asyncio.create_task(Sweeper(runtime).run())]
    log.info("worker ready", worker=runtime.worker_id)


async def _stop_background(ctx: dict[Any, Any]) -> None:
    runtime: Runtime = ctx["runtime"]
    background = ctx.pop("background", [])
    await end(*background)
    runtime.threads.shutdown(wait=False)
    if heartbeat := ctx.pop("heartbeat", None):
        await heartbeat.stop()
    log.info("worker stopped", worker=runtime.worker_id)
