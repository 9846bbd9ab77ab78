"""Tags are read with their live changes, which stay until they are reset."""

import asyncio

import pytest

from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.tags import Tagged, Tags
from tests.world import Hand


@pytest.fixture
async def tags(hand: Hand) -> Tags:
    """Tags with a snapshot of two items."""
    made = hand.runtime.results.tags
    await made.write("s", {"hat": ["new", "wool"], "é:1": ["sale"]})
    return made


async def test_a_live_change_is_of_one_item(tags: Tags) -> None:
    """It begins with the tags of the snapshot, and is the whole list from then on."""
    assert await tags.change("s", "hat", add=["sale", "wool"], remove=["new", "never"]) == ["sale", "wool"]
    assert await tags.read("s", ["hat", "é:1", "unknown"]) == [
        Tagged(["sale", "wool"], True),
        Tagged(["sale"], False),
        Tagged([], False),
    ]
    await tags.write("later", {"hat": ["old"]})
    assert await tags.read("later", ["hat"]) == [Tagged(["sale", "wool"], True)]
    assert await tags.live() == {"hat": ["sale", "wool"]}


async def test_an_item_may_lose_all_tags(tags: Tags) -> None:
    """That is a change too, and not the tags of the snapshot."""
    assert await tags.change("s", "é:1", remove=["sale"]) == []
    assert await tags.read("s", ["é:1"]) == [Tagged([], True)]
    assert await tags.change(None, "of no snapshot", add=["b", "a"]) == ["a", "b"]


async def test_a_reset_brings_back_those_of_the_snapshot(tags: Tags) -> None:
    """Each change counts up the version, a reset without a change does not."""
    keys, redis = tags._keys, tags._redis
    assert not await tags.reset("hat")
    assert await ask(redis, "GET", keys.tagging_version) is None
    await tags.change("s", "hat", add=["sale"])
    assert await tags.reset("hat")
    assert await tags.read("s", ["hat"]) == [Tagged(["new", "wool"], False)]
    assert await ask(redis, "GET", keys.tagging_version) == b"2"
    assert await tags.live() == {}


async def test_changes_at_once_are_all_made(tags: Tags) -> None:
    """A change that was overtaken begins again."""
    await asyncio.gather(*(tags.change("s", "hat", add=[f"tag {number}"]) for number in range(20)))
    assert len((await tags.read("s", ["hat"]))[0].tags) == 22


async def test_an_invalid_value_counts_as_none(tags: Tags) -> None:
    """The next change replaces it."""
    await ask(tags._redis, "HSET", tags._keys.tagging, "hat", b"\xff")
    assert await tags.read("s", ["hat"]) == [Tagged(["new", "wool"], False)]
    assert await tags.live() == {}
    assert await tags.change("s", "hat", add=["sale"]) == ["new", "sale", "wool"]


async def test_many_live_changes_are_read_in_slices(tags: Tags) -> None:
    """All of them, each once."""
    many = {f"item {number:04}": ["a"] for number in range(1200)}
    pairs = [part for item in many for part in (item, b'["a"]')]
    await ask(tags._redis, "HSET", tags._keys.tagging, *pairs)
    assert await tags.live() == many
