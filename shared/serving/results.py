"""The cached lists, and the answers for readers."""

import asyncio
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple

from msgspec import UNSET, Struct

from reckoner.shared.errors import WireError
from reckoner.shared.list_names import POPULAR
from reckoner.shared.redis.pools import BoundedPool
from reckoner.shared.redis.scripts import Cached, ask
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.generations import Generations
from reckoner.shared.serving.hidden import Hidden
from reckoner.shared.serving.named_lists import NamedLists
from reckoner.shared.serving.snapshot_hashes import is_whole, write_hash
from reckoner.shared.serving.stored_values import Read, StoredValues
from reckoner.shared.serving.tags import Tags
from reckoner.shared.wire.codecs import Codec
from reckoner.shared.wire.shapes import (
    BASKET,
    FILTERED,
    RESULT,
    BasketResult,
    BasketSpec,
    FilteredResult,
    Record,
    Result,
    ScoredItem,
    UserSpec,
)

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

LEFT: Codec[set[str]] = Codec(set[str], "json")
# What the lists of a user leave out beside the history: mostly nothing.
NOTHING: frozenset[str] = frozenset()

BASKET_TTL_S = 3_600
FILTERED_TTL_S = 3_600
# Users whose lists are read in one round trip, so that the answer stays below some 10 MB.
READ_AT_ONCE = 20 * SLICE

# `cache` for a list of one's own, or else the name of the list that all readers without one get.
Source = str


# A list for readers without one of their own: its name and its items. A plain tuple costs a hit the least.
Fallback = tuple[Source, Sequence[str]]
NO_ITEMS: list[ScoredItem] = []


# Structs, since making the twenty entries of an answer as dataclasses takes longer than reading the list.
class Entry(Struct, frozen=True, gc=False):
    """A place of a reader's list; one of a named list, such as the popular one, has no score and no reason."""

    item: str
    score: float | None
    because: str | None
    title: str | None
    because_title: str | None


# Where the places of an answer come from, they, and how many were left out. A class would take a hundredth of a hit.
Shown = tuple[Source, list[Entry], int]


class Answer(Struct, frozen=True):
    """A reader's answer for one user."""

    user: str
    generation: str
    source: Source
    items: list[Entry]
    left_out: int = 0
    """The number of places that were left out to find these: the user has had their items since, or they are hidden.

    With a filter, also those that do not pass. Those of a list for all are counted if it is the answer.
    """
    unknown: list[str] = []
    """The items of the user's recorded events that are not in the data yet."""


class Reading(NamedTuple):
    """Cached results, what each user's list leaves out, and what is hidden from all."""

    results: Sequence[Result | BasketResult | None]
    left: Sequence[Collection[str]]
    hidden: frozenset[str]

    def visible(self, at: int) -> list[ScoredItem]:
        """The places of a result that may be shown."""
        result, left, hidden = self.results[at], self.left[at], self.hidden
        if result is None:
            return []
        if not left and not hidden:
            return result.items
        return _visible(result.items, left, hidden)


