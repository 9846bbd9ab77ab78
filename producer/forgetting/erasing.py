"""Erases users from Redis: their own keys are deleted, and shared keys lose them."""

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from reckoner.producer.client.calls import translates_redis_errors
from reckoner.producer.forgetting.tokens import is_of, pattern
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.wire.shapes import HOLDING, RESULT, HistorySpec, Result, UserSpec

if TYPE_CHECKING:
    import re

    from reckoner.producer.client.connection import Client

ENTRIES_AT_ONCE = 2_000
EMPTY = RESULT.encode(Result(2, []))


class Eraser:
    """Erases users over the connections of a client."""

    def __init__(self, client: "Client", users: Sequence[str]) -> None:
        self._client = client
        self._users = users
        self._redis, self._keys = client.redis, client.keys

    @translates_redis_errors
    async def erase(self) -> int:
        """Erase all that Redis has of the users but the backups of the server; returns the number of keys and entries.

        Raises:
            RedisUnavailableError: Redis does not answer. Call it again.
        """
        # Jobs first, which would write a list again.
        erased = await self._erase_flows() + await self._erase_lists() + await self._erase_stream(self._keys.dead)
        erased += await self._erase_stream(self._keys.event_stream)
        keys, redis = self._keys, self._redis
        for user in self._users:
            names = [keys.recent(user), keys.left(user), keys.hides(user), keys.shown(user), keys.refreshed(user)]
            erased += int(await ask(redis, "DEL", *names))
            for name in (keys.recents, keys.stale):
                erased += int(await ask(redis, "ZREM", name, user))
            for name in (keys.recent_versions, keys.later):
                erased += int(await ask(redis, "HDEL", name, user))
        return erased

    async def _erase_flows(self) -> int:
        """Cancel the users' jobs, and delete their records, also of those that have ended."""
        keys, erased = self._keys, 0
        async for names in self._scan(keys.flow("*")):
            ids = [name.removeprefix(keys.flow("")) for name in names]
            for flow in await self._client.flows.load_many([one for one in ids if ":" not in one]):
                if isinstance(flow, Flow) and isinstance(flow.spec, UserSpec | HistorySpec):
                    if flow.spec.user not in self._users:
                        continue
                    await self._client.flows.cancel(flow)
                    erased += int(await ask(self._redis, "DEL", *keys.types_of_flow(flow.id)))
        return erased

    async def _erase_lists(self) -> int:
        """Delete the users' lists of all generations, with filters too. What the generations hold is counted anew."""
        keys, erased, lists = self._keys, 0, Counter[str]()
        empty = Counter[str]()
        generations = {name.decode(errors="replace") for name in await self._client.results.generations.lists()}
        generations |= {one for key in keys.pointers if (one := await self._client.results.generations.pointer(key))}
        for generation in generations:
            for user in self._users:
                data = await ask(self._redis, "GETDEL", keys.result(generation, user))
                if data is not None:
                    erased, lists[generation] = erased + 1, lists[generation] + 1
                    empty[generation] += data == EMPTY
        for generation, held in (await self._client.results.generations.holdings()).items():
            if lists[generation]:
                left = msgspec.structs.replace(
                    held, lists=max(held.lists - lists[generation], 0), empty=max(held.empty - empty[generation], 0)
                )
                await ask(self._redis, "HSET", keys.held, generation, HOLDING.encode(left))
        for stem in (keys.result("*", ""), keys.filtered("*", "*", "")):
            async for names in self._scan(stem + "*"):
                if its := [name for name in names if any(is_of(name, user) for user in self._users)]:
                    erased += int(await ask(self._redis, "DEL", *its))
        return erased

    async def _erase_stream(self, name: str) -> int:
        """Delete a stream's entries that name a user."""
        start, erased, wanted = "-", 0, pattern(self._users)
        while True:
            page = await ask(self._redis, "XRANGE", name, start, "+", "COUNT", ENTRIES_AT_ONCE)
            its = [at for at, fields in page if self._names_user(fields, wanted)]
            if its:
                erased += int(await ask(self._redis, "XDEL", name, *its))
            if len(page) < ENTRIES_AT_ONCE:
                return erased
            start = f"({page[-1][0].decode()}"

    def _names_user(self, fields: dict[bytes, bytes], wanted: "re.Pattern[bytes]") -> bool:
        if (user := fields.get(b"user")) is not None:
            return user.decode(errors="replace") in self._users
        return any(wanted.search(value) for value in fields.values())

    async def _scan(self, match: str) -> AsyncIterator[list[str]]:
        cursor = -1
        while cursor:
            cursor, page = await self._redis.scan(max(cursor, 0), match=match, count=SLICE)
            yield [name.decode(errors="replace") for name in page]
