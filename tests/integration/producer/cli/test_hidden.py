"""Items are hidden from everybody or from one user, and shown again."""

import time
from pathlib import Path

import pytest

from reckoner.producer.client.answers import HiddenItem
from reckoner.producer.client.open import OpenReckoner
from tests.commands import CommandLine

DAY_MS = 86_400_000


async def hidden(reckoner: OpenReckoner) -> list[str]:
    return [one.item for one in await reckoner.catalogue.hidden()]


async def test_items_are_hidden_and_shown_again(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """From everybody; what is hidden already is named."""
    assert commands.call("hide", "b", "a", "b").out == "Hidden from everybody: 2 items.\n"
    assert commands.call("hide", "b", "c").out == "Hidden from everybody: 2 items (1 of them before).\n"
    assert commands.call("hidden").out.split() == ["item", "────", "a", "b", "c"]
    assert commands.call("hidden", "--json").objects == [{"item": item, "until_ms": None} for item in "abc"]
    assert commands.call("unhide", "a", "x").out == "Shown again: 1 item. Not hidden before: 1 item.\n"
    assert commands.call("unhide", "b", "--json").objects == [{"user": None, "items": ["b"], "changed": 1}]
    assert await hidden(reckoner) == ["c"]
    assert commands.call("unhide", "--all").out == "Shown again: 1 item.\n"
    ended = commands.call("hidden")
    assert (ended.code, ended.out, ended.err) == (0, "", "Nothing is hidden from everybody.\n")


async def test_items_are_hidden_until_a_time(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """From now on, or at a moment."""
    assert commands.call("hide", "a", "--until", "3d").out.startswith("Hidden from everybody until 20")
    [item] = await reckoner.catalogue.hidden()
    assert item.until_ms is not None
    assert abs(item.until_ms - time.time() * 1000 - 3 * DAY_MS) < DAY_MS / 2
    commands.call("hide", "a", "--until", "2999-01-01T00:00Z")
    assert await reckoner.catalogue.hidden() == [HiddenItem("a", 32_472_144_000_000)]


async def test_items_are_hidden_from_one_user(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """And from nobody else."""
    assert commands.call("hide", "a", "b", "--for", "ü").out == "Hidden from user ü: 2 items.\n"
    assert await reckoner.hidden_for("ü") == ["a", "b"]
    assert await hidden(reckoner) == await reckoner.hidden_for("v") == []
    assert commands.call("hidden", "--for", "ü", "--json").objects == [
        {"item": item, "until_ms": None} for item in "ab"
    ]
    assert commands.call("unhide", "a", "--for", "ü").out == "Shown again: 1 item.\n"
    assert await reckoner.hidden_for("ü") == ["b"]
    await reckoner.record("ü", "c", type="dislike")
    said = commands.call("unhide", "c", "--for", "ü").out
    assert said == "Shown again: 0 items. Not hidden before: 1 item. A recorded dislike stays.\n"
    assert commands.call("hidden", "--for", "v").err == "Nothing is hidden from user v.\n"


async def test_a_feed_replaces_all_hidden_items(commands: CommandLine, reckoner: OpenReckoner, tmp_path: Path) -> None:
    """A file or standard input; one without items, as after a failure, changes nothing."""
    commands.call("hide", "old")
    feed = tmp_path / "sold öut"
    feed.write_bytes("\ufeffa\r\n\nb c\nü\na\n".encode())
    assert commands.call("hide", "--replace", str(feed)).out == "Hidden from everybody now: these 3 items.\n"
    assert await hidden(reckoner) == ["a", "b c", "ü"]
    assert commands.call("hide", "--replace", "-", "--json", given=b"d\n").objects == [{"hidden": 1}]
    ended = commands.call("hide", "--replace", "-", given=b"\n\n")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.startswith("Standard input has no items, so nothing was changed. ")
    assert await hidden(reckoner) == ["d"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("hide",), "Give at least one item."),
        (("unhide",), "Give at least one item."),
        (("hide", "a", "--for", "u", "--until", "2h"), "--until applies to items that are hidden from everybody."),
        (("hide", "a", "--replace", "-"), "--replace takes all items from its file."),
        (("hide", "a", "--until", "2020-01-01"), "The time 2020-01-01 00:00 UTC is over. Give a later one."),
        (("hide", "a", "--until", "soon"), "The time 'soon' is neither ISO 8601"),
        (("unhide", "a", "--all"), "--all applies to everything that is hidden from everybody."),
    ],
)
async def test_a_wrong_command_is_one_sentence(
    commands: CommandLine, reckoner: OpenReckoner, arguments: tuple[str, ...], sentence: str
) -> None:
    """With exit code 2, and nothing is hidden."""
    ended = commands.call(*arguments)
    assert (ended.code, ended.out, len(ended.err.splitlines())) == (2, "", 1)
    assert sentence in ended.err
    assert await hidden(reckoner) == []
