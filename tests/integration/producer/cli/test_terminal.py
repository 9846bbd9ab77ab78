"""No command prints control characters from Redis, files or arguments: in tables, sentences or JSON."""

import asyncio
import contextlib
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.redis.scripts import ask
from reckoner.shared.wire.shapes import (
    BASKET,
    BEAT,
    REPLY,
    RESULT,
    TRACE,
    BasketResult,
    Beat,
    History,
    HistoryItem,
    Neighbours,
    Options,
    Pair,
    Record,
    Reply,
    Result,
    Running,
    ScoredItem,
    SimilarItem,
    Trace,
    Unknown,
    UserSpec,
)
from tests.commands import CommandLine
from tests.root import ROOT
from tests.terminals import SWEEP, moving, show, show_here
from tests.world import make_known

# As an argument or the name of a file: without what neither can hold.
NAME = SWEEP.replace("\0", "")


@pytest.fixture
async def reckoner(redis_url: str, prefix: str, redis: Redis) -> AsyncIterator[OpenReckoner]:
    """A client of a Redis in which every text is full of control characters."""
    async with OpenReckoner(redis_url, prefix=prefix) as client:
        await plant(client)
        yield client


async def plant(client: OpenReckoner) -> None:
    keys, redis = client.keys, client.redis
    record = Record(2, "gen", "model", "snapshot", Options(20), 1, 12, popular=[SWEEP])
    await make_known(redis, keys, record, {SWEEP: SWEEP, "a": SWEEP})
    places = [ScoredItem(SWEEP, 0.5, SWEEP)]
    await client.results.write("gen", [(user, RESULT.encode(Result(2, places))) for user in ("1", NAME)], 600)
    await ask(redis, "SET", keys.basket("gen", ["a", NAME]), BASKET.encode(BasketResult(2, places, [SWEEP])))
    now = time.time_ns() // 1_000_000
    beat = Beat(1, SWEEP, SWEEP, 1, SWEEP, now, now, 1, [Running(SWEEP, now)], lease_ms=600_000)
    await ask(redis, "ZADD", keys.workers, now, SWEEP)
    await ask(redis, "SET", keys.beat(SWEEP), BEAT.encode(beat), "EX", 600)
    name = f"{keys.prefix}:planted"
    await ask(redis, "SET", name, SWEEP)
    assert await client.flows.refusals.string(SWEEP, SWEEP, name, SWEEP.encode(), SWEEP)


async def failed(client: OpenReckoner) -> str:
    """A job for a user that failed and left a dead letter; what says why, and who worked for it, could move cursors."""
    [job] = await client.flows.create([UserSpec(SWEEP, "gen")], [client.keys.join_user("gen", SWEEP)])
    flow = await client.flows.load(job)
    assert flow is not None
    assert await client.flows.fail(flow, SWEEP, lease=None)
    await ask(client.redis, "HSET", client.keys.tasks(job), "0", TRACE.encode(Trace(SWEEP, 1.0, 2.0)))
    return job


async def ended(client: OpenReckoner) -> str:
    """A run that was refused."""
    run_id, _ = await client.operator.start_run(5, 2)
    run = (await client.operator.run(run_id)).run
    assert await client.runs.close(run, "refused", Manifest(12, 11, 1, 0, 1.0, 11.0, [SWEEP], {SWEEP: 3}), lease=None)
    return run_id


def look(commands: CommandLine, arguments: Sequence[str]) -> tuple[int, str]:
    """The output on a terminal, which like the JSON must have no control characters."""
    code, shown = show_here(arguments, commands.environ)
    assert code in (0, 1, 2), shown
    assert moving(shown) == []
    assert "Traceback" not in shown
    return code, shown


def look_twice(commands: CommandLine, arguments: Sequence[str]) -> str:
    """The same, for people and as JSON; returns both."""
    return "".join(look(commands, [*arguments, *more])[1] for more in ([], ["--json"]))


@pytest.mark.parametrize(
    "arguments",
    [
        ["status"],
        ["get", "1", "nobody", NAME],
        ["enqueue", "1", NAME],
        ["enqueue", "1", NAME, "--wait"],
        ["enqueue", "--history", f'a,"{NAME}"', "--wait"],
        ["dead", "list"],
        ["doctor"],
        ["drain", "--all", "--no-wait"],
    ],
    ids=lambda arguments: " ".join(arguments).replace(NAME, "NAME"),
)
async def test_texts_of_redis_move_no_cursor(
    commands: CommandLine, reckoner: OpenReckoner, arguments: list[str]
) -> None:
    """Names of workers and hosts, jobs, ids, titles, reasons, kinds of what was refused."""
    await failed(reckoner)
    shown = await asyncio.to_thread(look_twice, commands, arguments)
    assert arguments == ["doctor"] or ("\\x1c" in shown and "\\u001c" in shown)


