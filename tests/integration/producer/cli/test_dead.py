"""The commands for dead letters, without workers, so that nothing changes meanwhile."""

import os
import pty
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import EvaluationSpec, FitSpec, Options, Record, UserSpec
from tests.commands import CommandLine, Ended
from tests.patience import PATIENCE_S
from tests.root import ROOT
from tests.world import make_known

EVIL = "a\nb\x1b[2J"


@pytest.fixture
async def reckoner(redis_url: str, prefix: str) -> AsyncIterator[OpenReckoner]:
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        record = Record(2, "gen", "model", "snapshot", Options(20), 1, 12, popular=["i"])
        await make_known(client.redis, client.keys, record, {})
        yield client


async def fail(reckoner: OpenReckoner, user: str) -> str:
    """Create a job for a user's list and fail it; returns the dead letter."""
    [flow_id] = await reckoner.flows.create([UserSpec(user, "gen")], [reckoner.keys.join_user("gen", user)])
    return await _failed(reckoner, flow_id)


async def _failed(reckoner: OpenReckoner, flow_id: str) -> str:
    flow = await reckoner.flows.load(flow_id)
    assert flow is not None
    await reckoner.flows.fail(flow, "its worker died 3 times", lease=None)
    return await newest(reckoner)


async def refuse(reckoner: OpenReckoner, data: bytes) -> str:
    """Refuse bytes in place of a job; returns the dead letter."""
    name = f"{reckoner.keys.prefix}:planted"
    await ask(reckoner.redis, "SET", name, data)
    assert await reckoner.flows.refusals.string("job", "planted", name, data, "no job")
    return await newest(reckoner)


async def newest(reckoner: OpenReckoner) -> str:
    entries = await ask(reckoner.redis, "XREVRANGE", reckoner.keys.dead, "+", "-", "COUNT", 1)
    letter: bytes = entries[0][0]
    return letter.decode()


def facts(ended: Ended) -> dict[str, str]:
    """The names and values that a command printed."""
    return {name: value.strip() for name, _, value in (line.partition("  ") for line in ended.out.splitlines())}


def on_a_terminal(commands: CommandLine, typed: bytes, *arguments: str) -> "subprocess.CompletedProcess[bytes]":
    """Run a command whose standard input is a terminal with typed-ahead input."""
    ours, theirs = pty.openpty()
    os.write(ours, typed)
    command = [sys.executable, "-m", "reckoner.producer", *arguments]
    try:
        return subprocess.run(
            command, cwd=ROOT, env=commands.environ, stdin=theirs, capture_output=True, timeout=PATIENCE_S, check=False
        )
    finally:
        os.close(ours)
        os.close(theirs)


