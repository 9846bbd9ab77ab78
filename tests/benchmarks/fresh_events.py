"""Measures recorded events: how many a second, how soon a list has them, and the memory of a recent history."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count

import hiredis
import msgspec
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.recording import Event
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.pools import BoundedPool
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import EVENT
from reckoner.shared.wire.shapes import Event as StoredEvent
from tests.benchmarks.frame import Figures, WrongAnswerError, latencies
from tests.benchmarks.whole_system import PAUSE_S, WINDOW, Site, click

# Events of a call, of so many users.
EVENTS, USERS = 1000, 200
CALLS = 20
RATE, BARE = "events/s", "bare XADDs/s"
FRESH_WITHIN_S = 30.0
LOOK_S = 0.0002
# Events of each user whose memory is measured.
REMEMBERED, HISTORIES = 5, 5_000
ITEM = "an item of which nobody knows"


@dataclass
class Events:
    """Calls of `EVENTS` events each, and as many bare XADDs of the same bytes in one round trip, by turns."""

    site: Site
    in_run: bool = False
    _calls: "count[int]" = field(default_factory=count)

    async def __call__(self) -> Figures:
        """Both rates, on two workers, which compute the lists of all users meanwhile if `in_run`."""
        async with self.site.at_work() as reckoner, connect(self.site.server.url) as redis:
            run_id = ""
            if self.in_run:
                run_id, _ = await reckoner.operator.start_run(self.site.settings.block_size or None, WINDOW)
            recorded_s, bare_s = 0.0, 0.0
            for _ in range(CALLS):
                users = self._users(next(self._calls))
                began = time.perf_counter()
                answers = await reckoner.record_many([Event(user, ITEM, "view") for user in users])
                recorded_s += time.perf_counter() - began
                if any(answer.status == "refused" for answer in answers):
                    raise WrongAnswerError("an event was refused")
                bare_s += await self._bare(redis.connection_pool, users)
            if run_id:
                await reckoner.cancel(run_id)
            await ask(redis, "DEL", self.site.keys.lane("click"), self.site.keys.event_stream, "bare")
        return {RATE: CALLS * EVENTS / recorded_s, BARE: CALLS * EVENTS / bare_s}

    def _users(self, call: int) -> Sequence[str]:
        users = self.site.users
        return [users[(call * USERS + number % USERS) % len(users)] for number in range(EVENTS)]

    async def _bare(self, pool: object, users: Sequence[str]) -> float:
        """The seconds that the XADDs take, packed and sent at once."""
        assert isinstance(pool, BoundedPool)
        event = EVENT.encode(StoredEvent(ITEM, "signal", 1.0, "view", 1_700_000_000_000))
        began = time.perf_counter()
        packed = b"".join(
            hiredis.pack_command(("XADD", "bare", "*", "user", user, "event", event))  # type: ignore[arg-type]
            for user in users
        )
        answers = await pool.exchange(memoryview(packed), len(users))
        took_s = time.perf_counter() - began
        if any(isinstance(answer, Exception) for answer in answers):
            raise WrongAnswerError("an XADD failed")
        return took_s


async def freshness(site: Site, clicks: int, *, in_run: bool = False) -> Figures:
    """Milliseconds from an event until the cached list has it, and from a click to the list, by turns.

    The event is a purchase of the list's first item, which then is gone.
    """
    fresh: list[float] = []
    clicked: list[float] = []
    async with site.at_work() as reckoner:
        if in_run:
            await reckoner.operator.start_run(site.settings.block_size or None, WINDOW)
        for user in site.users[-2 * clicks :: 2]:
            clicked.append(await click(reckoner, user))
            await asyncio.sleep(PAUSE_S)
            fresh.append(await _event_to_list(reckoner, user))
    found = {f"event: {name}": value for name, value in latencies(fresh).items()}
    return found | {f"click: {name}": value for name, value in latencies(clicked).items()}


async def _event_to_list(reckoner: OpenReckoner, user: str) -> float:
    """The milliseconds; those of another event if a run has gone live meanwhile, since new lists follow it."""
    generation = await reckoner.generation()
    key = reckoner.keys.result(generation, user)
    before = await ask(reckoner.redis, "GET", key)
    item = msgspec.json.decode(before)["items"][0][0]
    began = time.perf_counter()
    await reckoner.record(user, item, type="purchase")
    while time.perf_counter() - began < FRESH_WITHIN_S:
        if await ask(reckoner.redis, "GET", key) != before:
            return (time.perf_counter() - began) * 1000
        await asyncio.sleep(LOOK_S)
    if generation != await reckoner.generation():
        return await _event_to_list(reckoner, user)
    raise WrongAnswerError(f"the list of user {user} does not have the event")


async def memory(site: Site) -> Figures:
    """The bytes in Redis of a recent history of `REMEMBERED` purchases, without the stream and the jobs."""
    async with site.reckoner() as reckoner, connect(site.server.url) as redis:
        users = [f"a visitor {number}" for number in range(HISTORIES)]
        before = await _used(redis)
        for item in range(REMEMBERED):
            await reckoner.record_many([Event(user, f"item {item:04}", "purchase") for user in users])
        keys = site.keys
        jobs = [*keys.lanes, *keys.all_live, keys.event_stream, keys.stale]
        for pattern in (*(f"{keys.prefix}:{part}:*" for part in ("flow", "join", "refreshed")), "arq:job:*"):
            jobs += [key.decode() async for key in redis.scan_iter(match=pattern, count=1000)]
        for start in range(0, len(jobs), 500):
            await ask(redis, "DEL", *jobs[start : start + 500])
        return {"bytes": (await _used(redis) - before) / HISTORIES}


async def _used(redis: Redis) -> int:
    found: dict[str, int] = await redis.info("memory")
    return found["used_memory_dataset"]