class Results:
    """The results, titles, `tags`, `named_lists` and `generations` under one prefix; see `StoredValues` for `read`.

    Readers without a list get the first of `chain` of which something may be shown, or else the popular list.
    """

    def __init__(
        self, redis: "Redis", keys: "Keys", read: Read | None = None, chain: Sequence[str] = (POPULAR,)
    ) -> None:
        self._chain = None if tuple(chain) == (POPULAR,) else tuple(chain)
        self.generations = Generations(redis, keys, read)
        self.tags = Tags(redis, keys, read)
        self.named_lists = NamedLists(redis, keys, read)
        self.hidden = Hidden(redis, keys)
        self.keys = keys
        self._redis = redis
        self._values = StoredValues(redis, keys, read)

    @property
    def chain(self) -> Sequence[str]:
        """The names of the lists for readers without one."""
        return self._chain or (POPULAR,)

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
            return await self._decoded(names, values)

    async def _decoded(self, names: Sequence[str], values: Sequence[bytes | None]) -> list[Result | None]:
        """Decode the results of some keys; an invalid one is quarantined and counts as a miss."""
        found: list[Result | None] = []
        for name, data in zip(names, values, strict=True):
            result = await self._values.decode(RESULT, "result", name, name, data)
            found.append(result)
        return found

    async def read_shown(self, generation: str, users: Sequence[str], n: int | None = None) -> Reading:
        """Read users' cached results with what must not be shown, in one round trip for up to some hundred users.

        With `n`, a result may end after as many places that may be shown.
        """
        if len(users) > READ_AT_ONCE:
            parts = range(0, len(users), READ_AT_ONCE)
            some = [await self.read_shown(generation, users[part : part + READ_AT_ONCE], n) for part in parts]
            found = [result for part in some for result in part.results]
            return Reading(found, [one for part in some for one in part.left], some[-1].hidden)
        keys, count = self.keys, len(users)
        if count == 1:
            name = keys.result(generation, users[0])
            data, out, version = await self._values.read("MGET", name, keys.left(users[0]), keys.hidden_version)
            hidden = NOTHING if version is None else (await self.hidden.of_version(version)).items
            its_left = NOTHING if out is None else _left(out)
            try:
                result = None if data is None else _result(data, n, its_left, hidden)
            except WireError:
                [result] = await self._decoded([name], [data])
            return Reading((result,), (its_left,), hidden)
        values, left, hidden = await self.read_encoded(generation, users)
        results: Sequence[Result | None]
        try:
            results = [
                None if data is None else _result(data, n, its_left, hidden)
                for data, its_left in zip(values, left, strict=True)
            ]
        except WireError:
            results = await self.decode(generation, users, values)
        return Reading(results, left, hidden)

    async def read_encoded(
        self, generation: str, users: Sequence[str]
    ) -> tuple[Sequence[bytes | None], Sequence[Collection[str]], frozenset[str]]:
        """The bytes of users' cached results, and what must not be shown to each and to all.

        The bytes are not checked; see `decode`.
        """
        keys, count = self.keys, len(users)
        names = [keys.result(generation, user) for user in users]
        names += map(keys.left, users)
        names.append(keys.hidden_version)
        values = await (self._values.read("MGET", *names) if len(names) <= SLICE else self._sliced("MGET", names))
        hidden = NOTHING if values[-1] is None else (await self.hidden.of_version(values[-1])).items
        return values[:count], [NOTHING if some is None else _left(some) for some in values[count:-1]], hidden

    async def decode(
        self, generation: str, users: Sequence[str], values: Sequence[bytes | None]
    ) -> list[Result | None]:
        """Decode users' results; an invalid one is quarantined and counts as a miss."""
        return await self._decoded([self.keys.result(generation, user) for user in users], values)

    async def _sliced(self, command: str, names: Sequence[str], key: Sequence[str] = ()) -> list[bytes | None]:
        """The values of names, with a command for each slice of them; all are sent at once."""
        if 0 < len(names) <= SLICE:
            # Without a task.
            found: list[bytes | None] = await self._values.read(command, *key, *names)
            return found
        slices = (names[start : start + SLICE] for start in range(0, len(names), SLICE))
        answers = await asyncio.gather(*(self._values.read(command, *key, *some) for some in slices))
        return list(chain.from_iterable(answers))

    def cached(self, spec: UserSpec | BasketSpec, data: bytes, ttl_s: int) -> Cached:
        """An encoded list, to be cached: that of a basket or with a filter for an hour, a user's own for `ttl_s`."""
        if spec.filter:
            return Cached(self.filtered_keys([spec])[0], data, FILTERED_TTL_S)
        if isinstance(spec, BasketSpec):
            return Cached(self.keys.basket(spec.generation, spec.items, ordered=spec.ordered), data, BASKET_TTL_S)
        return Cached(self.keys.result(spec.generation, spec.user), data, ttl_s)

    def filtered_keys(self, specs: Sequence[UserSpec | BasketSpec]) -> list[str]:
        """Where the lists of jobs with the same filter are cached."""
        wanted, keys = specs[0].filter.key if specs and specs[0].filter else "", self.keys
        return [
            keys.filtered(spec.generation, wanted, spec.user)
            if isinstance(spec, UserSpec)
            else keys.filtered_basket(spec.generation, wanted, spec.items, ordered=spec.ordered)
            for spec in specs
        ]

    async def read_filtered(self, specs: Sequence[UserSpec | BasketSpec]) -> list[FilteredResult | None]:
        """Read filtered lists, all with the same filter; an invalid one is quarantined and counts as a miss."""
        names, found = self.filtered_keys(specs), list[FilteredResult | None]()
        for name, data in zip(names, await self._sliced("MGET", names), strict=True):
            result = await self._values.decode(FILTERED, "filtered list", name, name, data)
            found.append(result)
        return found

    async def read_fresh(self, specs: Sequence[UserSpec | BasketSpec], tagging: bytes) -> list[FilteredResult | None]:
        """Of filtered lists those that are as a job would make them now, None for the others.

        A list that holds items that were hidden since then counts as fresh. `tagging` is the version of the live tags.
        """
        users = [spec.user if isinstance(spec, UserSpec) else "" for spec in specs]
        found, recents = await asyncio.gather(
            self.read_filtered(specs), self._sliced("HMGET", users, [self.keys.recent_versions])
        )
        fresh: list[FilteredResult | None] = []
        for spec, result, recent in zip(specs, found, recents, strict=True):
            tagged = tagging if spec.filter and spec.filter.reads_tags else b""
            versions = [(version or b"").decode(errors="replace") for version in (recent, tagged)]
            fresh.append(result if result and [result.recent, result.tagging] == versions else None)
        return fresh

    async def read_basket(self, spec: BasketSpec) -> BasketResult | None:
        """Read a basket's cached result; an invalid one is quarantined and counts as a miss."""
        name = self.keys.basket(spec.generation, spec.items, ordered=spec.ordered)
        return await self._values.decode(BASKET, "basket", name, name, await self._values.get(name))

    def short(self, reading: Reading, n: int, record: Record) -> list[int]:
        """The numbers of the results with less than `n` places of which a job would now find more.

        Some of theirs must not be shown, or were hidden when they were computed.
        """
        found = list[int]()
        for at, result in enumerate(reading.results):
            if result is None or (shown := len(reading.visible(at))) >= n:
                continue
            is_left_out = shown < len(result.items)
            if is_left_out or not self.is_whole(result, record.places, reading, record):
                found.append(at)
        return found

    def is_whole(self, result: Result | BasketResult, places: int, reading: Reading, record: Record) -> bool:
        """Whether a result with at most so many `places` holds all candidates that are not hidden now."""
        mask = (record.mask or "") if result.mask is UNSET else result.mask
        return len(result.items) < places and (not mask or mask == self.hidden.mask_of(reading.hidden))

    async def complete(self, users: Sequence[str], reading: Reading, n: int, record: Record) -> list[Answer]:
        """Make answers of users' results in a generation, with a fallback for users without one."""
        fallbacks = ((POPULAR, record.popular),) if self._chain is None else await self._fallbacks(reading, record)
        try:
            lists = _lists(reading, n, fallbacks, self.kept_titles(record.snapshot))
        except KeyError:
            lists = await self.lists(reading, n, record)
        generation = record.generation
        return [
            Answer(user, generation, source, items, left_out, result.unknown)
            if result and result.unknown
            else Answer(user, generation, source, items, left_out)
            for user, (source, items, left_out), result in zip(users, lists, reading.results, strict=True)
        ]

    async def lists(self, reading: Reading, n: int, record: Record) -> list[Shown]:
        """The first `n` places of each result that may be shown, or of the fallback, with titles."""
        fallbacks = await self._fallbacks(reading, record)
        wanted = list(dict.fromkeys(_items(reading, n, fallbacks)))
        titles = dict.fromkeys(wanted) | await self.titles(record.snapshot, wanted)
        return _lists(reading, n, fallbacks, titles)

    async def _fallbacks(self, reading: Reading, record: Record) -> Sequence[Fallback]:
        """The fallbacks of a generation; any if no result needs one."""
        if self._chain is None or all(map(reading.visible, range(len(reading.results)))):
            return ((POPULAR, record.popular),)
        return await self.fallbacks(record, self._chain)

    async def fallbacks(self, record: Record, chain: Sequence[str]) -> Sequence[Fallback]:
        """The lists of a chain that a generation has, and its popular list at the end if they do not have it."""
        lists = dict(zip(chain, await self.named_lists.read(record.snapshot, chain), strict=True))
        found = {name: items for name, items in lists.items() if items}
        return list((found | {POPULAR: found.get(POPULAR, record.popular)}).items())

    async def named(self, name: str, n: int, record: Record) -> Shown | None:
        """The first `n` places of a named list that are not hidden, with titles; None if there is no such list."""
        [items] = await self.named_lists.read(record.snapshot, [name])
        if items is None:
            items = record.popular if name == POPULAR else None
        if items is None:
            return None
        hidden = (await self.hidden.current()).items
        shown = [item for item in items if item not in hidden]
        titles = dict.fromkeys(shown[:n]) | await self.titles(record.snapshot, shown[:n])
        return name, _same_for_all(shown[:n], titles), left_out(items, shown, n)

    def kept_titles(self, snapshot: str) -> Mapping[str, str | None]:
        """Titles of a snapshot that need not be read: none here."""
        return {}

    async def titles(self, snapshot: str, items: Sequence[str]) -> dict[str, str]:
        """The titles of items, if the data have any."""
        values = await self._sliced("HMGET", items, [self.keys.titles(snapshot)])
        return {item: v.decode(errors="replace") for item, v in zip(items, values, strict=True) if v is not None}


