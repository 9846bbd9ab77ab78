"""The tags of items: those of the snapshot, and live changes beside them, which stay until they are reset."""

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.snapshot_hashes import TEXTS, decoded, is_whole, write_hash
from reckoner.shared.serving.stored_values import Read

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys


class Tagged(NamedTuple):
    """The tags of an item, sorted by their bytes, and whether they were changed live."""

    tags: list[str]
    is_live: bool


class Tags:
    """The tags under one prefix, read by `read`, or else over `redis`."""

    def __init__(self, redis: "Redis", keys: "Keys", read: Read | None = None) -> None:
        self._redis = redis
        self._keys = keys
        self._read: Read = read or partial(ask, redis)

    async def has_snapshot(self, snapshot: str) -> bool:
        """Whether the tags of a snapshot are complete."""
        return await is_whole(self._redis, self._keys.tags(snapshot))

    async def write(self, snapshot: str, tags: Mapping[str, Sequence[str]]) -> None:
        """Write the tags of a snapshot's items; they expire unless a pointer names the snapshot."""
        # One slice at a time, since a million values take long.
        fields = ((item, TEXTS.encode([*some])) for item, some in tags.items())
        await write_hash(self._redis, self._keys.tags(snapshot), fields)

    async def read(self, snapshot: str | None, items: Sequence[str]) -> list[Tagged]:
        """The tags of items now; without a snapshot, those that were changed live."""
        if not items:
            return []
        imported = self._keys.tags(snapshot) if snapshot else None
        live, stored = await asyncio.gather(self._values(self._keys.tagging, items), self._values(imported, items))
        found = []
        for changed, data in zip(map(decoded, live), stored, strict=True):
            found.append(Tagged(changed, True) if changed is not None else Tagged(decoded(data) or [], False))
        return found

    async def version(self) -> bytes:
        """The version of the live changes, empty without any."""
        [version] = await self._read("MGET", self._keys.tagging_version)
        return version or b""

    async def _values(self, key: str | None, items: Sequence[str]) -> list[bytes | None]:
        """The fields of a hash, if there is one, a slice at a time; all are asked for at once."""
        if key is None:
            return [None] * len(items)
        if len(items) <= SLICE:
            # Without a task.
            found: list[bytes | None] = await self._read("HMGET", key, *items)
            return found
        slices = (items[start : start + SLICE] for start in range(0, len(items), SLICE))
        answers = await asyncio.gather(*(self._read("HMGET", key, *some) for some in slices))
        return [value for values in answers for value in values]

    async def live(self) -> dict[str, list[str]]:
        """The tags of the items that were changed live."""
        found = {item.decode(errors="replace"): tags async for item, tags in self._all(self._keys.tagging)}
        return dict(sorted(found.items()))

    async def unknown(self, snapshot: str, tags: Collection[str]) -> list[str]:
        """Those of some tags that no item has, in the snapshot or live. It reads the tags of all items for that."""
        missing = dict.fromkeys(tags)
        for key in (self._keys.tagging, self._keys.tags(snapshot)):
            async for _, some in self._all(key):
                for tag in some:
                    missing.pop(tag, None)
                if not missing:
                    return []
        return list(missing)

    async def _all(self, key: str) -> AsyncIterator[tuple[bytes, list[str]]]:
        """The items of a hash and their tags, maybe repeatedly; invalid ones are left out."""
        cursor = -1
        while cursor:
            answer = await ask(self._redis, "HSCAN", key, max(cursor, 0), "COUNT", SLICE)
            cursor = int(answer[0])
            for item, data in answer[1].items():
                tags = decoded(data)
                if tags is not None:
                    yield item, tags

    async def change(
        self, snapshot: str | None, item: str, add: Collection[str] = (), remove: Collection[str] = ()
    ) -> list[str]:
        """Change the tags of an item live; returns those that it has now."""
        while True:
            [data] = await ask(self._redis, "HMGET", self._keys.tagging, item)
            before = decoded(data)
            if before is None:
                before = (await self.read(snapshot, [item]))[0].tags
            tags = sorted({*before}.difference(remove).union(add))
            if await self._replace(item, data or b"", TEXTS.encode(tags)):
                return tags

    async def set(self, item: str, tags: Collection[str]) -> list[str]:
        """Give an item these tags live and no others; returns them."""
        wanted = sorted({*tags})
        while True:
            [data] = await ask(self._redis, "HMGET", self._keys.tagging, item)
            if await self._replace(item, data or b"", TEXTS.encode(wanted)):
                return wanted

    async def reset(self, item: str) -> bool:
        """Undo the live changes of an item; returns whether there were any."""
        while True:
            [data] = await ask(self._redis, "HMGET", self._keys.tagging, item)
            if data is None:
                return False
            if await self._replace(item, data, b""):
                return True

    async def _replace(self, item: str, seen: bytes, tags: bytes) -> bool:
        keys = [self._keys.tagging, self._keys.tagging_version]
        return bool(await call(self._redis, "tag", keys, [item, seen, tags]))
