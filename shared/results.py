"""The cached lists, the generations they belong to, and how a reader finds one."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal, TypeVar

import msgspec
from redis.exceptions import ReadOnlyError, ResponseError

from shared.codecs import Codec
from shared.errors import NothingFittedError, WireError
from shared.flows import SLICE
from shared.redis.connections import is_forbidden
from shared.redis.refusals import Refusals
from shared.redis.scripts import Lease, Value, ask, call
from shared.wire import BASKET, RECORD, RESULT, BasketResult, Id, Options, Record, Result

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.redis.keys import Keys

T = TypeVar("T")

UNNAMED_LIFE_MS = 8 * 86_400_000
BASKET_LIFE_S = 3_600


def generation_id(model: str, options: Options) -> str:
    """The id of the generation that a model makes under a set of options: the same two give the same."""
    return sha256(model.encode() + b"\n" + msgspec.json.encode(options)).hexdigest()[:16]


@dataclass(frozen=True)
class Pointed:
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


Source = Literal["cache", "popular"]


@dataclass(frozen=True)
class Entry:
    """One place of a list as a reader gets it; a place of the popular list has neither score nor reason."""

    item: str
    score: float | None
    because: str | None
    title: str | None
    because_title: str | None


@dataclass(frozen=True)
class Answer:
    """What a reader gets for one user."""

    user: str
    generation: str
    source: Source
    items: list[Entry]


@dataclass(frozen=True)
class Holding:
    """What is known of a generation's lists: the snapshot that names their users; the first `gone` have none."""

    snapshot: str
    gone: int | None = None
    """None until the generation is old and begins to go."""

    def encode(self) -> str:
        """As it is written beside the generation."""
        return self.snapshot if self.gone is None else f"{self.snapshot} {self.gone}"


def decode_holding(data: bytes) -> Holding:
    """What is written beside a generation; of what is no such thing no snapshot is known."""
    found = re.fullmatch(rb"([A-Za-z0-9_-]{1,64})(?: ([0-9]{1,15}))?", data)
    return Holding(found[1].decode(), int(found[2]) if found[2] else None) if found else Holding("")


