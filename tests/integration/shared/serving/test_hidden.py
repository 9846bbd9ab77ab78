"""Hidden items: readers follow their changes, and a run's copy holds what its name says."""

import asyncio
import random
from hashlib import sha256

import pytest

from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import MOST_CHANGES
from reckoner.shared.serving.hidden import MOST_READINGS, Hidden
from tests.world import Hand


def reader(hand: Hand) -> Hidden:
    """Another process."""
    return Hidden(hand.redis, hand.runtime.keys)


class CountedReader(Hidden):
    """Counts how often the whole set is read, and hides some items, each another time, during each reading."""

    def __init__(self, hand: Hand, changes: int = 0) -> None:
        super().__init__(hand.redis, hand.runtime.keys)
        self.readings = 0
        self._other, self._some = reader(hand), [f"other {number}" for number in range(changes)]

    async def _members(self, name: str) -> dict[str, float]:
        found = await super()._members(name)
        self.readings += 1
        if self._some:
            await self._other.show(self._some)
            await self._other.hide(self._some)
        return found


async def test_readers_follow_the_changes(hand: Hand) -> None:
    """One that looks after each change reads the set once; one that looks rarely has the same items."""
    writer, often, rarely = reader(hand), CountedReader(hand), reader(hand)
    drawn, hidden = random.Random(1), set[str]()
    names = [f"item {number}" for number in range(30)]
    await writer.hide(["first"])
    hidden.add("first")
    for step in range(60):
        some = drawn.sample(names, drawn.randint(1, 4))
        if drawn.random() < 0.5:
            await writer.hide(some)
            hidden |= {*some}
        else:
            await writer.show(some)
            hidden -= {*some}
        assert (await often.current()).items == hidden
        if step % 20 == 19:
            assert (await rarely.current()).items == hidden
    assert often.readings == 1


@pytest.mark.parametrize("planted", ["nothing", "a longer past", "another type", "an earlier version"])
async def test_a_reader_reads_all_again_if_changes_are_missing(hand: Hand, planted: str) -> None:
    """The server remembers the last ones only, and what somebody plants is no change."""
    writer, follower, keys = reader(hand), CountedReader(hand), hand.runtime.keys
    await writer.hide(["a", "b"])
    assert (await follower.current()).items == {"a", "b"}
    if planted == "a longer past":
        await writer.hide([f"item {number}" for number in range(2 * MOST_CHANGES)])
        await writer.show([f"item {number}" for number in range(2 * MOST_CHANGES)])
    elif planted == "another type":
        await ask(hand.redis, "SET", keys.hidden_changes, "x")
    elif planted == "an earlier version":
        await ask(hand.redis, "DEL", keys.hidden_version)
    await writer.show(["a"])
    await writer.hide(["c"])
    assert (await follower.current()).items == {"b", "c"}
    assert follower.readings == (1 if planted == "nothing" else 2)


async def test_constant_changes_do_not_stop_a_reader(hand: Hand) -> None:
    """It ends with what was hidden when it began, though more changes than the server remembers."""
    await reader(hand).hide(["a", "b"])
    busy = CountedReader(hand, changes=2 * MOST_CHANGES)
    assert {"a", "b"} <= (await busy.current()).items
    assert busy.readings == MOST_READINGS
    await reader(hand).hide(["c"])
    assert {"a", "b", "c"} <= (await busy.current()).items


async def test_changes_during_a_reading_are_in_it(hand: Hand) -> None:
    """Where the server remembers them."""
    await reader(hand).hide(["a", "b"])
    busy = CountedReader(hand, changes=2)
    assert (await busy.current()).items == {"a", "b", "other 0", "other 1"}
    assert busy.readings == 1


async def test_concurrent_calls_share_a_reading(hand: Hand) -> None:
    """However many there are."""
    await reader(hand).hide(["a"])
    shared = CountedReader(hand)
    found = await asyncio.gather(*(shared.current() for _ in range(20)))
    assert {each.items for each in found} == {frozenset({"a"})}
    assert shared.readings == 1


async def test_an_item_is_shown_when_its_time_is_over(hand: Hand) -> None:
    """Without another reading of the set, before and after workers have dropped it."""
    now, follower = await hand.runtime.now_ms(), CountedReader(hand)
    await reader(hand).hide(["a"])
    await reader(hand).hide(["b", "c"], now + 10**9)
    assert (await follower.current()).items == {"a", "b", "c"}
    await reader(hand).hide(["b"], 1)
    assert (await follower.current()).items == {"a", "c"}
    assert await reader(hand).expire() == 1
    assert (await follower.current()).items == {"a", "c"}
    assert follower.readings == 1


async def test_a_runs_copy_has_the_items_of_its_name(hand: Hand) -> None:
    """Not those whose time is over, which may still be in the set; and it does not change with the set."""
    hidden = reader(hand)
    assert await hidden.keep_mask() == ""
    await hidden.hide(["ä", "b"])
    await hidden.hide(["over"], 1)
    mask = await hidden.keep_mask()
    assert mask == sha256(b"".join(b"%d:%b" % (len(item), item) for item in (b"b", "ä".encode()))).hexdigest()[:16]
    await hidden.hide(["later"])
    assert sorted(await hidden.mask_items(mask)) == ["b", "ä"]
    assert await ask(hand.redis, "PTTL", hand.runtime.keys.mask(mask)) > 7 * 86_400_000
    await hidden.show(["later"])
    assert await hidden.keep_mask() == mask
