"""Sets aside what cannot be ours, so that what it stands in the place of is mended as what is lost."""

from collections.abc import Mapping
from itertools import islice

from redis import exceptions
from redis.asyncio import Redis

from shared.redis.keys import Keys, types_of_jobs
from shared.redis.scripts import call

AT_ONCE = 100


def is_wrong_type(error: BaseException) -> bool:
    """Whether a command met a key that holds another type than ours do."""
    return isinstance(error, exceptions.ResponseError) and "WRONGTYPE" in str(error)


async def set_aside_wrong_types(redis: Redis, keys: Keys, types: Mapping[str, str]) -> int:
    """Remove those of the keys `types` that hold another type, and count them as refused; returns how many."""
    pairs, removed = iter(types.items()), 0
    while some := dict(islice(pairs, AT_ONCE)):
        some = {keys.refused: "hash", keys.dead: "stream"} | some
        removed += int(await call(redis, "set_aside", list(some), list(some.values())))
    return removed


async def set_aside_foreign_jobs(redis: Redis, keys: Keys) -> int:
    """Set aside what would end a stock worker that meets it in the queue, and the next one; returns how much.

    That is a queue that is none, a member that is not UTF-8, and a job of which a key holds another type.
    """
    count, jobs = await set_aside_wrong_types(redis, keys, keys.types), list[str]()
    async for member, _ in redis.zscan_iter(keys.queue, count=1000):
        try:
            jobs.append(member.decode())
        except UnicodeDecodeError:
            reason = "a queue member that is not UTF-8"
            names = [keys.refused, keys.dead, keys.queue]
            count += int(await call(redis, "refuse", names, ["member", "", reason, "member", member]))
    return count + await set_aside_wrong_types(redis, keys, types_of_jobs(jobs))