async def test_the_list_has_the_newest_first(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """Subject, reason and time of each; ids are escaped, and an empty list says so."""
    nothing = commands.call("dead", "list")
    assert (nothing.code, nothing.out, nothing.err) == (0, "", "There are no dead letters.\n")
    user, bytes_, planted = [
        await fail(reckoner, EVIL),
        await refuse(reckoner, b"\x80bomb"),
        (await ask(reckoner.redis, "XADD", reckoner.keys.dead, "18446744073709551615-1", "x", b"\xff")).decode(),
    ]
    ended = commands.call("dead", "list")
    assert (ended.code, ended.err) == (0, "")
    lines = ended.out.splitlines()[2:]
    assert [line.split()[0] for line in lines] == [planted, bytes_, user]
    assert "the list of user a\\nb\\x1b[2J" in lines[2]
    assert "its worker died 3 times" in lines[2]
    assert "job planted" in lines[1]
    assert "damaged" in lines[0]
    objects = commands.call("dead", "list", "--json", "-n", "2").objects
    assert [letter["letter"] for letter in objects] == [planted, bytes_]
    assert objects[1] == {
        "letter": bytes_,
        "kind": "refused",
        "of": "job",
        "subject": "planted",
        "reason": "no job",
        "at_ms": int(bytes_.split("-")[0]),
        "asked_for": None,
    }


async def test_a_letter_is_shown_with_its_contents(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """A job's request in words; refused bytes as text, or as hexadecimal digits."""
    letter = await fail(reckoner, "601")
    shown = commands.call("dead", "show", letter)
    assert shown.code == 0
    assert facts(shown)["asked for"] == "the list of user 601"
    assert commands.call("dead", "show", letter, "--json").objects[0]["asked_for"] == {
        "user": "601",
        "generation": "gen",
    }
    assert facts(commands.call("dead", "show", await refuse(reckoner, b"a b\n")))["text"] == "a b\\n"
    letter = await refuse(reckoner, b"\x80\x05bomb.")
    assert facts(commands.call("dead", "show", letter))["hex"] == "8005626f6d622e"
    [printed] = commands.call("dead", "show", letter, "--json").objects
    assert (printed["text"], printed["hex"]) == (None, "8005626f6d622e")


async def test_each_retry_is_printed_and_a_refused_one_does_not_stop_the_others(
    commands: CommandLine, reckoner: OpenReckoner
) -> None:
    """Each refused retry is a sentence and exit code 1; the others get new jobs."""
    first, second, bytes_ = [await fail(reckoner, "1"), await fail(reckoner, "1"), await refuse(reckoner, b"x")]
    ended = commands.call("dead", "retry", bytes_, "1-1", first, second)
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 2
    assert f"Dead letter {bytes_} holds invalid bytes" in ended.err
    assert "There is no dead letter 1-1" in ended.err
    (new, job), (joined, *rest) = [line.split(maxsplit=1) for line in ended.out.splitlines()]
    assert (new, joined, rest) == (first, second, [f"{job}  (already in progress)"])
    flow = await reckoner.flows.load(job)
    assert flow is not None
    assert flow.spec == UserSpec("1", "gen")


async def test_all_jobs_are_retried_at_once(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """Oldest first; refused bytes stay. Without failed jobs it prints a sentence and succeeds."""
    letters = [await fail(reckoner, "1"), await fail(reckoner, "2")]
    bytes_ = await refuse(reckoner, b"x")
    ended = commands.call("dead", "retry", "--all", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert [(shown["letter"], shown["is_new"]) for shown in ended.objects] == [(letter, True) for letter in letters]
    again = commands.call("dead", "retry", "--all")
    assert (again.code, again.out, again.err) == (0, "", "There are no failed jobs to retry.\n")
    assert await newest(reckoner) == bytes_


async def test_a_damaged_letter_and_a_forgotten_generation_are_sentences(
    commands: CommandLine, reckoner: OpenReckoner
) -> None:
    """The request is unreadable, or can no longer be fulfilled."""
    fields = ("kind", "flow", "id", "f", "of", "user", "reason", "r", "data", b"\x80\x05bomb.")
    damaged = (await ask(reckoner.redis, "XADD", reckoner.keys.dead, "*", *fields)).decode()
    assert facts(commands.call("dead", "show", damaged))["asked for"] == "unreadable"
    forgotten = await fail(reckoner, "1")
    await ask(reckoner.redis, "DEL", reckoner.keys.record("gen"))
    ended = commands.call("dead", "retry", "--all")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err.splitlines() == [
        f"The job of dead letter {damaged} cannot be read. Enqueue it again.",
        f"The generation of dead letter {forgotten} was deleted. Enqueue the job again with `reckoner enqueue`.",
    ]


async def test_a_fit_is_in_words_too(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """With its snapshot."""
    [flow_id] = await reckoner.flows.create([FitSpec("s", "cosine", 5, 2.5, 20)], [reckoner.keys.join_fit("g")])
    shown = facts(commands.call("dead", "show", await _failed(reckoner, flow_id)))
    assert shown["asked for"] == "a model: cosine, 5 neighbours, shrink 2.5"
    assert shown["snapshot"] == "s"


async def test_an_evaluation_is_in_words_too(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """With its snapshot and its model; `job` shows them too."""
    spec = EvaluationSpec("s", "m", "0" * 64, 20)
    [flow_id] = await reckoner.flows.create([spec], [reckoner.keys.join_evaluation(b"")])
    shown = facts(commands.call("job", flow_id))
    assert {name: shown[name] for name in ("kind", "snapshot", "model")} == {
        "kind": "evaluation", "snapshot": "s", "model": "m",
    }  # fmt: skip
    shown = facts(commands.call("dead", "show", await _failed(reckoner, flow_id)))
    assert shown["asked for"] == "the lists of an evaluation of model m"
    assert shown["snapshot"] == "s"


async def test_named_letters_are_dropped_and_all_only_after_confirmation(
    commands: CommandLine, reckoner: OpenReckoner
) -> None:
    """Ids need no confirmation; --all needs --yes without a terminal."""
    letters = [await fail(reckoner, user) for user in "1234"]
    ended = commands.call("dead", "drop", letters[0], "nothing", letters[1])
    assert (ended.code, ended.out) == (1, "")
    assert "There is no dead letter nothing" in ended.err
    refused = commands.call("dead", "drop", "--all")
    assert (refused.code, refused.err) == (2, "Dropping all dead letters needs confirmation. Add --yes.\n")
    assert await ask(reckoner.redis, "XLEN", reckoner.keys.dead) == 2
    ended = commands.call("dead", "drop", "--all", "--yes")
    assert (ended.code, ended.err) == (0, "Dropped 2 dead letters.\n")
    assert await ask(reckoner.redis, "XLEN", reckoner.keys.dead) == 0


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
async def test_on_a_terminal_it_asks(
    commands: CommandLine, reckoner: OpenReckoner, answer: bytes, code: int, left: int
) -> None:
    """Any other answer than yes drops nothing."""
    await fail(reckoner, "1")
    done = on_a_terminal(commands, answer, "dead", "drop", "--all")
    assert done.returncode == code
    assert b"Drop all dead letters?" in done.stderr
    assert await ask(reckoner.redis, "XLEN", reckoner.keys.dead) == left


@pytest.mark.parametrize(
    "arguments",
    [("retry",), ("drop",), ("retry", "1-1", "--all"), ("drop", "1-1", "--all"), ("show",), ("list", "-n", "0")],
)
def test_what_names_nothing_or_too_much_is_wrong(commands: CommandLine, arguments: tuple[str, ...]) -> None:
    """One sentence, and exit code 2."""
    ended = commands.call("dead", *arguments)
    assert (ended.code, ended.out) == (2, "")
    assert len(ended.err.splitlines()) == 1


@pytest.mark.parametrize("letter", ["nothing", "1", "-", "1-1", EVIL])
def test_a_letter_that_is_not_there_is_a_sentence(commands: CommandLine, letter: str) -> None:
    """Any text in place of an id."""
    ended = commands.call("dead", "show", "--", letter)
    assert (ended.code, ended.out) == (1, "")
    assert len(ended.err.splitlines()) == 1
    assert "`reckoner dead list` lists the present ones." in ended.err
