"""Lists with a filter: from the cached lists where these suffice, or else computed with the filter."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain, compress, islice
from operator import attrgetter
from typing import NamedTuple, TypeVar

from reckoner.producer.client.answers import BasketAnswer
from reckoner.producer.client.asking import Asking
from reckoner.producer.client.caching import CachingResults
from reckoner.producer.client.calls import places_wanted
from reckoner.producer.client.questions import basket_spec
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.list_names import POPULAR
from reckoner.shared.serving.results import Answer, Entry, Reading, Shown, entries_of, left_out
from reckoner.shared.wire.filters import Filter
from reckoner.shared.wire.shapes import BasketSpec, Record, ScoredItem, UserSpec

T = TypeVar("T")
Tagged = Mapping[str, Collection[str]]
ITEM_OF = attrgetter("item")
# The filters whose verdicts are kept.
MAX_KEPT = 16


class Choice(NamedTuple):
    """The places of a list that may be shown, where they come from, and whether they are the best of all items."""

    source: str
    places: list[ScoredItem]
    left_out: int
    unknown: list[str]
    suffices: bool


NO_LIST = Choice("cache", [], 0, [], False)


class Asked(NamedTuple):
    """What a request asks for: `n` places by a rule, in a generation, with the live tags of a version."""

    rule: "Rule"
    n: int
    record: Record
    tagging: bytes

    @property
    def tags_of(self) -> tuple[str, bytes]:
        """The snapshot and the version of the live tags, for `CachingResults.kept_tags`."""
        return self.record.snapshot, self.tagging


class Filtering:
    """Answers with a filter. A filtered list of `results` is used while what it was computed with is the same."""

    def __init__(self, results: CachingResults, asking: Asking) -> None:
        self._results = results
        self._asking = asking
        self._verdicts = dict[tuple[frozenset[str], frozenset[str]], Verdicts]()

    async def read(
        self, users: Sequence[str], n: int | None, wanted: Filter, record: Record | None = None
    ) -> list[Answer]:
        """What the cache holds of users' lists, or a list for all users; creates no jobs."""
        asked, reading = await self._read(users, n, Rule(wanted), record)
        chosen = await self._chosen(users, reading, asked)
        return _answers(users, chosen, await self._shown(chosen, reading, asked), asked)

    async def computed(
        self, users: Sequence[str], n: int | None, wanted: Filter, *, fresh: bool, record: Record | None = None
    ) -> tuple[list[Answer], dict[str, Flow | None]]:
        """The lists of users, computed where the cached ones do not suffice, or always if `fresh`.

        Returns:
            The lists of the users whose jobs succeeded; and the flow for each other user, None if Redis lost the job.
        """
        asked, reading = await self._read(users, n, Rule(wanted), record)
        chosen = dict(zip(users, await self._chosen(users, reading, asked), strict=True))
        left = dict(zip(users, reading.left, strict=True))
        missing = [user for user, choice in chosen.items() if fresh or not choice.suffices]
        failed: dict[str, Flow | None] = {}
        if missing:
            generation, job = asked.record.generation, asked.rule.job
            found, failed = await self._asking.lists(missing, generation, fresh=True, wanted=job)
            lists = Reading([found.get(user) for user in missing], [left[user] for user in missing], reading.hidden)
            chosen |= zip(missing, await self._choose(lists, asked, filtered=True), strict=True)
        done = [user for user in users if user not in failed]
        some, reading = [chosen[user] for user in done], Reading([], [left[user] for user in done], reading.hidden)
        return _answers(done, some, await self._shown(some, reading, asked), asked), failed

    async def basket(self, basket: list[str], n: int | None, wanted: Filter) -> BasketAnswer:
        """The first `n` places of a basket's list; an empty basket gets a list for all users without a job."""
        results, rule = self._results, Rule(wanted)
        record, now, tagging = await asyncio.gather(results.current(), results.hidden.current(), results.tags.version())
        asked = Asked(rule, places_wanted(n, record), record, tagging)
        reading, choice, items = Reading([], [basket], now.items), Choice("cache", [], 0, [], True), list[str]()
        if basket:
            spec = basket_spec(basket, record)
            choice, items = await self._basket(spec, reading, asked), spec.items
        [(source, shown, out)] = await self._shown([choice], reading, asked)
        return BasketAnswer(items, record.generation, source, shown, choice.unknown, out)

    async def _basket(self, spec: BasketSpec, reading: Reading, asked: Asked) -> Choice:
        wanted = BasketSpec(spec.items, spec.generation, spec.ordered, asked.rule.job)
        own = reading._replace(results=[await self._results.read_basket(spec)])
        [choice] = await self._better([wanted], own, await self._choose(own, asked), asked)
        if not choice.suffices:
            computed = reading._replace(results=[await self._asking.filtered_basket(wanted)])
            [choice] = await self._choose(computed, asked, filtered=True)
        return choice

    async def _read(
        self, users: Sequence[str], n: int | None, rule: "Rule", record: Record | None
    ) -> tuple[Asked, Reading]:
        """Users' lists and the version of the live tags: one round trip if the pointer is kept."""
        results = self._results
        if record is None:
            (now, reading), tagging = await asyncio.gather(results.read_current(users), results.tags.version())
        else:
            now, shown = record, results.read_shown(record.generation, users)
            reading, tagging = await asyncio.gather(shown, results.tags.version())
        return Asked(rule, places_wanted(n, now), now, tagging), reading

    async def _chosen(self, users: Sequence[str], reading: Reading, asked: Asked) -> list[Choice]:
        """What passes of users' lists, or of the lists with the filter where that does not suffice."""
        specs = [UserSpec(user, asked.record.generation, asked.rule.job) for user in users]
        return await self._better(specs, reading, await self._choose(reading, asked), asked)

    async def _better(
        self, specs: Sequence[UserSpec | BasketSpec], reading: Reading, chosen: list[Choice], asked: Asked
    ) -> list[Choice]:
        """The choices that suffice; and for the others those of lists with the filter, where these are cached."""
        short = [at for at, choice in enumerate(chosen) if not choice.suffices]
        if not short:
            return chosen
        filtered = await self._results.read_fresh([specs[at] for at in short], asked.tagging)
        found = {at: result for at, result in zip(short, filtered, strict=True) if result is not None}
        lists = Reading([*found.values()], [reading.left[at] for at in found], reading.hidden)
        better = dict(zip(found, await self._choose(lists, asked, filtered=True), strict=True))
        return [better.get(at, choice) for at, choice in enumerate(chosen)]

    async def _choose(self, reading: Reading, asked: Asked, *, filtered: bool = False) -> list[Choice]:
        """For each result what passes of it; `filtered` says that they were computed with the filter."""
        visible = [reading.visible(at) for at in range(len(reading.results))]
        try:
            tags = self._results.kept_tags(*asked.tags_of)
            return self._choices(reading, visible, tags, asked, filtered=filtered)
        except KeyError:
            items = [place.item for places in visible for place in places]
            tags = await self._tags(items, asked, chain(*visible))
            return self._choices(reading, visible, tags, asked, filtered=filtered)

    def _choices(
        self, reading: Reading, visible: Sequence[list[ScoredItem]], tags: Tagged, asked: Asked, *, filtered: bool
    ) -> list[Choice]:
        """What passes of the visible places of results.

        Raises:
            KeyError: the tags of an item are not there.
        """
        rule, n, verdicts = asked.rule, asked.n, self._verdicts_of(asked.rule, tags)
        source, most = ("filtered", rule.job.pool) if filtered else ("cache", 0)
        most = max(asked.record.places, most if rule.job.long else 0)
        judges, chosen = rule.caps or not filtered, list[Choice]()
        for result, shown in zip(reading.results, visible, strict=True):
            if result is None:
                chosen.append(NO_LIST)
                continue
            places = rule.passing(shown, ITEM_OF, verdicts, n) if judges else shown
            count = len(result.items)
            suffices = len(places) >= n or self._results.is_whole(result, most, reading, asked.record)
            # Another job would find the same if all candidates are in the list.
            suffices = suffices or (filtered and len(shown) == count >= most)
            if rule.job.diversity and not filtered:
                suffices = not count
            chosen.append(Choice(source, places, left_out(result.items, places, n), result.unknown, suffices))
        return chosen

    def _verdicts_of(self, rule: "Rule", tags: Tagged) -> "Verdicts":
        """The verdicts of a rule; those of other requests with the same tags, while the items have the same."""
        key = rule.only, rule.without
        kept = self._verdicts.get(key)
        if kept is None or kept.tags is not tags:
            kept = Verdicts(rule, tags)
            if len(self._verdicts) >= MAX_KEPT:
                self._verdicts.clear()
            self._verdicts[key] = kept
        return kept

    async def _shown(self, chosen: Sequence[Choice], reading: Reading, asked: Asked) -> list[Shown]:
        """The first places with titles; of a list for all users where there are none."""
        n, snapshot = asked.n, asked.record.snapshot
        is_whole = all(choice.places for choice in chosen)
        fallback = [] if is_whole else await self._for_all(reading.hidden, asked)
        try:
            return _shown(chosen, reading, fallback, n, self._results.kept_titles(snapshot))
        except KeyError:
            places = chain.from_iterable(choice.places[:n] for choice in chosen)
            items = [text for place in places for text in (place.item, place.because)]
            wanted = list(dict.fromkeys((*items, *(item for _, items, _ in fallback for item in items))))
            titles = dict.fromkeys(wanted) | await self._results.titles(snapshot, wanted)
            return _shown(chosen, reading, fallback, n, titles)

    async def _for_all(self, hidden: Collection[str], asked: Asked) -> list[tuple[str, list[str], int]]:
        """What passes of the lists for all users, and how much does not: that of a single tag, and the fallback."""
        rule, record = asked.rule, asked.record
        names = [f"{POPULAR}:{tag}" for tag in rule.only] if len(rule.only) == 1 else []
        names = list(dict.fromkeys((*names, *self._results.chain, POPULAR)))
        lists = await self._results.named_lists.read(record.snapshot, names)
        found = [items or (record.popular if name == POPULAR else []) for name, items in zip(names, lists, strict=True)]
        tags = await self._tags(list(chain.from_iterable(found)), asked, ())
        verdicts = Verdicts(rule, tags)
        passing = [rule.passing([item for item in items if item not in hidden], str, verdicts) for items in found]
        out = [len(items) - len(some) for items, some in zip(found, passing, strict=True)]
        return list(zip(names, passing, out, strict=True))

    async def _tags(self, items: Sequence[str], asked: Asked, shown: Iterable[ScoredItem]) -> Tagged:
        """The tags of items now, if the filter needs them; with them come the titles of `shown` places."""
        if not asked.rule.reads_tags:
            return {}
        snapshot, kept = asked.record.snapshot, self._results.kept_tags(asked.record.snapshot, asked.tagging)
        if all(item in kept for item in items):
            return kept
        tags, _ = await asyncio.gather(
            self._results.read_tags(snapshot, asked.tagging, items), self._titles(shown, asked)
        )
        return tags

    async def _titles(self, shown: Iterable[ScoredItem], asked: Asked) -> Mapping[str, str]:
        items = dict.fromkeys(text for place in shown for text in (place.item, place.because))
        return await self._results.titles(asked.record.snapshot, list(items))


