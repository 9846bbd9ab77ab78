"""One rule for ids: every call and command refuses an id that `import` refuses, without any request."""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import get_type_hints

import pytest
from redis.asyncio import Redis

from reckoner.producer.cli.application import app
from reckoner.producer.client.catalogue import Catalogue
from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.operator import Operator
from reckoner.shared.errors import UsageError
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import Options, Record
from tests.commands import CommandLine
from tests.patience import PATIENCE_S
from tests.world import make_known

Call = Callable[[OpenReckoner, str], Awaitable[object]]


async def each(answers: AsyncIterator[object]) -> None:
    async for _ in answers:
        pass


CALLS: dict[str, Call] = {
    "enqueue": lambda reckoner, text: reckoner.enqueue(text),
    "enqueue_many": lambda reckoner, text: reckoner.enqueue_many(["Ada", text]),
    "recommend": lambda reckoner, text: reckoner.recommend(text),
    "recommend_many": lambda reckoner, text: reckoner.recommend_many(["Ada", text]),
    "cached": lambda reckoner, text: reckoner.cached(["Ada", text], 5, None),
    "computed": lambda reckoner, text: reckoner.computed(["Ada", text]),
    "recommend_for": lambda reckoner, text: reckoner.recommend_for(["a", text]),
    "recommended_for": lambda reckoner, text: reckoner.recommended_for(["a", text]),
    "enqueue_for": lambda reckoner, text: reckoner.enqueue_for(["a", text]),
    "similar": lambda reckoner, text: reckoner.similar(text),
    "similar, other": lambda reckoner, text: reckoner.similar("a", other=text),
    "hidden_for": lambda reckoner, text: reckoner.hidden_for(text),
    "hide": lambda reckoner, text: reckoner.hide("u", "i", text),
    "hide, user": lambda reckoner, text: reckoner.hide(text, "i"),
    "catalogue.hide": lambda reckoner, text: reckoner.catalogue.hide(["i", text]),
    "history": lambda reckoner, text: reckoner.history(text),
    "impressions": lambda reckoner, text: reckoner.impressions(text),
    "merge": lambda reckoner, text: reckoner.merge("u", text),
    "recent": lambda reckoner, text: reckoner.recent(text),
    "record": lambda reckoner, text: reckoner.record("u", text),
    "record, user": lambda reckoner, text: reckoner.record(text, "i"),
    "catalogue.reset_tags": lambda reckoner, text: reckoner.catalogue.reset_tags(text),
    "catalogue.replace_hidden": lambda reckoner, text: reckoner.catalogue.replace_hidden(["i", text]),
    "catalogue.item": lambda reckoner, text: reckoner.catalogue.item(text),
    "catalogue.set_tags": lambda reckoner, text: reckoner.catalogue.set_tags(text, ["t"]),
    "catalogue.tag": lambda reckoner, text: reckoner.catalogue.tag(text, add=["t"]),
    "catalogue.tags": lambda reckoner, text: reckoner.catalogue.tags(["i", text]),
    "unhide": lambda reckoner, text: reckoner.unhide("u", text),
    "catalogue.unhide": lambda reckoner, text: reckoner.catalogue.unhide([text]),
    "get": lambda reckoner, text: reckoner.get(text),
    "get_many": lambda reckoner, text: reckoner.get_many(["Ada", text]),
    "wait": lambda reckoner, text: each(reckoner.wait(["a", text])),
    "job": lambda reckoner, text: reckoner.job(text),
    "cancel": lambda reckoner, text: reckoner.cancel(text),
    "run": lambda reckoner, text: reckoner.operator.run(text),
    "follow": lambda reckoner, text: each(reckoner.follow(text)),
    "reach": lambda reckoner, text: reckoner.reach(1, text),
    "promote": lambda reckoner, text: reckoner.operator.promote(text),
    "show": lambda reckoner, text: reckoner.operator.show(text),
    "show_item": lambda reckoner, text: reckoner.operator.show_item(text),
    "entry": lambda reckoner, text: reckoner.operator.entry(text),
    "acknowledge": lambda reckoner, text: reckoner.operator.acknowledge(text),
    "follow_night": lambda reckoner, text: each(reckoner.operator.follow_night(text)),
    "night": lambda reckoner, text: reckoner.operator.night(text),
    "follow_run": lambda reckoner, text: each(reckoner.operator.follow_run(text)),
}
LONG = "é" * 2500
COMMANDS = [
    ["get", "1", LONG],
    ["get", "--users-file", "{file}"],
    ["enqueue", "1", LONG],
    ["enqueue", "--users-file", "{file}", "--wait"],
    ["enqueue", "--history", f"a,{LONG}"],
    ["enqueue", "--history", f"a,{LONG}", "--wait"],
    ["show", LONG],
    ["export", "{file}", "--format", "csv", "--generation", LONG],
    ["forget", LONG],
    ["similar", LONG],
    ["tag", LONG, "+x"],
    ["tags", LONG],
    ["similar", "a", LONG],
    ["record", "u", LONG],
    ["record", LONG, "i"],
    ["record", "u", "i", "--id", LONG],
    ["merge", "visitor", LONG],
    ["hide", "a", LONG],
    ["hide", "a", "--for", LONG],
    ["hide", "--replace", "{file}"],
    ["unhide", "a", LONG],
    ["unhide", "a", "--for", LONG],
    ["hidden", "--for", LONG],
    ["job", LONG],
    ["cancel", "a", LONG],
    ["dead", "show", LONG],
    ["dead", "retry", "1-0", LONG],
    ["dead", "drop", "1-0", LONG],
    ["promote", LONG],
    ["compare", LONG],
    ["get", "1", "--generation", LONG],
    ["runs", "show", LONG],
    ["runs", "acknowledge", LONG],
    ["drain", LONG],
    ["drain", "--host", LONG],
]


