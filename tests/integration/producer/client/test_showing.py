"""An operator sees what there is about an item, with and without workers."""

from collections.abc import AsyncIterator

import pytest

from reckoner.producer.client.answers import HiddenItem
from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.wire.shapes import RESULT, Options, Record, Result, ScoredItem
from tests.world import make_known

RECORD = Record(2, "gen", "model", "snapshot", Options(20), 1, 12, popular=["i"])


@pytest.fixture
async def reckoner(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        yield client


async def test_an_item_is_shown_without_workers(reckoner: OpenReckoner) -> None:
    """Its tags, whether it is hidden, and in how many lists it has a place; not its neighbours."""
    await make_known(reckoner.redis, reckoner.keys, RECORD, {"a": "The first"})
    lists = {"user 1": "ab", "user:2": "b", "üser": "ca"}
    encoded = [
        (user, RESULT.encode(Result(2, [ScoredItem(item, 1.0, "x") for item in items])))
        for user, items in lists.items()
    ]
    await reckoner.results.write("gen", encoded, 60)
    await reckoner.results.write("other", encoded[:1], 60)
    await reckoner.catalogue.hide(["a"])
    await reckoner.catalogue.tag("a", add=["new"])
    shown = await reckoner.operator.show_item("a", patience_s=0.01)
    assert (shown.title, shown.similar) == ("The first", None)
    assert (shown.lists, shown.lists_with_item) == (3, 2)
    assert (shown.tags.tags, shown.tags.live, shown.hidden) == (["new"], True, HiddenItem("a", None))
    other = await reckoner.operator.show_item("z", patience_s=0.01)
    assert (other.title, other.hidden, other.lists_with_item, other.tags.tags) == (None, None, 0, [])


async def test_a_user_is_shown_without_workers(reckoner: OpenReckoner) -> None:
    """Only the history is missing; the list and what changed since the previous generation are there."""
    before = Record(2, "before", "model", "snapshot", Options(20), 1, 12, popular=["i"])
    await make_known(reckoner.redis, reckoner.keys, before, {})
    await make_known(reckoner.redis, reckoner.keys, RECORD, {})
    for name, items in (("before", "ab"), ("gen", "bc")):
        encoded = RESULT.encode(Result(2, [ScoredItem(item, 1.0, "x") for item in items]))
        await reckoner.results.write(name, [("user 1", encoded)], 60)
    shown = await reckoner.operator.show("user 1", generation="gen", patience_s=0.01)
    assert shown.history is None
    assert (shown.source, shown.generation, shown.is_live, shown.previous) == ("cache", "gen", False, "before")
    assert [(entry.item, shown.rank_before(entry.item)) for entry in shown.items] == [("b", 2), ("c", None)]
    assert shown.left == [(1, "a", None)]
