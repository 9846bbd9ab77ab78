"""Forgotten users are in nothing that is left, and in nothing new."""

from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.producer.client.recording import Event
from reckoner.shared.errors import UserForgottenError
from reckoner.shared.redis.embedded import EmbeddedServer, find_redis
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import Settings
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.wire.shapes import HOLDING, RESULT, Holding, Options, Record, Result, ScoredItem
from reckoner.workers.night.importing import fingerprint
from tests.commands import CommandLine
from tests.processes import wait_until
from tests.world import make_known

GONE = [f"gone-user-{number:03}" for number in range(10)]
KEPT = [f"kept-user-{number:03}" for number in range(30)]
ITEMS = [f"item {number}" for number in range(8)]
GENERATION = "generation-1"


class Everything:
    """Searches all keys of a server and all files of a home for bytes, without any of our code."""

    def __init__(self, redis: Redis, home: Path) -> None:
        self._redis, self._home = redis, home

    async def keys(self, wanted: str) -> set[str]:
        found = set()
        async for name in self._redis.scan_iter(count=1000):
            if wanted.encode() in name or wanted in repr(await self._value(name)):
                found.add(name.decode())
        return found

    async def _value(self, name: bytes) -> Any:
        reads = {
            "string": ("GET",), "hash": ("HGETALL",), "zset": ("ZRANGE", "0", "-1"), "set": ("SMEMBERS",),
            "list": ("LRANGE", "0", "-1"), "stream": ("XRANGE", "-", "+"),
        }  # fmt: skip
        kind = (await self._redis.type(name)).decode()
        if kind == "none":
            # It has expired.
            return None
        command, *rest = reads[kind]
        return await self._redis.execute_command(command, name, *rest)  # type: ignore[no-untyped-call]

    def files(self, wanted: str) -> set[str]:
        paths = (path for path in self._home.rglob("*") if path.is_file())
        return {path.relative_to(self._home).as_posix() for path in paths if wanted.encode() in path.read_bytes()}

    def snapshots(self, wanted: str) -> set[str]:
        return {Path(file).parts[2] for file in self.files(wanted) if "/snapshots/" in file}


@pytest.fixture
def commands(fresh_server: Callable[..., EmbeddedServer], tmp_path: Path) -> CommandLine:
    fresh_server()
    return CommandLine(home=tmp_path / "a home")


@pytest.fixture
async def reckoner(commands: CommandLine, tmp_path: Path) -> AsyncIterator[OpenReckoner]:
    """A client of a system in which all users have all that a user can have, and two snapshots."""
    for n_items in (7, 8):
        rows = [f"{user},{item},{7 + at}" for at, user in enumerate(GONE + KEPT) for item in ITEMS[:n_items]]
        (tmp_path / "ratings.csv").write_text("\n".join(["user,item,time", *rows, ""]))
        [made] = commands.call("import", str(tmp_path / "ratings.csv"), "--json").objects
    url = find_redis(Settings(home=str(tmp_path / "a home")))
    async with OpenReckoner(url) as reckoner:
        record = Record(2, GENERATION, "m", made["snapshot"], Options(5), 1, 40, ITEMS[:5])
        await make_known(reckoner.redis, reckoner.keys, record, {})
        some = RESULT.encode(Result(2, [ScoredItem(ITEMS[0], 0.5, ITEMS[1])]))
        await Results(reckoner.redis, reckoner.keys).write(GENERATION, [(user, some) for user in GONE + KEPT], 3600)
        await ask(reckoner.redis, "HSET", reckoner.keys.held, GENERATION, HOLDING.encode(Holding(40, 0, 2**53)))
        for user in (*GONE, KEPT[0]):
            await ask(reckoner.redis, "SET", reckoner.keys.filtered(GENERATION, "f", user), some)
            await reckoner.record_many([Event(user, ITEMS[3]), Event(user, ITEMS[4], type="impression")])
            await reckoner.hide(user, ITEMS[5])
            jobs = [(await reckoner.enqueue(user, fresh=True)).job for _ in range(2)]
            flow = await reckoner.flows.load(str(jobs[0]))
            assert flow is not None
            await reckoner.flows.fail(flow, "its worker died 3 times", lease=None)
            await reckoner.enqueue(user, fresh=True)
        yield reckoner


