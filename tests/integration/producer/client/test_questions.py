"""Baskets and questions: the client's answers, with a working worker."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from msgspec.structs import replace
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import (
    FlowFailedError,
    ItemUnknownError,
    NothingFittedError,
    UsageError,
    UserUnknownError,
    WaitTimeoutError,
)
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.wire.shapes import BASKET, RECORD, Options
from tests.patience import PATIENCE_S
from tests.world import ITEMS, LIST_LENGTH, Generation, Hand, World, basket_bytes, make_known


@pytest.fixture
async def reckoner(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    async with OpenReckoner(redis_url, prefix=prefix) as client, asyncio.timeout(PATIENCE_S):
        yield client


async def flows(redis: Redis, reckoner: OpenReckoner) -> int:
    """The number of flows so far."""
    return len([key async for key in redis.scan_iter(f"{reckoner.keys.flow('')}*")])


async def test_a_basket_is_answered_once_whatever_its_order(
    reckoner: OpenReckoner, generation: Generation, redis: Redis
) -> None:
    """With scores, reasons, titles and unknown items; the same basket is read from the cache."""
    first = await reckoner.recommend_for([ITEMS[3], "nowhere", ITEMS[1], ITEMS[3]], n=3)
    again = await reckoner.recommend_for([ITEMS[1], ITEMS[3], "nowhere"], n=3)
    assert first == again
    assert await flows(redis, reckoner) == 2  # the other one was the fit
    assert (first.basket, first.unknown) == ([ITEMS[1], ITEMS[3], "nowhere"], ["nowhere"])
    assert (first.source, first.generation, len(first.items)) == ("cache", generation.id, 3)
    for entry in first.items:
        assert entry.item not in first.basket
        assert entry.because in (ITEMS[1], ITEMS[3])
        assert entry.because_title == f"The {entry.because}"
        assert entry.score is not None
        assert 0 < entry.score <= 1


async def test_a_basket_keeps_its_order_in_a_generation_with_recency(
    reckoner: OpenReckoner, generation: Generation, world: World, redis: Redis
) -> None:
    """A repeated item has its last place; another order is another list, and the same one is read from the cache."""
    options = Options(LIST_LENGTH, recency=0.5)
    record = replace(generation.record, generation=generation_id(generation.record.model, options), options=options)
    await make_known(redis, reckoner.keys, record, world.titles)
    await ask(redis, "SET", reckoner.keys.current, record.generation)
    given = [[ITEMS[3], ITEMS[9], ITEMS[1], ITEMS[3]], [ITEMS[3], ITEMS[9], ITEMS[1]]]
    first, second = [await reckoner.recommend_for(items) for items in given]
    assert (first.generation, first.basket) == (record.generation, [ITEMS[9], ITEMS[1], ITEMS[3]])
    assert second.basket == given[1]
    for answer in (first, second):
        expected = BASKET.decode(basket_bytes(world.store, record, answer.basket)).items
        assert [(place.item, place.score, place.because) for place in answer.items] == [
            (place.item, place.score, place.because) for place in expected
        ]
    assert (await reckoner.enqueue_for(given[0])).job is None
    assert (await reckoner.enqueue_for(sorted(given[0]))).job is not None


async def test_a_basket_that_leads_to_nothing_gets_the_popular_list(
    reckoner: OpenReckoner, generation: Generation, redis: Redis
) -> None:
    """With unknown items only; or if empty, without a job."""
    before = await flows(redis, reckoner)
    empty = await reckoner.recommend_for([])
    assert await flows(redis, reckoner) == before
    unknown = await reckoner.recommend_for(["ünknown", "nowhere"])
    assert (unknown.source, unknown.unknown) == ("popular", ["nowhere", "ünknown"])
    assert (empty.source, empty.unknown) == ("popular", [])
    assert [entry.item for entry in unknown.items] == generation.record.popular[:LIST_LENGTH]
    assert unknown.items == empty.items


@pytest.mark.parametrize(
    ("items", "said"),
    [
        ("item 01", "but got the string 'item 01'. Put it into a list"),
        ([str(i) for i in range(1001)], "1,001 items. At most 1,000 are supported"),
        ([f"{i:01024}" for i in range(65)], "66,560 bytes. At most 65,536 are supported"),
        (["x" * 1025], "is over 1,024 bytes"),
        (["\udc80"], "lone surrogate"),
    ],
)
async def test_a_basket_that_cannot_be_asked_for_is_wrong_usage(
    reckoner: OpenReckoner, items: list[str], said: str
) -> None:
    """The sentence says what is wrong; no job is created."""
    with pytest.raises(UsageError, match=said):
        await reckoner.recommend_for(items)


async def test_neighbours_have_titles_and_similarities(reckoner: OpenReckoner, generation: Generation) -> None:
    """Most similar first, at most n."""
    similar = await reckoner.similar(ITEMS[0], n=4)
    assert (similar.item, similar.title, similar.generation) == (ITEMS[0], f"The {ITEMS[0]}", generation.id)
    values = [near.similarity for near in similar.items]
    assert len(values) == 4
    assert values == sorted(values, reverse=True)
    assert similar.users > 0
    whole = await reckoner.similar(ITEMS[0], 1000)
    assert whole.items[:4] == similar.items


async def test_two_items_are_compared(reckoner: OpenReckoner, generation: Generation) -> None:
    """The similarity is the model's, and is symmetric."""
    near = (await reckoner.similar(ITEMS[0], 1)).items[0]
    pair = await reckoner.similar(ITEMS[0], other=near.item)
    back = await reckoner.similar(near.item, other=ITEMS[0])
    assert pair.similarity == back.similarity == near.similarity
    assert (pair.users, pair.other_users, pair.shared_users) == (back.other_users, back.users, back.shared_users)
    assert 0 < pair.shared_users <= min(pair.users, pair.other_users)
    assert (pair.title, pair.other_title) == (f"The {ITEMS[0]}", near.title)