@pytest.fixture
async def reckoner(redis_url: str, prefix: str, redis: Redis) -> AsyncIterator[OpenReckoner]:
    """A client, and a generation that is current."""
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        record = Record(2, "gen", "model", "snapshot", Options(20), 1, 12, popular=["a"])
        await make_known(redis, client.keys, record, {})
        yield client


async def nothing_was_asked(reckoner: OpenReckoner) -> bool:
    return not await ask(reckoner.redis, "EXISTS", *reckoner.keys.all_live, *reckoner.keys.lanes)


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("text", "wrong"), [(LONG, "is over 1,024 bytes"), ("", "is empty"), ("\udc80", "has a lone surrogate")]
)
async def test_a_call_refuses_what_cannot_be_an_id(reckoner: OpenReckoner, call: str, text: str, wrong: str) -> None:
    """Even one among valid ids."""
    with pytest.raises(
        UsageError, match=rf"^The (user|item|job|run|night|generation|history) '.*'(\.\.\.)? {wrong}.*\.$"
    ):
        async with asyncio.timeout(PATIENCE_S):
            await CALLS[call](reckoner, text)
    assert await nothing_was_asked(reckoner)


def test_no_call_with_an_id_is_left_out() -> None:
    """Every call with such a parameter is in the table above."""
    names = {"user", "users", "item", "items", "other", "job", "jobs", "run_id", "night_id", "entry_id", "generation"}
    public = {
        path + name: call
        for path, of in (("", OpenReckoner), ("catalogue.", Catalogue), ("", Operator))
        for name, call in inspect.getmembers(of, inspect.isfunction)
        if name[0] != "_"
    }
    taking = {name for name, call in public.items() if names & inspect.signature(call).parameters.keys()}
    assert taking == {call.partition(",")[0] for call in CALLS}


@pytest.mark.parametrize("arguments", COMMANDS, ids=lambda arguments: " ".join(arguments).replace(LONG, "LONG"))
async def test_a_command_refuses_what_cannot_be_an_id(
    redis_url: str, prefix: str, tmp_path: Path, reckoner: OpenReckoner, arguments: list[str]
) -> None:
    """In one sentence with the exit code of wrong usage."""
    file = tmp_path / "users"
    file.write_text(f"1\n{LONG}\n")
    commands = CommandLine(redis_url=redis_url, prefix=prefix, home=tmp_path)
    ended = commands.call(*(part.format(file=file) for part in arguments))
    assert (ended.code, ended.out) == (2, "")
    assert ended.err.endswith("'... is over 1,024 bytes.\n")
    assert len(ended.err.splitlines()) == 1
    assert await nothing_was_asked(reckoner)


def test_no_command_with_an_id_is_left_out() -> None:
    """Every command with such an argument is in the table above."""
    metavars = {"USER", "ITEM", "OTHER", "ID", "WORKER", "HOST", "ITEMS", "GENERATION"}
    groups = {"": app} | {
        f"{each.typer_instance.info.name} ": each.typer_instance
        for each in app.registered_groups
        if each.typer_instance
    }
    taking = set()
    for parent, group in groups.items():
        for command in group.registered_commands:
            assert command.callback is not None
            hints = get_type_hints(command.callback, include_extras=True).values()
            if metavars & {
                getattr(part, "metavar", None) for hint in hints for part in getattr(hint, "__metadata__", ())
            }:
                taking.add(parent + (command.name or command.callback.__name__))
    assert taking == {" ".join(arguments[: 2 if arguments[0] in ("dead", "runs") else 1]) for arguments in COMMANDS}
