"""Looks for users' ids everywhere: in Redis, in snapshots, and in the files beside them."""

import mmap
import re
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reckoner.producer.client.calls import translates_redis_errors
from reckoner.producer.forgetting.tokens import is_of, pattern
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot

if TYPE_CHECKING:
    from reckoner.producer.client.connection import Client

# What holds ids of items only, which may be those of users too.
OF_ITEMS = (
    "rec", "basket", "filtered", "filtered-basket", "titles", "tags", "lists", "tagging", "hidden", "unavailable",
    "mask", "record", "recent", "left", "hides", "shown",
)  # fmt: skip
# Arrays, which hold ids in snapshots only; these are searched by their own index.
ARRAYS = {".npy", ".npz"}


class Search:
    """A search for users over the connections of a client."""

    def __init__(self, client: "Client", users: Sequence[str]) -> None:
        self._client = client
        self._redis, self._keys = client.redis, client.keys
        self._users, self._wanted = users, pattern(users)

    @translates_redis_errors
    async def in_redis(self) -> list[str]:
        """The keys that have a user in their name or their value."""
        found, cursor = list[str](), -1
        while cursor:
            cursor, page = await self._redis.scan(max(cursor, 0), match=f"{self._keys.prefix}:*", count=SLICE)
            for name in (name.decode(errors="replace") for name in page):
                kind = name.removeprefix(f"{self._keys.prefix}:").partition(":")[0]
                is_named = any(is_of(name, user) for user in self._users)
                if is_named or (kind not in OF_ITEMS and await self._is_in_value(name)):
                    found.append(name)
        return sorted(found)

    async def _is_in_value(self, name: str) -> bool:
        kind = (await ask(self._redis, "TYPE", name)).decode()
        async for values in self._values(name, kind):
            if any(self._wanted.search(value) for value in _flat(values)):
                return True
        return False

    async def _values(self, name: str, kind: str) -> AsyncIterator[Any]:
        redis, cursor, start = self._redis, -1, "-"
        scans: dict[str, Callable[..., Any]] = {"hash": redis.hscan, "zset": redis.zscan, "set": redis.sscan}
        if kind == "string":
            yield [await ask(redis, "GET", name) or b""]
        elif kind == "list":
            yield await ask(redis, "LRANGE", name, 0, -1)
        elif kind == "stream":
            while page := await ask(redis, "XRANGE", name, start, "+", "COUNT", SLICE):
                yield page
                start = f"({page[-1][0].decode()}"
        while kind in scans and cursor:
            cursor, page = await scans[kind](name, max(cursor, 0), count=SLICE)
            yield page

    def in_snapshots(self, store: Store) -> list[tuple[str, float]]:
        """The snapshots of a store that have one of the users, and their ages in seconds."""
        found = list[tuple[str, float]]()
        for entry in store.entries(KIND):
            users = open_snapshot(store.fetch(KIND, entry.id)).users
            if any(users.find(user) is not None for user in self._users):
                found.append((entry.id, entry.age_s))
        return found

    def in_files(self, folders: Sequence[Path]) -> list[str]:
        """The other files below some folders that have one of the users, such as logs and append-only files."""
        return sorted({str(path) for folder in folders for path in _files(folder) if _has(path, self._wanted)})


def _flat(values: Any) -> Iterator[bytes]:
    if isinstance(values, bytes):
        yield values
    elif isinstance(values, dict):
        yield from _flat([*values.keys(), *values.values()])
    elif isinstance(values, list | tuple | set):
        for value in values:
            yield from _flat(value)


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.suffix not in ARRAYS and path.is_file())


def _has(path: Path, wanted: re.Pattern[bytes]) -> bool:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return wanted.search(data) is not None
    except (OSError, ValueError):
        # It is empty, or has gone.
        return False
