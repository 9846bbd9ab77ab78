"""Commands filter lists by tags and items."""

import asyncio

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.wire.shapes import RESULT
from tests.commands import CommandLine
from tests.world import ITEMS, Generation, Hand, World

USER = "Ada"


@pytest.fixture
async def listed(generation: Generation, hand: Hand, world: World) -> list[str]:
    """The places of a user's cached list, of which every second item is a shoe."""
    items = [place.item for place in RESULT.decode(generation.lists[USER]).items]
    results = hand.runtime.results
    await results.write(generation.id, [(USER, generation.lists[USER])], 60)
    for item in items[::2]:
        await results.tags.change(world.snapshot.id, item, add=["shoes", "leather"])
    return items


async def called(commands: CommandLine, *arguments: str) -> list[str]:
    """The items of the one list that a command prints, while the worker works."""
    ended = await asyncio.to_thread(commands.call, *arguments, "--json")
    assert (ended.code, ended.err) == (0, "")
    [answer] = ended.objects
    return [place["item"] for place in answer["items"]]


async def test_get_prints_what_passes(commands: CommandLine, listed: list[str]) -> None:
    """Each option, and several at once."""
    assert len(listed) == 5
    assert await called(commands, "get", USER) == listed
    assert await called(commands, "get", USER, "--only", "shoes", "--only", "hats") == listed[::2]
    assert await called(commands, "get", USER, "--without", "shoes") == listed[1::2]
    assert await called(commands, "get", USER, "--exclude", listed[0], "--exclude", listed[3]) == [
        *listed[1:3],
        listed[4],
    ]
    assert await called(commands, "get", USER, "--max-per-tag", "1") == [*listed[:2], listed[3]]
    ended = await asyncio.to_thread(commands.call, "get", USER, "nobody", "--only", "shoes", "--exclude", listed[0])
    assert f"User {USER}\n" in ended.out
    assert "Left out: 3 places, which the user has had since, or which are hidden or do not pass.\n" in ended.out
    assert "User nobody: nothing passes\n" in ended.out
    ended = await asyncio.to_thread(commands.call, "get", "nobody", "--exclude", listed[0])
    assert "User nobody: nothing of a list of their own passes, so this is the popular list\n" in ended.out


async def test_a_tag_that_no_item_has_is_named(commands: CommandLine, listed: list[str]) -> None:
    """By each command that filters, as JSON too; a list with nothing is not announced as the popular one."""
    ended = await asyncio.to_thread(commands.call, "get", USER, "nobody", "--only", "shoes,leather", "--only", "hats")
    assert (ended.code, ended.out.count(": nothing passes\n"), "popular" in ended.out) == (0, 2, False)
    assert ended.err.splitlines() == [
        "No item has the tag hats.",
        "No item has the tag shoes,leather. Give each tag an --only of its own.",
    ]
    for arguments in (("get", USER), ("enqueue", USER, "--wait"), ("enqueue", "--history", ITEMS[3], "--wait")):
        ended = await asyncio.to_thread(commands.call, *arguments, "--only", "hats", "--json")
        assert (ended.objects[0]["items"], ended.err) == ([], "No item has the tag hats.\n")
    ended = await asyncio.to_thread(commands.call, "get", USER, "--only", "shoes", "--without", "leather")
    assert (": nothing passes\n" in ended.out, ended.err) == (True, "")


async def test_enqueue_prints_the_best_of_what_passes(
    commands: CommandLine, listed: list[str], reckoner: OpenReckoner
) -> None:
    """For users and for a basket, computed where the cached list does not suffice."""
    excluded = [option for item in listed for option in ("--exclude", item)]
    best = await called(commands, "enqueue", USER, "--wait", *excluded, "-n", "3")
    assert len(best) == 3
    assert not {*best} & {*listed}
    assert best == [entry.item for entry in (await reckoner.get(USER, 3, exclude=listed)).items]
    diverse = await called(commands, "enqueue", USER, "--wait", "--diversity", "0.9")
    assert diverse == [entry.item for entry in (await reckoner.get(USER, diversity=0.9)).items]
    assert diverse[0] == listed[0]
    assert diverse != listed
    basket = await called(commands, "enqueue", "--history", ",".join(ITEMS[20:]), "--wait", "--only", "leather")
    assert basket
    assert {*basket} <= {*listed[::2]}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("enqueue", USER, "--only", "shoes"), "Filters apply to lists that are waited for. Add --wait."),
        (("get", USER, "--only", ""), "The tag '' is empty."),
        (("get", USER, "--diversity", "2"), "diversity is 2.0, but must be a number above 0 and at most 1."),
        (("get", USER, "--max-per-tag", "0"), "--max-per-tag"),
    ],
)
def test_an_invalid_filter_is_a_wrong_command(commands: CommandLine, arguments: tuple[str, ...], says: str) -> None:
    """In one sentence."""
    ended = commands.call(*arguments)
    assert ended.code == 2
    assert says in ended.err
