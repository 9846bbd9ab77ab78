"""Lists that readers can name, such as `trending:shoes`: computed at a fit, and the same for all users."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.snapshot_hashes import TEXTS, decoded, write_hash
from reckoner.shared.serving.stored_values import Read

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys


class NamedLists:
    """The named lists of snapshots under one prefix, read by `read`, or else over `redis`."""

    def __init__(self, redis: "Redis", keys: "Keys", read: Read | None = None) -> None:
        self._redis = redis
        self._keys = keys
        self._read: Read = read or partial(ask, redis)

    async def write(self, snapshot: str, lists: Mapping[str, Sequence[str]]) -> None:
        """Replace the lists of a snapshot."""
        key = self._keys.named_lists(snapshot)
        await write_hash(self._redis, key, ((name, TEXTS.encode([*items])) for name, items in lists.items()))
        before: list[bytes] = await ask(self._redis, "HKEYS", key)
        if gone := [name for name in before if name.decode(errors="replace") not in lists]:
            await ask(self._redis, "HDEL", key, *gone)

    async def read(self, snapshot: str, names: Sequence[str]) -> list[list[str] | None]:
        """The items of lists, None where there is no such list, or no valid one."""
        return [decoded(data) for data in await self._read("HMGET", self._keys.named_lists(snapshot), *names)]

    async def names(self, snapshot: str) -> list[str]:
        """The names of the lists, sorted."""
        found: list[bytes] = await self._read("HKEYS", self._keys.named_lists(snapshot))
        return sorted(name.decode(errors="replace") for name in found)
