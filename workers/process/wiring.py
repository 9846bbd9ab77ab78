"""Builds a worker: the engine with our tasks, our wire format and no stored arq results."""

import asyncio
import os
import secrets
import socket
import time
from functools import partial
from typing import Any

import structlog
from arq import ArqRedis
from redis.asyncio import Redis

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.flows.flow_state import Flow, State
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.runs import Runs
from reckoner.shared.metrics.counters import Counters
from reckoner.shared.metrics.table import JOB_TIME, JOBS_ENDED, LANES, LEASES_LAPSED, TASK_RUN, TASK_WAIT, TASKS_ENDED
from reckoner.shared.redis.connections import connect, eviction_policy
from reckoner.shared.redis.keys import Keys
from reckoner.shared.serving.events import Events
from reckoner.shared.serving.hidden import Hidden
from reckoner.shared.serving.results import Results
from reckoner.shared.serving.tags import Tags
from reckoner.shared.settings import Settings
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.verification import verification_cache
from reckoner.shared.wire.jobs import arq_deserializer, arq_serializer
from reckoner.workers.engine.claims import EngineKeys
from reckoner.workers.engine.connection import connect_engine
from reckoner.workers.engine.running import JobEnd
from reckoner.workers.engine.wake import WAIT_S
from reckoner.workers.engine.worker import EngineWorker
from reckoner.workers.maintenance.availability import Availability
from reckoner.workers.maintenance.generation_cleanup import GenerationCleanup
from reckoner.workers.maintenance.healing import Healing
from reckoner.workers.maintenance.heartbeat import Heartbeat
from reckoner.workers.maintenance.refreshing import Refreshing
from reckoner.workers.maintenance.retention import keep_layouts_clean, keep_store_clean
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.night.driver import NightDriver
from reckoner.workers.night.trigger import NightlyTrigger
from reckoner.workers.runtime.artifact_cache import VersionChecker
from reckoner.workers.runtime.artifact_opener import ArtifactOpener
from reckoner.workers.runtime.layout_files import LayoutFiles
from reckoner.workers.runtime.layouts import Layouts
from reckoner.workers.runtime.masks import Masks
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.runtime.scheduling import Scheduler
from reckoner.workers.runtime.store_watch import StoreWatch
from reckoner.workers.runtime.threads import Threads
from reckoner.workers.tasks import arq_functions

log = structlog.get_logger()

MAX_JOBS = 10
WARM_UP_S = 2.0


def connect_worker(settings: Settings, url: str) -> ArqRedis:
    """The connection pool of a worker."""
    return connect_engine(
        url,
        client_name="reckoner-worker",
        queue_name=Keys(settings.prefix).batch,
        job_serializer=arq_serializer,
        job_deserializer=arq_deserializer,
    )


def connect_waiting(url: str) -> Redis:
    """The connection on which a worker blocks for jobs."""
    return connect(url, client_name="reckoner-waiting", socket_timeout_s=WAIT_S + 5.0, max_connections=1)


def build_engine(settings: Settings, redis: ArqRedis, waiting: Redis, store: Store, name: str = "") -> EngineWorker:
    """A worker that runs our tasks and handles no signals. Call it inside its event loop."""
    runtime = build_runtime(settings, redis, store)
    keys = runtime.keys
    # Clicks are not shared: their tasks end before another worker could claim some of them.
    engine_keys = EngineKeys(
        keys.lanes, (False, True), keys.workers, keys.mail(runtime.worker_id), keys.refused, keys.dead, keys.flow("")
    )
    worker = EngineWorker(
        keys=engine_keys,
        waiting=waiting,
        lease_s=settings.lease_s,
        name=name,
        wants=lambda lane: runtime.scheduler.room("batch") if engine_keys.shared[lane] else MAX_JOBS,
        observe=partial(_count_task, runtime.counters),
        on_lapse=partial(_count_lapsed, runtime.counters),
        **worker_options(runtime),
    )
    runtime.scheduler.on_room = worker.claim_soon

    def on_store_change() -> None:
        worker.allow_pick_jobs = not runtime.store_watch.trouble
        worker.claim_soon()

    runtime.store_watch.on_change = on_store_change
    worker.ctx["is_draining"] = lambda: worker.stopping
    return worker