async def test_a_process_of_its_own_shows_the_same(commands: CommandLine, reckoner: OpenReckoner) -> None:
    """The other tests call the commands in their own."""
    command = [sys.executable, "-m", "reckoner.producer", "get", "1"]
    shown = await asyncio.to_thread(show, command, commands.environ, ROOT)
    assert shown == await asyncio.to_thread(show_here, ["get", "1"], commands.environ)
    assert "\\x1c" in shown[1]


async def test_what_a_job_a_run_or_a_letter_holds_moves_no_cursor(
    commands: CommandLine, reckoner: OpenReckoner
) -> None:
    """The user, the reason and the workers."""
    job, run = await failed(reckoner), await ended(reckoner)
    letters = await ask(reckoner.redis, "XRANGE", reckoner.keys.dead, "-", "+")
    for arguments in (["job", job], ["job", run], *(["dead", "show", name.decode()] for name, _ in letters)):
        shown = await asyncio.to_thread(look_twice, commands, arguments)
        assert "\\x1c" in shown
        assert "\\u001c" in shown


@pytest.mark.parametrize(
    ("arguments", "reply"),
    [
        (["similar", "a"], Neighbours(3, [SimilarItem(SWEEP, 0.5)])),
        (["similar", "a", NAME], Pair(0.5, 3, 4, 2)),
        (["similar", "a"], Unknown([SWEEP])),
        (["show", "1"], History(1, [HistoryItem(SWEEP, 1.0, 1)])),
        (["show", NAME], Unknown([SWEEP])),
    ],
    ids=["neighbours", "pair", "unknown item", "history", "unknown user"],
)
async def test_what_a_worker_answered_moves_no_cursor(
    commands: CommandLine, reckoner: OpenReckoner, arguments: list[str], reply: Reply
) -> None:
    """Whichever program wrote it to Redis."""

    async def answer() -> None:
        while True:
            for member in await ask(reckoner.redis, "ZUNION", 2, *reckoner.keys.all_live):
                flow = await reckoner.flows.load(member.decode().removeprefix("flow:"))
                if flow is not None:
                    await reckoner.flows.finish(flow, REPLY.encode(reply), lease=None)
            await asyncio.sleep(0.02)

    answering = asyncio.create_task(answer())
    try:
        for more in ([], ["--json"]):
            _, shown = await asyncio.to_thread(look, commands, [*arguments, *more])
            assert "\\x1c" in shown or "\\u001c" in shown
    finally:
        answering.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await answering


@pytest.mark.parametrize(
    "arguments",
    [
        [NAME],
        ["get", f"--{NAME}"],
        ["get", "1", "-n", NAME],
        ["fit", "--similarity", NAME],
        ["pause", NAME],
        ["get", "--users-file", NAME],
        ["import", NAME],
        ["import", f"postgresql://{NAME}", "--query", NAME],
        ["synth", "--like", NAME, NAME],
        ["job", NAME],
        ["cancel", NAME],
        ["drain", f"{NAME}x"],
        ["dead", "show", NAME],
        ["dead", "retry", NAME],
        ["get", f"{NAME}\udcff"],
        ["get", NAME * 9],
    ],
    ids=lambda arguments: " ".join(arguments).replace(NAME, "NAME").encode("ascii", "replace").decode(),
)
def test_what_was_wrong_with_an_argument_moves_no_cursor(commands: CommandLine, arguments: list[str]) -> None:
    """Typer's own sentences too."""
    code, _ = look(commands, arguments)
    assert code != 0


def test_texts_of_files_and_settings_move_no_cursor(commands: CommandLine, tmp_path: Path) -> None:
    """Names of files and columns, ids, reasons of bad rows, keys of a settings file."""
    source = tmp_path / "a \x1b[2J\x9b\u202e.csv"
    lines = NAME.replace("\n", "").replace("\r", "").replace('"', "")
    source.write_text(f'user,item,weight,"{lines}"\n"{lines}",1,1,x\n2,2,"{lines}",x\n', newline="")
    for arguments in (
        ["import", str(source), "--weight", "weight"],
        ["import", str(source), "--title", lines],
        ["import", str(source), "--time", lines],
        ["import", str(source), "--user", "none"],
        ["users"],
        ["users", "--json"],
    ):
        look(commands, arguments)
    home = CommandLine(home=tmp_path / f"a {NAME}\udcff".replace("/", ""), store_url=f"file:///{NAME}")
    for arguments in (["config"], ["config", "--json"], ["status"], ["doctor"]):
        look(home, arguments)
    file = tmp_path / "a \x1b[2J\x9b\u202e.toml"
    for line in ("x = 1", '"\\u001b[2J\\u009b\\u202e" = 1', "chunks = 0", "\x9b"):
        file.write_text(line)
        look(CommandLine(config=file), ["config"])
    look(CommandLine(ROOT, **{NAME.replace("=", ""): "1"}), ["config"])