class Verdicts(dict[str, bool]):
    """Whether items pass a rule by their tags: found when it is asked for, and then kept."""

    def __init__(self, rule: "Rule", tags: Tagged) -> None:
        super().__init__()
        self.tags = tags
        self._only, self._without = rule.only, rule.without

    def __missing__(self, item: str) -> bool:
        """The verdict of an item that was not asked for yet.

        Raises:
            KeyError: the tags of the item are not there.
        """
        tags = self.tags[item]
        passes = (not self._only or not self._only.isdisjoint(tags)) and self._without.isdisjoint(tags)
        self[item] = passes
        return passes


class Rule:
    """Which items pass a filter, by the sets of its tags and items."""

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.job = wanted.job
        self.caps = wanted.max_per_tag > 0
        self.reads_tags = wanted.reads_tags or self.caps
        self.only, self.without = frozenset(wanted.only), frozenset(wanted.without)
        self._exclude = frozenset(wanted.exclude)

    def passing(self, items: list[T], item_of: Callable[[T], str], verdicts: Verdicts, n: int | None = None) -> list[T]:
        """What passes of a list, in its order, at most `n`; of a tag only the first ones, if there is a limit.

        Raises:
            KeyError: the tags of an item are not there.
        """
        if self._exclude:
            items = [each for each in items if item_of(each) not in self._exclude]
        if self.caps:
            items = self._capped(self._tagged(items, item_of, verdicts), item_of, verdicts.tags)
        elif self.only or self.without:
            return list(islice(self._tagged(items, item_of, verdicts), n))
        return items[:n]

    def _tagged(self, items: list[T], item_of: Callable[[T], str], verdicts: Verdicts) -> Iterable[T]:
        """What passes by its tags: looked at when it is asked for."""
        if not (self.only or self.without):
            return items
        return compress(items, map(verdicts.__getitem__, map(item_of, items)))

    def _capped(self, items: Iterable[T], item_of: Callable[[T], str], tags: Tagged) -> list[T]:
        found, counts, most = list[T](), Counter[str](), self.wanted.max_per_tag
        for each in items:
            its_tags = tags[item_of(each)]
            if all(counts[tag] < most for tag in its_tags):
                counts.update(its_tags)
                found.append(each)
        return found


def _shown(
    chosen: Sequence[Choice],
    reading: Reading,
    fallback: Sequence[tuple[str, list[str], int]],
    n: int,
    titles: Mapping[str, str | None],
) -> list[Shown]:
    """The first places with titles; of a list for all users where there are none.

    Raises:
        KeyError: the title of an item is not there.
    """
    lists: list[Shown] = []
    for choice, left in zip(chosen, reading.left, strict=True):
        if choice.places:
            lists.append((choice.source, entries_of(choice.places[:n], titles), choice.left_out))
            continue
        rest = [(name, [item for item in items if item not in left], items, out) for name, items, out in fallback]
        name, some, whole, out = next((each for each in rest if each[1]), rest[-1])
        shown = [Entry(item, None, None, titles[item], None) for item in some[:n]]
        lists.append((name, shown, choice.left_out + out + len(whole) - len(some)))
    return lists


def _answers(users: Sequence[str], chosen: Sequence[Choice], shown: Sequence[Shown], asked: Asked) -> list[Answer]:
    return [
        Answer(user, asked.record.generation, *of_user, choice.unknown)
        for user, choice, of_user in zip(users, chosen, shown, strict=True)
    ]
