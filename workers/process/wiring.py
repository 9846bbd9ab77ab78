"""What the engine is told: our tasks, our wire format, and nothing of it kept or pickled."""

import asyncio
import os
import secrets
import socket
from functools import partial
from typing import Any

import structlog
from arq import ArqRedis

from reckoner.shared.cancelling import cancel_and_wait
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis.connections import connect, eviction_policy
from reckoner.shared.redis.keys import Keys
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import Settings
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.verification import VerificationCache
from reckoner.shared.wire.jobs import arq_deserializer, arq_serializer
from reckoner.workers.engine.claims import Place
from reckoner.workers.engine.connection import EngineRedis
from reckoner.workers.engine.wake import WAIT_S
from reckoner.workers.engine.worker import EngineWorker
from reckoner.workers.maintenance.generation_cleanup import GenerationCleanup
from reckoner.workers.maintenance.healing import Healing
from reckoner.workers.maintenance.heartbeat import Heartbeat
from reckoner.workers.maintenance.night import Nights
from reckoner.workers.maintenance.retention import keep_store_clean
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.runtime.artifact_cache import Looks
from reckoner.workers.runtime.layouts import Layouts
from reckoner.workers.runtime.opening import Opening
from reckoner.workers.runtime.runtime import Runtime
from reckoner.workers.runtime.scheduling import Turns
from reckoner.workers.runtime.store_watch import StoreWatch
from reckoner.workers.runtime.threads import Threads
from reckoner.workers.tasks import arq_functions

log = structlog.get_logger()

MAX_JOBS = 10


def connect_worker(settings: Settings, url: str) -> ArqRedis:
    """The pool of a worker or of a test's worker."""
    return connect(
        url,
        client_name="reckoner-worker",
        queue_name=Keys(settings.prefix).batch,
        job_serializer=arq_serializer,
        job_deserializer=arq_deserializer,
        kind=EngineRedis,
    )


def connect_waiting(url: str) -> ArqRedis:
    """The connection on which a worker of the engine blocks."""
    return connect(url, client_name="reckoner-waiting", socket_timeout_s=WAIT_S + 5.0, max_connections=1)


def build_engine(settings: Settings, redis: ArqRedis, waiting: ArqRedis, store: Store) -> EngineWorker:
    """A worker of the engine that runs our tasks and heeds no signals; call it where its event loop runs."""
    runtime = build_runtime(settings, redis, store)
    keys = runtime.keys
    # A click's tasks take less time than another worker needs to come for some of them.
    place = Place(keys.lanes, (False, True), keys.workers, keys.mail(runtime.worker_id), keys.refused, keys.dead)
    worker = EngineWorker(
        place=place,
        waiting=waiting,
        lease_s=settings.lease_s,
        wants=lambda lane: runtime.turns.room("batch") if place.shared[lane] else MAX_JOBS,
        **worker_options(runtime),
    )
    runtime.turns.on_room = worker.look_again

    def note_store() -> None:
        worker.allow_pick_jobs = not runtime.store_watch.trouble
        worker.look_again()

    runtime.store_watch.on_change = note_store
    worker.ctx["is_draining"] = lambda: worker.stopping
    return worker


def build_runtime(settings: Settings, redis: ArqRedis, store: Store) -> Runtime:
    """What every task of a worker is handed."""
    keys, threads = Keys(settings.prefix), Threads(settings.threads)
    # A wait and the task's own deadline together stay within arq's time-out.
    patience_s = settings.task_deadline_s / 4
    return Runtime(
        worker_id=f"{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(2)}",
        settings=settings,
        redis=redis,
        keys=keys,
        flows=Flows(redis, keys, settings.first_look_s),
        runs=Runs(redis, keys, settings.first_look_s),
        results=Results(redis, keys),
        store=store,
        opening=Opening(store, VerificationCache(settings.home_path / "verified")),
        looks=Looks(threads, patience_s),
        turns=Turns(threads.kernels, patience_s),
        threads=threads,
        store_watch=StoreWatch(store, threads, partial(claim_store, redis, settings, store)),
        layouts=Layouts(threads.blocking),
    )


def worker_options(runtime: Runtime) -> dict[str, Any]:
    """What an arq worker is told that runs our tasks."""
    return {
        "functions": arq_functions(),
        "redis_pool": runtime.redis,
        "on_startup": _start_background,
        "on_shutdown": _stop_background,
        "max_jobs": MAX_JOBS,
        # The task's own deadline comes first, then arq's: 15 and 20 s.
        "job_timeout": runtime.settings.task_deadline_s * 4 / 3,
        "keep_result": 0,
        # arq drops a job that used up its tries without a word; ours end as dead letters, so arq must never count.
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
        log.warning("what no job can be was set aside", count=count)
    if policy := await eviction_policy(runtime.redis):
        log.warning("redis throws jobs and lists away when it is full: set maxmemory-policy noeviction", policy=policy)
    ctx["heartbeat"] = heartbeat = Heartbeat(runtime, ctx["is_draining"])
    await heartbeat.beat()
    healing = Healing(runtime)
    upkeep = (
        heartbeat.run(),
        Sweeper(runtime).run(),
        GenerationCleanup(runtime).run(),
        keep_store_clean(runtime),
        Nights(runtime).run(),
        healing.run(),
        healing.run_scrub(),
        runtime.store_watch.run(),
    )
    ctx["background"] = [asyncio.create_task(work) for work in upkeep]
    log.info("worker ready", worker=runtime.worker_id)


async def _stop_background(ctx: dict[Any, Any]) -> None:
    runtime: Runtime = ctx["runtime"]
    background = ctx.pop("background", [])
    await cancel_and_wait(*background)
    await runtime.stop_making()
    runtime.threads.shutdown(wait=False)
    runtime.opening.let_go()
    if heartbeat := ctx.pop("heartbeat", None):
        await heartbeat.stop()
    log.info("worker stopped", worker=runtime.worker_id)
