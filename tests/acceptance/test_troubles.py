"""Errors around the commands: each has one sentence and an exit code, and loses nothing."""

import asyncio
import csv
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest

from reckoner.shared.interpreter import module_command
from reckoner.shared.redis.scripts import ask
from tests.commands import CommandLine, Ended
from tests.patience import PATIENCE_S
from tests.servers import start_server
from tests.system import System, Workers, eventually, synthetic_pairs

KNOWN, ANOTHER, THIRD = "üser 001", "üser 002", "üser 003"
ITEM, OTHER_ITEM = "item:00", "item:01"
# Odd and valid ids.
ODD = [
    "a space ",
    "a:colon",
    "a\nnew line",
    "ユーザー",
    "e\u0301",
    "👩‍🚀",
    "a\x00nul",
    "\x1b[2J",
    '"',
    "x" * 300,
    "y" * 1024,
]
TOO_LONG = "z" * 2000
ROWS = [
    *synthetic_pairs(),
    *[(user, item) for number, user in enumerate(ODD) for item in (ITEM, ODD[number - 1], ODD[number - 2])],
    (TOO_LONG, ITEM),
]
CATALOGUE = len({item for _, item in ROWS})
LENGTH = 100
REMEDY = "run `reckoner fit` with the same options to rebuild it"


def command_line(system: System) -> CommandLine:
    return CommandLine(redis_url=system.server.url, home=system.home, first_look_s=system.settings.first_look_s)


def assert_said(ended: Ended, code: int, sentence: str) -> None:
    """It ended with this exit code and, last on standard error, this sentence; it printed nothing."""
    assert (ended.code, ended.out, ended.err[-1:]) == (code, "", "\n"), ended
    assert sentence in ended.err.splitlines()[-1]
    assert "Traceback" not in ended.err


# A healthy system with wrong requests.


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandLine]:
    """Users and items with odd ids, a model, and a worker; lists are longer than the catalogue."""
    home = tmp_path_factory.mktemp("a shop ü")
    source = home / "a file.csv"
    with source.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("user", "item"), *ROWS])
    with start_server(home) as server:
        commands = CommandLine(redis_url=server.url, home=home, list_length=LENGTH)
        worker = Workers(module_command("reckoner.workers"), commands.environ, home / "log")
        try:
            imported = commands.run("import", str(source))
            assert imported.code == 0, imported.err
            assert "the user is over 1,024 bytes" in imported.err
            assert imported.err.count("\n") == 1
            assert commands.run("fit", "--similarity", "cosine", "--neighbours", "5").code == 0
            yield commands
        finally:
            asyncio.run(worker.stop())


def test_odd_ids_are_served_as_any_others(shop: CommandLine, tmp_path: Path) -> None:
    """Spaces, colons, new lines, NUL and a thousand letters, as arguments and from a file."""
    (tmp_path / "users").write_text("a\x00nul\n")
    given = [user for user in ODD if "\x00" not in user]
    arguments = (*given, "--users-file", str(tmp_path / "users"), "--json")
    computed = shop.run("enqueue", *arguments, "--wait")
    assert (computed.code, computed.err) == (0, "")
    assert {answer["user"]: answer["source"] for answer in computed.objects} == dict.fromkeys(ODD, "cache")
    assert shop.run("get", *arguments).objects == computed.objects
    assert {place["because"] for answer in computed.objects for place in answer["items"]} >= {*ODD} - {ODD[0]}
    people = shop.run("get", *arguments[:-1])
    assert people.code == 0
    assert "\x1b" not in people.out
    assert r"a\x00nul" in people.out
    item = next(item for item in ODD if "\n" in item)
    (neighbours,) = shop.run("similar", item, "--json").objects
    assert neighbours["item"] == item
    assert neighbours["items"]


def test_an_unknown_user_gets_the_popular_list(shop: CommandLine) -> None:
    """The job ends at once and leaves no key."""
    ended = shop.call("enqueue", "nobody", "--wait", "--json")
    assert (ended.code, ended.err) == (0, "")
    (answer,) = ended.objects
    assert (answer["user"], answer["source"], len(answer["items"])) == ("nobody", "popular", 10)
    assert shop.call("get", "nobody", "--json").objects == [answer]


