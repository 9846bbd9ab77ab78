"""Quarantine: invalid values are removed, counted once, and kept as dead letters, up to 4 KiB of each."""

from collections.abc import Mapping
from itertools import islice

from redis import exceptions
from redis.asyncio import Redis

from reckoner.shared.redis.keys import Keys, types_of_jobs
from reckoner.shared.redis.scripts import Value, ask, call

KEYS_AT_ONCE = 100
# A hundred times as many as a worker claims at once.
HEAD = 1000
LONGEST_ID = 1024


def is_wrong_type(error: BaseException) -> bool:
    """Whether a key has an unexpected type."""
    return isinstance(error, exceptions.ResponseError) and "WRONGTYPE" in str(error)


def invalid_id_reason(member: bytes) -> str:
    """Why a job id is invalid; empty if it is valid."""
    if not 0 < len(member) <= LONGEST_ID:
        return f"its id has {len(member)} bytes"
    try:
        member.decode()
    except UnicodeDecodeError:
        return "its id is not UTF-8"
    return ""


class Refusals:
    """Quarantines values under one prefix; the sweeper recreates them like lost ones."""

    def __init__(self, redis: Redis, keys: Keys) -> None:
        self._redis = redis
        self._keys = keys

    async def string(self, kind: str, what: str, key: str, data: bytes, reason: str) -> bool:
        """Quarantine a string; False if that was done before."""
        return await self._refuse(key, [kind, what, reason, "string", data])

    async def field(self, kind: str, what: str, key: str, field: str | bytes, data: bytes) -> bool:
        """Quarantine a hash's field; False if that was done before."""
        shown = field if isinstance(field, str) else field.decode(errors="replace")
        return await self._refuse(key, [kind, what, f"the field {shown[:100]} is invalid", "field", data, field])

    async def member(self, key: str, member: bytes, reason: str) -> bool:
        """Quarantine a member of a sorted set; False if that was done before."""
        return await self._refuse(key, ["member", "", reason, "member", member])

    async def _refuse(self, key: str, arguments: list[Value]) -> bool:
        return bool(await call(self._redis, "refuse", [self._keys.refused, self._keys.dead, key], arguments))

    async def wrong_types(self, types: Mapping[str, str]) -> int:
        """Quarantine the keys in `types` that have another type; return their number."""
        pairs, removed = iter(types.items()), 0
        while some := dict(islice(pairs, KEYS_AT_ONCE)):
            some = {self._keys.refused: "hash", self._keys.dead: "stream"} | some
            removed += int(await call(self._redis, "set_aside", list(some), list(some.values())))
        return removed

    async def foreign_jobs(self) -> int:
        """Quarantine invalid queues, and invalid jobs at their heads, before a worker claims them; return the number.

        Invalid are queues and jobs whose keys have another type, and members that are no job id.
        """
        count, jobs = await self.wrong_types(self._keys.types), list[str]()
        for queue in self._keys.lanes:
            for member in await ask(self._redis, "ZRANGE", queue, 0, HEAD - 1):
                if reason := invalid_id_reason(member):
                    count += int(await self.member(queue, member, f"a queue member: {reason}"))
                else:
                    jobs.append(member.decode())
        return count + await self.wrong_types(types_of_jobs(jobs))
