"""The commands about items, baskets and one user, with a working worker."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest
from redis.asyncio import Redis

from reckoner.shared.wire.shapes import RECORD, RESULT
from tests.commands import CommandLine, Ended
from tests.world import ITEMS, LIST_LENGTH, Generation, Hand, World

Run: TypeAlias = Callable[..., Awaitable[Ended]]


@pytest.fixture
def run(redis_url: str, prefix: str, tmp_path: Path) -> Run:
    """Run a command while the worker works."""
    commands = CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path / "a höme")
    return partial(asyncio.to_thread, commands.call)


def items(data: bytes) -> list[str]:
    """The items of a cached list."""
    return [item for item, _, _ in json.loads(data)["items"]]


async def test_similar_prints_neighbours(run: Run, generation: Generation) -> None:
    """A table for people, with titles where there are some, and one object with --json."""
    ended = await run("similar", ITEMS[0], "-n", "3")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith(f"Item {ITEMS[0]}, The {ITEMS[0]}: ")
    [shown] = (await run("similar", ITEMS[0], "-n", "3", "--json")).objects
    assert [near["item"] in ended.out for near in shown["items"]] == [True] * 3
    assert (shown["item"], shown["title"], shown["generation"]) == (ITEMS[0], f"The {ITEMS[0]}", generation.id)


async def test_similar_compares_two(run: Run, generation: Generation) -> None:
    """Their similarity and how many users they share."""
    [shown] = (await run("similar", ITEMS[0], ITEMS[1], "--json")).objects
    assert {"similarity", "users", "other_users", "shared_users"} <= shown.keys()
    ended = await run("similar", ITEMS[0], ITEMS[1])
    assert f"{shown['shared_users']} user" in ended.out
    assert f"{ITEMS[1]}, The {ITEMS[1]}: " in ended.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("similar", "nowhere"), 1, "The item nowhere is not in the data."),
        (("similar", ITEMS[0], "a\nb"), 1, "The item a\\nb is not in the data."),
        (("show", "nobody"), 1, "The user nobody is not in the data."),
        (("similar", ITEMS[0], "-n", "0"), 2, "-n"),
        (("similar",), 2, "ITEM"),
        (("similar", b"\xff"), 2, "not UTF-8"),
        (("show", "Ada", "-n", "6"), 2, "RECKONER_LIST_LENGTH"),
        (("enqueue", "Ada", "--history", "a"), 2, "either users or --history"),
        (("enqueue", "--fresh", "--history", "a"), 2, "--fresh"),
        (("enqueue", "--history", ""), 2, "contains no item"),
        (("enqueue", "--history", '"a'), 2, "not valid CSV"),
    ],
)
async def test_what_cannot_be_answered_is_one_sentence(
    run: Run, generation: Generation, arguments: tuple[str | bytes, ...], code: int, said: str
) -> None:
    """An unknown item or user is a failure, and a wrong call is wrong usage."""
    ended = await run(*arguments)
    assert (ended.code, ended.out) == (code, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


async def test_a_basket_is_enqueued_and_printed(run: Run, generation: Generation) -> None:
    """Its job first, then its list; ids with commas stand in double quotes, and unknown ones are named."""
    basket = ("--history", f'{ITEMS[3]},"a,""b"', "--history", ITEMS[1])
    [asked] = (await run("enqueue", *basket, "--json")).objects
    assert asked["basket"] == ['a,"b', ITEMS[1], ITEMS[3]]
    assert asked["job"] is not None
    [answer] = (await run("enqueue", *basket, "--wait", "-n", "2", "--json")).objects
    assert (answer["unknown"], answer["source"], len(answer["items"])) == (['a,"b'], "cache", 2)
    ended = await run("enqueue", *basket, "--wait")
    assert ended.out.startswith('Basket of 3 items\nNot in the data: a,"b\n')
    assert answer["items"][0]["item"] in ended.out
    assert (await run("enqueue", *basket)).out == "basket  cached\n"
    nothing = await run("enqueue", "--history", "nowhere", "--wait")
    assert nothing.out.startswith("Basket of 1 item: no similar items, so this is the popular list\n")


async def test_show_sets_lists_side_by_side(
    run: Run, generation: Generation, hand: Hand, world: World, redis: Redis
) -> None:
    """The history, the list with reasons and previous ranks, and the items that left it."""
    keys, results = hand.runtime.keys, hand.runtime.results
    alone = await run("show", "Ada")
    assert "No list of their own, so readers get the popular list" in alone.out
    named = await run("show", "Ada", "--generation", generation.id)
    assert f"No list of their own in generation {generation.id}: its readers get the popular list.\n" in named.out
    await results.write(generation.id, [("Ada", generation.lists["Ada"])], 60)
    first = await run("show", "Ada")
    assert f"Their list in generation {generation.id}, the first one\n" in first.out

    before = world.generations[0]
    await redis.set(keys.record(before.id), RECORD.encode(before.record))
    await redis.set(keys.previous, before.id)
    assert f"compared with {before.id}, in which they had none\n" in (await run("show", "Ada")).out
    await results.write(before.id, [("Ada", before.lists["Ada"])], 60)
    [printed] = (await run("show", "Ada", "--json")).objects
    had = items(before.lists["Ada"])
    has = items(generation.lists["Ada"])
    assert [(place["item"], place["before"]) for place in printed["items"]] == [
        (item, had.index(item) + 1 if item in had else None) for item in has
    ]
    assert [(gone["item"], gone["before"]) for gone in printed["left"]] == [
        (item, rank) for rank, item in enumerate(had, 1) if item not in has
    ]
    assert (printed["user"], printed["generation"], printed["previous"]) == ("Ada", generation.id, before.id)
    assert (printed["source"], printed["had_list_before"]) == ("cache", True)
    assert len(printed["history"]) == min(printed["had"], LIST_LENGTH)
    shown = await run("show", "Ada")
    assert (shown.code, shown.err) == (0, "")
    assert f"User Ada had {printed['had']} items" in shown.out
    assert ("new" in shown.out) == any(place["before"] is None for place in printed["items"])
    assert ("Left the list" in shown.out) == bool(printed["left"])


async def test_show_names_recent_events_and_what_is_left_out(run: Run, generation: Generation, hand: Hand) -> None:
    """Each place that is not shown has a reason."""
    first, second, *_ = items(generation.lists["Ada"])
    await run("record", "Ada", ITEMS[0], "--type", "view", "--weight", "2", "--time", "2026-01-02T12:00Z")
    await run("enqueue", "Ada", "--fresh", "--wait")
    await hand.runtime.results.write(generation.id, [("Ada", generation.lists["Ada"])], 60)
    await run("hide", first)
    await run("hide", second, "--for", "Ada")
    [printed] = (await run("show", "Ada", "--json")).objects
    [event] = printed["recent"]
    assert (event["item"], event["title"], event["type"]) == (ITEMS[0], f"The {ITEMS[0]}", "view")
    assert (event["role"], event["weight"], event["time_ms"]) == ("signal", 2.0, 1_767_355_200_000)
    assert printed["hidden"] == [second]
    assert {place["item"]: place["why"] for place in printed["withheld"]}[first] == "hidden from everybody"
    assert not {first, second} & {place["item"] for place in printed["items"]}
    shown = (await run("show", "Ada")).out
    assert "\nSince that import: 1 event\n" in shown
    assert "view   2026-01-02" in shown
    assert "\nHidden from them: " in shown
    assert "\nLeft out now\n" in shown


async def test_show_knows_a_new_user_by_events(run: Run, generation: Generation) -> None:
    """Without a history in the data."""
    await run("record", "somebody new", ITEMS[0])
    shown = (await run("show", "somebody new")).out
    assert shown.startswith("User somebody new had 0 items\n\nSince that import: 1 event\n")


async def test_show_of_an_empty_history_says_so(run: Run, generation: Generation, hand: Hand) -> None:
    """They get the popular list; an unreadable list counts as missing."""
    user = "with an empty history"
    await hand.runtime.results.write(generation.id, [(user, RESULT.encode(RESULT.decode(generation.lists[user])))], 60)
    shown = await run("show", user)
    assert shown.code == 0
    assert shown.out.startswith(f"User {user} had 0 items\n")
    assert "the popular list" in shown.out
