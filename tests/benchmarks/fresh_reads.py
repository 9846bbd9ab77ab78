"""Measures reads by fifty concurrent callers, beside bare asynchronous MGETs of the same values."""

import asyncio
import math
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.client.recording import Event
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.keys import Keys
from reckoner.shared.serving.results import Results
from reckoner.shared.wire.shapes import RESULT, Options, Record
from tests.benchmarks.frame import Figures, WrongAnswerError
from tests.benchmarks.hits import ITEMS, LENGTH, SPARE, USERS, _list
from tests.servers import start_server
from tests.world import make_known

CALLERS = 50
AT_ONCE = 50
# Reads of one user, and calls of many, in a measurement.
SINGLE, MANY = 10_000, 1_000

Read = Callable[[list[str]], Awaitable[Any]]


@dataclass(frozen=True)
class Reads:
    """Reads of cached lists on a server of their own, `at_once` in a call; some places are left out.

    These are hidden and just had ones if `some_out`, or those without a tag that half of the items have, if `by_tag`.
    """

    home: Path
    at_once: int
    some_out: bool = False
    by_tag: bool = False

    async def __call__(self) -> Figures:
        """Requests a second, and milliseconds in the median and at the 99th percentile, of the client and bare."""
        with start_server(self.home / f"reads-{time.monotonic_ns()}") as server:
            keys = Keys("reads")
            record = Record(2, "g", "m", "s", Options(LENGTH), 1, len(USERS), ITEMS[:LENGTH], spare=SPARE)
            async with connect(server.url) as redis:
                await make_known(redis, keys, record, {item: f"The title of {item} (1999)" for item in ITEMS})
                lists = [(user, RESULT.encode(_list(number))) for number, user in enumerate(USERS)]
                await Results(redis, keys).write("g", lists, 3600)
                await Results(redis, keys).tags.write("s", {item: ["even"] for item in ITEMS[::2]})
            async with Reckoner(server.url, prefix="reads") as reckoner:
                if self.some_out:
                    await reckoner.catalogue.hide(ITEMS[::10])
                    await reckoner.record_many([Event(user, ITEMS[int(user) % 1000]) for user in USERS])
                tags = ["even"] if self.by_tag else []
                # Titles and tags are kept.
                await reckoner.get_many(USERS, only=tags)
                bare = Redis(unix_socket_path=server.url.partition("://")[2].partition("?")[0])
                try:
                    return await self._by_turns(_by_client(reckoner, tags), _by_mget(bare, keys))
                finally:
                    await bare.aclose()

    async def _by_turns(self, client: Read, bare: Read) -> Figures:
        count = SINGLE if self.at_once == 1 else MANY
        found: dict[str, float] = {}
        for name, read in (("client", client), ("bare", bare)):
            waited_ms, took_s = await _called(read, count, self.at_once)
            found[f"{name}: requests/s"] = count / took_s
            found[f"{name}: median"] = statistics.median(waited_ms)
            found[f"{name}: 99th percentile"] = sorted(waited_ms)[math.ceil(count * 0.99) - 1]
        return found


def _by_client(reckoner: Reckoner, only: list[str]) -> Read:
    async def read(users: list[str]) -> None:
        if len(users) == 1:
            answers = [await reckoner.get(users[0], only=only)]
        else:
            answers = await reckoner.get_many(users, only=only)
        if any(len(answer.items) != 10 or answer.source != "cache" for answer in answers):
            raise WrongAnswerError("a user was not given ten places of their list")

    return read


def _by_mget(redis: "Redis", keys: Keys) -> Read:
    async def read(users: list[str]) -> None:
        values = await redis.mget([keys.result("g", user) for user in users])
        if not all(RESULT.decode(value) for value in values):
            raise WrongAnswerError("a list is missing")

    return read


async def _called(read: Read, count: int, at_once: int) -> tuple[list[float], float]:
    """The milliseconds of each of `count` calls by `CALLERS` at once, and the seconds of all."""
    waited_ms: list[float] = []
    numbers = iter(range(count))

    async def caller() -> None:
        for number in numbers:
            users = [USERS[(number * at_once + user) % len(USERS)] for user in range(at_once)]
            began = time.perf_counter()
            await read(users)
            waited_ms.append((time.perf_counter() - began) * 1000)

    began = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(caller())
    return waited_ms, time.perf_counter() - began
