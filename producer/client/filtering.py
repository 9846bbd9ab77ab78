"""Lists with a filter: from the cached lists where these suffice, or else computed with the filter."""

import asyncio
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import NamedTuple, TypeVar

from reckoner.producer.client.answers import BasketAnswer
from reckoner.producer.client.asking import Asking
from reckoner.producer.client.caching import CachingResults
from reckoner.producer.client.calls import places_wanted
from reckoner.producer.client.questions import basket_spec
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.list_names import POPULAR
from reckoner.shared.serving.results import Answer, Entry, Reading, Shown
from reckoner.shared.wire.filters import Filter
from reckoner.shared.wire.shapes import BasketResult, BasketSpec, FilteredResult, Record, Result, ScoredItem, UserSpec

T = TypeVar("T")
Tagged = Mapping[str, Collection[str]]


class Choice(NamedTuple):
    """The places of a list that may be shown, where they come from, and whether they are the best of all items."""

    source: str
    places: list[ScoredItem]
    left_out: int
    unknown: list[str]
    suffices: bool


class Asked(NamedTuple):
    """What a request asks for: `n` places by a rule, in a generation, with the live tags of a version."""

    rule: "Rule"
    n: int
    record: Record
    tagging: bytes


class Filtering:
    """Answers with a filter. A filtered list of `results` is used while what it was computed with is the same."""

    def __init__(self, results: CachingResults, asking: Asking) -> None:
        self._results = results
        self._asking = asking

    async def read(
        self, users: Sequence[str], n: int | None, wanted: Filter, record: Record | None = None
    ) -> list[Answer]:
        """What the cache holds of users' lists, or a list for all users; creates no jobs."""
        asked, reading, filtered = await self._read(users, n, Rule(wanted), record)
        chosen = await self._choose(reading, filtered, asked)
        return _answers(users, chosen, await self._shown(chosen, reading, asked), asked)

    async def computed(
        self, users: Sequence[str], n: int | None, wanted: Filter, *, fresh: bool, record: Record | None = None
    ) -> tuple[list[Answer], dict[str, Flow | None]]:
        """The lists of users, computed where the cached ones do not suffice, or always if `fresh`.

        Returns:
            The lists of the users whose jobs succeeded; and the flow for each other user, None if Redis lost the job.
        """
        asked, reading, filtered = await self._read(users, n, Rule(wanted), record)
        chosen = dict(zip(users, await self._choose(reading, filtered, asked), strict=True))
        left = dict(zip(users, reading.left, strict=True))
        missing = [user for user, choice in chosen.items() if fresh or not choice.suffices]
        failed: dict[str, Flow | None] = {}
        if missing:
            generation, job = asked.record.generation, asked.rule.job
            found, failed = await self._asking.lists(missing, generation, fresh=True, wanted=job)
            lists = Reading([None] * len(missing), [left[user] for user in missing], reading.hidden)
            computed = await self._choose(lists, [found.get(user) for user in missing], asked)
            chosen |= zip(missing, computed, strict=True)
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
        [(source, shown, left_out)] = await self._shown([choice], reading, asked)
        return BasketAnswer(items, record.generation, source, shown, choice.unknown, left_out)

    async def _basket(self, spec: BasketSpec, reading: Reading, asked: Asked) -> Choice:
        wanted = BasketSpec(spec.items, spec.generation, spec.ordered, asked.rule.job)
        result, (found, _) = await asyncio.gather(
            self._results.read_basket(spec), self._results.read_filtered_and_tagging([wanted])
        )
        filtered = await self._fresh([wanted], found, asked)
        [choice] = await self._choose(reading._replace(results=[result]), filtered, asked)
        if not choice.suffices:
            computed = await self._asking.filtered_basket(wanted)
            [choice] = await self._choose(reading._replace(results=[None]), [computed], asked)
        return choice

    async def _read(
        self, users: Sequence[str], n: int | None, rule: "Rule", record: Record | None
    ) -> tuple[Asked, Reading, Sequence[FilteredResult | None]]:
        """Users' lists and those with the filter: one round trip if the pointer is kept."""
        results, guess = self._results, record or self._results.kept_record
        if record is not None:
            now = record
            reading, (filtered, tagging) = await asyncio.gather(
                results.read_shown(record.generation, users), self._read_filtered(users, rule, record)
            )
        elif guess is None:
            now, reading = await results.read_current(users)
            filtered, tagging = await self._read_filtered(users, rule, now)
        else:
            (now, reading), (filtered, tagging) = await asyncio.gather(
                results.read_current(users), self._read_filtered(users, rule, guess)
            )
            if now.generation != guess.generation:
                filtered, tagging = await self._read_filtered(users, rule, now)
        asked = Asked(rule, places_wanted(n, now), now, tagging)
        return asked, reading, await self._fresh(_specs(users, rule, now), filtered, asked)

    async def _read_filtered(
        self, users: Sequence[str], rule: "Rule", record: Record
    ) -> tuple[Sequence[FilteredResult | None], bytes]:
        return await self._results.read_filtered_and_tagging(_specs(users, rule, record))

    async def _fresh(
        self, specs: Sequence[UserSpec | BasketSpec], filtered: Sequence[FilteredResult | None], asked: Asked
    ) -> Sequence[FilteredResult | None]:
        """Of filtered lists those that are as a job would make them now, None for the others."""
        if not any(filtered):
            return filtered
        places = chain.from_iterable(result.items for result in filtered if result)
        # With the versions, titles need no further round trip.
        fresh, _ = await asyncio.gather(
            self._results.fresh(specs, filtered, asked.tagging), self._titles(places, asked)
        )
        return fresh

    async def _choose(self, reading: Reading, filtered: Sequence[Result | None], asked: Asked) -> list[Choice]:
        """For each result what passes of the one with the filter, or else of the other one."""
        results = [own if found is None else found for own, found in zip(reading.results, filtered, strict=True)]
        reading = reading._replace(results=results)
        visible = [reading.visible(at) for at in range(len(results))]
        judged = [places for places, found in zip(visible, filtered, strict=True) if found is None or asked.rule.caps]
        tags = await self._tags([place.item for places in judged for place in places], asked, chain(*visible))
        return [
            _choice(result, found is not None, places, tags, asked)
            for result, found, places in zip(results, filtered, visible, strict=True)
        ]

    async def _shown(self, chosen: Sequence[Choice], reading: Reading, asked: Asked) -> list[Shown]:
        """The first places with titles; of a list for all users where there are none."""
        n, snapshot = asked.n, asked.record.snapshot
        is_whole = all(choice.places for choice in chosen)
        fallback = [] if is_whole else await self._for_all(reading.hidden, asked)
        titles = await self._titles(chain.from_iterable(choice.places[:n] for choice in chosen), asked)
        common = list(dict.fromkeys(item for _, items, _ in fallback for item in items))
        titles_for_all = await self._results.titles(snapshot, common) if common else {}
        lists: list[Shown] = []
        for choice, left in zip(chosen, reading.left, strict=True):
            if choice.places:
                entries = [
                    Entry(place.item, place.score, place.because, titles.get(place.item), titles.get(place.because))
                    for place in choice.places[:n]
                ]
                lists.append((choice.source, entries, choice.left_out))
                continue
            rest = [(name, [item for item in items if item not in left], items, out) for name, items, out in fallback]
            name, some, whole, out = next((each for each in rest if each[1]), (POPULAR, [], [], 0))
            left_out = choice.left_out + out + len(whole) - len(some)
            entries = [Entry(item, None, None, titles_for_all.get(item), None) for item in some[:n]]
            lists.append((name, entries, left_out))
        return lists

    async def _for_all(self, hidden: Collection[str], asked: Asked) -> list[tuple[str, list[str], int]]:
        """What passes of the lists for all users, and how much does not: that of a single tag, and the fallback."""
        rule, record = asked.rule, asked.record
        names = [f"{POPULAR}:{tag}" for tag in rule.only] if len(rule.only) == 1 else []
        names = list(dict.fromkeys((*names, *self._results.chain, POPULAR)))
        lists = await self._results.named_lists.read(record.snapshot, names)
        found = [items or (record.popular if name == POPULAR else []) for name, items in zip(names, lists, strict=True)]
        tags = await self._tags(list(chain.from_iterable(found)), asked, ())
        passing = [rule.passing((item for item in items if item not in hidden), str, tags) for items in found]
        out = [len(items) - len(some) for items, some in zip(found, passing, strict=True)]
        return list(zip(names, passing, out, strict=True))

    async def _tags(self, items: Sequence[str], asked: Asked, shown: Iterable[ScoredItem]) -> Tagged:
        """The tags of items now, if the filter needs them; with them come the titles of `shown` places."""
        if not (asked.rule.only or asked.rule.without or asked.rule.caps):
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


