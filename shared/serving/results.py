"""The cached lists, and the answers for readers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Literal, TypeVar

from reckoner.shared.redis.scripts import ask, call
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.generations import Generations
from reckoner.shared.serving.stored_values import StoredValues
from reckoner.shared.wire.shapes import BASKET, RESULT, BasketResult, Record, Result

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

T = TypeVar("T")

BASKET_TTL_S = 3_600


Source = Literal["cache", "popular"]


@dataclass(frozen=True)
class Entry:
    """A place of a reader's list; one of the popular list has no score and no reason."""

    item: str
    score: float | None
    because: str | None
    title: str | None
    because_title: str | None


@dataclass(frozen=True)
class Answer:
    """A reader's answer for one user."""

    user: str
    generation: str
    source: Source
    items: list[Entry]


class Results:
    """The results, titles and `generations` under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys") -> None:
        self.generations = Generations(redis, keys)
        self.keys = keys
        self._redis = redis
        self._values = StoredValues(redis, keys)

    async def has_titles(self, snapshot: str) -> bool:
        """Whether a snapshot's titles are complete: they never expire then."""
        return bool(await ask(self._redis, "TTL", self.keys.titles(snapshot)) == -1)

    async def write_titles(self, snapshot: str, titles: Mapping[str, str]) -> None:
        """Write a snapshot's titles; they expire unless a pointer names the snapshot."""
        key, pairs = self.keys.titles(snapshot), iter(titles.items())
        while some := list(islice(pairs, SLICE)):
            await call(self._redis, "titles", [key], list(chain.from_iterable(some)))

    async def write(self, generation: str, lists: Sequence[tuple[str, bytes]], ttl_s: int) -> None:
        """Cache users' encoded results; a repetition only renews their TTL."""
        if len(lists) == 1:
            # The engine batches a single command with others.
            [(user, data)] = lists
            await ask(self._redis, "SET", self.keys.result(generation, user), data, "EX", ttl_s)
            return
        for start in range(0, len(lists), SLICE):
            async with self._redis.pipeline(transaction=False) as pipe:
                for user, data in lists[start : start + SLICE]:
                    pipe.set(self.keys.result(generation, user), data, ex=ttl_s)
                await pipe.execute()

    async def read(self, generation: str, users: Sequence[str]) -> list[Result | None]:
        """Read users' cached results; an invalid one is quarantined and counts as a miss."""
        found: list[Result | None] = []
        for start in range(0, len(users), SLICE):
            names = [self.keys.result(generation, user) for user in users[start : start + SLICE]]
            for name, data in zip(names, await ask(self._redis, "MGET", *names), strict=True):
                result = await self._values.decode(RESULT, "result", name, name, data)
                found.append(result)
        return found

    async def write_basket(self, generation: str, items: Sequence[str], data: bytes) -> None:
        """Cache a basket's encoded result for an hour."""
        await ask(self._redis, "SET", self.keys.basket(generation, items), data, "EX", BASKET_TTL_S)

    async def read_basket(self, generation: str, items: Sequence[str]) -> BasketResult | None:
        """Read a basket's cached result; an invalid one is quarantined and counts as a miss."""
        name = self.keys.basket(generation, items)
        return await self._values.decode(BASKET, "basket", name, name, await self._values.get(name))

    async def answer(self, users: Sequence[str], n: int, record: Record | None = None) -> list[Answer]:
        """The first `n` places of each user's list, or of the popular list; by default of the current generation.

        Raises:
            NothingFittedError: there is no generation yet.
        """
        if record is None:
            record = (await self.generations.follow(self.keys.current)).require()
        return await self.complete(users, await self.read(record.generation, users), n, record)

    async def complete(
        self, users: Sequence[str], results: Sequence[Result | None], n: int, record: Record
    ) -> list[Answer]:
        """Make answers of users' results in a generation, with the popular list for users without one."""
        lists = await self.lists(results, n, record)
        return [Answer(user, record.generation, *found) for user, found in zip(users, lists, strict=True)]

    async def lists(
        self, results: Sequence[Result | BasketResult | None], n: int, record: Record
    ) -> list[tuple[Source, list[Entry]]]:
        """The first `n` places of each result, or of the popular list, with titles."""
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
        """The titles of items, if the data have any."""
        found: dict[str, str] = {}
        for start in range(0, len(items), SLICE):
            some = items[start : start + SLICE]
            values = await ask(self._redis, "HMGET", self.keys.titles(snapshot), *some)
            found |= {item: v.decode(errors="replace") for item, v in zip(some, values, strict=True) if v is not None}
        return found
