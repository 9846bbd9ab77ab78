"""Generations: their records, the pointers to them, and which of them hold lists."""

import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Literal

import msgspec

from reckoner.shared.errors import NothingFittedError, WireError
from reckoner.shared.redis.scripts import Fence, Value, ask, call
from reckoner.shared.serving.events import BEGINNING, Mark, parse_mark
from reckoner.shared.serving.stored_values import Read, StoredValues
from reckoner.shared.wire.shapes import HOLDING, RECORD, Holding, Id, Options, Record

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

# How a promotion ended.
Promotion = Literal["done", "moved", "lost", "incomplete"]


def generation_id(model: str, options: Options, spare: int = 0, *, events: str = "", mask: str = "") -> str:
    """The id of a generation: a hash of its model, its options, and what there is of the fields of `Record`."""
    named = model.encode() + b"\n" + msgspec.json.encode(options) + (b"\n%d" % spare if spare else b"")
    named += f"\nevents={events}".encode() if events else b""
    named += f"\nmask={mask}".encode() if mask else b""
    return sha256(named).hexdigest()[:16]


def base_of(record: Record) -> str:
    """The id of the generation of the same model and options without recorded events and hidden items."""
    return generation_id(record.model, record.options, record.spare or 0)


def with_news(record: Record, events: str, mask: str) -> Record:
    """The record of the generation of the same model whose runs count `events` and leave out `mask`; empty for none."""
    generation = generation_id(record.model, record.options, record.spare or 0, events=events, mask=mask)
    return msgspec.structs.replace(
        record, generation=generation, events=events or msgspec.UNSET, mask=mask or msgspec.UNSET
    )


def counted_by(record: Record) -> Mark:
    """The mark up to which the lists of a generation count recorded events."""
    return parse_mark(record.events or record.mark or str(BEGINNING))


@dataclass(frozen=True)
class PointerTarget:
    """The target of a pointer."""

    value: bytes
    """The pointer's bytes, empty without a pointer."""
    generation: str | None = None
    """The named generation; None if the bytes are no id."""
    record: Record | None = None
    """The generation's record; None if missing or invalid, and then the pointer counts as unset."""
    damage: str = ""
    """Why a set pointer has no record: the first half of a sentence."""

    @property
    def named(self) -> str | None:
        """The generation, if it has a record."""
        return self.generation if self.record else None

    def require(self) -> Record:
        """Return the record.

        Raises:
            NothingFittedError: there is none.
        """
        if self.record is None:
            raise NothingFittedError(f"{self.damage}. Build a model with `reckoner fit`." if self.damage else None)
        return self.record


@dataclass(frozen=True)
class GenerationLists:
    """The lists of a generation: the snapshot of their users; those of the first `gone` users are deleted."""

    snapshot: str
    gone: int | None = None
    """None until the clean-up of the generation starts."""

    def encode(self) -> str:
        """Encode the value in the hash of generations."""
        return self.snapshot if self.gone is None else f"{self.snapshot} {self.gone}"


def decode_generation_lists(data: bytes) -> GenerationLists:
    """Decode a value in the hash of generations; an invalid one has an empty snapshot."""
    found = re.fullmatch(rb"([A-Za-z0-9_-]{1,64})(?: ([0-9]{1,15}))?", data)
    return GenerationLists(found[1].decode(), int(found[2]) if found[2] else None) if found else GenerationLists("")


