"""The hashes of a snapshot beside the results: titles, tags and named lists. They live while a pointer names it."""

from collections.abc import Iterable
from contextlib import suppress
from itertools import chain, islice
from typing import TYPE_CHECKING

from reckoner.shared.errors import WireError
from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.wire.codecs import Codec

if TYPE_CHECKING:
    from redis.asyncio import Redis

# The value of a field that has several texts.
TEXTS: Codec[list[str]] = Codec(list[str], "json")


def decoded(data: bytes | None) -> list[str] | None:
    """The texts of a field; None without it. An invalid value counts as none: the next fit replaces it."""
    if data is not None:
        with suppress(WireError):
            return TEXTS.decode(data)
    return None


async def is_whole(redis: "Redis", key: str) -> bool:
    """Whether a hash was written whole: only then it never expires."""
    return bool(await ask(redis, "TTL", key) == -1)


async def write_hash(redis: "Redis", key: str, fields: Iterable[tuple[str, str | bytes]]) -> None:
    """Write the fields of a hash in slices; they expire unless a pointer names the snapshot."""
    pairs = iter(fields)
    while some := list(islice(pairs, SLICE)):
        await call(redis, "describe", [key], list(chain.from_iterable(some)))
