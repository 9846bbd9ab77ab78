"""Hidden items: what nobody is to be shown now, until a time or until it is undone."""

import asyncio
import math
import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from itertools import islice
from time import monotonic
from types import MappingProxyType
from typing import TYPE_CHECKING

from redis.exceptions import ResponseError

from reckoner.shared.redis.scripts import Value, ask, call
from reckoner.shared.redis.scripts.constants import SLICE, UNREFERENCED_TTL_MS

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

# Items that are read at a time, about 2 ms.
ITEMS_AT_ONCE = 5_000
# The life of a new list of hidden items until it replaces the old one.
UPLOAD_TTL_S = 600
# How often the whole set is read if it changes meanwhile by more than the server remembers.
MOST_READINGS = 2
# Changed items: each with the time in milliseconds until which it is hidden, None if it is shown again.
Changes = Mapping[str, float | None]


@dataclass(frozen=True)
class HiddenItems:
    """The hidden items of a version, empty without one; valid until a moment of this process' clock.

    Their reading began at a moment of the same clock. `ends` are the times in milliseconds until which some are hidden.
    """

    version: bytes
    items: frozenset[str]
    until: float
    began: float
    ends: Mapping[str, float]

    def is_current(self, version: bytes) -> bool:
        """Whether these are the hidden items now, if `version` is the current one."""
        return version == self.version and monotonic() < self.until

    @cached_property
    def mask(self) -> str:
        """A name for these items, which is a hash of them; empty without any."""
        return mask_of(self.items)

    def with_changes(self, version: bytes, changes: Changes) -> "HiddenItems":
        """These items after some changes, at the version that these have led to."""
        if not changes:
            return replace(self, version=version)
        items, ends = set(self.items), dict(self.ends)
        for item, until in changes.items():
            ends.pop(item, None)
            if until is None:
                items.discard(item)
                continue
            items.add(item)
            if until < math.inf:
                ends[item] = until
        return replace(self, version=version, items=frozenset(items), ends=ends)


def mask_of(items: Collection[str]) -> str:
    """A name for hidden items: the first 16 digits of a SHA-256 over them, sorted by their bytes; empty without any."""
    digest = sha256()
    for item in sorted(item.encode() for item in items):
        digest.update(b"%d:" % len(item) + item)
    return digest.hexdigest()[:16] if items else ""


NONE_HIDDEN = HiddenItems(b"", frozenset(), math.inf, -math.inf, MappingProxyType({}))


