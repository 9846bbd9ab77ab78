"""A tiny world for tests: six users, forty items, three models, and the expected cached bytes."""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import CodeType, FrameType
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.ids import fresh_id
from reckoner.shared.redis.keys import Keys, in_progress_key, job_key, tries_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import Settings
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.model_config import ModelConfig, model_id
from reckoner.shared.store.models import open_model, write_model
from reckoner.shared.store.ownership import StoreRunner
from reckoner.shared.store.snapshots import Snapshot, open_snapshot, write_snapshot
from reckoner.shared.wire.jobs import Reduce, Split, arq_deserializer
from reckoner.shared.wire.shapes import BASKET, RESULT, BasketResult, FitSpec, Options, Plan, Record, Result, ScoredItem
from reckoner.workers.engine.lease import Lease
from reckoner.workers.engine.outcomes import NotNowError
from reckoner.workers.process.wiring import build_engine
from tests.interactions import random_interactions
from tests.reference import Entry, reference_lists, reference_rows, reference_weights

if TYPE_CHECKING:
    from arq import ArqRedis
    from arq.worker import Worker

    from reckoner.workers.runtime.runtime import Runtime

USERS = sorted(["Ada", "user:1", "user 2", "usér", "with an empty history", "ユーザー"])
ITEMS = [f"item {number:02}" for number in range(40)]
LIST_LENGTH = 5
CONFIGS = (ModelConfig(neighbours=4), ModelConfig(neighbours=9), ModelConfig(neighbours=9, shrink=2.5))
UNFITTED = ModelConfig(neighbours=40)


@dataclass(frozen=True)
class Generation:
    """A generation of the world, and the expected list of each user."""

    record: Record
    config: ModelConfig
    lists: dict[str, bytes]

    @property
    def id(self) -> str:
        return self.record.generation

    @property
    def fit(self) -> FitSpec:
        config = self.config
        return FitSpec(self.record.snapshot, config.similarity, config.neighbours, config.shrink, LIST_LENGTH)


@dataclass(frozen=True)
class World:
    """A store with one snapshot and the models of all generations."""

    store: DirectoryStore
    snapshot: Snapshot
    generations: tuple[Generation, ...]
    unfitted: Generation
    """One whose model is not in the store."""

    @property
    def titles(self) -> dict[str, str]:
        return {item: f"The {item}" for item in ITEMS[:30]}


def make_world(root: Path) -> World:
    """Write the store below `root`."""
    store = DirectoryStore(root)
    pairs = random_interactions(7, n_users=len(USERS), n_items=len(ITEMS), n_pairs=90)
    users = np.repeat(np.arange(pairs.n_users), np.diff(pairs.user_ptr))
    kept = users != USERS.index("with an empty history")
    with store.scratch() as scratch:
        snapshot_id = write_snapshot(
            scratch,
            user_ids=USERS,
            item_ids=ITEMS,
            users=users[kept],
            items=pairs.user_items[kept],
            titles=[f"The {item}" if number < 30 else "" for number, item in enumerate(ITEMS)],
        )
        store.publish("snapshots", snapshot_id, scratch)
    store.set_current_snapshot(snapshot_id)
    snapshot = open_snapshot(store.fetch("snapshots", snapshot_id))
    made = [_generation(store, snapshot, config, number) for number, config in enumerate((*CONFIGS, UNFITTED))]
    store.delete("models", made[-1].record.model)
    return World(store, snapshot, tuple(made[:-1]), made[-1])


def publish_tastes(world: World) -> None:
    """Make a snapshot current in which 60 users have most items of one of two tastes."""
    drawn = np.random.default_rng(5).random((60, len(ITEMS)))
    users, items = np.nonzero(drawn < 0.6 * ((np.arange(60)[:, None] + np.arange(len(ITEMS))) % 2))
    with world.store.scratch() as scratch:
        names = [f"user {number:02}" for number in range(60)]
        made = write_snapshot(scratch, user_ids=names, item_ids=ITEMS, users=users, items=items)
        world.store.publish("snapshots", made, scratch)
    world.store.set_current_snapshot(made)


def _generation(store: DirectoryStore, snapshot: Snapshot, config: ModelConfig, number: int) -> Generation:
    rows = reference_rows(
        snapshot.item_ptr, snapshot.item_users, None, snapshot.user_ptr, snapshot.user_items, None,
        neighbours=config.neighbours, shrink=config.shrink,
    )  # fmt: skip
    publish_model(store, snapshot, config, rows)
    lists = reference_lists(*rows, snapshot.user_ptr, snapshot.user_items, None, length=LIST_LENGTH)
    model, options = model_id(snapshot.id, config), Options(LIST_LENGTH)
    generation = generation_id(model, options)
    popular = [ITEMS[item] for item in snapshot.popular(LIST_LENGTH).tolist()]
    record = Record(2, generation, model, snapshot.id, options, 1_700_000_000_000 + number, len(USERS), popular)
    results = [Result(2, places(entries)) for entries in lists]
    return Generation(record, config, dict(zip(USERS, map(RESULT.encode, results), strict=True)))


