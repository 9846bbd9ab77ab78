"""The commands that read and enqueue, without workers, so that nothing changes meanwhile."""

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from subprocess import Popen
from typing import TypeVar

import pytest
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.flows.flow_state import DamagedFlowError
from reckoner.shared.flows.run_state import Manifest
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.impressions import Rotation
from reckoner.shared.wire.shapes import (
    RESULT,
    BasketSpec,
    ClickSpec,
    HistorySpec,
    Options,
    Record,
    Result,
    ScoredItem,
    SimilarSpec,
    UserSpec,
)
from tests.commands import CommandLine
from tests.conftest import StartServer
from tests.patience import PATIENCE_S
from tests.world import make_known

ITEMS = [f"item {i:02d}" for i in range(20)]
T = TypeVar("T")
EVIL = "a\nb\x1b[2J\u202e"


@pytest.fixture
async def generation(reckoner: OpenReckoner, redis: Redis) -> str:
    """A current generation with lists of user `1` and of a user with an evil id."""
    record = Record(2, "gen", "model", "snapshot", Options(20), 1, 12, popular=ITEMS)
    titles = {ITEMS[0]: "Zero (1900)", ITEMS[1]: "One\x07", "h": "History"}
    await make_known(redis, reckoner.keys, record, titles)
    result = Result(2, [ScoredItem(item, 0.5 - i / 100, "h") for i, item in enumerate(ITEMS[:12])])
    await reckoner.results.write("gen", [(user, RESULT.encode(result)) for user in ("1", EVIL)], 60)
    return "gen"


def interrupted(process: Popen[str], after: str) -> tuple[int, str]:
    """Send Ctrl-C after its first message; returns its exit code and later messages."""
    assert process.stderr is not None
    try:
        assert after in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    return process.returncode, err


async def eventually(look: Callable[[], Awaitable[T]], enough: Callable[[T], bool]) -> T:
    """Poll until `is_enough`."""
    async with asyncio.timeout(PATIENCE_S):
        while not enough(seen := await look()):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    return seen


def test_get_prints_exactly_the_promised_object(commands: CommandLine, generation: str) -> None:
    """One object a line, in the order asked for: from the cache, or the popular list, which source names."""
    ended = commands.call("get", "1", "nobody", "-n", "2", "--json")
    assert (ended.code, ended.err) == (0, "")
    assert ended.objects == [
        {
            "user": "1",
            "generation": generation,
            "source": "cache",
            "items": [
                {"item": "item 00", "score": 0.5, "because": "h", "title": "Zero (1900)"},
                {"item": "item 01", "score": 0.49, "because": "h", "title": "One\x07"},
            ],
            "left_out": 0,
            "unknown": [],
        },
        {
            "user": "nobody",
            "generation": generation,
            "source": "popular",
            "items": [
                {"item": "item 00", "score": None, "because": None, "title": "Zero (1900)"},
                {"item": "item 01", "score": None, "because": None, "title": "One\x07"},
            ],
            "left_out": 0,
            "unknown": [],
        },
    ]


def test_get_prints_tables_that_no_id_can_break(commands: CommandLine, generation: str) -> None:
    """Ranks, titles, scores and reasons for people, ten places by default, and control characters as escapes."""
    ended = commands.call("get", EVIL, "nobody")
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.startswith("User a\\nb\\x1b[2J\\u202e\n")
    assert "User nobody: no list of their own, so this is the popular list\n" in ended.out
    assert ["1", "item", "00", "Zero", "(1900)", "0.5000", "History"] in [
        line.split() for line in ended.out.splitlines()
    ]
    assert "One\\x07" in ended.out
    assert "item 09" in ended.out
    assert "item 10" not in ended.out
    assert not {"\x1b", "\x07", "\u202e"} & set(ended.out)


def test_users_are_read_from_files_and_standard_input(commands: CommandLine, generation: str, tmp_path: Path) -> None:
    """All three ways at once, and more users than are looked up at a time."""
    file = tmp_path / "üsers of today"
    file.write_bytes(EVIL.replace("\n", " ").encode() + b"\r\n\n1\n")
    many = "".join(f"user {i}\n" for i in range(1100)).encode()
    ended = commands.call("get", "2", "-", "--users-file", str(file), "--json", "-n", "1", given=many)
    users = [answer["user"] for answer in ended.objects]
    assert users == ["2", *(f"user {i}" for i in range(1100)), EVIL.replace("\n", " "), "1"]


