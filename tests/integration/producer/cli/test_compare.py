"""`reckoner compare` on a worker: what it prints, and its JSON."""

import asyncio

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.store.model_config import ModelConfig
from reckoner.shared.wire.shapes import RESULT, Result
from tests.commands import CommandLine, Ended
from tests.integration.producer.cli.test_evaluate import commands, live
from tests.world import LIST_LENGTH, USERS, Generation, World

__all__ = ["commands", "live"]

OTHER = "cosine neighbours=9 shrink=2.5"


async def compare(commands: CommandLine, *arguments: str) -> Ended:
    return await asyncio.to_thread(commands.run, "compare", *arguments)


def items_of(result: Result) -> list[str]:
    return [place.item for place in result.items]


async def test_two_models_are_compared_by_their_lists(
    live: Generation, commands: CommandLine, own_world: World, reckoner: OpenReckoner
) -> None:
    """The figures follow from the lists of all users, by hand; the same command prints the same bytes."""
    asked = OTHER, "--users", f'{USERS[0]},"{USERS[2]}"', "--random", "0", "--json"
    ended, again = [await compare(commands, *asked) for _ in range(2)]
    assert ended.code == 0, ended.err
    assert ended.out == again.out
    [report] = ended.objects
    third = own_world.generations[2]
    now, before = ({user: RESULT.decode(data) for user, data in one.lists.items()} for one in (third, live))
    assert [side["name"] for side in report["sides"]] == [OTHER, f"live {live.id}"]
    assert [side["generation"] for side in report["sides"]] == [None, live.id]
    assert [side["model"] for side in report["sides"]] == [third.record.model, live.record.model]
    assert (report["places"], report["sampled"], report["without_list"]) == (LIST_LENGTH, len(USERS), [1, 1])
    pairs = [(items_of(now[user]), items_of(before[user])) for user in USERS if now[user].items]
    shared = sum(len(set(one) & set(other)) / max(len(one), len(other)) for one, other in pairs) / len(pairs)
    assert report["overlap"]["shared"] == pytest.approx(shared)
    assert report["overlap"]["users"] == len(pairs) == len(USERS) - 1
    shown = [[item for pair in pairs for item in pair[side]] for side in (0, 1)]
    assert report["exposure"]["items"] == [len(set(items)) for items in shown]
    change = report["exposure"]["gains"][0]
    assert change["now"] == pytest.approx(shown[0].count(change["item"]) / len(shown[0]))
    assert change["before"] == pytest.approx(shown[1].count(change["item"]) / len(shown[1]))
    assert change["now"] > change["before"]
    assert [one["user"] for one in report["users"]] == [USERS[0], USERS[2]]
    for one in report["users"]:
        for places, lists in zip(one["lists"], (now, before), strict=True):
            wanted = [(place.item, place.because) for place in lists[one["user"]].items]
            assert [(place["item"], place["because"]) for place in places] == wanted
            assert [place["title"] for place in places] == [own_world.titles.get(item) for item, _ in wanted]
    assert await reckoner.results.generations.current() == live.id


async def test_lists_are_printed_side_by_side(live: Generation, commands: CommandLine, own_world: World) -> None:
    """With titles, reasons and the rank before; three random users by default; users without a list are said."""
    ended = await compare(commands, OTHER, "--users", f"{USERS[0]},with an empty history", "-n", "2")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == f"{OTHER}, compared with live {live.id}, by the first 2 places of lists"
    assert f"{OTHER}: no list of their own, readers get the popular list" in lines
    assert [line for line in lines if line.startswith("User ")] == [f"User {USERS[0]}", "User with an empty history"]
    now, before = (RESULT.decode(one.lists[USERS[0]]).items for one in (own_world.generations[2], live))
    first = next(line for line in lines if line.startswith("1  "))
    ranks = {place.item: str(rank) for rank, place in enumerate(before[:2], 1)}
    for text in (
        *(own_world.titles.get(item, item) for item in (now[0].item, now[0].because)),
        ranks.get(now[0].item, "new"),
    ):
        assert text in first
    drawn = await compare(commands, "live", OTHER)
    assert drawn.out.count("\nUser ") == 3
    assert drawn.out != (await compare(commands, "live", OTHER, "--seed", "3")).out


async def test_equal_sides_are_equal(live: Generation, commands: CommandLine) -> None:
    """Nothing gains or loses; the sides may even be the same generation."""
    [report] = (await compare(commands, ModelConfig(neighbours=4).label, "live", "--random", "0", "--json")).objects
    assert (report["overlap"]["shared"], report["overlap"]["equal"]) == (1.0, 1.0)
    assert report["overlap"]["rank_biased"] == pytest.approx(1)
    assert (report["exposure"]["gains"], report["exposure"]["losses"], report["users"]) == ([], [], [])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["slimmer"], 2, "'slimmer' is no generation and no model"),
        (["live", "previous"], 2, "There is no previous generation"),
        (["cosine", "-n", "6"], 2, "the lists to compare have 5 places"),
        (["cosine", "--users", '"a'], 2, "--users is not valid CSV"),
        (["cosine", "--users", "nobody"], 1, "User nobody is not in the data"),
    ],
)
async def test_wrong_commands_get_a_sentence(
    live: Generation, commands: CommandLine, arguments: list[str], code: int, message: str
) -> None:
    ended = await compare(commands, *arguments)
    assert (ended.code, ended.out) == (code, "")
    assert message in ended.err
    assert len(ended.err.strip().splitlines()) == 1
