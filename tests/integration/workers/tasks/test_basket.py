"""A basket: the list of a user with the same history, cached under its items."""

from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.results import BASKET_TTL_S
from reckoner.shared.store.snapshots import open_snapshot
from reckoner.shared.wire.jobs import arq_deserializer
from reckoner.shared.wire.shapes import BASKET, MAX_ITEMS, RESULT, BasketResult, BasketSpec, Record, UserSpec
from tests.world import ITEMS, USERS, Hand, World, basket_bytes

BASKETS: list[list[str]] = [
    ITEMS[:1],
    ITEMS[3:20:4],
    ITEMS,
    ["", "an unknown item", *ITEMS[5:8], "ンテ"],
    ["an unknown item", "ンテ"],
]


async def ask_for(hand: Hand, generation: str, items: Sequence[str], *, ordered: bool = False) -> str:
    join = hand.runtime.keys.join_basket(generation, items, ordered=ordered)
    [flow] = await hand.runtime.flows.create([BasketSpec(list(items), generation, ordered)], [join])
    return flow


async def cached(hand: Hand, generation: str, items: Sequence[str], *, ordered: bool = False) -> bytes | None:
    data: bytes | None = await ask(hand.redis, "GET", hand.runtime.keys.basket(generation, items, ordered=ordered))
    return data


async def history_of(world: World, record: Record, user: str) -> list[str]:
    snapshot = open_snapshot(world.store.fetch("snapshots", record.snapshot))
    index = snapshot.users.find(user)
    assert index is not None
    return [ITEMS[item] for item in snapshot.user_items[snapshot.user_ptr[index] : snapshot.user_ptr[index + 1]]]


@pytest.mark.parametrize("tasks", [1, 3, 40])
async def test_a_basket_has_the_list_of_the_reference(own_world: World, hand: Hand, tasks: int) -> None:
    """Byte for byte, for any number of chunk tasks; unknown items are named and change nothing else."""
    settings = msgspec.structs.replace(hand.runtime.settings, tasks_per_job=tasks, chunks=40)
    hand.runtime = replace(hand.runtime, settings=settings)
    for number in range(2):
        generation = await hand.adopt(own_world, number)
        for items in BASKETS:
            flow_id = await ask_for(hand, generation.id, items)
            await hand.deliver_all()
            flow = await hand.runtime.flows.load(flow_id)
            assert flow is not None
            assert (flow.state, flow.answer) == ("done", b"")
            assert flow.tasks == (0 if items == BASKETS[-1] else tasks)
            expected = basket_bytes(own_world.store, generation.record, items)
            assert await cached(hand, generation.id, items) == expected
            assert await hand.runtime.results.read_basket(BasketSpec(items, generation.id)) == BASKET.decode(expected)


async def test_a_basket_has_the_list_of_a_user_with_the_same_history(own_world: World, hand: Hand) -> None:
    """The same items, scores and reasons."""
    generation = await hand.adopt(own_world)
    for user in USERS:
        items = await history_of(own_world, generation.record, user)
        if items:
            await ask_for(hand, generation.id, items)
            await hand.deliver_all()
            basket = await hand.runtime.results.read_basket(BasketSpec(items, generation.id))
            assert basket is not None
            assert basket.items == RESULT.decode(generation.lists[user]).items
            assert basket.unknown == []


async def test_items_of_a_basket_weigh_the_same_also_where_data_have_weights(
    own_world: World, hand: Hand, weighted: Record
) -> None:
    """The list is that of the reference with a weight of 1 each, and not that of the user whose items they are."""
    items = await history_of(own_world, weighted, "user 03")
    await ask_for(hand, weighted.generation, items)
    join = hand.runtime.keys.join_user(weighted.generation, "user 03")
    await hand.runtime.flows.create([UserSpec("user 03", weighted.generation)], [join])
    await hand.deliver_all()
    basket = await cached(hand, weighted.generation, items)
    assert basket == basket_bytes(own_world.store, weighted, items)
    [result] = await hand.runtime.results.read(weighted.generation, ["user 03"])
    assert result is not None
    assert result.items != BASKET.decode(basket).items


async def test_the_last_items_of_an_ordered_basket_count_more(own_world: World, hand: Hand, recent: Record) -> None:
    """In a generation with recency: each order has its own list, that of the reference; unknown items do not count."""
    items = ["item 07", "an unknown item", "item 20", "item 03", "item 31"]
    lists = []
    for order in (items, items[::-1]):
        await ask_for(hand, recent.generation, order, ordered=True)
        await hand.deliver_all()
        basket = await cached(hand, recent.generation, order, ordered=True)
        assert basket == basket_bytes(own_world.store, recent, order)
        lists.append(BASKET.decode(basket).items)
    assert lists[0] != lists[1]