def _result(data: bytes, n: int | None, left: Collection[str], hidden: Collection[str]) -> Result:
    """A result, up to the first `n` places that may be shown or more."""
    if n is None or n < 1:
        return RESULT.decode(data)
    result = RESULT.first(data, n)
    if (left or hidden) and len(_visible(result.items, left, hidden)) < n:
        return RESULT.decode(data)
    return result


def _visible(places: list[ScoredItem], left: Collection[str], hidden: Collection[str]) -> list[ScoredItem]:
    return [place for place in places if place.item not in left and place.item not in hidden]


def left_out(places: Sequence[ScoredItem | str], shown: Sequence[ScoredItem | str], n: int) -> int:
    """How many of the places were left out to find the first `n` of those that may be shown."""
    return len(places) - len(shown) if len(shown) < n else places.index(shown[n - 1]) + 1 - n


def _left(data: bytes) -> Collection[str]:
    """The items of the JSON strings that a user's lists leave out; of invalid bytes none."""
    try:
        return LEFT.decode(b"[" + data[:-2] + b"]")
    except WireError:
        return NOTHING


def _items(reading: Reading, n: int, fallbacks: Sequence[Fallback]) -> Iterable[str]:
    """The items of the first `n` places and their reasons; those of the fallbacks too, if some need them."""
    for at in range(len(reading.results)):
        for place in reading.visible(at)[:n]:
            yield place.item
            yield place.because
    if not all(map(reading.visible, range(len(reading.results)))):
        for _, items in fallbacks:
            yield from items


