"""Requests with a filter: the best of what passes, from the cached lists where these suffice."""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest

from reckoner.producer.client import caching
from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.recording import Event
from reckoner.shared.errors import UsageError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.results import FILTERED_TTL_S, Answer
from reckoner.shared.store.catalogue import make_catalogue
from reckoner.shared.store.models import open_model
from reckoner.shared.store.snapshots import open_snapshot, write_snapshot
from reckoner.shared.wire.filters import MAX_PLACES, Filter, filter_of
from reckoner.shared.wire.shapes import (
    FILTERED,
    RESULT,
    BasketSpec,
    FilteredResult,
    FitSpec,
    Record,
    Result,
    ScoredItem,
    UserSpec,
)
from tests.interactions import random_interactions
from tests.plain_model import PlainUser, plain_list, plain_mask, plain_users
from tests.proxies import RoundTrips
from tests.system import eventually
from tests.world import ITEMS, LIST_LENGTH, Hand, World

TAGS = ["shoes", "häts", "sale", "a: b", "rare"]
VISITORS = ["a visitor", "zz: another"]


async def fitted(world: World, hand: Hand, *, spare: int = 3) -> Record:
    """A generation of weighted data whose items have tags."""
    store, drawn = world.store, random.Random(9)
    pairs = random_interactions(3, n_users=25, n_items=40, n_pairs=400, weighted=True)
    tags = [
        [tag for tag, share in zip(TAGS, (0.4, 0.3, 0.2, 0.5, 0.03), strict=True) if drawn.random() < share]
        for _ in ITEMS
    ]
    with store.scratch() as scratch:
        snapshot = write_snapshot(
            scratch,
            user_ids=[f"user {number:02}" for number in range(25)],
            item_ids=ITEMS,
            users=np.repeat(np.arange(25), np.diff(pairs.user_ptr)),
            items=pairs.user_items,
            weights=pairs.user_weights,
            times=np.zeros(pairs.user_items.size, np.int64),
            titles=[f"The {item}" for item in ITEMS],
            catalogue=make_catalogue(tags),
        )
        store.publish("snapshots", snapshot, scratch)
    spec = FitSpec(snapshot, "cosine", 6, 1.5, LIST_LENGTH, spare=spare)
    await hand.runtime.flows.create([spec], [hand.runtime.keys.join_fit("filtered")])
    await idle(hand)
    newest = await hand.runtime.results.generations.pointer(hand.runtime.keys.newest)
    assert newest is not None
    return await hand.runtime.record(newest)


async def idle(hand: Hand) -> None:
    """Wait until the worker has done all jobs."""

    async def has_none() -> bool:
        return not await hand.queued()

    await eventually(has_none, every_s=0.005)


class Shop:
    """A generation, and a plain model of its users, tags and hidden items."""

    def __init__(self, hand: Hand, client: OpenReckoner, world: World, record: Record) -> None:
        self.hand, self.client, self.record = hand, client, record
        self.snapshot = open_snapshot(world.store.fetch("snapshots", record.snapshot))
        self._model = open_model(world.store.fetch("models", record.model))
        self._indices = {item: index for index, item in enumerate(ITEMS)}
        self.users = plain_users(self.snapshot)
        self.hidden = set[str]()
        self.tags = {item: set(self.snapshot.catalogue.tags_of(index)) for index, item in enumerate(ITEMS)}

    def passes(self, item: str, wanted: Filter) -> bool:
        tags = self.tags[item]
        return (
            item not in wanted.exclude
            and not tags & {*wanted.without}
            and bool(not wanted.only or tags & {*wanted.only})
        )

    def expected(self, user: PlainUser, wanted: Filter, length: int) -> Result:
        """The best of what passes, by the reference."""
        left_out = self.hidden | {item for item in ITEMS if not self.passes(item, wanted)}
        options = msgspec.structs.replace(self.record.options, list_length=MAX_PLACES if wanted.pool else length)
        best = RESULT.decode(
            plain_list(user, self._model, options, self._indices, left_out, diversity=wanted.diversity)
        )
        items, mask = best.items if wanted.long else best.items[:length], plain_mask(self.hidden)
        most = MAX_PLACES if wanted.long else length
        is_noted = len(items) < most and mask != (self.record.mask or "")
        return msgspec.structs.replace(best, items=items, mask=mask if is_noted else msgspec.UNSET)

    def capped(self, places: Sequence[ScoredItem], most: int) -> list[ScoredItem]:
        """The places of which no tag has more than `most`, from the first on."""
        counts, found = Counter[str](), list[ScoredItem]()
        for place in places:
            if not most or all(counts[tag] < most for tag in self.tags[place.item]):
                counts.update(self.tags[place.item])
                found.append(place)
        return found

    async def change(self, drawn: random.Random) -> None:
        """Some events, a hidden item and a live tag, and all jobs that follow from them."""
        users = drawn.sample([*list(self.users)[:8], *VISITORS], 3)
        events = [
            Event(user, drawn.choice(ITEMS), drawn.choice(["purchase", "view", "dislike"]), 1.0, 5) for user in users
        ]
        for event, answer in zip(events, await self.client.record_many(events), strict=True):
            assert answer.status == "recorded"
            role = {"purchase": "history", "view": "signal", "dislike": "exclude"}[event.type]
            self.users.setdefault(event.user, PlainUser()).add(event.item, role, 1.0, 5_000)
        if drawn.random() < 0.3:
            item = drawn.choice(ITEMS)
            self.hidden.add(item)
            await self.client.catalogue.hide([item])
        if drawn.random() < 0.5:
            item, tag = drawn.choice(ITEMS), drawn.choice(TAGS)
            gone = tag in self.tags[item]
            await self.client.catalogue.tag(item, add=() if gone else [tag], remove=[tag] if gone else ())
            self.tags[item] ^= {tag}
        await idle(self.hand)


