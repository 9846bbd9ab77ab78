"""Named lists are a hash beside the titles."""

from reckoner.shared.redis.scripts import ask
from tests.world import Hand


async def test_lists_are_replaced_as_a_whole(hand: Hand) -> None:
    """A list of a tag that no item has any more is gone; an invalid one counts as none."""
    lists = hand.runtime.results.named_lists
    await lists.write("s", {"popular": ["1", "é"], "popular:a b": ["1"], "latest:old": ["2"]})
    assert await lists.read("s", ["popular:a b", "popular", "never"]) == [["1"], ["1", "é"], None]
    await lists.write("s", {"popular": ["2"], "popular:a b": ["3"]})
    assert await lists.names("s") == ["popular", "popular:a b"]
    assert await lists.read("s", ["popular", "latest:old"]) == [["2"], None]
    await ask(hand.redis, "HSET", hand.runtime.keys.named_lists("s"), "popular", b"\xff")
    assert await lists.read("s", ["popular"]) == [None]
    assert await lists.names("never") == []
