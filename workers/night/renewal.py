"""Renews the life of a generation's lists, so that they outlive nights without news."""

import asyncio
import time
from contextlib import suppress

from reckoner.shared.errors import ArtifactDamagedError, ArtifactMissingError
from reckoner.shared.redis.pools import BoundedPool
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.wire.shapes import HOLDING, Holding, Record
from reckoner.workers.runtime.runtime import Runtime


async def renew_live(runtime: Runtime, record: Record) -> bool:
    """Renew the lists of the live generation and of the previous one. False if the live one is not whole."""
    holding = (await runtime.results.generations.holdings()).get(record.generation)
    whole = holding is not None and await renew_lists(runtime, record, holding)
    await _renew_previous(runtime)
    return whole


async def renew_current(runtime: Runtime) -> None:
    """Renew the lists that readers have: a night that makes nothing live must not let them expire."""
    generations = runtime.results.generations
    live = (await generations.follow(runtime.keys.current)).record
    if live is not None:
        await renew_live(runtime, live)


async def _renew_previous(runtime: Runtime) -> None:
    """Renew the lists of the previous generation, if they are whole and its users known."""
    generations = runtime.results.generations
    previous = (await generations.follow(runtime.keys.previous)).record
    holding = (await generations.holdings()).get(previous.generation) if previous else None
    if previous is not None and holding is not None:
        with suppress(ArtifactMissingError, ArtifactDamagedError):
            await renew_lists(runtime, previous, holding)


async def renew_lists(runtime: Runtime, record: Record, holding: Holding) -> bool:
    """Renew the life of all lists of a generation. False if one is missing; then it is not whole any more."""
    keys, ttl_s, began_ms = runtime.keys, runtime.settings.result_ttl_s, await runtime.now_ms()
    snapshot, whole = await runtime.snapshot(record.snapshot), True
    prefix, life = keys.result(record.generation, "").encode(), b"%d" % ttl_s
    pool = runtime.redis.connection_pool
    assert isinstance(pool, BoundedPool)
    pages = snapshot.users.pages()
    while page := await runtime.in_store(lambda: next(pages, None)):
        for start in range(0, len(page), SLICE):
            began, users = time.monotonic(), page[start : start + SLICE]
            commands = b"".join(_expire(prefix + user, life) for user in users)
            answers = await pool.exchange(memoryview(commands), len(users))
            if error := next((answer for answer in answers if isinstance(answer, Exception)), None):
                raise error
            whole = whole and all(answers)
            # Leave half of the server's time to others.
            await asyncio.sleep(time.monotonic() - began)
    if whole:
        renewed = HOLDING.encode(Holding(holding.lists, holding.empty, began_ms + ttl_s * 1000))
        await ask(runtime.redis, "HSET", keys.held, record.generation, renewed)
    else:
        await ask(runtime.redis, "HDEL", keys.held, record.generation)
    return whole


def _expire(key: bytes, life: bytes) -> bytes:
    return b"*3\r\n$6\r\nEXPIRE\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(key), key, len(life), life)