def some_filter(drawn: random.Random) -> Filter:
    """A filter that leaves much or little out."""
    only, without = (drawn.sample([*TAGS, "no item has it"], drawn.choice([0, 1, 1, 2])) for _ in range(2))
    exclude = drawn.sample([*ITEMS, "not in the data"], drawn.choice([0, 3, 20, 35]))
    most, diversity = drawn.choice([None, None, 1, 2]), drawn.choice([None, None, 0.3, 1.0])
    return filter_of(only=only, without=without, exclude=exclude, max_per_tag=most, diversity=diversity)


def options_of(wanted: Filter) -> dict[str, Any]:
    """The options of a call with this filter."""
    names = ("only", "without", "exclude", "max_per_tag", "diversity")
    return {name: value for name in names if (value := getattr(wanted, name))}


@pytest.fixture
async def shop(worker: Hand, own_world: World, reckoner: OpenReckoner) -> Shop:
    return Shop(worker, reckoner, own_world, await fitted(own_world, worker))


def shown(answer: Answer) -> list[tuple[str, float | None, str | None]]:
    assert all(entry.title == f"The {entry.item}" for entry in answer.items)
    return [(entry.item, entry.score, entry.because) for entry in answer.items]


@pytest.mark.parametrize(("seed", "tasks"), [(0, 1), (1, 3), (2, 7)])
async def test_a_filtered_list_has_the_best_of_what_passes(shop: Shop, seed: int, tasks: int) -> None:
    """Of users, visitors and baskets, after events, hidden items and live tags; a computed one byte for byte."""
    hand, client, generation = shop.hand, shop.client, shop.record.generation
    settings = msgspec.structs.replace(hand.runtime.settings, tasks_per_job=tasks, chunks=40)
    hand.runtime = replace(hand.runtime, settings=settings)
    hand.worker.ctx["runtime"] = hand.runtime
    drawn, sources = random.Random(seed), set[str]()
    for _ in range(5):
        await shop.change(drawn)
        for _ in range(6):
            wanted, n = some_filter(drawn), drawn.randint(1, LIST_LENGTH)
            choice = options_of(wanted)
            user = drawn.choice([user for user in shop.users if user in VISITORS or user < "user 08"])
            answer = await client.recommend(user, n, **choice)
            sources.add(answer.source)
            best = shop.expected(shop.users[user], wanted.job, shop.record.places)
            if best.items:
                wholly = shop.capped(best.items, wanted.max_per_tag)[:n]
                assert shown(answer) == [(place.item, place.score, place.because) for place in wholly]
                assert answer.source in ("cache", "filtered")
                assert await client.get(user, n, **choice) == answer
                assert (await client.get_many([user, "nobody"], n, **choice))[0] == answer
            else:
                assert not answer.items or answer.source.startswith("popular")
            assert all(shop.passes(entry.item, wanted) for entry in answer.items)
            if answer.source == "filtered":
                await check_bytes(shop, UserSpec(user, generation, wanted.job), best)
            await check_basket(shop, drawn.sample([*ITEMS, "not in the data"], 3), n, wanted)
    assert sources >= {"cache", "filtered", "popular"}


async def check_bytes(shop: Shop, spec: UserSpec | BasketSpec, best: Result) -> None:
    """A filtered list in the cache, and how long it stays there."""
    results, redis = shop.hand.runtime.results, shop.hand.redis
    recent = await ask(redis, "HGET", results.keys.recent_versions, spec.user) if isinstance(spec, UserSpec) else None
    tagging = await ask(redis, "GET", results.keys.tagging_version) if spec.filter and spec.filter.reads_tags else None
    versions = [(version or b"").decode() for version in (recent, tagging)]
    assert await ask(redis, "GET", results.filtered_keys([spec])[0]) == FILTERED.encode(
        FilteredResult(2, best.items, best.unknown, best.mask, *versions)
    )
    assert 0 < await ask(redis, "TTL", results.filtered_keys([spec])[0]) <= FILTERED_TTL_S


