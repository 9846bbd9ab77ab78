"""Values that were stored under one prefix, and may be damaged."""

from typing import TYPE_CHECKING, TypeVar

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


class StoredValues:
    """Reads values under one prefix; what cannot be read is set aside."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self._refusals = Refusals(redis, keys)

    async def get(self, key: str) -> bytes | None:
        """The string at a key; None where there is none, or another type."""
        [data] = await ask(self._redis, "MGET", key)
        return data if isinstance(data, bytes) else None

    async def decode(self, codec: Codec[T], kind: str, what: str, key: str, data: bytes | None) -> T | None:
        """The value that `data` encodes; None where there is none, or it cannot be read, upon which it is set aside."""
        if data is None:
            return None
        try:
            return codec.decode(data)
        except WireError as error:
            await self.quarantine(kind, what, key, data, str(error))
            return None

    async def quarantine(self, kind: str, what: str, key: str, data: bytes, reason: str) -> None:
        """Set aside what cannot be read; whoever may only read leaves it to those who write."""
        try:
            await self._refusals.string(kind, what, key, data, reason)
        except ResponseError as error:
            if not isinstance(error, ReadOnlyError) and not is_forbidden(error):
                raise