async def test_a_history_is_what_somebody_had(reckoner: OpenReckoner, generation: Generation, world: World) -> None:
    """Its length and first items with titles; an empty history is not an unknown user."""
    snapshot = world.snapshot
    had = [snapshot.items[int(i)] for i in snapshot.user_items[snapshot.user_ptr[0] : snapshot.user_ptr[1]]]
    history = await reckoner.history(snapshot.users[0], 5)
    assert (history.count, [entry.item for entry in history.items]) == (len(had), had[:5])
    assert all(entry.title == world.titles.get(entry.item) for entry in history.items)
    assert (await reckoner.history("with an empty history")).count == 0


async def test_unknown_items_and_users_are_named(reckoner: OpenReckoner, generation: Generation) -> None:
    """One sentence for an item, for two, and for a user."""
    with pytest.raises(ItemUnknownError, match=r"^The item nowhere is not in the data\.$"):
        await reckoner.similar("nowhere")
    with pytest.raises(ItemUnknownError, match=r"^The items nowhere and nothing are not in the data\.$"):
        await reckoner.similar("nowhere", other="nothing")
    with pytest.raises(UserUnknownError, match=r"^The user nobody is not in the data\.$"):
        await reckoner.history("nobody")
    for n in (0, 1001):
        with pytest.raises(UsageError, match=f"^n is {n}, but must be from 1 to 1,000"):
            await reckoner.similar(ITEMS[0], n)


async def test_a_model_that_is_gone_is_said(
    reckoner: OpenReckoner, generation: Generation, world: World, redis: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error has the reason of the failed job; for a lost record it says what to do."""
    monkeypatch.setattr("reckoner.workers.runtime.environment_trouble.HIDDEN_S", 0.5)
    monkeypatch.setattr("reckoner.producer.client.caching.KEPT_S", 0.0)
    record = world.unfitted.record
    world.store.delete("models", record.model)  # another test may have built it
    await redis.set(reckoner.keys.record(record.generation), RECORD.encode(record))
    await redis.set(reckoner.keys.current, record.generation)
    for call in (reckoner.recommend("Ada"), reckoner.recommend_for([ITEMS[0]]), reckoner.similar(ITEMS[0])):
        with pytest.raises(FlowFailedError, match=record.model):
            await call
    await redis.set(reckoner.keys.current, "gone")
    with pytest.raises(NothingFittedError, match=r"The record of generation gone, .* is gone\. Build a model"):
        await reckoner.get("Ada")


async def test_a_manipulated_answer_is_quarantined(
    reckoner: OpenReckoner, hand: Hand, world: World, redis: Redis
) -> None:
    """It is refused and counted, and so is an answer to another question."""
    await hand.adopt(world, 0)
    for planted, said in ((b"\x80\x04.", "was set aside"), (b'{"type":"unknown","ids":["x"]}', "is not in the data")):
        call = asyncio.create_task(reckoner.similar(ITEMS[0]))
        async with asyncio.timeout(PATIENCE_S):
            while not (members := await ask(redis, "ZUNION", 2, *reckoner.keys.all_live)):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        flow = await reckoner.flows.load(members[0].decode().removeprefix("flow:"))
        assert flow is not None
        assert await reckoner.flows.finish(flow, planted, lease=None)
        with pytest.raises((FlowFailedError, ItemUnknownError), match=said):
            await call
    assert await ask(redis, "HGETALL", reckoner.keys.refused) == {b"reply": b"1"}


async def test_a_question_has_its_time(reckoner: OpenReckoner, hand: Hand, world: World) -> None:
    """Without a worker it times out."""
    await hand.adopt(world, 0)
    for call in (reckoner.similar(ITEMS[0], timeout=0.1), reckoner.recommend_for([ITEMS[0]], timeout=0.1)):
        with pytest.raises(WaitTimeoutError):
            await call