async def test_forgotten_users_are_in_nothing(commands: CommandLine, reckoner: OpenReckoner, tmp_path: Path) -> None:
    """Ten of forty, by an independent search of Redis, its append-only file, and all artifacts and logs."""
    everything, users = Everything(reckoner.redis, tmp_path / "a home"), tmp_path / "users"
    older, current = sorted(everything.snapshots(GONE[0]), key=lambda name: name == live(tmp_path))
    before = await everything.keys(GONE[0])
    assert len(before) > 10
    assert any(file.startswith("redis/") for file in everything.files(GONE[0]))
    users.write_text("\n".join(GONE))
    said = commands.call("forget", "--users-file", str(users))
    assert said.code == 0, said.err
    assert said.out.startswith("Forgotten: 10 users. Deleted from Redis: "), said.out
    assert "append-only" not in said.out
    assert f"Snapshot {older} has them until 20" in said.out
    assert f"Snapshot {current} has them, and is needed by the live generation {GENERATION}." in said.out
    for user in GONE:
        assert await everything.keys(user) == set()
        assert everything.snapshots(user) == {older, current}
        wait_until(partial(only_in_snapshots, everything, user))
    assert any(file.startswith("redis/") for file in everything.files(KEPT[0])), "the rest is in the append-only file"
    assert len(await everything.keys(KEPT[0])) > 10
    [held] = (await reckoner.results.generations.holdings()).values()
    assert held.lists == 30

    ended = commands.call("forget", "--verify", GONE[0])
    assert (ended.code, len(ended.out.splitlines())) == (1, 2), ended.out
    refused = commands.call("forget", "--now", *GONE)
    assert (refused.code, refused.err.partition(",")[0]) == (1, "A job or a run is under way")
    await cancel_all(reckoner)
    said = commands.call("forget", "--now", *GONE)
    assert older not in said.out
    assert everything.snapshots(GONE[0]) == {current}
    await ask(
        reckoner.redis, "DEL", reckoner.keys.record(GENERATION), *reckoner.keys.pointers, reckoner.keys.generations
    )
    commands.call("forget", "--now", *GONE)
    ended = commands.call("forget", "--verify", *GONE)
    assert (ended.code, ended.out) == (0, "Nothing was found in Redis, snapshots and files.\n")
    assert everything.files(GONE[0]) == set()


def only_in_snapshots(everything: Everything, user: str) -> bool:
    return all("/snapshots/" in file for file in everything.files(user))


async def cancel_all(reckoner: OpenReckoner) -> None:
    for live in reckoner.keys.all_live:
        for member in await ask(reckoner.redis, "ZRANGE", live, "0", "-1"):
            await reckoner.cancel(member.decode().removeprefix("flow:"))


def live(tmp_path: Path) -> str | None:
    return DirectoryStore(tmp_path / "a home" / "store").current_snapshot()


async def test_nothing_new_has_them_until_it_is_undone(
    commands: CommandLine, reckoner: OpenReckoner, tmp_path: Path
) -> None:
    """Events, hides and impressions are refused; imports leave them out, and a night's import is not skipped."""
    source = str(tmp_path / "ratings.csv")
    before, digests = live(tmp_path), set()
    commands.call("forget", *GONE)
    without = live(tmp_path)
    assert without != before
    outcomes = await reckoner.record_many(
        [Event(GONE[0], ITEMS[1]), Event(KEPT[0], ITEMS[1]), Event(GONE[0], ITEMS[1], type="impression")]
    )
    assert [one.status for one in outcomes] == ["refused", "recorded", "refused"]
    assert outcomes[0].reason.startswith("The user is forgotten: ")
    with pytest.raises(UserForgottenError):
        await reckoner.hide(GONE[0], ITEMS[1])
    with pytest.raises(UserForgottenError):
        await reckoner.merge(KEPT[1], GONE[0])
    [report] = commands.call("import", source, "--json").objects
    assert (report["snapshot"], report["users"]) == (without, 30)
    commands.call("forget", "--undo", *GONE)
    [report] = commands.call("import", source, "--json").objects
    assert (report["snapshot"], report["users"]) == (before, 40)
    [outcome] = await reckoner.record_many([Event(GONE[0], ITEMS[1])])
    assert outcome.status == "recorded"
    for digest in ("", "a", "b"):
        digests.add(fingerprint(source, forgotten=digest))
        assert fingerprint(f"{source} --append", forgotten=digest) == fingerprint(f"{source} --append")
    assert len(digests) == 3