class Results:
    """The results, records, pointers and titles under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self._redis = redis
        self.keys = keys
        self._refusals = Refusals(redis, keys)

    async def follow(self, key: str) -> Pointed:
        """What a pointer leads to. This alone says what counts as none: a value that is no id, a record that is gone,
        and one that cannot be read, which is set aside, so that scripts find none either.
        """
        value = await self._get(key)
        if not value:
            return Pointed(b"")
        generation = _as_id(value)
        if generation is None:
            return Pointed(value, damage=f"What {key} holds is no generation")
        record = await self.record(generation)
        damage = "" if record else f"The record of generation {generation}, which {key} names, is gone"
        return Pointed(value, generation, record, damage)

    async def pointer(self, key: str) -> str | None:
        """The generation that a pointer names, whether or not it has its record."""
        return _as_id(await self._get(key) or b"")

    async def current(self) -> str | None:
        """The generation that readers follow."""
        return (await self.follow(self.keys.current)).named

    async def newest(self) -> Record | None:
        """What the generation of the model that was fitted last was made with; None where no such record is there."""
        return (await self.follow(self.keys.newest)).record

    async def record(self, generation: str) -> Record | None:
        """What a generation was made with; None also when its record could not be read, which then is set aside."""
        key = self.keys.record(generation)
        data = await self._get(key)
        record = await self._decode(RECORD, "record", generation, key, data)
        if record and data and record.generation != generation:
            await self._set_aside("record", generation, key, data, "the record of another generation")
            return None
        return record

    async def _get(self, key: str) -> bytes | None:
        # For MGET a key of another type is none.
        [data] = await ask(self._redis, "MGET", key)
        return data if isinstance(data, bytes) else None

    async def adopt(self, flow_id: str, round_: int, record: Record, *, lease: Lease | None) -> bool:
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
        arguments += [self.keys.record(""), self.keys.titles(""), UNNAMED_LIFE_MS]
        arguments.append(record.snapshot)
        return bool(await call(self._redis, "adopt", names, arguments, lease, ends_job=False))

    async def has_titles(self, snapshot: str) -> bool:
        """Whether a snapshot's titles are there and whole: they are once a pointer names their snapshot."""
        return bool(await ask(self._redis, "TTL", self.keys.titles(snapshot)) == -1)

    async def write_titles(self, snapshot: str, titles: Mapping[str, str]) -> None:
        """Put a snapshot's titles beside the results, item by item; they expire unless a pointer comes to name them."""
        key, pairs = self.keys.titles(snapshot), iter(titles.items())
        while some := list(islice(pairs, SLICE)):
            await call(self._redis, "titles", [key], [UNNAMED_LIFE_MS, *chain.from_iterable(some)])

    async def write(self, generation: str, lists: Sequence[tuple[str, bytes]], life_s: int) -> None:
        """Put users' encoded results into the cache; doing it again changes nothing but their age."""
        if len(lists) == 1:
            # By itself it goes with whatever else an engine has to say at the same moment.
            [(user, data)] = lists
            await ask(self._redis, "SET", self.keys.result(generation, user), data, "EX", life_s)
            return
        for start in range(0, len(lists), SLICE):
            async with self._redis.pipeline(transaction=False) as pipe:
                for user, data in lists[start : start + SLICE]:
                    pipe.set(self.keys.result(generation, user), data, ex=life_s)
                await pipe.execute()

    async def read(self, generation: str, users: Sequence[str]) -> list[Result | None]:
        """Users' cached results; what could not be read is set aside and counts as a miss."""
        found: list[Result | None] = []
        for start in range(0, len(users), SLICE):
            names = [self.keys.result(generation, user) for user in users[start : start + SLICE]]
            for name, data in zip(names, await ask(self._redis, "MGET", *names), strict=True):
                result = await self._decode(RESULT, "result", name, name, data)
                found.append(result)
        return found

    async def write_basket(self, generation: str, items: Sequence[str], data: bytes) -> None:
        """Put a basket's encoded result into the cache, for an hour."""
        await ask(self._redis, "SET", self.keys.basket(generation, items), data, "EX", BASKET_LIFE_S)

    async def read_basket(self, generation: str, items: Sequence[str]) -> BasketResult | None:
        """A basket's cached result; one that could not be read is set aside and counts as a miss."""
        name = self.keys.basket(generation, items)
        return await self._decode(BASKET, "basket", name, name, await self._get(name))

    async def _decode(self, codec: Codec[T], kind: str, what: str, key: str, data: bytes | None) -> T | None:
        if data is None:
            return None
        try:
            return codec.decode(data)
        except WireError as error:
            await self._set_aside(kind, what, key, data, str(error))
            return None

    async def _set_aside(self, kind: str, what: str, key: str, data: bytes, reason: str) -> None:
        """Set aside what cannot be read; whoever may only read leaves it to those who write."""
        try:
            await self._refusals.string(kind, what, key, data, reason)
        except ResponseError as error:
            if not isinstance(error, ReadOnlyError) and not is_forbidden(error):
                raise

    async def holdings(self) -> dict[bytes, bytes]:
        """The generations that may hold lists, each with its encoded `Holding`."""
        held: dict[bytes, bytes] = await ask(self._redis, "HGETALL", self.keys.generations)
        return held

    async def forget(
        self, generation: bytes, seen: bytes | str, left: Holding | None = None, users: Sequence[str] = ()
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

    async def answer(self, users: Sequence[str], n: int, record: Record | None = None) -> list[Answer]:
        """The first `n` places for each user, of the popular list for those who have none; in the current generation
        unless the record of another is given.

        Raises:
            NothingFittedError: there is no generation yet.
        """
        if record is None:
            record = (await self.follow(self.keys.current)).require()
        return await self.complete(users, await self.read(record.generation, users), n, record)

    async def complete(
        self, users: Sequence[str], results: Sequence[Result | None], n: int, record: Record
    ) -> list[Answer]:
        """The answers that users' results of a generation make, with the popular list for those who have none."""
        lists = await self.lists(results, n, record)
        return [Answer(user, record.generation, *found) for user, found in zip(users, lists, strict=True)]

    async def lists(
        self, results: Sequence[Result | BasketResult | None], n: int, record: Record
    ) -> list[tuple[Source, list[Entry]]]:
        """The first `n` places of each result with their titles, and those of the popular list where one has none."""
        items = {place.item for result in results if result for place in result.items[:n]}
        items.update(place.because for result in results if result for place in result.items[:n])
        titles = await self.titles(record.snapshot, sorted(items | set(record.popular[:n])))
        popular = [Entry(item, None, None, titles.get(item), None) for item in record.popular[:n]]
        return [
            (
                "cache",
                [
                    Entry(p.item, p.score, p.because, titles.get(p.item), titles.get(p.because))
                    for p in result.items[:n]
                ],
            )
            if result and result.items
            else ("popular", popular)
            for result in results
        ]

    async def titles(self, snapshot: str, items: Sequence[str]) -> dict[str, str]:
        """The titles of items, where the data have them."""
        found: dict[str, str] = {}
        for start in range(0, len(items), SLICE):
            some = items[start : start + SLICE]
            values = await ask(self._redis, "HMGET", self.keys.titles(snapshot), *some)
            found |= {item: v.decode(errors="replace") for item, v in zip(some, values, strict=True) if v is not None}
        return found


def _as_id(value: bytes) -> str | None:
    """The id that bytes are, if they are one."""
    try:
        return msgspec.convert(value.decode(), Id)
    except (UnicodeDecodeError, msgspec.ValidationError):
        return None