class Rule:
    """Which items pass a filter, by the sets of its tags and items."""

    def __init__(self, wanted: Filter) -> None:
        self.wanted = wanted
        self.job = wanted.job
        self.caps = wanted.max_per_tag > 0
        self.only, self.without = frozenset(wanted.only), frozenset(wanted.without)
        self._exclude = frozenset(wanted.exclude)

    def passing(self, items: Iterable[T], item_of: Callable[[T], str], tags: Tagged) -> list[T]:
        """What passes of a list, in its order: of a tag only the first ones, if there is a limit."""
        only, without, exclude = self.only, self.without, self._exclude
        if exclude:
            items = [each for each in items if item_of(each) not in exclude]
        if only:
            items = [each for each in items if not only.isdisjoint(tags.get(item_of(each), ()))]
        if without:
            items = [each for each in items if without.isdisjoint(tags.get(item_of(each), ()))]
        return self._capped(items, item_of, tags) if self.caps else list(items)

    def _capped(self, items: Iterable[T], item_of: Callable[[T], str], tags: Tagged) -> list[T]:
        found, counts, most = list[T](), Counter[str](), self.wanted.max_per_tag
        for each in items:
            its_tags = tags.get(item_of(each), ())
            if all(counts[tag] < most for tag in its_tags):
                counts.update(its_tags)
                found.append(each)
        return found