class Hidden:
    """The hidden items under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self._keys = keys
        self._last = NONE_HIDDEN
        self._reading = asyncio.Lock()

    async def of_version(self, version: bytes) -> HiddenItems:
        """The hidden items, read again if `version`, just read, is not the one of the last call.

        Concurrent calls share a reading. No script is needed: a reader's user may not run any.
        """
        if self._last.is_current(version):
            return self._last
        asked = monotonic()
        async with self._reading:
            if self._last.began < asked and not self._last.is_current(version):
                self._last = await self._read(version)
            return self._last

    async def current(self) -> HiddenItems:
        """The hidden items now."""
        return await self.of_version(await self._version())

    def mask_of(self, items: frozenset[str]) -> str:
        """The name of items that a call has just returned; see `HiddenItems.mask`."""
        return self._last.mask if items is self._last.items else mask_of(items)

    async def _read(self, version: bytes) -> HiddenItems:
        """The hidden items of a version, or of a later one: what has changed since the last reading, or all."""
        began = monotonic()
        found = await self._followed(self._last, version) or await self._whole(version)
        if not found.ends:
            return replace(found, began=began, until=math.inf)
        asked, (seconds, microseconds) = monotonic(), await ask(self._redis, "TIME")
        now = int(seconds) * 1000 + int(microseconds) // 1000
        over = {item: None for item, until in found.ends.items() if until <= now}
        found = found.with_changes(found.version, over)
        return replace(found, began=began, until=asked + (min(found.ends.values(), default=math.inf) - now) / 1000)

    async def _whole(self, version: bytes) -> HiddenItems:
        """All hidden items; see `_read`.

        If more has changed meanwhile than the server remembers, time and again, these are the items of the given
        version, except those that have changed since: a reader sees the next version and reads again.
        """
        for _ in range(MOST_READINGS):
            found = NONE_HIDDEN.with_changes(version, await self._members(self._keys.hidden))
            version = await self._version()
            followed = found if version == found.version else await self._followed(found, version)
            if followed is not None:
                return followed
        return found

    async def _followed(self, last: HiddenItems, version: bytes) -> HiddenItems | None:
        """The hidden items of `version` or a later one by what has changed since; None if too much has."""
        if last.version == version:
            return last
        if not (last.version.isdigit() and version.isdigit()):
            return None
        try:
            entries = await ask(self._redis, "XRANGE", self._keys.hidden_changes, f"{last.version.decode()}-0", "+")
        except ResponseError:
            # Another value was planted.
            return None
        versions = [at.partition(b"-")[0] for at, _ in entries]
        # All changes are there if one of the last version is.
        if not versions or versions[0] != last.version or int(versions[-1]) < int(version):
            return None
        changes = {
            item.decode(errors="replace"): None if until == b"" else float(until)
            for _, fields in entries
            for item, until in fields.items()
            if item
        }
        return last.with_changes(versions[-1], changes)

    async def _version(self) -> bytes:
        version: bytes | None = await ask(self._redis, "GET", self._keys.hidden_version)
        return version or b""

    async def _members(self, name: str) -> dict[str, float]:
        """All members of a set, each with its score. Those that do not change meanwhile are complete."""
        found, cursor = dict[str, float](), -1
        while cursor:
            cursor, page = await self._redis.zscan(name, max(cursor, 0), count=ITEMS_AT_ONCE)
            found |= {item.decode(errors="replace"): until for item, until in page}
        return found

    async def hide(self, items: Sequence[str], until_ms: int | None = None) -> int:
        """Hide items, for ever or until a time in milliseconds since 1970; returns how many have changed."""
        return await self._change("hide", items, "" if until_ms is None else until_ms)

    async def show(self, items: Sequence[str]) -> int:
        """Show items again; returns how many were hidden."""
        return await self._change("show", items)

    async def withdraw(self, items: Sequence[str], until_ms: int | None = None) -> int:
        """Hide items that are not available, beside those that people hide; returns how many have changed."""
        return await self._change("withdraw", items, "" if until_ms is None else until_ms)

    async def offer(self, items: Sequence[str]) -> int:
        """Show items that are available again, unless people hide them; returns how many have changed."""
        return await self._change("offer", items)

    async def withdrawn(self) -> dict[str, float]:
        """The items that are hidden since they are not available, each until a time in milliseconds."""
        return await self._members(self._keys.unavailable)

    async def expire(self) -> int:
        """Show the items again whose time is over; returns their number."""
        return int(await call(self._redis, "hide", self._names, ["expire", ""]))

    @property
    def _names(self) -> list[str]:
        keys = self._keys
        return [keys.hidden, keys.hidden_version, keys.hidden_changes, keys.hidden_by_hand, keys.unavailable]

    async def _change(self, how: str, items: Sequence[str], until_ms: Value = "") -> int:
        changed = 0
        for start in range(0, len(items), SLICE):
            changed += int(await call(self._redis, "hide", self._names, [how, until_ms, *items[start : start + SLICE]]))
        return changed

    async def replace(self, items: Iterable[str]) -> int:
        """Hide these items and no others from now on, at once; returns their number."""
        return int(await call(self._redis, "replace_hidden", [*self._names, await self._uploaded(items)]))

    async def _uploaded(self, items: Iterable[str]) -> str:
        """A new set of items, which expires soon, unless there are none."""
        upload, rest = self._keys.hidden_upload(os.urandom(8).hex()), iter(items)
        while some := list(islice(rest, SLICE)):
            pairs: list[Value] = [value for item in some for value in ("+inf", item)]
            await ask(self._redis, "ZADD", upload, *pairs)
            await ask(self._redis, "EXPIRE", upload, UPLOAD_TTL_S)
        return upload

    async def listed(self, *, by_hand: bool = True) -> list[tuple[str, int | None]]:
        """All hidden items in the order of their bytes, each with the time in milliseconds until which it is so.

        Those that people hide, or else those that are not available too.
        """
        keys = self._keys
        is_split = by_hand and await ask(self._redis, "EXISTS", keys.unavailable)
        found = await self._members(keys.hidden_by_hand if is_split else keys.hidden)
        return sorted((item, None if math.isinf(until) else int(until)) for item, until in found.items())

    async def until_ms(self, item: str) -> float | None:
        """Until when an item is hidden now, in milliseconds since 1970 or infinity; None if it is not."""
        until = await ask(self._redis, "ZSCORE", self._keys.hidden, item)
        seconds, _ = await ask(self._redis, "TIME")
        return float(until) if until is not None and float(until) > int(seconds) * 1000 else None

    async def keep_mask(self) -> str:
        """Keep the hidden items of now for a run; returns the name of the mask, empty if nothing is hidden."""
        hidden = await self.current()
        if not hidden.items:
            return ""
        # The mask holds what was read, which its name is a hash of: the set itself may have changed since.
        name = self._keys.mask(hidden.mask)
        if not await ask(self._redis, "PEXPIRE", name, UNREFERENCED_TTL_MS):
            await ask(self._redis, "RENAME", await self._uploaded(sorted(hidden.items)), name)
            await ask(self._redis, "PEXPIRE", name, UNREFERENCED_TTL_MS)
        return hidden.mask

    async def mask_items(self, mask: str) -> list[str]:
        """The items of a kept mask."""
        return list(await self._members(self._keys.mask(mask)))