def _lists(reading: Reading, n: int, fallbacks: Sequence[Fallback], titles: Mapping[str, str | None]) -> list[Shown]:
    """The lists with titles.

    Raises:
        KeyError: the title of an item is not there.
    """
    lists: list[Shown] = []
    hidden, common = reading.hidden, list[Entry]()
    for result, left in zip(reading.results, reading.left, strict=True):
        places, out = result.items if result else NO_ITEMS, 0
        if left or hidden:
            shown = _visible(places, left, hidden)
            places, out = shown, left_out(places, shown, n)
        if places:
            lists.append(("cache", entries_of(places[:n], titles), out))
            continue
        if left or hidden:
            source, items, some = _first_visible(fallbacks, left, hidden)
            out += len(items) - len(some)
            lists.append((source, _same_for_all(some[:n], titles), out))
        else:
            source, items = fallbacks[0]
            common = common or _same_for_all(items[:n], titles)
            lists.append((source, [*common], 0))
    return lists


def _first_visible(
    fallbacks: Sequence[Fallback], left: Collection[str], hidden: Collection[str]
) -> tuple[Source, Sequence[str], list[str]]:
    """The first fallback of which something may be shown, or else the last one; with what may be shown of it."""
    for source, items in fallbacks:
        if some := [item for item in items if item not in left and item not in hidden]:
            return source, items, some
    return (*fallbacks[-1], [])


def entries_of(places: Sequence[ScoredItem], titles: Mapping[str, str | None]) -> list[Entry]:
    """Places with titles.

    Raises:
        KeyError: the title of an item is not there.
    """
    return [Entry(item := p.item, p.score, because := p.because, titles[item], titles[because]) for p in places]


def _same_for_all(items: Sequence[str], titles: Mapping[str, str | None]) -> list[Entry]:
    return [Entry(item, None, None, titles[item], None) for item in items]