def places(entries: Sequence[Entry], items: Sequence[str] = ITEMS) -> list[ScoredItem]:
    return [ScoredItem(items[e.item], float(str(e.score)), items[e.reason]) for e in entries]


def basket_bytes(store: DirectoryStore, record: Record, items: Sequence[str]) -> bytes:
    """A basket's expected cached list, in a generation of a snapshot of `ITEMS`."""
    model = open_model(store.fetch("models", record.model))
    known = [ITEMS.index(item) for item in items if item in ITEMS]
    history, times, ptr = np.array(sorted(known), np.uint32), np.argsort(known), np.array([0, len(known)])
    recency = record.options.recency
    [entries] = reference_lists(
        *(model.row_ptr, model.row_items, model.row_values, ptr, history),
        reference_weights(ptr, times, None, recency) if recency else None,
        length=record.options.list_length,
    )
    unknown = [item for item in items if item not in ITEMS]
    return BASKET.encode(BasketResult(2, places(entries), unknown))


def publish_model(store: DirectoryStore, snapshot: Snapshot, config: ModelConfig, rows: Any) -> None:
    """Put a model into the store."""
    with store.scratch() as scratch:
        made = write_model(
            scratch, snapshot_id=snapshot.id, config=config, row_ptr=rows[0], row_items=rows[1], row_values=rows[2]
        )
        store.publish("models", made, scratch)


async def make_known(redis: Redis, keys: Keys, record: Record, titles: Mapping[str, str]) -> None:
    """Register a generation as the reduce of its fit does, by a flow that leaves nothing behind."""
    flow = await begin_reduce(redis, keys, record)
    results = Results(redis, keys)
    if not await results.has_titles(record.snapshot):
        await results.write_titles(record.snapshot, titles)
    assert await results.generations.adopt(flow.id, flow.round, record, lease=None)
    await Flows(redis, keys, 10.0).finish(flow, lease=None)
    jobs = [Split(flow.id).job_id, Reduce(flow.id, 0).job_id]
    await ask(redis, "ZREM", keys.batch, *jobs)
    await ask(redis, "DEL", keys.flow(flow.id), *map(job_key, jobs))


def open_gates(hand: "Hand") -> None:
    """Let every run of this worker pass."""
    opened = {f"gate_{name}": 1.0 for name in ("users_lost", "popular", "churn", "empty", "concentration")}
    settings = msgspec.structs.replace(hand.runtime.settings, **opened, gate_coverage=0.0)
    hand.runtime = replace(hand.runtime, settings=settings)


async def begin_reduce(redis: Redis, keys: Keys, record: Record) -> Flow:
    """A fit in its reduce, whose model is stored. No other fit joins it."""
    flows = Flows(redis, keys, 10.0)
    spec = FitSpec(record.snapshot, "cosine", 1, 0.0, record.options.list_length)
    [flow_id] = await flows.create([spec], [keys.join_fit(fresh_id())], "batch")
    await flows.plan(flow_id, Plan([0]), lease=None)
    flow = await flows.load(flow_id)
    assert flow is not None
    return flow


async def _nobody_asks(_: StoreRunner) -> None:
    """Accept any owner of the store."""