async def test_a_basket_of_unknown_items_has_an_empty_list_that_names_them(own_world: World, hand: Hand) -> None:
    """Without a chunk task."""
    generation = await hand.adopt(own_world)
    flow = await ask_for(hand, generation.id, BASKETS[-1])
    await hand.deliver((await hand.queued())[0])
    assert await hand.queued() == [f"reduce:{flow}:0"]
    await hand.deliver_all()
    found = await hand.runtime.results.read_basket(BasketSpec(BASKETS[-1], generation.id))
    assert found == BasketResult(2, [], BASKETS[-1])


async def test_the_largest_basket_is_looked_up(own_world: World, hand: Hand) -> None:
    """A thousand, of which most are unknown."""
    generation = await hand.adopt(own_world)
    items = sorted([*ITEMS, *(f"unknown {number}" for number in range(MAX_ITEMS - len(ITEMS)))])
    await ask_for(hand, generation.id, items)
    await hand.deliver_all()
    assert await cached(hand, generation.id, items) == basket_bytes(own_world.store, generation.record, items)


@pytest.mark.parametrize("items", [BASKETS[3], BASKETS[4]], ids=["some known", "none known"])
async def test_each_task_of_a_basket_run_twice_leaves_the_same_state(
    own_world: World, hand: Hand, items: list[str]
) -> None:
    """Delivery is at least once."""
    generation = await hand.adopt(own_world)
    await ask_for(hand, generation.id, items)
    while jobs := await hand.queued():
        body = arq_deserializer(await ask(hand.redis, "GET", job_key(jobs[0])))
        await hand.run(body["f"], body["a"], jobs[0])
        before = await hand.dump()
        await hand.run(body["f"], body["a"], jobs[0])
        assert await hand.dump() == before
        await hand.deliver(jobs[0])
    assert await cached(hand, generation.id, items) == basket_bytes(own_world.store, generation.record, items)


@pytest.mark.parametrize("harm", ["lost", "damaged", "of another basket"])
async def test_a_partial_that_cannot_be_used_is_computed_again(own_world: World, hand: Hand, harm: str) -> None:
    """The list is the same to the byte."""
    generation, keys = await hand.adopt(own_world), hand.runtime.keys
    flows = [await ask_for(hand, generation.id, items) for items in BASKETS[1:3]]
    await hand.deliver_all(but=lambda job: job.startswith("reduce:"))
    stranger = await ask(hand.redis, "HGET", keys.partials(flows[1]), "1")
    if harm == "lost":
        await ask(hand.redis, "HDEL", keys.partials(flows[0]), "1")
    else:
        planted = stranger if harm == "of another basket" else stranger[:-1]
        await ask(hand.redis, "HSET", keys.partials(flows[0]), "1", planted)
    await hand.deliver_all()
    flow = await hand.runtime.flows.load(flows[0])
    assert flow is not None
    assert (flow.state, flow.round) == ("done", 1)
    for items in BASKETS[1:3]:
        assert await cached(hand, generation.id, items) == basket_bytes(own_world.store, generation.record, items)


async def test_a_basket_lives_an_hour_and_is_joined_while_it_is_under_way(own_world: World, hand: Hand) -> None:
    """Callers with the same items share a job."""
    generation, keys = await hand.adopt(own_world), hand.runtime.keys
    flow = await ask_for(hand, generation.id, BASKETS[1])
    assert await ask_for(hand, generation.id, BASKETS[1]) == flow
    assert await ask_for(hand, generation.id, BASKETS[2]) != flow
    await hand.deliver_all()
    assert await ask_for(hand, generation.id, BASKETS[1]) != flow
    life = await ask(hand.redis, "TTL", keys.basket(generation.id, BASKETS[1]))
    assert BASKET_TTL_S - 60 < life <= BASKET_TTL_S == 3600


async def test_an_unreadable_cached_basket_is_quarantined(hand: Hand) -> None:
    """It is a miss, like a key of another type."""
    results, key = hand.runtime.results, hand.runtime.keys.basket("g", ["a"])
    assert await results.read_basket(BasketSpec(["a"], "g")) is None
    await ask(hand.redis, "SET", key, b'{"format":2,"items":[]}')
    for _ in range(2):
        assert await results.read_basket(BasketSpec(["a"], "g")) is None
    assert await ask(hand.redis, "HGETALL", hand.runtime.keys.refused) == {b"basket": b"1"}
    await ask(hand.redis, "HSET", key, "a", "b")
    assert await results.read_basket(BasketSpec(["a"], "g")) is None
    written = BasketResult(2, [], ["a"])
    await ask(hand.redis, "SET", key, BASKET.encode(written))
    assert await results.read_basket(BasketSpec(["a"], "g")) == written