async def test_get_rotates_as_the_setting_says(commands: CommandLine, generation: str, reckoner: OpenReckoner) -> None:
    """As applications do that pass it; of a generation that is asked for too."""
    now = (time.time() * 1000 + Rotation().offset_ms("1")) // (Rotation().bucket_s * 1000)
    await ask(reckoner.redis, "HSET", reckoner.keys.shown("1"), ITEMS[0], f"{now - 1:.0f} 0 1000")
    for arguments in ((), ("--generation", generation)):
        for rotation, first in (("0", ITEMS[0]), ("0.9", ITEMS[1])):
            environ = {"RECKONER_ROTATION": rotation}
            [answer] = commands.call("get", "1", "-n", "5", *arguments, "--json", environ=environ).objects
            assert (answer["items"][0]["item"], len(answer["items"])) == (first, 5)


def test_enqueue_prints_jobs_and_cached_lists(commands: CommandLine, generation: str) -> None:
    """One job a user; a second request joins it. A cached list needs no job, unless --fresh is given."""
    first = commands.call("enqueue", "1", "2", "--json").objects
    assert first[0] == {"user": "1", "job": None, "cached": True}
    assert first[1] == {"user": "2", "job": first[1]["job"], "cached": False}
    again = commands.call("enqueue", "2", EVIL, "-n", "20")
    assert again.out == f"2  {first[1]['job']}\na\\nb\\x1b[2J\\u202e  cached\n"
    fresh = commands.call("enqueue", "1", "--fresh", "--json").objects
    assert fresh[0]["job"] is not None


def test_more_places_than_a_list_has_are_refused(commands: CommandLine, generation: str) -> None:
    """The sentence names the setting; fewer than one place is refused too."""
    for command in ("get", "enqueue"):
        ended = commands.call(command, "1", "-n", "21")
        assert (ended.code, ended.out) == (2, "")
        assert "RECKONER_LIST_LENGTH" in ended.err
        assert len(ended.err.splitlines()) == 1
        assert commands.call(command, "1", "-n", "0").code == 2


async def test_short_lists_are_printed_whole(commands: CommandLine, reckoner: OpenReckoner, redis: Redis) -> None:
    """Without -n a generation whose lists have fewer than ten places is no error."""
    record = Record(2, "short", "m", "s", Options(3), 1, 1, popular=ITEMS[:3])
    await make_known(redis, reckoner.keys, record, {})
    assert [len(answer["items"]) for answer in commands.call("get", "x", "--json").objects] == [3]


def test_a_waiting_command_warns_without_workers(commands: CommandLine, generation: str) -> None:
    """Without workers it warns and waits. After Ctrl-C it exits with 130, and the job remains."""
    code, err = interrupted(commands.start("enqueue", "7", "--wait"), "No worker is running")
    assert (code, err) == (130, "Stopped waiting. The jobs continue.\n")
    assert commands.call("status", "--json").objects[0]["queued"] == 1


def test_waiting_says_that_redis_is_away(fresh_server: StartServer, tmp_path: Path) -> None:
    """It warns of an outage of Redis and waits."""
    server = fresh_server()
    commands = CommandLine(redis_url=server.url, home=tmp_path)
    asyncio.run(know(server.url))
    process = commands.start("enqueue", "7", "--wait")
    assert process.stderr is not None
    try:
        assert "No worker is running" in process.stderr.readline()
        server.kill()
        assert "Redis does not answer" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (process.returncode, err) == (130, "Stopped waiting. The jobs continue.\n")


async def know(url: str) -> None:
    """Make a generation current in which nobody has a list."""
    async with OpenReckoner(url) as client:
        record = Record(2, "gen", "model", "snapshot", Options(20), 1, 12, popular=ITEMS)
        await make_known(client.redis, client.keys, record, {})


async def test_a_run_continues_without_its_caller(
    commands: CommandLine, reckoner: OpenReckoner, generation: str
) -> None:
    """Ctrl-C names the run, a second batch joins it, and status and job show it."""
    code, err = interrupted(commands.start("batch", "--block", "5", "--in-flight", "2"), "No worker is running")
    run_id = err.partition("`reckoner job ")[2].partition("`")[0]
    assert (code, err) == (
        130,
        f"Stopped waiting. The run continues: see its progress with `reckoner job {run_id}`.\n",
    )
    joined = commands.call("batch", "--no-wait", "--json")
    assert (joined.code, joined.objects) == (0, [{"run": run_id, "is_new": False}])
    assert "Joined it." in joined.err
    (status,) = commands.call("status", "--json").objects
    assert [run["run"] for run in status["runs"]] == [run_id]
    assert status["flows"] == {"split": 2, "run": 0, "reduce": 0}
    assert (status["runs"][0]["users"], status["runs"][0]["users_done"]) == (12, 0)
    assert f"run           {run_id}, 0 of 3 blocks done in " in commands.call("status").out
    (shown,) = commands.call("job", run_id, "--json").objects
    assert (shown["kind"], shown["state"], shown["blocks"], shown["blocks_done"]) == ("run", "run", 3, 0)
    assert "0 of 3 done" in commands.call("job", run_id).out