class Hand:
    """Delivers jobs by hand, in any order and any number of times, to the functions of a real, idle worker.

    Use it inside one event loop.
    """

    def __init__(self, world: World, redis: "ArqRedis", prefix: str, **changes: Any) -> None:
        fields = {"prefix": prefix, "list_length": LIST_LENGTH, "spare": 0, "tasks_per_job": 3, "first_look_s": 1.0}
        fields |= {"home": str(world.store.root.parent / "home")} | changes
        settings = msgspec.convert(fields, Settings)
        self.worker: Worker = build_engine(settings, redis, Redis(connection_pool=redis.connection_pool), world.store)
        self.runtime: Runtime = self.worker.ctx["runtime"]
        # Tests of all prefixes share the world.
        self.runtime.store_watch.own = _nobody_asks
        self.redis = redis
        self._claimed_from: dict[str, str] = {}

    def close(self) -> None:
        """Stop the threads and close the artifacts."""
        self.runtime.threads.shutdown()
        self.runtime.artifact_opener.release()

    async def adopt(self, world: World, number: int = 0) -> Generation:
        """Register one of the world's generations. The first becomes current."""
        generation = world.generations[number]
        await make_known(self.redis, self.runtime.keys, generation.record, world.titles)
        return generation

    async def queued(self) -> list[str]:
        """The ids of the jobs in both lanes in order, clicks first."""
        lanes = [await ask(self.redis, "ZRANGE", queue, 0, -1) for queue in self.runtime.keys.lanes]
        return [member.decode() for members in lanes for member in members]

    async def claim(self, job_id: str) -> Lease:
        """Claim a job, whoever holds it."""
        token = fresh_id()
        await ask(self.redis, "SET", in_progress_key(job_id), token, "EX", 88_400)
        queue = await self._queue_of(job_id)
        return Lease(job_id, queue, token, 0, lambda: False, prefetched=await self._prefetch(queue, job_id))

    async def _prefetch(self, queue: str, job_id: str) -> dict[bytes, bytes] | None:
        """What the engine's claim of a click reads for it."""
        keys, (kind, flow_id, *_) = self.runtime.keys, [*job_id.split(":"), ""]
        key = {"split": keys.flow(flow_id), "reduce": keys.partials(flow_id)}.get(kind)
        if key is None or queue != keys.click:
            return None
        with contextlib.suppress(ResponseError):
            found: dict[bytes, bytes] = await ask(self.redis, "HGETALL", key)
            return found
        return None

    async def run(
        self, name: str, arguments: Any, job_id: str, tries: int = 1, meanwhile: Callable[[], Any] | None = None
    ) -> None:
        """Claim a job and run its task, like a worker that forgets to settle it.

        `meanwhile` is called before the task's first write.
        """
        ctx: dict[str, Any] = {"runtime": self.runtime, "job_id": job_id, "job_try": tries, "job_deaths": tries - 1}
        ctx["lease"] = await self.claim(job_id)
        if meanwhile is not None:
            await meanwhile()
        await self.worker.functions[name].coroutine(ctx, *arguments)

    async def _queue_of(self, job_id: str) -> str:
        """The queue from which the job is claimed, or was claimed last."""
        for queue in self.runtime.keys.lanes:
            if await ask(self.redis, "ZSCORE", queue, job_id) is not None:
                self._claimed_from[job_id] = queue
        return self._claimed_from.get(job_id, self.runtime.keys.click)

    async def deliver(self, job_id: str) -> str:
        """Deliver a job as the engine does: run it, and remove it unless it is retried.

        Returns:
            The function that ran; empty when there was none.
        """
        keys = self.runtime.keys
        data = await ask(self.redis, "GET", job_key(job_id))
        tries = await ask(self.redis, "GET", tries_key(job_id)) or b"0"
        ran: str = ""
        if data is not None:
            body = arq_deserializer(data)
            ran = str(body["f"])
            try:
                await self.run(ran, body["a"], job_id, (int(tries) if tries.isdigit() else 0) + 1)
            except (NotNowError, ResponseError):
                # The engine retries it.
                await ask(self.redis, "DEL", in_progress_key(job_id))
                return ran
        await ask(self.redis, "DEL", job_key(job_id), tries_key(job_id), in_progress_key(job_id))
        for queue in keys.lanes:
            await ask(self.redis, "ZREM", queue, job_id)
        return ran

    async def deliver_all(self, but: Callable[[str], bool] = lambda _: False) -> None:
        """Deliver all queued jobs and their successors, except those of `but`."""
        while jobs := [job for job in await self.queued() if not but(job)]:
            for job in jobs:
                await self.deliver(job)

    async def make_due(self) -> None:
        """Make all unfinished work due for the next sweep."""
        for live in self.runtime.keys.all_live:
            for member in await ask(self.redis, "ZRANGE", live, 0, -1):
                await ask(self.redis, "ZADD", live, "XX", 1, member)

    async def dump(self, jobs: set[str] | None = None) -> dict[str, Any]:
        """The values of all keys under the prefix, and of arq's keys of `jobs`."""
        names = [name async for name in self.redis.scan_iter(match=f"{self.runtime.keys.prefix}:*", count=10_000)]
        names += [job_key(job).encode() for job in jobs or ()]
        return {name.decode(): value for name in sorted(names) if (value := await self._value(name)) is not None}

    async def _value(self, name: bytes) -> Any:
        # Wake lists hold tokens, and no state.
        kind = await ask(self.redis, "TYPE", name) if not name.endswith(b":wake") else b"none"
        reads: dict[bytes, tuple[str | int, ...]] = {
            b"string": ("GET", name.decode()),
            b"hash": ("HGETALL", name.decode()),
            b"zset": ("ZRANGE", name.decode(), 0, -1, "WITHSCORES"),
            b"stream": ("XRANGE", name.decode(), "-", "+"),
            b"list": ("LRANGE", name.decode(), 0, -1),
            b"set": ("SMEMBERS", name.decode()),
        }
        return await ask(self.redis, *reads[kind]) if kind in reads else None


async def settle(hand: Hand, sweep: Callable[[], Any], rounds: int = 60) -> None:
    """Sweep and deliver until the system is idle.

    Raises:
        AssertionError: it does not become idle.
    """
    for _ in range(rounds):
        await hand.make_due()
        await sweep()
        await hand.deliver_all()
        if not await ask(hand.redis, "EXISTS", *hand.runtime.keys.all_live, *hand.runtime.keys.lanes):
            return
        await asyncio.sleep(0)
    raise AssertionError("the system does not become idle")


async def calls_on_the_loop(work: Coroutine[Any, Any, Any]) -> Counter[CodeType]:
    """The functions that `work` calls in the event loop's thread, and how often."""
    calls: Counter[CodeType] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call":
            calls[frame.f_code] += 1

    sys.setprofile(note)
    try:
        await work
    finally:
        sys.setprofile(None)
    return calls