def test_a_list_is_never_longer_than_there_are_items(shop: CommandLine) -> None:
    """Asking for more items than the catalogue has returns all there are."""
    ended = shop.call("enqueue", KNOWN, "nobody", "--wait", "-n", str(LENGTH), "--json")
    assert (ended.code, ended.err) == (0, "")
    own, popular = [[place["item"] for place in answer["items"]] for answer in ended.objects]
    assert 0 < len(own) == len(set(own)) < CATALOGUE
    assert len(popular) == len(set(popular)) == CATALOGUE < LENGTH
    (similar,) = shop.call("similar", ITEM, "-n", "1000", "--json").objects
    assert len(similar["items"]) == 5


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (("get", KNOWN, "-n", "0"), 2, "-n"),
        (("enqueue", KNOWN, "-n", "0"), 2, "-n"),
        (("enqueue", "--history", ITEM, "-n", "0"), 2, "-n"),
        (("similar", ITEM, "-n", "0"), 2, "-n"),
        (("get", KNOWN, "-n", "101"), 2, "n is 101, but must be from 1 to 100, the length of the cached lists"),
        (("enqueue", KNOWN, "-n", "101"), 2, "set RECKONER_LIST_LENGTH and fit again."),
        (("enqueue", "--history", ITEM, "--wait", "-n", "101"), 2, "set RECKONER_LIST_LENGTH and fit again."),
        (("similar", ITEM, "-n", "1001"), 2, "-n"),
        (("similar", "nothing"), 1, "The item nothing is not in the data."),
        (("similar", ITEM, "nothing"), 1, "The item nothing is not in the data."),
        (("show", "nobody"), 1, "The user nobody is not in the data."),
        (("fit", "--neighbours", "0"), 2, "--neighbours"),
        (("batch", "--block", "0"), 2, "--block"),
        (("dead", "show", "nothing"), 1, "There is no dead letter nothing"),
        (("job", "nothing"), 1, "No such job"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_an_impossible_request_gets_one_sentence(
    shop: CommandLine, arguments: tuple[str, ...], code: int, sentence: str
) -> None:
    """Wrong usage exits with 2, missing data with 1."""
    ended = shop.call(*arguments)
    assert_said(ended, code, sentence)
    assert ended.err.count("\n") == 1


def test_two_fits_at_once_are_one(shop: CommandLine) -> None:
    """Both wait for one job and get its model."""
    with started(shop, [("fit", "--neighbours", "7", "--json")] * 2) as processes:
        ends = [(*process.communicate(timeout=PATIENCE_S), process.returncode) for process in processes]
    assert [code for *_, code in ends] == [0, 0], ends
    assert len({Ended(code, out, err).objects[0]["model"] for out, err, code in ends}) == 1


@contextmanager
def started(commands: CommandLine, several: Sequence[tuple[str, ...]]) -> Iterator[list[Popen[str]]]:
    """Commands that run concurrently; unfinished ones are killed."""
    with ExitStack() as stack:
        processes = [stack.enter_context(commands.start(*arguments)) for arguments in several]
        try:
            yield processes
        finally:
            for process in processes:
                process.kill()


# A Redis that refuses writes for a while.

Trouble = Callable[[System, Any], Awaitable[None]]


async def fill(system: System, redis: Any) -> None:
    await redis.config_set("maxmemory", 1)


async def make_room(system: System, redis: Any) -> None:
    await redis.config_set("maxmemory", 0)


async def spoil_the_disk(system: System, redis: Any) -> None:
    """Make snapshots fail: a directory blocks their file."""
    (system.home / "redis" / "dump.rdb").mkdir()
    await redis.config_set("save", "3600 1")
    await save(redis, "err")


async def mend_the_disk(system: System, redis: Any) -> None:
    (system.home / "redis" / "dump.rdb").rmdir()
    await save(redis, "ok")


async def save(redis: Any, status: str) -> None:
    await redis.bgsave()

    async def saved() -> bool:
        return bool((await redis.info("persistence"))["rdb_last_bgsave_status"] == status)

    await eventually(saved)


@pytest.mark.parametrize(
    ("begin", "end", "sentence", "doctors"),
    [
        (fill, make_room, "is at its memory limit: raise its maxmemory or delete keys, then retry.", "memory"),
        (
            spoil_the_disk,
            mend_the_disk,
            "cannot save its data and refuses writes: see its log.",
            "persistence",
        ),
    ],
    ids=["full", "cannot save"],
)
async def test_a_redis_that_refuses_writes_is_reported_and_loses_nothing(
    tmp_path: Path, begin: Trouble, end: Trouble, sentence: str, doctors: str
) -> None:
    """Writers get an error, readers continue, and waiting jobs resume when the trouble is over."""
    async with served(tmp_path / "a höme") as (system, commands), system.reckoner() as reckoner:
        redis = reckoner.redis
        asked_before = [
            ("enqueue", KNOWN, "--wait", "--fresh"),
            ("batch", "--block", "1000"),
            ("fit", "--neighbours", "7"),
        ]
        with started(commands, asked_before) as waiting:

            async def asked() -> bool:
                # The run has created its block.
                return bool(len(await ask(redis, "ZUNION", 2, *system.keys.all_live)) == len(waiting) + 1)

            await eventually(asked)
            await begin(system, redis)
            # Workers that exit are restarted until it is over.
            system.start_workers(2)
            for command in (
                ("enqueue", "nobody"),
                ("enqueue", "--history", ITEM, "--wait"),
                ("similar", ITEM),
                ("fit", "--neighbours", "8"),
            ):
                assert_said(commands.call(*command), 1, sentence)
            assert commands.call("get", ANOTHER, "--json").objects[0]["source"] == "cache"
            assert commands.call("status").code == 0
            doctor = commands.call("doctor", "--json")
            assert doctor.code == 1
            found = {line["check"]: line["state"] for line in doctor.objects}
            assert (found["writing"], found[doctors]) == ("wrong", "wrong")
            assert [process.poll() for process in waiting] == [None] * 3
            await end(system, redis)
            for process in waiting:
                out, err = process.communicate(timeout=PATIENCE_S)
                assert process.returncode == 0, (out, err)
        assert commands.call("enqueue", "nobody", "--wait").code == 0
        await system.idle()
        assert not await ask(redis, "EXISTS", system.keys.dead)
        assert "Traceback" not in system.log.read_text("utf-8")
        await redis.config_set("save", "")


@asynccontextmanager
async def served(home: Path, **settings: object) -> AsyncIterator[tuple[System, CommandLine]]:
    """A system with a model and all lists, without its worker, and its command line."""
    async with System(home, first_look_s=0.2, **settings) as system:
        system.import_pairs(synthetic_pairs())
        system.start_workers()
        await system.fit(5)
        assert (await system.run()).outcome == "passed"
        await system.stop_workers()
        yield system, command_line(system)


async def test_a_generation_whose_model_is_gone_says_so_until_it_is_fitted_again(tmp_path: Path) -> None:
    """Cached lists stay readable, a run is refused, and after a fit the bytes are the reference's."""
    async with served(tmp_path / "a höme", trouble_s=1) as (system, commands), system.reckoner() as reckoner:
        (model,) = (system.home / "store" / "models").iterdir()
        said = f" holds no model {model.name}; {REMEDY}."
        shutil.rmtree(model)
        system.start_workers()
        for command in (("enqueue", KNOWN, "--fresh", "--wait"), ("enqueue", "--history", ITEM, "--wait")):
            assert_said(commands.call(*command), 1, said)
        assert_said(commands.call("similar", ITEM), 1, said)
        ran = commands.call("batch", "--json")
        assert (ran.code, ran.objects[0]["outcome"]) == (1, "refused")
        assert said.rstrip(".") in ran.objects[0]["manifest"]["reasons"][0]
        assert commands.call("get", KNOWN, "--json").objects[0]["source"] == "cache"
        wrong = [line["message"] for line in commands.call("doctor", "--json").objects if line["state"] == "wrong"]
        assert any("run `reckoner fit` again." in shown for shown in wrong)
        assert commands.call("fit", "--similarity", "cosine", "--neighbours", "5").code == 0
        generation = await reckoner.generation()
        await system.forget_lists(generation)
        assert commands.call("batch").code == 0
        assert await system.lists(generation) == system.reference_lists(generation, 5)


async def test_a_damaged_artifact_is_named_with_its_remedy(tmp_path: Path) -> None:
    """The error names the file, the damage and the remedy: a fit for a model, an import for a snapshot."""
    async with served(tmp_path / "a höme") as (system, commands):
        (model,) = (system.home / "store" / "models").iterdir()
        for name, sentence in (
            ("row_values.npy", f"row_values.npy of artifact {model.name} has 6 bytes instead of "),
            ("manifest.json", f"manifest.json of artifact {model.name} cannot be read; {REMEDY}."),
        ):
            (model / name).unlink()
            (model / name).write_bytes(b"\x93NUMPY")
            system.start_workers()
            assert_said(commands.call("similar", ITEM), 1, sentence)
            assert commands.call("fit", "--similarity", "cosine", "--neighbours", "5").code == 0
            assert commands.call("similar", ITEM).code == 0
            await system.stop_workers()
        (snapshot,) = (system.home / "store" / "snapshots").iterdir()
        (snapshot / "user_items.npy").unlink()
        system.start_workers()
        assert_said(
            commands.call("fit", "--neighbours", "6"),
            1,
            f"user_items.npy of artifact {snapshot.name} is missing; import the same data again to restore it.",
        )


@pytest.mark.parametrize("command", [("fit",), ("import", "some.csv"), ("worker",)], ids=" ".join)
def test_a_store_that_cannot_be_is_one_sentence(redis_url: str, tmp_path: Path, command: tuple[str, ...]) -> None:
    """Every command that needs it says so and exits."""
    commands = CommandLine(redis_url=redis_url, home=tmp_path, store_url="file:///dev/null/store")
    assert_said(commands.run(*command), 1, "The store /dev/null/store cannot be created: Not a directory.")