def _specs(users: Sequence[str], rule: Rule, record: Record) -> list[UserSpec]:
    return [UserSpec(user, record.generation, rule.job) for user in users]


def _choice(
    result: Result | BasketResult | None,
    is_filtered: bool,
    visible: Sequence[ScoredItem],
    tags: Tagged,
    asked: Asked,
) -> Choice:
    """What passes of the visible places of a result, with the filter or without it."""
    source = "filtered" if is_filtered else "cache"
    if result is None:
        return Choice(source, [], 0, [], False)
    rule, most, places = asked.rule, asked.record.places, visible
    if is_filtered:
        most = max(most, rule.job.pool) if rule.job.long else most
    if rule.caps or not is_filtered:
        places = rule.passing(visible, attrgetter("item"), tags)
    # A list with fewer places than there may be has all candidates. Another job would only leave out what is hidden.
    suffices = len(places) >= asked.n or len(result.items) < most or (is_filtered and len(visible) == len(result.items))
    if rule.job.diversity and not is_filtered:
        suffices = not result.items
    return Choice(source, [*places], len(result.items) - len(places), result.unknown, suffices)


def _answers(users: Sequence[str], chosen: Sequence[Choice], shown: Sequence[Shown], asked: Asked) -> list[Answer]:
    return [
        Answer(user, asked.record.generation, *of_user, choice.unknown)
        for user, choice, of_user in zip(users, chosen, shown, strict=True)
    ]
