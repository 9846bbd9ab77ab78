"""The status of the system: workers, queues, flows, runs, generations, and what was refused."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from redis.exceptions import ResponseError

from reckoner.producer.client.answers import RunReport
from reckoner.shared.errors import WireError
from reckoner.shared.flows.flow_state import UNFINISHED
from reckoner.shared.flows.heartbeats import Heartbeats, LiveWorker
from reckoner.shared.flows.nights import Night, Nights
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis.connections import is_command_unavailable, server_info
from reckoner.shared.redis.keys import paused_key
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import CLAIMED, PAUSED
from reckoner.shared.wire.shapes import Lane

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys
    from reckoner.shared.serving.results import Results
    from reckoner.shared.wire.shapes import Holding, Record

# Counts above this are estimated from a random sample of this size, in bounded time.
FEW = 300


@dataclass(frozen=True)
class Queue:
    """A lane with its numbers of waiting and running jobs."""

    waiting: int
    running: int
    oldest_ms: int | None
    """The age of the oldest waiting job's flow, None if no job waits."""
    paused_ms: int | None
    """How long the lane has been paused, None if it is not."""

    @property
    def jobs(self) -> int:
        """The number of jobs in the queue, running ones included."""
        return self.waiting + self.running


@dataclass(frozen=True)
class RunNow(RunReport):
    """An unfinished run, its progress and its age."""

    age_ms: int

    @property
    def users_per_second(self) -> float:
        """The average since the start."""
        return self.users_done / max(self.age_ms, 1) * 1000


@dataclass(frozen=True)
class Status:
    """The status of the system; a field that the server does not let this user read is None."""

    server: str
    """`redis`, `valkey`, or the server's own name for itself."""
    server_version: str | None
    redis_memory_bytes: int | None
    redis_memory_max_bytes: int | None
    """None for no limit."""
    workers: list[LiveWorker]
    """The workers with a heartbeat within their lease."""
    silent: list[LiveWorker]
    """The workers whose last heartbeat is older than their lease."""
    queues: dict[Lane, Queue]
    flows: dict[str, int]
    """The number of unfinished flows by state."""
    runs: list[RunNow]
    night: Night | None
    """The night under way."""
    generation: str | None
    previous: str | None
    newest: str | None
    damage: list[str]
    """A sentence for each pointer that leads to no generation."""
    records: dict[str, "Record | None"]
    """The records of the generations that pointers name, None if missing."""
    results: dict[str, int]
    """The number of cached lists by generation."""
    holdings: dict[str, "Holding"]
    """The lists of the generations for which a run has computed all."""
    barred: list[str]
    """The generations that were rolled back: only `promote` makes them live."""
    estimated: list[str]
    """Which of `flows` and `results` are estimates."""
    now_ms: int
    """The server's clock."""
    events: int
    """The number of recorded events that are kept until the data of all generations with lists hold them."""
    hidden_items: int
    """The number of items that are hidden from everybody."""
    stale_lists: int
    """The number of users whose lists are to be computed again and have no job yet."""
    dead: int
    refused: dict[str, int]
    """The number of refusals by kind."""

    @property
    def queued(self) -> int:
        """The number of jobs in all queues, running ones included."""
        return sum(queue.jobs for queue in self.queues.values())


async def read_status(redis: "Redis", keys: "Keys", results: "Results", runs: Runs) -> Status:
    """Read the whole status, in bounded time."""
    server, memory, workers = await server_info(redis), await _memory(redis), await Heartbeats(redis, keys).recent()
    flows, lists = await count_flows(redis, keys), await count_results(redis, keys)
    pointed = {key: await results.generations.follow(key) for key in keys.pointers}
    seconds, _ = await ask(redis, "TIME")
    return Status(
        server=server.name or "redis",
        server_version=server.version or None,
        redis_memory_bytes=memory.get("used_memory"),
        redis_memory_max_bytes=memory.get("maxmemory") or None,
        workers=[each for each in workers if not each.silent],
        silent=[each for each in workers if each.silent],
        queues=await read_queues(redis, keys),
        flows=flows.counts,
        runs=await _runs(redis, runs),
        night=await _night(Nights(redis, keys)),
        generation=pointed[keys.current].generation,
        previous=pointed[keys.previous].generation,
        newest=pointed[keys.newest].generation,
        damage=[each.damage for each in pointed.values() if each.damage],
        records={each.generation: each.record for each in pointed.values() if each.generation},
        results=lists.counts,
        holdings=await results.generations.holdings(),
        barred=await results.generations.barred(),
        estimated=[name for name, found in (("flows", flows), ("results", lists)) if found.is_estimate],
        now_ms=int(seconds) * 1000,
        events=await count_events(redis, keys),
        hidden_items=int(await ask(redis, "ZCARD", keys.hidden)),
        stale_lists=int(await ask(redis, "ZCARD", keys.stale)),
        dead=int(await ask(redis, "XLEN", keys.dead)),
        refused=await read_refused(redis, keys),
    )


async def _night(nights: Nights) -> Night | None:
    try:
        night_id = await nights.under_way()
        return await nights.load(night_id) if night_id else None
    except (WireError, ResponseError):
        # Planted: the driver ends it.
        return None


async def _memory(redis: "Redis") -> dict[str, int]:
    try:
        return dict(await redis.info("memory"))
    except ResponseError as error:
        if not is_command_unavailable(error):
            raise
        return {}


async def read_workers(redis: "Redis", keys: "Keys", since_ms: int = 0) -> list[str]:
    """The ids of the live workers with a heartbeat since `since_ms` by the server's clock."""
    return [each.worker for each in await Heartbeats(redis, keys).alive(since_ms)]


