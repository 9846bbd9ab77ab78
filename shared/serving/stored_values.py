"""Reads values that may be damaged."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from redis.exceptions import ReadOnlyError, ResponseError

from reckoner.shared.errors import WireError
from reckoner.shared.redis.connections import is_forbidden
from reckoner.shared.redis.refusals import Refusals
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.codecs import Codec

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

T = TypeVar("T")
# Returns the answer of a reading command.
Read = Callable[..., Awaitable[Any]]


class StoredValues:
    """Reads values under one prefix by `read`, or else over `redis`, and quarantines invalid ones."""

    def __init__(self, redis: "Redis", keys: "Keys", read: Read | None = None) -> None:
        self._refusals = Refusals(redis, keys)
        self.read: Read = read or partial(ask, redis)

    async def get(self, key: str) -> bytes | None:
        """The string at a key; None if there is none, or a value of another type."""
        data: bytes | None
        [data] = await self.read("MGET", key)
        return data

    async def decode(self, codec: Codec[T], kind: str, what: str, key: str, data: bytes | None) -> T | None:
        """Decode a value; an invalid one is quarantined and counts as None."""
        if data is None:
            return None
        try:
            return codec.decode(data)
        except WireError as error:
            await self.quarantine(kind, what, key, data, str(error))
            return None

    async def quarantine(self, kind: str, what: str, key: str, data: bytes, reason: str) -> None:
        """Quarantine an invalid value; a read-only user leaves it to others."""
        try:
            await self._refusals.string(kind, what, key, data, reason)
        except ResponseError as error:
            if not isinstance(error, ReadOnlyError) and not is_forbidden(error):
                raise
