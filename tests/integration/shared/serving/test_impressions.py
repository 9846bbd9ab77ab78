"""Impressions: what was shown and not taken goes down, and comes up again with time."""

import pytest

from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import MOST_SHOWN, SLICE
from reckoner.shared.serving.impressions import Impressions, Rotation
from reckoner.shared.serving.results import Reading
from reckoner.shared.wire.shapes import Result, ScoredItem
from tests.world import Hand

PLACES = [ScoredItem(item, score, "z") for item, score in (("a", 1.0), ("b", 0.9), ("c", 0.9), ("d", 0.1))]


@pytest.fixture
def impressions(hand: Hand) -> Impressions:
    return Impressions(hand.redis, hand.runtime.keys, Rotation(0.5, bucket_s=3600))


async def age(hand: Hand, user: str, buckets: int) -> None:
    """Let the notes of a user be so many buckets old."""
    key = hand.runtime.keys.shown(user)
    for item, value in (await ask(hand.redis, "HGETALL", key)).items():
        last, rest = value.split(b" ", 1)
        await ask(hand.redis, "HSET", key, item, b"%d %b" % (int(last) - buckets, rest))


async def order(impressions: Impressions, user: str) -> str:
    reading = Reading([Result(2, PLACES)], [()], frozenset())
    [result] = impressions.rotated(reading, await impressions.counts([user])).results
    assert result is not None
    return "".join(place.item for place in result.items)


async def test_what_was_shown_goes_down_and_comes_up_again(hand: Hand, impressions: Impressions) -> None:
    """From the next bucket of time on, by half with each; ties keep their order."""
    assert await order(impressions, "u") == "abcd"
    await impressions.note("u", ["a", "a", "b"])
    assert await order(impressions, "u") == "abcd", "within the bucket a list stays"
    await age(hand, "u", 1)
    # 2 and 1 impressions of an hour ago count as 1 and 0.5: 0.5, 0.64, 0.9, 0.1.
    assert await impressions.counts(["u", "v"]) == [{"a": 1.0, "b": 0.5}, {}]
    assert await order(impressions, "u") == "cbad"
    await impressions.note("u", ["c"] * 8)
    await age(hand, "u", 2)
    assert await impressions.counts(["u"]) == [{"a": 0.25, "b": 0.125, "c": 2.0}]
    assert await order(impressions, "u") == "abcd"
    assert await order(impressions, "v") == "abcd"


async def test_impressions_are_forgotten(hand: Hand, impressions: Impressions) -> None:
    """After twenty buckets, when they count less than a millionth; invalid notes count nothing."""
    key = hand.runtime.keys.shown("u")
    await impressions.note("u", ["a"])
    assert 0 < await ask(hand.redis, "TTL", key) <= 20 * 3600
    await ask(hand.redis, "HSET", key, "a", "planted", "b", "1 2 x")
    assert await impressions.counts(["u"]) == [{}]
    await impressions.note("u", ["a"])
    await age(hand, "u", 1)
    assert await impressions.counts(["u"]) == [{"a": 0.5}]
    await ask(hand.redis, "SET", key, "planted")
    assert await impressions.counts(["u"]) == [{}]


async def test_the_notes_of_a_user_are_bounded(hand: Hand, impressions: Impressions) -> None:
    """Beyond the bound, what counts no more is dropped, and then the oldest; of the same age what was shown less."""
    key = hand.runtime.keys.shown("u")
    await impressions.note("u", [f"old {number}" for number in range(10)])
    await age(hand, "u", 20)
    await impressions.note("u", ["a", "a", *(f"b {number:03}" for number in range(SLICE - 2))])
    await age(hand, "u", 1)
    await impressions.note("u", [f"c {number:03}" for number in range(MOST_SHOWN - SLICE - 10)])
    assert await ask(hand.redis, "HLEN", key) == MOST_SHOWN - 1
    await impressions.note("u", ["c 000", "d", "e"])
    kept = (await impressions.counts(["u"]))[0]
    assert len(kept) == MOST_SHOWN * 3 // 4
    assert {"a", "b 000", "c 000", "c 489", "d", "e"} <= kept.keys()
    assert not any(item.startswith("old") for item in kept)
    assert "b 497" not in kept
    await age(hand, "u", 19)
    await impressions.note("u", [f"f {number:03}" for number in range(MOST_SHOWN // 4 + 1)])
    assert {item[0] for item in (await impressions.counts(["u"]))[0]} == {"c", "d", "e", "f"}


def test_buckets_of_users_begin_at_moments_of_their_own() -> None:
    """Drawn with the seed, the same everywhere."""
    rotation = Rotation()
    offsets = [rotation.offset_ms(f"user {number}") for number in range(100)]
    assert offsets == [rotation.offset_ms(f"user {number}") for number in range(100)]
    assert len({offset // 360_000 for offset in offsets}) == 10
    assert offsets[0] != Rotation(seed=1).offset_ms("user 0")
