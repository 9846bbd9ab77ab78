"""The trials of a tuning that are done, remembered in Redis for a week, so that a stopped tuning goes on."""

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from redis.exceptions import RedisError

from reckoner.producer.evaluation.candidates import Candidate
from reckoner.shared.errors import WireError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.store.model_config import KERNEL_VERSION
from reckoner.shared.wire.codecs import DigestCodec
from reckoner.shared.wire.shapes import Count

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

LIFE_MS = 7 * 86_400_000
# Increment it when a trial's figures have another meaning.
FORMAT = 1


class Trial(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The values of a round's users in a trial, float64, and the milliseconds of its fit."""

    values: bytes
    fit_ms: Count

    @property
    def array(self) -> NDArray[np.float64]:
        """The values, float64[users]."""
        return np.frombuffer(self.values)


_TRIAL: DigestCodec[Trial] = DigestCodec(Trial)


class Trials:
    """The trials of one study; `study` is all that their figures depend on, but the candidate and the round."""

    def __init__(self, redis: "Redis", keys: "Keys", study: Sequence[Any]) -> None:
        self._redis, self._keys = redis, keys
        self._study = [FORMAT, KERNEL_VERSION, *study]

    async def find(self, candidates: Sequence[Candidate], number: int, users: int) -> list[Trial | None]:
        """The trials of a round by its number, which adds so many users; None for those that are not done."""
        names = [self._key(candidate, number) for candidate in candidates]
        found = await ask(self._redis, "MGET", *names)
        return [_decode(name, data, users) for name, data in zip(names, found, strict=True)]

    async def remember(self, candidate: Candidate, number: int, trial: Trial) -> None:
        """Keep a trial of a round. A failure is harmless."""
        key = self._key(candidate, number)
        with suppress(RedisError):
            await ask(self._redis, "SET", key, _TRIAL.encode(trial, key), "PX", LIFE_MS)

    def _key(self, candidate: Candidate, number: int) -> str:
        wanted = [self._study, candidate.config.facts(), candidate.recency, number]
        return self._keys.trial(msgspec.json.encode(wanted, order="sorted"))


def _decode(key: str, data: bytes | None, users: int) -> Trial | None:
    if data is None:
        return None
    try:
        trial = _TRIAL.decode(data, key)
    except WireError:
        return None
    return trial if len(trial.values) == 8 * users else None