def build_runtime(settings: Settings, redis: ArqRedis, store: Store) -> Runtime:
    """The runtime that every task of a worker gets."""
    keys, threads, counters = Keys(settings.prefix), Threads(settings.threads), Counters()
    # A wait and the task's deadline together stay below arq's timeout.
    patience_s = settings.task_deadline_s / 4
    verified = verification_cache(settings.home_path)
    layout_files = LayoutFiles(settings.home_path / "layouts", verified)
    return Runtime(
        worker_id=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}",
        settings=settings,
        redis=redis,
        keys=keys,
        flows=Flows(redis, keys, settings.first_look_s, settings.threads, partial(_count_job, counters)),
        runs=Runs(redis, keys, settings.first_look_s),
        results=Results(redis, keys),
        events=Events(redis, keys, settings.first_look_s, settings.max_events),
        store=store,
        artifact_opener=ArtifactOpener(store, verified, on_invalidate=layout_files.remove),
        version_checker=VersionChecker(threads, patience_s),
        scheduler=Scheduler(threads.kernels, patience_s),
        threads=threads,
        store_watch=StoreWatch(store, threads, partial(claim_store, redis, settings, store)),
        layouts=Layouts(layout_files, threads.blocking),
        masks=Masks(Hidden(redis, keys), Tags(redis, keys), store, threads.use_store),
        counters=counters,
    )


def _count_task(counters: Counters, end: JobEnd) -> None:
    lane = LANES[end.lane]
    counters.count(TASKS_ENDED, lane, end.kind, end.outcome)
    counters.observe(TASK_WAIT, lane, end.kind, seconds=end.waited_s)
    counters.observe(TASK_RUN, lane, end.kind, seconds=end.ran_s)


def _count_lapsed(counters: Counters, jobs: int) -> None:
    counters.count(LEASES_LAPSED, by=jobs)


def _count_job(counters: Counters, flow: Flow, outcome: State) -> None:
    counters.count(JOBS_ENDED, flow.lane, flow.kind, outcome)
    if flow.created_ms:
        counters.observe(JOB_TIME, flow.lane, flow.kind, seconds=time.time() - flow.created_ms / 1000)


def worker_options(runtime: Runtime) -> dict[str, Any]:
    """The options of an arq worker that runs our tasks."""
    return {
        "functions": arq_functions(),
        "redis_pool": runtime.redis,
        "on_startup": _start_background,
        "on_shutdown": _stop_background,
        "max_jobs": MAX_JOBS,
        # The task's deadline comes first, then arq's: 15 and 20 s.
        "job_timeout": runtime.settings.task_deadline_s * 4 / 3,
        "keep_result": 0,
        # arq drops a job silently after its last try. Ours become dead letters, so arq must not count.
        "max_tries": 2**31,
        "ctx": {"runtime": runtime},
        "job_serializer": arq_serializer,
        "job_deserializer": arq_deserializer,
        "log_results": False,
        "handle_signals": False,
    }


async def _start_background(ctx: dict[Any, Any]) -> None:
    runtime: Runtime = ctx["runtime"]
    # Before the first job is claimed.
    if count := await runtime.flows.refusals.foreign_jobs():
        log.warning("foreign jobs set aside", count=count)
    if policy := await eviction_policy(runtime.redis):
        log.warning("unsafe eviction policy found", policy=policy, advice="set maxmemory-policy noeviction")
    ctx["heartbeat"] = heartbeat = Heartbeat(runtime, ctx["is_draining"])
    await heartbeat.beat()
    healing, refreshing = Healing(runtime), Refreshing(runtime)
    maintenance = (
        heartbeat.run(),
        Sweeper(runtime).run(),
        GenerationCleanup(runtime).run(),
        refreshing.run_refresh(),
        refreshing.run_trim(),
        Availability(runtime).run(),
        keep_store_clean(runtime),
        keep_layouts_clean(runtime),
        NightlyTrigger(runtime).run(),
        NightDriver(runtime).run(),
        healing.run(),
        healing.run_scrub(),
        runtime.store_watch.run(),
    )
    ctx["background"] = [asyncio.create_task(work) for work in maintenance]
    await _warm_up(runtime)
    log.info("worker ready", worker=runtime.worker_id)


async def _warm_up(runtime: Runtime) -> None:
    """Warm the worker up before it claims its first job, for a bounded time. Jobs report what fails here."""
    try:
        async with asyncio.timeout(WARM_UP_S):
            await runtime.warm_up()
    except Exception as error:
        log.debug("warm-up failed", error=type(error).__name__)


async def _stop_background(ctx: dict[Any, Any]) -> None:
    runtime: Runtime = ctx["runtime"]
    background = ctx.pop("background", [])
    await cancel_and_wait(*background)
    await runtime.stop_shared_work()
    runtime.threads.shutdown(wait=False)
    runtime.artifact_opener.release()
    if heartbeat := ctx.pop("heartbeat", None):
        await heartbeat.stop()
    log.info("worker stopped", worker=runtime.worker_id)
