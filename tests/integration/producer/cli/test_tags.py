"""The tags of an item are shown and changed by hand."""

import pytest

from reckoner.producer.client.answers import TaggedItem
from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.errors import UsageError
from tests.commands import CommandLine
from tests.world import Hand, World

ITEM = "item 01"


@pytest.fixture
async def tagged(hand: Hand, world: World) -> None:
    """A live generation whose snapshot has tags of one item."""
    await hand.adopt(world)
    await hand.runtime.results.tags.write(world.snapshot.id, {ITEM: ["new", "wool"]})


async def test_the_client_changes_and_resets_tags(reckoner: OpenReckoner, tagged: None) -> None:
    """Each call answers with the tags from then on."""
    assert await reckoner.catalogue.tags([ITEM, "unknown"]) == [
        TaggedItem(ITEM, ["new", "wool"], False),
        TaggedItem("unknown", [], False),
    ]
    assert await reckoner.catalogue.tag(ITEM, add=["sale"], remove=["new"]) == TaggedItem(ITEM, ["sale", "wool"], True)
    assert await reckoner.catalogue.live_tags() == [TaggedItem(ITEM, ["sale", "wool"], True)]
    assert await reckoner.catalogue.reset_tags(ITEM) == TaggedItem(ITEM, ["new", "wool"], False)
    assert await reckoner.catalogue.live_tags() == []


async def test_tags_can_be_changed_before_anything_is_fitted(reckoner: OpenReckoner) -> None:
    """The item then has only these."""
    assert await reckoner.catalogue.tag("any", add=["b", "a"]) == TaggedItem("any", ["a", "b"], True)
    assert await reckoner.catalogue.reset_tags("any") == TaggedItem("any", [], False)


@pytest.mark.parametrize(
    ("add", "remove", "sentence"),
    [
        ([], [], "No tag is added and none is removed"),
        (["a"], ["a"], "The tag a is both added and removed"),
        ([" a"], [], r"The tag ' a' has blanks around it"),
        ([""], [], "The tag"),
        (["é" * 513], [], "is over 1,024 bytes"),
    ],
)
async def test_invalid_changes_are_refused(
    reckoner: OpenReckoner, add: list[str], remove: list[str], sentence: str
) -> None:
    """Nothing is changed."""
    with pytest.raises(UsageError, match=sentence):
        await reckoner.catalogue.tag(ITEM, add=add, remove=remove)
    assert await reckoner.catalogue.live_tags() == []


async def test_the_commands_change_and_show_tags(commands: CommandLine, tagged: None) -> None:
    """+TAG adds and -TAG removes, also where TAG looks like options."""
    ended = commands.call("tag", ITEM, "+sale", "-new", "-json", "+-n", "--json")
    assert ended.objects == [{"item": ITEM, "tags": ["-n", "sale", "wool"], "live": True}]
    assert commands.call("tags", ITEM, "--json").objects == ended.objects
    [*_, row] = commands.call("tags").out.splitlines()
    assert row.split() == [*ITEM.split(), "-n,", "sale,", "wool", "live"]
    [*_, row] = commands.call("tag", ITEM, "--reset").out.splitlines()
    assert row.split() == [*ITEM.split(), "new,", "wool"]
    ended = commands.call("tags")
    assert (ended.code, ended.out, ended.err) == (0, "", "No item's tags were changed live.\n")
    commands.call("tag", ITEM, "-new", "-wool")
    assert commands.call("tags", ITEM).out == f"{ITEM} has no tags, since they were changed live\n"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((ITEM,), "Give changes of tags, such as +sale -new, or --reset."),
        ((ITEM, "+sale", "--reset"), "Give changes of tags, such as +sale -new, or --reset."),
        ((ITEM, "sale"), "sale is no change of a tag. Write +sale to add the tag, or -sale to remove it."),
        ((ITEM, "--rest"), "There is no option --rest. See `reckoner tag --help`."),
        ((ITEM, "+"), "The tag"),
    ],
)
async def test_a_wrong_command_is_one_sentence(
    commands: CommandLine, arguments: tuple[str, ...], sentence: str
) -> None:
    """With exit code 2."""
    ended = commands.call("tag", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert sentence in ended.err