async def count_events(redis: "Redis", keys: "Keys") -> int:
    """The number of recorded events that are kept until the data of all generations with lists hold them."""
    return int(await ask(redis, "XLEN", keys.event_stream))


async def read_refused(redis: "Redis", keys: "Keys") -> dict[str, int]:
    """The number of refusals by kind."""
    counts = await ask(redis, "HGETALL", keys.refused)
    return {kind.decode(errors="replace"): int(count) for kind, count in counts.items() if count.isdigit()}


async def read_queues(redis: "Redis", keys: "Keys") -> dict[Lane, Queue]:
    """The state of each lane."""
    lanes: tuple[Lane, ...] = get_args(Lane)
    return {lane: await _read_queue(redis, keys.lane(lane)) for lane in lanes}


async def _read_queue(redis: "Redis", queue: str) -> Queue:
    waiting = int(await ask(redis, "ZCOUNT", queue, "-inf", f"({CLAIMED}"))
    pausing = int(await ask(redis, "ZCOUNT", queue, PAUSED, "+inf"))
    running = int(await ask(redis, "ZCOUNT", queue, CLAIMED, f"({PAUSED}"))
    places = []
    for low, high, beyond in (("-inf", f"({CLAIMED}", 0), (PAUSED, "+inf", PAUSED)):
        first = await ask(redis, "ZRANGEBYSCORE", queue, low, high, "WITHSCORES", "LIMIT", 0, 1)
        places += [float(first[1]) - beyond] if first else []
    now, place = await now_ms(redis), min(places, default=-1.0)
    oldest = max(0, now - int(min(place, 2**53))) if place >= 0 else None
    return Queue(waiting + pausing, running, oldest, await _paused_for(redis, queue, now))


async def _paused_for(redis: "Redis", queue: str, now: int) -> int | None:
    try:
        since = await ask(redis, "GET", paused_key(queue))
    except ResponseError as error:
        if not is_wrong_type(error):
            raise
        # A key of another type pauses the lane too, until the sweeper sets it aside.
        since = b""
    if since is None:
        return None
    return max(0, now - int(since)) if since.isdigit() and len(since) < 16 else 0


async def read_paused(redis: "Redis", keys: "Keys") -> list[Lane]:
    """The paused lanes."""
    lanes: tuple[Lane, ...] = get_args(Lane)
    return [lane for lane in lanes if await ask(redis, "EXISTS", paused_key(keys.lane(lane)))]


async def now_ms(redis: "Redis") -> int:
    """The server's clock, in milliseconds since the epoch."""
    seconds, microseconds = await ask(redis, "TIME")
    return int(seconds) * 1000 + int(microseconds) // 1000


@dataclass(frozen=True)
class Counts:
    """Counts by kind, exact or estimated."""

    counts: dict[str, int]
    is_estimate: bool


def _counts(kinds: Iterable[str | None], drawn: int, total: int) -> Counts:
    """Count the kinds in a sample of `drawn`, scaled up to `total`; None is not counted."""
    found = Counter(kind for kind in kinds if kind is not None)
    is_estimate = total > drawn
    share = total / max(drawn, 1) if is_estimate else 1.0
    return Counts({kind: round(count * share) for kind, count in sorted(found.items())}, is_estimate)


async def count_results(redis: "Redis", keys: "Keys") -> Counts:
    """The number of results by generation: counted among few keys, estimated among many."""
    start, total = keys.result("", "")[:-1].encode(), int(await ask(redis, "DBSIZE"))
    if total <= FEW:
        # SCAN may return a key twice.
        names = list({name async for name in redis.scan_iter(match=start.decode() + "*", count=FEW)})
    else:
        async with redis.pipeline(transaction=False) as pipe:
            for _ in range(FEW):
                pipe.randomkey()
            names = await pipe.execute()
    return _counts((_generation_of(name or b"", start) for name in names), min(total, FEW), total)


def _generation_of(name: bytes, start: bytes) -> str | None:
    """The generation of a result's key, None for other keys."""
    return name[len(start) :].partition(b":")[0].decode(errors="replace") if name.startswith(start) else None


async def count_flows(redis: "Redis", keys: "Keys") -> Counts:
    """The number of unfinished flows by state: counted if few, estimated if many."""
    lanes = [await _count_live(redis, keys, live) for live in keys.all_live]
    counts: dict[str, int] = {state: sum(lane.counts.get(state, 0) for lane in lanes) for state in UNFINISHED}
    return Counts(counts, any(lane.is_estimate for lane in lanes))


async def _count_live(redis: "Redis", keys: "Keys", live: str) -> Counts:
    total = int(await ask(redis, "ZCARD", live))
    which = ("ZRANGE", live, 0, -1) if total <= FEW else ("ZRANDMEMBER", live, FEW)
    members = [member.decode(errors="replace") for member in await ask(redis, *which)]
    async with redis.pipeline(transaction=False) as pipe:
        for member in members:
            pipe.hget(keys.flow(member.removeprefix("flow:")), "state")
        states = await pipe.execute(raise_on_error=False)
    # A key of another type gives an error; the sweeper sets it aside.
    named = [state.decode(errors="replace") if isinstance(state, bytes) else "" for state in states]
    return _counts([name if name in UNFINISHED else None for name in named], len(members), total)


async def _runs(redis: "Redis", runs: Runs) -> list[RunNow]:
    run_ids, now = await runs.under_way(), await now_ms(redis)
    found = []
    for run_id in run_ids:
        try:
            run = await runs.load(run_id)
        except WireError:
            continue
        if run is not None and run.state != "ended":
            found.append(RunNow(run, await runs.progress(run_id), max(0, now - run.started_ms)))
    return found