async def check_basket(shop: Shop, basket: Sequence[str], n: int, wanted: Filter) -> None:
    choice = options_of(wanted)
    answer = await shop.client.recommend_for(basket, n, **choice)
    visitor = PlainUser(dict.fromkeys(basket, (1.0, 0)), {*basket})
    best = shop.expected(visitor, wanted.job, shop.record.places)
    if best.items:
        found = [(entry.item, entry.score, entry.because) for entry in answer.items]
        wholly = shop.capped(best.items, wanted.max_per_tag)[:n]
        assert found == [(place.item, place.score, place.because) for place in wholly]
    assert answer.unknown == best.unknown
    assert all(shop.passes(entry.item, wanted) for entry in answer.items)
    if answer.source == "filtered":
        await check_bytes(shop, BasketSpec(sorted(basket), shop.record.generation, False, wanted.job), best)


async def test_a_filtered_hit_costs_at_most_two_round_trips(
    shop: Shop, redis_url: str, prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One for the lists, and one for those with the filter if these do not suffice; of one user or of many.

    The first call reads tags and titles too.
    """
    monkeypatch.setattr(caching, "KEPT_S", 1000.0)
    user, *others = [user for user in shop.users if user < "user 09"]
    await shop.client.recommend_many([user, *others], 3, fresh=True)
    computed = await shop.client.recommend(user, LIST_LENGTH, only=["sale"], fresh=True)
    async with RoundTrips(redis_url) as trips, OpenReckoner(trips.url, prefix=prefix) as client:
        await client.generation()

        async def asked(users: Sequence[str], n: int, **choice: Any) -> tuple[set[str], int]:
            trips.since_last()
            many = users[1:]
            answers = await client.get_many(users, n, **choice) if many else [await client.get(users[0], n, **choice)]
            return {answer.source for answer in answers}, trips.since_last()

        kinds: list[tuple[int, dict[str, Any]]] = [(1, {"exclude": ITEMS[:2]}), (2, {"without": ["rare"]})]
        for n, choice in kinds:
            for users in ([user], others):
                assert (await asked(users, n, **choice))[1] <= 3
                assert await asked(users, n, **choice) == ({"cache"}, 1)
        assert (await asked([user], LIST_LENGTH, only=["sale"]))[1] <= 3
        assert await asked([user], LIST_LENGTH, only=["sale"]) == ({"filtered"}, 2)
        assert await client.get(user, LIST_LENGTH, only=["sale"]) == computed


async def test_a_filtered_list_is_served_while_it_is_what_a_job_would_make(shop: Shop) -> None:
    """Until an event of its user, a live tag if it reads tags, or another filter."""
    client, user, other = shop.client, "user 01", "user 02"
    by_tag: dict[str, Any] = {"only": ["sale", "häts"]}
    by_item: dict[str, Any] = {"exclude": ITEMS[::2]}

    async def sources(*users: str) -> list[str]:
        return [(await client.get(user, **choice)).source for user in users for choice in (by_tag, by_item)]

    for each in (user, other):
        await ask(shop.hand.redis, "DEL", client.keys.result(shop.record.generation, each))
        for choice in (by_tag, by_item):
            assert (await client.recommend(each, **choice)).source == "filtered"
    assert await sources(user, other) == ["filtered"] * 4
    assert (await client.get(user, only=["sale"])).source == "popular:sale"
    await client.record(user, "not in the data")
    await idle(shop.hand)
    assert await sources(user, other) == ["cache", "cache", "filtered", "filtered"]
    await client.catalogue.tag("not in the data", add=["sale"])
    assert await sources(other) == ["popular", "filtered"]
    assert (await client.recommend(other, **by_tag)).source == "filtered"
    [first, *_] = (await client.get(other, **by_tag)).items
    await client.catalogue.hide([first.item])
    answer = await client.get(other, **by_tag)
    assert (answer.source, answer.left_out) == ("filtered", 1)
    assert first not in answer.items


async def test_who_has_nothing_that_passes_gets_what_passes_of_a_list_for_all(shop: Shop) -> None:
    """Of that of a single tag, or else of the popular one, with live tags, and without what is hidden."""
    client = shop.client
    lists = [
        (await client.results.named_lists.read(shop.record.snapshot, [name]))[0] for name in ("popular:häts", "popular")
    ]
    hats, popular = [items or [] for items in lists]
    assert len(hats) > 3
    for call in (client.get, client.recommend):
        answer = await call("nobody", 2, only=["häts"])
        assert (answer.source, [entry.item for entry in answer.items]) == ("popular:häts", hats[:2])
        answer = await call("nobody", 5, only=["häts", "sale"], exclude=popular[:1])
        passing = [item for item in popular[1:] if shop.tags[item] & {"häts", "sale"}]
        assert (answer.source, [entry.item for entry in answer.items]) == ("popular", passing[:5])
        assert [entry.title for entry in answer.items] == [f"The {item}" for item in passing[:5]]
        assert (await call("nobody", only=["no item has it"])).items == []
    await client.catalogue.tag(hats[0], remove=["häts"])
    await client.catalogue.hide([hats[1]])
    answers = await client.get_many(["nobody", "nobody else"], 1, only=["häts"])
    assert [[entry.item for entry in answer.items] for answer in answers] == [[hats[2]]] * 2
    assert [answer.left_out for answer in answers] == [2, 2]
    basket = await client.recommend_for([], 1, only=["häts"])
    assert (basket.source, [entry.item for entry in basket.items]) == ("popular:häts", [hats[2]])
    assert await shop.hand.redis.keys(f"{client.keys.prefix}:filtered*") == []


async def test_a_list_without_a_filter_stays_as_it_is(shop: Shop) -> None:
    """A filtered one is cached beside it, and its job is joined by nobody else's."""
    client, user = shop.client, "user 03"
    await client.recommend(user, fresh=True)
    key = client.keys.result(shop.record.generation, user)
    before = await ask(shop.hand.redis, "GET", key)
    answers = await asyncio.gather(
        client.recommend(user, fresh=True, only=["sale"]),
        client.recommend(user, fresh=True),
        client.recommend(user, fresh=True, without=["sale"]),
    )
    assert [answer.source for answer in answers] == ["filtered", "cache", "filtered"]
    assert await ask(shop.hand.redis, "GET", key) == before
    assert not {entry.item for entry in answers[0].items} & {entry.item for entry in answers[2].items}


async def test_an_invalid_filter_is_refused_in_a_sentence(shop: Shop) -> None:
    """By each call, and before anything is enqueued."""
    calls: list[tuple[Any, Any]] = [(shop.client.get, "u"), (shop.client.get_many, ["u"])]
    calls += [(shop.client.recommend, "u"), (shop.client.recommend_for, ["i"])]
    for call, about in calls:
        with pytest.raises(UsageError, match="only is the string 'shoes', but must be a list of tags"):
            await call(about, only="shoes")
    assert await shop.hand.queued() == []


async def test_a_list_is_computed_again_when_what_was_hidden_is_shown(shop: Shop) -> None:
    """If it is too short without it: a user's own, one with a filter, and a basket's; and once only."""
    client, user = shop.client, "user 01"
    shoes: dict[str, Any] = {"only": ["shoes"]}
    catalogue, generation = client.catalogue, shop.record.generation
    whole = {item.item for item in (await client.recommend(user, LIST_LENGTH)).items}
    assert len(whole) == LIST_LENGTH
    shop.hidden = {item for item in ITEMS if item not in [*sorted(whole)][:2]}
    await catalogue.hide(sorted(shop.hidden))
    for call in (client.recommend, client.get):
        assert len((await call(user, LIST_LENGTH)).items) == 2
        await client.recommend(user, LIST_LENGTH, **shoes)
    assert len((await client.recommend_for(ITEMS[:1], LIST_LENGTH)).items) <= 2
    await catalogue.unhide(sorted(shop.hidden))
    assert len((await client.get(user, LIST_LENGTH)).items) == 2
    shop.hidden = set()
    basket = shop.expected(PlainUser({ITEMS[0]: (1.0, 0)}, {ITEMS[0]}), Filter(), LIST_LENGTH)
    found = (await client.recommend_for(ITEMS[:1], LIST_LENGTH)).items
    assert [entry.item for entry in found] == [place.item for place in basket.items]
    assert len(found) > 2
    choices: list[tuple[dict[str, Any], Filter]] = [({}, Filter()), (shoes, Filter(("shoes",)))]
    for choice, wanted in choices:
        best = shop.expected(shop.users[user], wanted, LIST_LENGTH)
        for call in (client.recommend, client.get, client.recommend):
            answer = await call(user, LIST_LENGTH, **choice)
            assert shown(answer) == [(place.item, place.score, place.because) for place in best.items], choice
        flows = await ask(shop.hand.redis, "KEYS", client.keys.flow("*"))
        await client.recommend(user, LIST_LENGTH, **choice)
        assert await ask(shop.hand.redis, "KEYS", client.keys.flow("*")) == flows
    assert b"mask" not in await ask(shop.hand.redis, "GET", client.keys.result(generation, user))
