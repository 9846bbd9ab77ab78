"""Renews the life of a generation's lists, so that they outlive nights without news."""

import asyncio
import time

from reckoner.shared.redis.pools import BoundedPool
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.wire.shapes import HOLDING, Holding, Record
from reckoner.workers.runtime.runtime import Runtime


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
