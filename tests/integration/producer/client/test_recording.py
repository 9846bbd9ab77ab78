"""Recorded events, hidden items and logins as applications use them, with a working worker."""

import asyncio
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from reckoner import Event, EventRefusedError, HistoryTooLongError, Recorded, Rotation, UsageError, parse_event_types
from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import MOST_HIDES, MOST_RECENT
from reckoner.shared.wire.shapes import EVENT
from tests.patience import PATIENCE_S
from tests.system import eventually
from tests.world import ITEMS, LIST_LENGTH, USERS, Generation, Hand

TYPES = parse_event_types('{"cart": {"weight": 2, "role": "signal"}}')


@pytest.fixture
async def reckoner(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    async with (
        OpenReckoner(redis_url, prefix=prefix, event_types=TYPES, max_events=20) as client,
        asyncio.timeout(PATIENCE_S),
    ):
        yield client


async def shown(reckoner: OpenReckoner, user: str) -> list[str]:
    return [entry.item for entry in (await reckoner.get(user, LIST_LENGTH)).items]


async def stored(reckoner: OpenReckoner, user: str) -> list[Any]:
    entries = await ask(reckoner.redis, "LRANGE", reckoner.keys.recent(user), 0, -1)
    return [EVENT.decode(entry.partition(b" ")[2]) for entry in entries]


async def test_what_somebody_has_just_had_is_gone_from_the_next_read(
    reckoner: OpenReckoner, generation: Generation
) -> None:
    """And counts in the next list; what was merely viewed stays."""
    before = await reckoner.recommend("Ada", LIST_LENGTH)
    bought, viewed = before.items[0].item, before.items[1].item
    assert await reckoner.record("Ada", bought, type="purchase") == Recorded("recorded")
    answer = await reckoner.get("Ada", LIST_LENGTH)
    assert bought not in [entry.item for entry in answer.items]
    assert await reckoner.record("Ada", viewed, type="view") == Recorded("recorded")

    async def is_new() -> bool:
        answer = await reckoner.get("Ada", LIST_LENGTH)
        return answer.left_out == 0 and len(answer.items) == LIST_LENGTH

    await eventually(is_new)
    assert bought not in await shown(reckoner, "Ada")
    assert (await reckoner.get("Ada")).generation == generation.id


async def test_a_visitor_has_a_list_after_one_event(reckoner: OpenReckoner, generation: Generation) -> None:
    """Like a basket, under a name of their own, with what no model knows named; a login takes it over."""
    assert (await reckoner.recommend("a visitor")).source == "popular"
    await reckoner.record_many([Event("a visitor", ITEMS[3]), Event("a visitor", "of today")])
    answer = await reckoner.recommend("a visitor", LIST_LENGTH, fresh=True)
    assert (answer.source, answer.unknown) == ("cache", ["of today"])
    basket = await reckoner.recommend_for([ITEMS[3]], LIST_LENGTH)
    assert answer.items == basket.items
    assert await reckoner.merge("a visitor", "Grace") == 2
    assert (await reckoner.recommend("Grace", LIST_LENGTH, fresh=True)).items == basket.items
    assert await reckoner.merge("a visitor", "Grace") == 0
    with pytest.raises(UsageError, match="are the same"):
        await reckoner.merge("Grace", "Grace")


async def test_each_event_is_answered(reckoner: OpenReckoner, generation: Generation) -> None:
    """In the order of the call, with the reason of a refusal; the others are recorded."""
    good = Event("Ada", ITEMS[0], "cart", 1.5, datetime(2026, 11, 30, 12, tzinfo=UTC), "an id")
    events: dict[Event, str] = {
        good: "",
        Event("Zoe", ITEMS[0], id="an id"): "",
        Event("Ada", ITEMS[0], "carts"): "none of cart, dislike, interaction, purchase, view. Do you mean cart?",
        Event("Ada", ITEMS[0], weight=0): "not above 0",
        Event("Ada", ITEMS[0], weight=math.nan): "not above 0",
        Event("Ada", ITEMS[0], time=datetime(2026, 11, 30)): "has no time zone",
        Event("Ada", ITEMS[0], time=math.inf): "neither a datetime nor seconds",
        Event("Ada", ITEMS[0], time=1e15): "outside the calendar",
        Event("Ada", ""): "item '' is empty",
        Event("", ITEMS[0]): "user '' is empty",
        Event("Ada", ITEMS[1], "dislike", time=12.5): "",
    }
    answers = await reckoner.record_many([*events])
    assert [answer.status for answer in answers] == ["recorded", "seen", *["refused"] * 8, "recorded"]
    for answer, reason in zip(answers, events.values(), strict=True):
        assert reason in answer.reason, answer
    cart, dislike = await stored(reckoner, "Ada")
    assert (cart.item, cart.role, cart.weight, cart.type) == (ITEMS[0], "signal", 3.0, "cart")
    assert cart.time_ms == 1_796_040_000_000
    assert (dislike.role, dislike.time_ms) == ("exclude", 12_500)
    with pytest.raises(EventRefusedError, match="Do you mean cart"):
        await reckoner.record("Ada", ITEMS[0], type="carts")


async def test_of_a_repeated_id_the_first_event_is_recorded(reckoner: OpenReckoner) -> None:
    """Whoever's it is, also if it finds no room; a refused one does not count."""
    rows = [Event("zz", "i", "none", id="a"), Event("zz", "i", id="a"), Event("aa", "i"), Event("aa", "i", id="a")]
    assert [answer.status for answer in await reckoner.record_many(rows)] == ["refused", "recorded", "recorded", "seen"]
    assert [len(await stored(reckoner, user)) for user in ("aa", "zz")] == [1, 1]
    await reckoner.record_many([Event("Ada", "i")] * 18)
    answers = await reckoner.record_many([Event("zz", "i", id="b"), Event("aa", "i", id="b"), Event("aa", "i", id="a")])
    assert [(answer.status, answer.is_full) for answer in answers] == [("refused", True)] * 2 + [("seen", False)]


async def test_a_number_beyond_all_bounds_is_refused_alone(reckoner: OpenReckoner) -> None:
    """Also one that no float holds, or that Python does not print; and what is no event at all."""
    reasons: dict[Any, str] = {
        Event("Ada", "i", weight=10**400): "at most",
        Event("Ada", "i", weight=-(10**400)): "not above 0",
        Event("Ada", "i", weight=10**5000): "at most",
        Event("Ada", "i", weight=1e308): "at most",
        Event("Ada", "i", time=10**400): "outside the calendar",
        Event("Ada", "i", time=1e308): "outside the calendar",
        Event("Ada", "i", id=0): "event 0 is not a str",  # type: ignore[arg-type]
        "Ada": "'Ada' is no Event",
        Event("Ada", "i"): "",
    }
    rows: list[Any] = [*reasons, {"user": "Ada", "item": "i"}]
    answers = await reckoner.record_many(rows)
    assert [answer.status for answer in answers] == ["refused"] * 8 + ["recorded", "refused"]
    for answer, reason in zip(answers, [*reasons.values(), "is no Event, as in Event("], strict=True):
        assert reason in answer.reason, answer
    with pytest.raises(EventRefusedError, match="outside the calendar"):
        await reckoner.record("Ada", "i", time=10**400)
    with pytest.raises(UsageError, match="outside the calendar"):
        await reckoner.catalogue.hide(["i"], until=10**400)
    for single in (Event("Ada", "i"), None):
        with pytest.raises(UsageError, match=r"Expected a list of events, but got .*\. Put it into a list"):
            await reckoner.record_many(single)  # type: ignore[arg-type]


async def test_too_many_events_are_pushed_back(reckoner: OpenReckoner, generation: Generation) -> None:
    """Nothing is dropped: what is recorded stays, and the rest is refused with what to do."""
    answers = await reckoner.record_many([Event(f"user {number % 7}", ITEMS[0]) for number in range(30)])
    assert [answer.status for answer in answers].count("recorded") == 20
    assert {answer.reason for answer in answers if answer.status == "refused"} == {
        "Redis holds 20 events that no live list counts yet. Import them with `reckoner import --events`, or raise "
        "RECKONER_MAX_EVENTS."
    }
    assert await ask(reckoner.redis, "XLEN", reckoner.keys.event_stream) == 20


async def test_hidden_items_are_shown_to_nobody(reckoner: OpenReckoner, generation: Generation) -> None:
    """At the next read, in lists, popular lists, baskets and neighbours; for one user, until it is undone."""
    first = await reckoner.recommend_many(USERS, LIST_LENGTH)
    hidden = {answer.items[0].item for answer in first}
    assert await reckoner.catalogue.hide([*hidden]) == len(hidden)
    assert [item.item for item in await reckoner.catalogue.hidden()] == sorted(hidden)
    calls: list[Callable[[], Awaitable[Any]]] = [
        lambda: reckoner.get_many([*USERS, "nobody"], LIST_LENGTH),
        lambda: reckoner.recommend_many([*USERS, "nobody"], LIST_LENGTH),
    ]
    for call in calls:
        for answer in await call():
            assert not hidden & {entry.item for entry in answer.items}
            assert answer.left_out or len(answer.items) == LIST_LENGTH
    # What was short has been computed anew.
    for answer in await reckoner.get_many(USERS, LIST_LENGTH):
        assert answer.source != "cache" or (len(answer.items), answer.left_out) == (LIST_LENGTH, 0)
    basket = await reckoner.recommend_for([ITEMS[3]], LIST_LENGTH)
    assert not hidden & {entry.item for entry in basket.items}
    near = await reckoner.similar(ITEMS[3], 5)
    assert not hidden & {neighbour.item for neighbour in near.items}
    assert await reckoner.catalogue.replace_hidden([]) == 0
    assert {entry.item for entry in (await reckoner.get("Ada", LIST_LENGTH)).items}
    [mine] = (await shown(reckoner, "Ada"))[:1]
    assert await reckoner.hide("Ada", mine) == 1
    assert await reckoner.hidden_for("Ada") == [mine]
    assert mine not in await shown(reckoner, "Ada")
    assert await reckoner.unhide("Ada", mine) == 1
    assert mine in await shown(reckoner, "Ada")


async def test_a_basket_whose_list_is_hidden_is_computed_again(reckoner: OpenReckoner, generation: Generation) -> None:
    """As a user's list is: it does not come back short although more can be shown."""
    before = await reckoner.recommend_for([ITEMS[3]], LIST_LENGTH)
    gone = [entry.item for entry in before.items[:3]]
    await reckoner.catalogue.hide(gone)
    after = await reckoner.recommend_for([ITEMS[3]], LIST_LENGTH)
    assert (after.source, len(after.items), after.left_out) == ("cache", LIST_LENGTH, 0)
    assert not {entry.item for entry in after.items} & {*gone}


async def test_what_was_shown_goes_down_if_lists_rotate(
    redis_url: str, prefix: str, generation: Generation, reckoner: OpenReckoner
) -> None:
    """From the next bucket of time on, for readers that ask for it; an impression is no event."""
    first = [entry.item for entry in (await reckoner.recommend("Ada", LIST_LENGTH)).items]
    await reckoner.record_many([Event("Ada", first[0], "impression")] * 3)
    assert await reckoner.recent("Ada") == []
    assert await shown(reckoner, "Ada") == first
    async with OpenReckoner(redis_url, prefix=prefix, rotation=Rotation(0.9, bucket_s=1)) as rotating:
        await rotating.record_many([Event("Ada", first[0], "impression")] * 3)

        async def has_turned() -> bool:
            await rotating.record("Ada", first[0], type="impression")
            return (await rotating.get("Ada", LIST_LENGTH)).items[-1].item == first[0]

        await eventually(has_turned)
        assert {*await shown(rotating, "Ada")} == {*first}
        assert (await rotating.impressions("Ada"))[first[0]] > 1
    assert await shown(reckoner, "Ada") == first


async def test_an_impression_counts_once_and_now(reckoner: OpenReckoner) -> None:
    """What else it is given is refused, not dropped; those of many users are recorded together."""
    rows = [Event("Ada", "i", "impression", **field) for field in ({"weight": 2.0}, {"time": 5.0}, {"id": "k"})]
    answers = await reckoner.record_many(
        [*rows, *(Event(f"user {number % 30}", "i", "impression") for number in range(90))]
    )
    wanted = [f"An impression counts once and now: it has no {field}." for field in ("weight", "time", "id")]
    assert [answer.reason for answer in answers] == wanted + [""] * 90
    fields = await ask(reckoner.redis, "HGETALL", reckoner.keys.shown("user 29"))
    assert fields[b"i"].split()[1] == b"3"


async def test_a_flip_between_two_reads_of_the_pointer_loses_no_event(
    reckoner: OpenReckoner, generation: Generation, hand: Hand, world: Any
) -> None:
    """The client's pointer is up to a second old: an event then makes a job in the generation that is live."""
    await reckoner.get("Ada")
    other = await hand.adopt(world, 2)
    await ask(reckoner.redis, "SET", reckoner.keys.current, other.id)
    assert await reckoner.record("Ada", ITEMS[0]) == Recorded("recorded")
    assert len(await stored(reckoner, "Ada")) == 1
    assert (await reckoner.recommend("Ada", fresh=True)).generation == other.id


async def test_imported_events_stay_the_visitors(redis_url: str, prefix: str, generation: Generation) -> None:
    """Else the next import would count them twice; what came after the import's start moves."""
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        await reckoner.record_many([Event("a visitor", ITEMS[1]), Event("a visitor", ITEMS[2], "view")])
        await reckoner.events.take()
        await reckoner.record_many([Event("a visitor", ITEMS[3]), Event("Ada", ITEMS[4])])
        await reckoner.hide("a visitor", ITEMS[5])
        assert await reckoner.merge("a visitor", "Ada") == 1
        assert await reckoner.merge("a visitor", "Ada") == 0
        left = {name: [event.item for event in await reckoner.recent(name)] for name in ("a visitor", "Ada")}
        assert left == {"a visitor": ITEMS[1:3], "Ada": [ITEMS[4], ITEMS[3]]}
        assert await ask(reckoner.redis, "GET", reckoner.keys.left("a visitor")) == f'"{ITEMS[1]}",\n'.encode()
        assert await reckoner.hidden_for("Ada") == [ITEMS[5]]
        assert await ask(reckoner.redis, "XLEN", reckoner.keys.event_stream) == 4


async def test_an_event_of_the_day_after_tomorrow_is_refused(
    redis_url: str, prefix: str, generation: Generation, hand: Hand
) -> None:
    """By the server's clock, which may differ from the client's by up to a day."""
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        now_s, day_s = await hand.runtime.now_ms() / 1000, 86_400
        times = [now_s + day_s - 3_600, now_s + day_s + 3_600, 0, 4e9]
        outcomes = await reckoner.record_many([Event("Ada", ITEMS[1], time=at, id=f"{at}") for at in times])
        assert [one.status for one in outcomes] == ["recorded", "refused", "recorded", "refused"]
        assert outcomes[1].reason == "The event's time is more than a day after the time of Redis' clock."
        with pytest.raises(EventRefusedError, match="more than a day after"):
            await reckoner.record("Ada", ITEMS[1], time=4e9, id=f"{4e9}")
        assert len(await stored(reckoner, "Ada")) == await ask(reckoner.redis, "XLEN", reckoner.keys.event_stream) == 2


async def test_a_user_hides_a_thousand_items(redis_url: str, prefix: str, generation: Generation) -> None:
    """More change nothing, also at a login; what is hidden already does not count."""
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        some = [f"item {number}" for number in range(MOST_HIDES)]
        assert await reckoner.hide("Ada", *some) == MOST_HIDES
        assert await reckoner.hide("Ada", *some[:3]) == 0
        with pytest.raises(HistoryTooLongError, match="would hide over 1,000 items"):
            await reckoner.hide("Ada", some[0], "one more")
        await reckoner.hide("a visitor", "one more")
        with pytest.raises(HistoryTooLongError, match="would hide over 1,000 items"):
            await reckoner.merge("a visitor", "Ada")
        assert (await reckoner.hidden_for("Ada"), await reckoner.hidden_for("a visitor")) == (
            sorted(some),
            ["one more"],
        )
        assert await reckoner.unhide("Ada", some[5]) == 1
        assert await reckoner.merge("a visitor", "Ada") == 0
        assert len(await reckoner.hidden_for("Ada")) == MOST_HIDES


async def test_a_visitor_with_too_many_events_keeps_them(redis_url: str, prefix: str, generation: Generation) -> None:
    """Those beyond the number that counts would stay behind; an import has them, and then the next ones move."""
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        view = Event("a visitor", ITEMS[0], "view")
        outcomes = await reckoner.record_many([view] * (MOST_RECENT + 1))
        assert outcomes[-1].status == "later"
        with pytest.raises(HistoryTooLongError, match="The visitor has over 1,000 events since the last import"):
            await reckoner.merge("a visitor", "Ada")
        assert len(await stored(reckoner, "a visitor")) == MOST_RECENT
        mark = await reckoner.events.take()
        assert await reckoner.merge("a visitor", "Ada") == 0
        assert await reckoner.events.trim(mark) == MOST_RECENT
        assert not await ask(reckoner.redis, "EXISTS", reckoner.keys.later)
        await reckoner.record_many([view])
        assert await reckoner.merge("a visitor", "Ada") == 1


async def test_a_login_with_too_many_events_moves_nothing(redis_url: str, prefix: str, generation: Generation) -> None:
    """One sentence says what to do."""
    async with OpenReckoner(redis_url, prefix=prefix) as reckoner:
        await reckoner.record_many(
            [Event("Ada", ITEMS[0], "view")] * (MOST_RECENT - 1) + [Event("a visitor", ITEMS[1])] * 2
        )
        with pytest.raises(HistoryTooLongError, match="reckoner import --events"):
            await reckoner.merge("a visitor", "Ada")
        assert len(await stored(reckoner, "a visitor")) == 2
