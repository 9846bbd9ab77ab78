"""Hidden items: what nobody is to be shown now, until a time or until it is undone."""

import math
import os
from collections.abc import Iterable, Sequence
from hashlib import sha256
from itertools import islice
from time import monotonic
from typing import TYPE_CHECKING, NamedTuple

from reckoner.shared.redis.scripts import Value, ask, call
from reckoner.shared.redis.scripts.constants import SLICE

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

# Items that are read at a time, about 2 ms.
ITEMS_AT_ONCE = 5_000
# The life of a new list of hidden items until it replaces the old one.
UPLOAD_TTL_S = 600


class HiddenItems(NamedTuple):
    """The hidden items of a version, empty without one; valid until a moment of this process' clock."""

    version: bytes
    items: frozenset[str]
    until: float

    def is_current(self, version: bytes) -> bool:
        """Whether these are the hidden items now, if `version` is the current one."""
        return version == self.version and monotonic() < self.until

    @property
    def mask(self) -> str:
        """A name for these items, which is a hash of them; empty without any."""
        digest = sha256()
        for item in sorted(item.encode() for item in self.items):
            digest.update(b"%d:" % len(item) + item)
        return digest.hexdigest()[:16] if self.items else ""


NONE_HIDDEN = HiddenItems(b"", frozenset(), math.inf)


class Hidden:
    """The hidden items under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self._keys = keys
        self._last = NONE_HIDDEN

    async def of_version(self, version: bytes) -> HiddenItems:
        """The hidden items, read again if `version`, just read, is not the one of the last call."""
        if not self._last.is_current(version):
            self._last = await self.read()
        return self._last

    async def current(self) -> HiddenItems:
        """The hidden items now."""
        return await self.of_version(await self._version())

    async def read(self) -> HiddenItems:
        """Read the hidden items, without a script: a reader's user may not run any."""
        while True:
            began, version = monotonic(), await self._version()
            seconds, microseconds = await ask(self._redis, "TIME")
            now = int(seconds) * 1000 + int(microseconds) // 1000
            hidden = {item: until for item, until in (await self._members()).items() if until > now}
            if version == await self._version():
                return HiddenItems(
                    version, frozenset(hidden), began + (min(hidden.values(), default=math.inf) - now) / 1000
                )

    async def _version(self) -> bytes:
        version: bytes | None = await ask(self._redis, "GET", self._keys.hidden_version)
        return version or b""

    async def _members(self) -> dict[str, float]:
        """All members of the set, each with the time in milliseconds until which it is hidden."""
        found, start = dict[str, float](), 0
        while page := await ask(
            self._redis, "ZRANGE", self._keys.hidden, start, start + ITEMS_AT_ONCE - 1, "WITHSCORES"
        ):
            found |= {
                item.decode(errors="replace"): float(until) for item, until in zip(page[::2], page[1::2], strict=True)
            }
            start += ITEMS_AT_ONCE
        return found

    async def hide(self, items: Sequence[str], until_ms: int | None = None) -> int:
        """Hide items, for ever or until a time in milliseconds since 1970; returns how many have changed."""
        return await self._change("hide", items, "" if until_ms is None else until_ms)

    async def show(self, items: Sequence[str]) -> int:
        """Show items again; returns how many were hidden."""
        return await self._change("show", items)

    async def expire(self) -> int:
        """Show the items again whose time is over; returns their number."""
        return int(await call(self._redis, "hide", [self._keys.hidden, self._keys.hidden_version], ["expire", ""]))

    async def _change(self, how: str, items: Sequence[str], until_ms: Value = "") -> int:
        names, changed = [self._keys.hidden, self._keys.hidden_version], 0
        for start in range(0, len(items), SLICE):
            changed += int(await call(self._redis, "hide", names, [how, until_ms, *items[start : start + SLICE]]))
        return changed

    async def replace(self, items: Iterable[str]) -> int:
        """Hide these items and no others from now on, at once; returns their number."""
        keys, rest = self._keys, iter(items)
        upload = keys.hidden_upload(os.urandom(8).hex())
        while some := list(islice(rest, SLICE)):
            pairs: list[Value] = [value for item in some for value in ("+inf", item)]
            await ask(self._redis, "ZADD", upload, *pairs)
            await ask(self._redis, "EXPIRE", upload, UPLOAD_TTL_S)
        return int(await call(self._redis, "replace_hidden", [keys.hidden, keys.hidden_version, upload]))

    async def listed(self) -> list[tuple[str, int | None]]:
        """All hidden items in the order of their bytes, each with the time in milliseconds until which it is so."""
        found = await self._members()
        return sorted((item, None if math.isinf(until) else int(until)) for item, until in found.items())

    async def until_ms(self, item: str) -> float | None:
        """Until when an item is hidden now, in milliseconds since 1970 or infinity; None if it is not."""
        until = await ask(self._redis, "ZSCORE", self._keys.hidden, item)
        seconds, _ = await ask(self._redis, "TIME")
        return float(until) if until is not None and float(until) > int(seconds) * 1000 else None

    async def keep_mask(self) -> str:
        """Keep the hidden items of now for a run; returns the name of the mask, empty if nothing is hidden."""
        keys = self._keys
        while True:
            hidden = await self.read()
            if not hidden.items:
                return ""
            names = [keys.hidden, keys.hidden_version, keys.mask(hidden.mask)]
            if await call(self._redis, "keep_mask", names, [hidden.version]):
                return hidden.mask

    async def mask_items(self, mask: str) -> list[str]:
        """The items of a kept mask."""
        items: list[bytes] = await ask(self._redis, "ZRANGE", self._keys.mask(mask), 0, -1)
        return [item.decode(errors="replace") for item in items]