@pytest.mark.parametrize("outcome", ["refused", "superseded", "failed"])
async def test_a_run_that_did_not_go_live_is_a_failure(
    commands: CommandLine, reckoner: OpenReckoner, generation: str, outcome: str
) -> None:
    """`batch` prints the manifest and the outcome, and exits with 1."""
    process = commands.start("batch", "--json")
    try:
        run = (await eventually(reckoner.operator.status, lambda status: status.runs != [])).runs[0].run
        manifest = Manifest(12, 11, 1, 0, 1.0, 11.0, ["its worker died 3 times"])
        assert await reckoner.runs.close(run, outcome, manifest, lease=None)  # type: ignore[arg-type]
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 1
    assert f'"outcome":"{outcome}"' in out
    assert '"failed":1' in out
    assert err.splitlines()[-1].startswith(outcome.capitalize())


async def test_a_job_that_failed_says_why(commands: CommandLine, reckoner: OpenReckoner, generation: str) -> None:
    """`job` shows the reason; a waiting command prints it and exits with 1."""
    process = commands.start("enqueue", "7", "1", "--wait", "--json")
    try:
        live = reckoner.keys.all_live
        members = await eventually(lambda: reckoner.redis.zunion(live), lambda found: found != [])
        flow = await reckoner.flows.load(members[0].decode().removeprefix("flow:"))
        assert flow is not None
        assert await reckoner.flows.fail(flow, "its worker died 3 times", lease=None)
        out, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 1
    assert '"user":"1"' in out
    assert '"user":"7"' not in out
    assert err.splitlines()[-1] == "The job for user 7 failed: its worker died 3 times."
    (shown,) = commands.call("job", flow.id, "--json").objects
    assert (shown["kind"], shown["user"], shown["state"], shown["reason"]) == (
        "user",
        "7",
        "failed",
        "its worker died 3 times",
    )
    assert "its worker died 3 times" in commands.call("job", flow.id).out


async def test_a_job_that_cannot_be_read_began_at_no_time(
    commands: CommandLine, reckoner: OpenReckoner, generation: str
) -> None:
    """It was said to have begun in 1970, and to have taken 1,796,004,402,915 ms."""
    job = (await reckoner.enqueue("7")).job
    assert job is not None
    await ask(reckoner.redis, "HSET", reckoner.keys.flow(job), "spec", b"planted")
    with pytest.raises(DamagedFlowError) as caught:
        await reckoner.flows.load(job)
    await reckoner.flows.fail_damaged(caught.value, lease=None)
    shown = commands.call("job", job).out
    assert "the field spec of its state is invalid" in shown
    assert "created" not in shown
    assert " ms" not in shown
    assert commands.call("job", job, "--json").objects[0]["created_ms"] is None


async def test_all_failed_users_are_counted(commands: CommandLine, reckoner: OpenReckoner, generation: str) -> None:
    """The first one is named, with its reason."""
    process = commands.start("enqueue", "7", "8", "--wait")
    try:
        live = reckoner.keys.all_live
        members = await eventually(lambda: reckoner.redis.zunion(live), lambda found: len(found) == 2)
        for member in members:
            flow = await reckoner.flows.load(member.decode().removeprefix("flow:"))
            assert flow is not None
            assert await reckoner.flows.fail(flow, "its worker died 3 times", lease=None)
        _, err = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 1
    first, _, rest = err.splitlines()[-1].partition(" failed ")
    assert first in {"The job for user 7", "The job for user 8"}
    assert rest == "(1 other job did not succeed either): its worker died 3 times."


async def test_job_shows_the_request(commands: CommandLine, reckoner: OpenReckoner, generation: str) -> None:
    """The user, items or question; JSON has all items of a basket, the text their number."""
    specs: list[tuple[ClickSpec, dict[str, object], str]] = [
        (UserSpec("7", generation), {"kind": "user", "user": "7"}, "user         7"),
        (BasketSpec(["a", "b"], generation), {"kind": "basket", "basket": ["a", "b"]}, "basket       2 items"),
        (SimilarSpec("a", None, generation, 3), {"kind": "similar", "item": "a", "other": None}, "item         a"),
        (SimilarSpec("a", "b", generation, 3), {"kind": "similar", "item": "a", "other": "b"}, "other        b"),
        (HistorySpec("7", generation, 3), {"kind": "history", "user": "7"}, "user         7"),
    ]
    joins = [f"{reckoner.keys.joins}{number}" for number in range(len(specs))]
    jobs = await reckoner.flows.create([spec for spec, _, _ in specs], joins)
    for job, (_, reported, shown) in zip(jobs, specs, strict=True):
        (found,) = commands.call("job", job, "--json").objects
        assert found.items() >= (reported | {"generation": generation, "state": "split"}).items()
        assert shown in commands.call("job", job).out.splitlines()


