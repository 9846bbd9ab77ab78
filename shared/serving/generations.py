"""The generations: what each was made with, which ones pointers name, and which ones hold lists."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING

import msgspec

from reckoner.shared.errors import NothingFittedError
from reckoner.shared.redis.scripts import Fence, Value, ask, call
from reckoner.shared.serving.stored_values import StoredValues
from reckoner.shared.wire.shapes import RECORD, Id, Options, Record

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys


def generation_id(model: str, options: Options) -> str:
    """The id of the generation that a model makes under a set of options: the same two give the same."""
    return sha256(model.encode() + b"\n" + msgspec.json.encode(options)).hexdigest()[:16]


@dataclass(frozen=True)
class PointerTarget:
    """What a pointer leads to."""

    value: bytes
    """What it holds, empty where there is none."""
    generation: str | None = None
    """The generation that it names; None where it holds no id."""
    record: Record | None = None
    """What that was made with; None where that is gone or cannot be read, so that the pointer counts as none."""
    damage: str = ""
    """Why there is no record though the pointer is there: the first half of a sentence."""

    @property
    def named(self) -> str | None:
        """The generation, where it has its record."""
        return self.generation if self.record else None

    def require(self) -> Record:
        """The record.

        Raises:
            NothingFittedError: there is none.
        """
        if self.record is None:
            raise NothingFittedError(f"{self.damage}: build a model with `reckoner fit`." if self.damage else None)
        return self.record


@dataclass(frozen=True)
class GenerationLists:
    """What is known of a generation's lists: the snapshot that names their users; the first `gone` have none."""

    snapshot: str
    gone: int | None = None
    """None until the generation is old and begins to go."""

    def encode(self) -> str:
        """As it is written beside the generation."""
        return self.snapshot if self.gone is None else f"{self.snapshot} {self.gone}"


def decode_generation_lists(data: bytes) -> GenerationLists:
    """What is written beside a generation; of what is no such thing no snapshot is known."""
    found = re.fullmatch(rb"([A-Za-z0-9_-]{1,64})(?: ([0-9]{1,15}))?", data)
    return GenerationLists(found[1].decode(), int(found[2]) if found[2] else None) if found else GenerationLists("")


class Generations:
    """The records of generations, and the pointers to them, under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self._values = StoredValues(redis, keys)
        self.keys = keys

    async def follow(self, key: str) -> PointerTarget:
        """What a pointer leads to. This alone says what counts as none: a value that is no id, a record that is gone,
        and one that cannot be read, which is set aside, so that scripts find none either.
        """
        value = await self._values.get(key)
        if not value:
            return PointerTarget(b"")
        generation = _as_id(value)
        if generation is None:
            return PointerTarget(value, damage=f"What {key} holds is no generation")
        record = await self.record(generation)
        damage = "" if record else f"The record of generation {generation}, which {key} names, is gone"
        return PointerTarget(value, generation, record, damage)

    async def pointer(self, key: str) -> str | None:
        """The generation that a pointer names, whether or not it has its record."""
        return _as_id(await self._values.get(key) or b"")

    async def current(self) -> str | None:
        """The generation that readers follow."""
        return (await self.follow(self.keys.current)).named

    async def newest(self) -> Record | None:
        """What the generation of the model that was fitted last was made with; None where no such record is there."""
        return (await self.follow(self.keys.newest)).record

    async def record(self, generation: str) -> Record | None:
        """What a generation was made with; None also when its record could not be read, which then is set aside."""
        key = self.keys.record(generation)
        data = await self._values.get(key)
        record = await self._values.decode(RECORD, "record", generation, key, data)
        if record and data and record.generation != generation:
            await self._values.quarantine("record", generation, key, data, "the record of another generation")
            return None
        return record

    async def adopt(self, flow_id: str, round_: int, record: Record, *, lease: Fence | None) -> bool:
        """Make the model of a fit known: its generation's record, the newest pointer, and the current one if none is.

        A fit moves pointers once, however often its reduce is delivered. Its titles are written before.

        Returns:
            Whether the fit is in the reduce of that round; if not, nothing was changed.
        """
        for key in self.keys.pointers:
            await self.follow(key)
        await self.record(record.generation)
        names = [self.keys.flow(flow_id), self.keys.record(record.generation), *self.keys.pointers]
        names.append(self.keys.generations)
        arguments: list[Value] = [round_, record.generation, RECORD.encode(record)]
        arguments += [self.keys.record(""), self.keys.titles(""), record.snapshot]
        return bool(await call(self._redis, "adopt", names, arguments, lease, ends_job=False))

    async def lists(self) -> dict[bytes, bytes]:
        """The generations that may hold lists, each with its encoded `GenerationLists`."""
        held: dict[bytes, bytes] = await ask(self._redis, "HGETALL", self.keys.generations)
        return held

    async def forget(
        self, generation: bytes, seen: bytes | str, left: GenerationLists | None = None, users: Sequence[str] = ()
    ) -> bool:
        """Take the lists of some users of an old generation away, and its record; all are gone when nothing is `left`.

        Returns:
            Whether it was done: not if a pointer or a run names the generation, or it is not `seen` as it is.
        """
        keys, name = self.keys, generation.decode(errors="replace")
        names = [keys.generations, *keys.pointers, keys.run_of(name), keys.record(name)]
        names += [keys.result(name, user) for user in users]
        arguments: list[Value] = [generation, seen, left.encode() if left else "", keys.run("")]
        return bool(await call(self._redis, "forget", names, arguments))


def _as_id(value: bytes) -> str | None:
    """The id that bytes are, if they are one."""
    try:
        return msgspec.convert(value.decode(), Id)
    except (UnicodeDecodeError, msgspec.ValidationError):
        return None
