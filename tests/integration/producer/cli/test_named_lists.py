"""Lists that are the same for all users are printed, and readers without a list get the first one of a chain."""

from collections.abc import AsyncIterator

import pytest

from reckoner.producer.client.answers import NamedList
from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import ListUnknownError, UsageError
from reckoner.shared.serving.results import Entry, Reading
from tests.commands import CommandLine
from tests.world import ITEMS, Generation, Hand, World

SHOES = ["item 07", "item 35", "item 01"]
EMPTY = "with an empty history"


@pytest.fixture
async def live(hand: Hand, world: World) -> Generation:
    """A live generation with lists of two tags."""
    generation = await hand.adopt(world)
    await hand.runtime.results.named_lists.write(
        world.snapshot.id, {"popular": ITEMS[:8], "trending:shoes": SHOES, "latest:a, b": ["item 02"]}
    )
    return generation


@pytest.fixture
async def falling(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    """A client with a chain whose first list is missing."""
    async with OpenReckoner(redis_url, prefix=prefix, fallback="latest:never, trending:shoes, popular") as client:
        yield client


async def test_a_list_is_read_by_its_name(reckoner: OpenReckoner, live: Generation) -> None:
    """With titles, where the data have them, and at most as many places as lists have."""
    assert await reckoner.list_names() == ["latest:a, b", "popular", "trending:shoes"]
    found = await reckoner.named_list("trending:shoes", 2)
    entries = [
        Entry("item 07", None, None, "The item 07", None),
        Entry("item 35", None, None, None, None),
    ]
    assert found == NamedList("trending:shoes", live.id, entries)
    with pytest.raises(ListUnknownError):
        await reckoner.named_list("trending:hats")
    with pytest.raises(UsageError):
        await reckoner.named_list("popular", 6)


async def test_a_generation_of_an_older_release_has_its_popular_list(
    reckoner: OpenReckoner, hand: Hand, world: World
) -> None:
    """It is in its record."""
    generation = await hand.adopt(world)
    found = await reckoner.named_list("popular", 5)
    assert [entry.item for entry in found.items] == generation.record.popular
    assert await reckoner.list_names() == []


async def test_who_has_no_list_gets_the_first_of_the_chain(falling: OpenReckoner, live: Generation, hand: Hand) -> None:
    """Users, known ones and others, and baskets; lists of one's own stay."""
    await hand.runtime.results.write(live.id, [*live.lists.items()], 60)
    answers = await falling.get_many(["Ada", EMPTY, "nobody"], 2)
    assert [answer.source for answer in answers] == ["cache", "trending:shoes", "trending:shoes"]
    assert [entry.item for entry in answers[2].items] == SHOES[:2]
    assert answers[2].items[0].title == "The item 07"
    [(source, places, _)] = await falling.results.lists(Reading([None], [()], frozenset()), 3, live.record)
    assert (source, [entry.item for entry in places]) == ("trending:shoes", SHOES)
    # Kept as long as the pointer, so that a miss is no further round trip.
    await hand.runtime.results.named_lists.write(live.record.snapshot, {"popular": ITEMS[:8]})
    assert (await falling.get("nobody")).source == "trending:shoes"
    falling.results.forget_pointer()
    assert (await falling.get("nobody")).source == "popular"


async def test_a_list_of_which_nothing_may_be_shown_is_passed_over(falling: OpenReckoner, live: Generation) -> None:
    """With a filter and without, for all users or for one, and for baskets; the last one counts what is left out."""
    await falling.hide("nobody", *SHOES)
    popular = [item for item in ITEMS[:8] if item not in SHOES]
    for excluded in ([], ["another"]):
        answers = await falling.get_many(["nobody", "somebody"], 5, exclude=excluded)
        assert [answer.source for answer in answers] == ["popular", "trending:shoes"]
        assert [entry.item for entry in answers[0].items] == popular[:5]
        assert answers[0].left_out == 8 - len(popular)
    await falling.catalogue.hide(SHOES)
    assert [answer.source for answer in await falling.get_many(["nobody", "somebody"])] == ["popular"] * 2
    assert (await falling.recommend_for([])).source == "popular"
    await falling.catalogue.hide([*ITEMS[:8], *live.record.popular])
    for excluded in ([], ["another"]):
        [answer] = await falling.get_many(["nobody"], exclude=excluded)
        assert (answer.source, answer.items, answer.left_out) == ("popular", [], 8)


async def test_a_chain_without_a_list_ends_with_the_popular_one(redis_url: str, prefix: str, live: Generation) -> None:
    """Whatever the chain says: there is always an answer."""
    async with OpenReckoner(redis_url, prefix=prefix, fallback="latest") as client:
        answer = await client.get("nobody", 5)
        assert (answer.source, [entry.item for entry in answer.items]) == ("popular", live.record.popular)
    with pytest.raises(UsageError, match="The fallback 'best' is invalid"):
        OpenReckoner(redis_url, prefix=prefix, fallback="best")


async def test_the_command_prints_names_and_lists(commands: CommandLine, live: Generation) -> None:
    """As JSON too; an unknown name is a failure."""
    assert commands.call("lists").out.splitlines() == ["latest:a, b", "popular", "trending:shoes"]
    assert commands.call("lists", "--json").objects[2] == {"list": "trending:shoes"}
    [shown] = commands.call("lists", "trending:shoes", "-n", "1", "--json").objects
    assert (shown["source"], shown["generation"]) == ("trending:shoes", live.id)
    assert shown["items"] == [{"item": "item 07", "score": None, "because": None, "title": "The item 07"}]
    assert "The item 07" in commands.call("lists", "trending:shoes").out
    ended = commands.call("lists", "hats")
    assert (ended.code, ended.out) == (1, "")
    assert "There is no such list: `reckoner lists` has the names." in ended.err


async def test_a_list_says_what_is_hidden_of_it(
    commands: CommandLine, reckoner: OpenReckoner, live: Generation
) -> None:
    """Up to its last place, and all of it if it comes back short."""
    await reckoner.catalogue.hide(SHOES[1:])
    assert (await reckoner.named_list("trending:shoes", 1)).left_out == 0
    found = await reckoner.named_list("trending:shoes", 2)
    assert ([entry.item for entry in found.items], found.left_out) == (SHOES[:1], 2)
    await reckoner.catalogue.hide(ITEMS[:2])
    assert (await reckoner.named_list("popular", 2)).left_out == 2
    assert commands.call("lists", "popular", "--json", "-n", "2").objects[0]["left_out"] == 2
    assert commands.call("lists", "trending:shoes").out.endswith("\nLeft out because hidden: 2 places.\n")


async def test_commands_fall_back_as_the_setting_says(commands: CommandLine, live: Generation) -> None:
    """And name the list."""
    chain = {"RECKONER_FALLBACK": "trending:shoes"}
    assert commands.call("get", "nobody", "--json", environ=chain).objects[0]["source"] == "trending:shoes"
    said = commands.call("get", "nobody", environ=chain).out
    assert said.startswith("User nobody: no list of their own, so this is the list trending:shoes\n")