def test_an_unknown_job_is_a_failure(commands: CommandLine) -> None:
    """Neither a job nor a run has that id: one sentence, exit 1."""
    ended = commands.call("job", "nope")
    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "No such job: the id is wrong, or its record has expired.\n"


async def test_status_counts_refused_bytes(commands: CommandLine, reckoner: OpenReckoner, generation: str) -> None:
    """Invalid results are counted by kind and in total, and become dead letters."""
    await reckoner.redis.set(reckoner.keys.result("gen", "9"), b"\x80\x04cos\nsystem\n.")
    assert commands.call("get", "9", "--json").objects[0]["source"] == "popular"
    (status,) = commands.call("status", "--json").objects
    assert (status["refused"], status["refused_total"], status["dead"]) == ({"result": 1}, 1, 1)
    assert (status["generation"], status["previous"], status["newest"]) == ("gen", None, "gen")
    assert status["workers"] == []
    assert status["redis_memory_bytes"] > 0
    said = await reckoner.redis.info("server")
    name = said.get("server_name", "redis")
    assert (status["server"], status["server_version"]) == (name, said.get("valkey_version", said["redis_version"]))
    assert f"server        {name} {status['server_version']}, " in commands.call("status").out
    assert "refused       1 (1 result)\n" in commands.call("status").out


def test_before_a_fit_there_is_one_sentence(commands: CommandLine) -> None:
    """A missing model or snapshot is named with the command that makes it."""
    for command in (("get", "1"), ("enqueue", "1"), ("batch",)):
        ended = commands.call(*command)
        assert (ended.code, ended.err) == (1, "There is no model yet: build one with `reckoner fit`.\n")
    ended = commands.call("fit")
    assert (ended.code, ended.out) == (1, "")
    assert "`reckoner import PATH`" in ended.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("enqeue",), "Did you mean 'enqueue'"),
        (("get", "--jsn"), "--json"),
        (("get",), "Give users"),
        (("get", b"\xff"), "not UTF-8"),
        (("job", b"\xff"), "not UTF-8"),
        (("fit", "--similarity", "pearson"), "cosine"),
        (("fit", "--shrink", "inf"), "--shrink"),
        (("fit", "--neighbours", "9" * 20), "--neighbours"),
        (("fit", "--neighbours", "1000000001"), "--neighbours"),
        (("batch", "--in-flight", "0"), "--in-flight"),
    ],
)
def test_wrong_usage_is_one_sentence(commands: CommandLine, arguments: tuple[str | bytes, ...], said: str) -> None:
    """It names what is wrong, on one line, with exit code 2."""
    ended = commands.call(*arguments)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_setting_that_does_not_exist_is_wrong_usage(commands: CommandLine) -> None:
    """The variable is named."""
    ended = commands.call("status", environ={"RECKONER_PREFX": "x"})
    assert ended.code == 2
    assert ended.err.startswith("RECKONER_PREFX is not a setting")


def test_no_redis_is_one_sentence(tmp_path: Path) -> None:
    """Without a reachable or configured Redis, every command prints a sentence and exits with 1."""
    away = CommandLine(redis_url=f"unix://{tmp_path}/nothing", home=tmp_path)
    nowhere = CommandLine(home=tmp_path)
    for command in (("get", "1"), ("batch",), ("status",)):
        for commands, said in ((away, "cannot be reached"), (nowhere, "RECKONER_REDIS_URL")):
            ended = commands.call(*command)
            assert (ended.code, ended.out) == (1, "")
            assert said in ended.err
            assert len(ended.err.splitlines()) == 1


def test_version_is_that_of_the_project(commands: CommandLine) -> None:
    """The name and number that are installed."""
    (shown,) = commands.call("version", "--json").objects
    assert commands.call("version").out == f"ready-reckoner {shown['version']}\n"


def test_called_alone_it_prints_its_help(commands: CommandLine) -> None:
    """No argument is a question, not an error."""
    ended = commands.run()
    assert (ended.code, ended.err) == (0, "")
    assert ended.out == commands.call("--help").out


def test_who_stops_reading_gets_no_trace(commands: CommandLine, generation: str) -> None:
    """`head` closes the pipe, and nothing is said about it."""
    process = commands.start("get", *(f"user {i}" for i in range(600)), "--json")
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == ""
        process.wait(PATIENCE_S)
    finally:
        process.kill()
        process.stderr.close()
