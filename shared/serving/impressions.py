"""Impressions: what was shown to a user lately and not taken, which rotation pushes down.

An item's count is the sum of its impressions, halved with each bucket of time; those of the bucket of now do not count
yet. So within a bucket a user's list stays the same. Users' buckets begin at different moments.
"""

import re
from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from reckoner.shared.redis.scripts import Value, call
from reckoner.shared.serving.results import Reading
from reckoner.shared.wire.shapes import ScoredItem

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

VALUE = re.compile(rb"(\d{1,15}) (\d{1,15}) (\d{1,20}(?:\.\d{1,20})?(?:e[+-]\d{1,3})?)")


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How lists rotate: the score of an item that was shown `n` times counts as score * (1 - strength)^n."""

    strength: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    bucket_s: Annotated[int, Meta(ge=1, le=30 * 86_400)] = 3600
    """The length of a bucket of time in seconds, and the half-life of an impression."""
    seed: int = 0
    """Draws when users' buckets begin."""

    def offset_ms(self, user: str) -> int:
        """By how much a user's buckets begin earlier, in milliseconds."""
        drawn = int.from_bytes(sha256(f"{self.seed}:{user}".encode()).digest()[:8], "big")
        return drawn % (self.bucket_s * 1000)


class Impressions:
    """The impressions under one prefix, for this rotation."""

    def __init__(self, redis: "Redis", keys: "Keys", rotation: Rotation) -> None:
        self._redis = redis
        self._keys = keys
        self.rotation = rotation

    async def note(self, user: str, items: Sequence[str]) -> None:
        """Note that items were shown to a user."""
        arguments: list[Value] = [self.rotation.bucket_s * 1000, self.rotation.offset_ms(user), *items]
        await call(self._redis, "impress", [self._keys.shown(user)], arguments)

    async def counts(self, users: Sequence[str]) -> list[dict[str, float]]:
        """How often each item was shown to each user, as it counts now."""
        arguments: list[Value] = [self.rotation.bucket_s * 1000, *map(self.rotation.offset_ms, users)]
        found = await call(self._redis, "impressions", [self._keys.shown(user) for user in users], arguments)
        return [_counts(int(bucket), fields) for bucket, fields in found]

    def rotated(self, reading: Reading, counts: Sequence[Mapping[str, float]]) -> Reading:
        """The same results, each by its scores as they count now; ties keep their order."""
        results = [
            msgspec.structs.replace(result, items=self._order(result.items, shown)) if result and shown else result
            for result, shown in zip(reading.results, counts, strict=True)
        ]
        return reading._replace(results=results)

    def _order(self, places: Sequence[ScoredItem], shown: Mapping[str, float]) -> list[ScoredItem]:
        kept = 1.0 - self.rotation.strength
        return sorted(places, key=lambda place: -place.score * kept ** shown.get(place.item, 0.0))


def _counts(bucket: int, fields: Sequence[bytes]) -> dict[str, float]:
    found = {}
    for item, value in zip(fields[::2], fields[1::2], strict=True):
        match = VALUE.fullmatch(value)
        if match is None:
            continue
        last, inside, before = int(match[1]), int(match[2]), float(match[3])
        found[item.decode(errors="replace")] = (before + inside) * 0.5 ** (bucket - last) if bucket > last else before
    return found
