"""The cached lists, and the answers for readers."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, TypeVar

from msgspec import Struct

from reckoner.shared.errors import WireError
from reckoner.shared.list_names import POPULAR
from reckoner.shared.redis.pools import BoundedPool
from reckoner.shared.redis.scripts import Cached, ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.generations import Generations
from reckoner.shared.serving.named_lists import NamedLists
from reckoner.shared.serving.snapshot_hashes import is_whole, write_hash
from reckoner.shared.serving.stored_values import Read, StoredValues
from reckoner.shared.serving.tags import Tags
from reckoner.shared.wire.shapes import BASKET, RESULT, BasketResult, BasketSpec, Record, Result

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

T = TypeVar("T")

BASKET_TTL_S = 3_600
# Users whose lists are read in one round trip, so that the answer stays below some 10 MB.
READ_AT_ONCE = 20 * SLICE

# `cache` for a list of one's own, or else the name of the list that all readers without one get.
Source = str


# A list for readers without one of their own: its name and its items. A plain tuple costs a hit the least.
Fallback = tuple[Source, Sequence[str]]


# Structs, since making the twenty entries of an answer as dataclasses takes longer than reading the list.
class Entry(Struct, frozen=True, gc=False):
    """A place of a reader's list; one of a named list, such as the popular one, has no score and no reason."""

    item: str
    score: float | None
    because: str | None
    title: str | None
    because_title: str | None


class Answer(Struct, frozen=True):
    """A reader's answer for one user."""

    user: str
    generation: str
    source: Source
    items: list[Entry]