class Generations:
    """The generations under one prefix; see `StoredValues` for `read`."""

    def __init__(self, redis: "Redis", keys: "Keys", read: Read | None = None) -> None:
        self._redis = redis
        self._values = StoredValues(redis, keys, read)
        self.keys = keys

    async def follow(self, key: str) -> PointerTarget:
        """Follow a pointer, which counts as unset without a valid id and record; an invalid record is quarantined."""
        value = await self._values.get(key) or b""
        generation = as_id(value)
        return pointer_target(key, value, await self.record(generation) if generation else None)

    async def pointer(self, key: str) -> str | None:
        """The generation of a pointer, even without a record."""
        return as_id(await self._values.get(key) or b"")

    async def current(self) -> str | None:
        """The current generation, which readers follow."""
        return (await self.follow(self.keys.current)).named

    async def newest(self) -> Record | None:
        """The record of the last fitted model's generation, None if there is none."""
        return (await self.follow(self.keys.newest)).record

    async def record(self, generation: str) -> Record | None:
        """A generation's record; an invalid one is quarantined and counts as None."""
        key = self.keys.record(generation)
        data = await self._values.get(key)
        record = await self._values.decode(RECORD, "record", generation, key, data)
        if record and data and record.generation != generation:
            await self._values.quarantine("record", generation, key, data, "the record of another generation")
            return None
        return record

    async def adopt(self, flow_id: str, round_: int, record: Record, *, lease: Fence | None) -> bool:
        """Adopt a fitted model: write its generation's record, set the newest pointer, and the current one if unset.

        A fit moves pointers once, even if its reduce is delivered twice. Write its titles first.

        Returns:
            Whether the fit is in the reduce of that round; otherwise nothing changed.
        """
        for key in self.keys.pointers:
            await self.follow(key)
        await self.record(record.generation)
        names = [self.keys.flow(flow_id), self.keys.record(record.generation), *self.keys.pointers]
        names.append(self.keys.generations)
        arguments: list[Value] = [round_, record.generation, RECORD.encode(record)]
        arguments += [record.snapshot, self.keys.record(""), *self.keys.snapshot_stems]
        return bool(await call(self._redis, "adopt", names, arguments, lease, ends_job=False))

    async def promote(self, generation: str, current: PointerTarget, *, bars: bool = False) -> Promotion:
        """Make a generation current by hand in the place of `current`, as it was read.

        With `bars` it must be the previous one, and no run makes `current` current again.

        Returns:
            `"lost"` without its record, `"incomplete"` if its lists are not whole, `"moved"` if another one went live
            meanwhile; nothing changed then.
        """
        keys = self.keys
        await self.record(generation)
        names = [*keys.pointers, keys.barred, keys.held, keys.generations]
        barred = current.named if bars and current.named else ""
        arguments: list[Value] = [generation, current.value, barred, keys.record(""), *keys.snapshot_stems]
        answer: bytes = await call(self._redis, "promote", names, arguments)
        return answer.decode()  # type: ignore[return-value]

    async def barred(self) -> list[str]:
        """The generations that were rolled back: no run makes them current again."""
        return sorted(name.decode(errors="replace") for name in await ask(self._redis, "HKEYS", self.keys.barred))

    async def holdings(self) -> dict[str, Holding]:
        """What the generations hold for which a run has computed all lists; invalid entries are left out."""
        found: dict[str, Holding] = {}
        for name, data in (await ask(self._redis, "HGETALL", self.keys.held)).items():
            with suppress(WireError):
                found[name.decode(errors="replace")] = HOLDING.decode(data)
        return found

    async def lists(self) -> dict[bytes, bytes]:
        """The generations with lists, and their encoded `GenerationLists`."""
        held: dict[bytes, bytes] = await ask(self._redis, "HGETALL", self.keys.generations)
        return held

    async def forget(
        self, generation: bytes, seen: bytes | str, left: GenerationLists | None = None, users: Sequence[str] = ()
    ) -> bool:
        """Delete the lists of some users of an old generation, and its record; without `left`, forget the generation.

        Returns:
            False if a pointer or a run names the generation, or its value is not `seen`.
        """
        keys, name = self.keys, generation.decode(errors="replace")
        names = [keys.generations, *keys.pointers, keys.run_of(name), keys.record(name), keys.held]
        names += [keys.result(name, user) for user in users]
        arguments: list[Value] = [generation, seen, left.encode() if left else "", keys.run("")]
        return bool(await call(self._redis, "forget", names, arguments))


def pointer_target(key: str, value: bytes, record: Record | None) -> PointerTarget:
    """The target of the pointer at `key`, whose bytes are `value`, with the record of the generation that they name."""
    if not value:
        return PointerTarget(b"")
    generation = as_id(value)
    if generation is None:
        return PointerTarget(value, damage=f"{key} holds an invalid generation")
    damage = "" if record else f"The record of generation {generation}, named by {key}, is gone"
    return PointerTarget(value, generation, record, damage)


def as_id(value: bytes) -> str | None:
    """Decode an id, None if it is invalid."""
    try:
        return msgspec.convert(value.decode(), Id)
    except (UnicodeDecodeError, msgspec.ValidationError):
        return None
