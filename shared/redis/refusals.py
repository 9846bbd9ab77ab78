"""What cannot be ours is set aside: removed, counted once, and kept with the dead letters, up to 4 KiB of it."""

from collections.abc import Mapping
from itertools import islice

from redis import exceptions
from redis.asyncio import Redis

from reckoner.shared.redis.keys import Keys, types_of_jobs
from reckoner.shared.redis.scripts import Value, ask, call

KEYS_AT_ONCE = 100
# A hundred times as many as a worker claims at once.
HEAD = 1000
# Ours are shorter by far.
LONGEST_ID = 1024


def is_wrong_type(error: BaseException) -> bool:
    """Whether a command met a key that holds another type than ours do."""
    return isinstance(error, exceptions.ResponseError) and "WRONGTYPE" in str(error)


def invalid_id_reason(member: bytes) -> str:
    """Why no job can have this id; empty when one can."""
    if not 0 < len(member) <= LONGEST_ID:
        return f"its id has {len(member)} bytes"
    try:
        member.decode()
    except UnicodeDecodeError:
        return "its id is not UTF-8"
    return ""


class Refusals:
    """The refusals under one prefix; what was set aside is mended as what is lost."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def string(self, kind: str, what: str, key: str, data: bytes, reason: str) -> bool:
        """Set a string aside; False when it was before."""
        return await self._refuse(key, [kind, what, reason, "string", data])

    async def field(self, kind: str, what: str, key: str, field: str | bytes, data: bytes) -> bool:
        """Set a hash's field aside; False when it was before."""
        shown = field if isinstance(field, str) else field.decode(errors="replace")
        return await self._refuse(key, [kind, what, f"the field {shown[:100]} cannot be read", "field", data, field])

    async def member(self, key: str, member: bytes, reason: str) -> bool:
        """Set a member of a queue, or of another sorted set, aside; False when it was before."""
        return await self._refuse(key, ["member", "", reason, "member", member])

    async def _refuse(self, key: str, arguments: list[Value]) -> bool:
        return bool(await call(self._redis, "refuse", [self._keys.refused, self._keys.dead, key], arguments))

    async def wrong_types(self, types: Mapping[str, str]) -> int:
        """Set those of the keys `types` aside that hold another type; returns how many."""
        pairs, removed = iter(types.items()), 0
        while some := dict(islice(pairs, KEYS_AT_ONCE)):
            some = {self._keys.refused: "hash", self._keys.dead: "stream"} | some
            removed += int(await call(self._redis, "set_aside", list(some), list(some.values())))
        return removed

    async def foreign_jobs(self) -> int:
        """Set aside what no job can be, before a worker meets it in the queue; returns how much.

        That is a queue that is none, a member that cannot be an id, and a job of which a key holds another type. It
        looks at the head of a queue, which is all that a worker can meet for a while.
        """
        count, jobs = await self.wrong_types(self._keys.types), list[str]()
        for queue in self._keys.lanes:
            for member in await ask(self._redis, "ZRANGE", queue, 0, HEAD - 1):
                if reason := invalid_id_reason(member):
                    count += int(await self.member(queue, member, f"a queue member: {reason}"))
                else:
                    jobs.append(member.decode())
        return count + await self.wrong_types(types_of_jobs(jobs))