class Results:
    """The results, titles, `tags`, `named_lists` and `generations` under one prefix; see `StoredValues` for `read`.

    Readers without a list get the first of `chain` that there is.
    """

    def __init__(
        self, redis: "Redis", keys: "Keys", read: Read | None = None, chain: Sequence[str] = (POPULAR,)
    ) -> None:
        self._chain = None if tuple(chain) == (POPULAR,) else tuple(chain)
        self.generations = Generations(redis, keys, read)
        self.tags = Tags(redis, keys, read)
        self.named_lists = NamedLists(redis, keys, read)
        self.keys = keys
        self._redis = redis
        self._values = StoredValues(redis, keys, read)

    async def has_titles(self, snapshot: str) -> bool:
        """Whether a snapshot's titles are complete: they never expire then."""
        return await is_whole(self._redis, self.keys.titles(snapshot))

    async def write_titles(self, snapshot: str, titles: Mapping[str, str]) -> None:
        """Write a snapshot's titles; they expire unless a pointer names the snapshot."""
        await write_hash(self._redis, self.keys.titles(snapshot), titles.items())

    async def write(self, generation: str, lists: Sequence[tuple[str, bytes]], ttl_s: int) -> None:
        """Cache a few users' encoded results; a repetition only renews their TTL."""
        for user, data in lists:
            await ask(self._redis, "SET", self.keys.result(generation, user), data, "EX", ttl_s)

    async def write_packed(self, commands: memoryview, count: int) -> None:
        """Cache many users' results: `count` packed commands, in one round trip.

        Raises:
            redis.exceptions.RedisError: the first error among the answers.
        """
        pool = self._redis.connection_pool
        assert isinstance(pool, BoundedPool)
        answers = await pool.exchange(commands, count)
        if answers.count(b"OK") < count:
            raise next(answer for answer in answers if isinstance(answer, Exception))

    async def read(self, generation: str, users: Sequence[str]) -> list[Result | None]:
        """Read users' cached results; an invalid one is quarantined and counts as a miss."""
        if len(users) > READ_AT_ONCE:
            parts = range(0, len(users), READ_AT_ONCE)
            return [one for part in parts for one in await self.read(generation, users[part : part + READ_AT_ONCE])]
        names = [self.keys.result(generation, user) for user in users]
        values = await (self._values.read("MGET", *names) if 0 < len(names) <= SLICE else self._sliced("MGET", names))
        try:
            return [None if data is None else RESULT.decode(data) for data in values]
        except WireError:
            found: list[Result | None] = []
            for name, data in zip(names, values, strict=True):
                result = await self._values.decode(RESULT, "result", name, name, data)
                found.append(result)
            return found

    async def _sliced(self, command: str, names: Sequence[str], key: Sequence[str] = ()) -> list[bytes | None]:
        """The values of names, with a command for each slice of them; all are sent at once."""
        slices = (names[start : start + SLICE] for start in range(0, len(names), SLICE))
        answers = await asyncio.gather(*(self._values.read(command, *key, *some) for some in slices))
        return list(chain.from_iterable(answers))

    def cached_basket(self, spec: BasketSpec, data: bytes) -> Cached:
        """A basket's encoded result, to be cached for an hour."""
        return Cached(self.keys.basket(spec.generation, spec.items, ordered=spec.ordered), data, BASKET_TTL_S)

    async def read_basket(self, spec: BasketSpec) -> BasketResult | None:
        """Read a basket's cached result; an invalid one is quarantined and counts as a miss."""
        name = self.keys.basket(spec.generation, spec.items, ordered=spec.ordered)
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
        """Make answers of users' results in a generation, with a fallback for users without one."""
        fallback = (POPULAR, record.popular) if self._chain is None else await self._fallback_for(results, record)
        try:
            lists = _lists(results, n, fallback, self.kept_titles(record.snapshot))
        except KeyError:
            lists = await self.lists(results, n, record)
        return [Answer(user, record.generation, *found) for user, found in zip(users, lists, strict=True)]

    async def lists(
        self, results: Sequence[Result | BasketResult | None], n: int, record: Record
    ) -> list[tuple[Source, list[Entry]]]:
        """The first `n` places of each result, or of the fallback, with titles."""
        fallback = await self._fallback_for(results, record)
        wanted = list(dict.fromkeys(_items(results, n, fallback[1])))
        titles = dict.fromkeys(wanted) | await self.titles(record.snapshot, wanted)
        return _lists(results, n, fallback, titles)

    async def _fallback_for(self, results: Sequence[Result | BasketResult | None], record: Record) -> Fallback:
        """The fallback of a generation; any if no result needs it."""
        if self._chain is None or all(result and result.items for result in results):
            return POPULAR, record.popular
        return await self.fallback(record, self._chain)

    async def fallback(self, record: Record, chain: Sequence[str]) -> Fallback:
        """The first list of a chain that a generation has, or else its popular list."""
        lists = await self.named_lists.read(record.snapshot, chain)
        found = ((name, items) for name, items in zip(chain, lists, strict=True) if items)
        return next(found, (POPULAR, record.popular))

    async def named(self, name: str, n: int, record: Record) -> list[Entry] | None:
        """The first `n` places of a named list with titles, None if there is no such list."""
        [items] = await self.named_lists.read(record.snapshot, [name])
        if items is None:
            items = record.popular if name == POPULAR else None
        if items is None:
            return None
        titles = await self.titles(record.snapshot, items[:n])
        return [Entry(item, None, None, titles.get(item), None) for item in items[:n]]

    def kept_titles(self, snapshot: str) -> Mapping[str, str | None]:
        """Titles of a snapshot that need not be read: none here."""
        return {}

    async def titles(self, snapshot: str, items: Sequence[str]) -> dict[str, str]:
        """The titles of items, if the data have any."""
        values = await self._sliced("HMGET", items, [self.keys.titles(snapshot)])
        return {item: v.decode(errors="replace") for item, v in zip(items, values, strict=True) if v is not None}


def _items(results: Sequence[Result | BasketResult | None], n: int, fallback: Sequence[str]) -> Iterable[str]:
    """The items of the first `n` places and their reasons; those of the fallback too, if some need them."""
    for result in results:
        for place in result.items[:n] if result else ():
            yield place.item
            yield place.because
    if not all(result and result.items for result in results):
        yield from fallback[:n]


def _lists(
    results: Sequence[Result | BasketResult | None],
    n: int,
    fallback: Fallback,
    titles: Mapping[str, str | None],
) -> list[tuple[Source, list[Entry]]]:
    """The lists with titles.

    Raises:
        KeyError: the title of an item is not there.
    """
    lists: list[tuple[Source, list[Entry]]] = []
    fallen_back: list[Entry] | None = None
    for result in results:
        if result and result.items:
            places = [
                Entry(item := p.item, p.score, because := p.because, titles[item], titles[because])
                for p in result.items[:n]
            ]
            lists.append(("cache", places))
            continue
        if fallen_back is None:
            fallen_back = [Entry(item, None, None, titles[item], None) for item in fallback[1][:n]]
        lists.append((fallback[0], [*fallen_back]))
    return lists
