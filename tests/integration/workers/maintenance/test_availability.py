"""Items that are not available are hidden from everybody, beside what people hide."""

import math
import random
from collections.abc import Sequence

import numpy as np
import pytest
from msgspec.structs import replace

from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.hidden import Hidden
from reckoner.shared.store.catalogue import ALWAYS, FOR_EVER, make_catalogue
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.shared.wire.shapes import RECORD
from reckoner.workers.maintenance.availability import Availability
from reckoner.workers.runtime.runtime import Runtime
from tests.world import ITEMS, Hand, World

HOUR_MS = 3_600_000
SOME = ITEMS[:6]


@pytest.fixture
def world(own_world: World) -> World:
    """A world that each test changes."""
    return own_world


async def make_live(hand: Hand, world: World, begins: Sequence[int], ends: Sequence[int]) -> str:
    """Make a snapshot with these times of its items the live one."""
    generation, store, at = await hand.adopt(world), world.store, np.arange(len(SOME))
    with store.scratch() as scratch:
        catalogue = make_catalogue((), np.array(begins), np.array(ends))
        made = write_snapshot(scratch, user_ids=["u"], item_ids=SOME, users=at * 0, items=at, catalogue=catalogue)
        store.publish("snapshots", made, scratch)
    record = replace(generation.record, snapshot=made)
    await ask(hand.redis, "SET", hand.runtime.keys.record(generation.id), RECORD.encode(record))
    return made


async def hidden(hand: Hand) -> set[str]:
    return {*(await Hidden(hand.redis, hand.runtime.keys).current()).items}


async def test_items_are_hidden_while_they_are_not_available(
    world: World, hand: Hand, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before their time begins and after it has ended; by the live snapshot, and with no effect on what people hide."""
    now = await hand.runtime.now_ms()
    begins = [ALWAYS, now + HOUR_MS, ALWAYS, now - HOUR_MS, ALWAYS, now - 5]
    ends = [FOR_EVER, FOR_EVER, now - HOUR_MS, now + HOUR_MS, now + 9 * HOUR_MS, FOR_EVER]
    people = hand.runtime.results.hidden
    await people.hide([SOME[0], SOME[2]])
    await make_live(hand, world, begins, ends)
    following, other = Availability(hand.runtime), Availability(hand.runtime)
    assert await following.follow() == 2
    assert await hidden(hand) == {SOME[0], SOME[1], SOME[2]}
    noted = await ask(hand.redis, "GET", hand.runtime.keys.unavailable_of)
    for _ in range(2):
        assert [await other.follow(), await following.follow()] == [0, 0]
    assert await ask(hand.redis, "GET", hand.runtime.keys.unavailable_of) == noted, "nothing was due"
    # A person's change is one beside them.
    assert await people.listed() == [(SOME[0], None), (SOME[2], None)]
    assert await people.show([SOME[1], SOME[2]]) == 1
    assert await hidden(hand) == {SOME[0], SOME[1], SOME[2]}
    assert await people.replace([SOME[5]]) == 1
    assert await hidden(hand) == {SOME[1], SOME[2], SOME[5]}

    # Two hours later: the third one's time has ended.
    async def later(_: Runtime) -> int:
        return now + 2 * HOUR_MS

    with monkeypatch.context() as patched:
        patched.setattr(Runtime, "now_ms", later)
        assert [await following.follow(), await other.follow()] == [1, 0]
    assert await hidden(hand) == {SOME[1], SOME[2], SOME[3], SOME[5]}
    # The next snapshot says nothing of most of them.
    await make_live(hand, world, [ALWAYS] * 6, [now - 1, *[FOR_EVER] * 5])
    assert await other.follow() == 4
    assert await hidden(hand) == {SOME[0], SOME[5]}
    await make_live(hand, world, [ALWAYS] * 6, [FOR_EVER] * 6)
    assert await following.follow() == 1
    assert await hidden(hand) == {SOME[5]}
    keys = hand.runtime.keys
    assert not await ask(hand.redis, "EXISTS", keys.unavailable, keys.hidden_by_hand)


async def test_both_ways_of_hiding_are_independent(hand: Hand) -> None:
    """Whatever people and availability do in any order: hidden is what one of them hides, until the later time."""
    it, drawn, later = hand.runtime.results.hidden, random.Random(3), await hand.runtime.now_ms() + HOUR_MS
    follower = Hidden(hand.redis, hand.runtime.keys)
    by_hand, withdrawn = dict[str, float](), dict[str, float]()
    for _ in range(120):
        items = drawn.sample(SOME, drawn.randint(1, 3))
        how, until = (
            drawn.choice(["hide", "show", "withdraw", "offer", "replace"]),
            drawn.choice([None, later, later * 2]),
        )
        whose = by_hand if how in ("hide", "show", "replace") else withdrawn
        new = dict.fromkeys(items, math.inf if until is None or how == "replace" else float(until))
        before = dict(whose)
        if how in ("hide", "withdraw"):
            whose |= new
            assert await getattr(it, how)(items, until) == sum(before.get(item) != whose[item] for item in items)
        elif how == "replace":
            by_hand = new
            assert await it.replace(items) == len(items)
        else:
            for item in items:
                whose.pop(item, None)
            assert await getattr(it, how)(items) == len(before) - len(whose)
        assert dict(await it.listed()) == {i: None if math.isinf(at) else at for i, at in by_hand.items()}
        both = {item: max(by_hand.get(item, 0), withdrawn.get(item, 0)) for item in {*by_hand, *withdrawn}}
        assert dict(await it.listed(by_hand=False)) == {i: None if math.isinf(at) else at for i, at in both.items()}
        assert (await follower.current()).items == both.keys()
