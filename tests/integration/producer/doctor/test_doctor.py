"""The doctor finds faults of a real server, store and workers, and says how to fix them."""

import asyncio
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from redis.asyncio import Redis

from reckoner.producer.client.reckoner import Reckoner
from reckoner.producer.doctor.examination import Examination
from reckoner.producer.doctor.findings import Finding
from reckoner.producer.doctor.server import SENT_COMMANDS, WITH_NUMBER_OF_KEYS
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.heartbeats import Heartbeats
from reckoner.shared.flows.nights import NightOptions, Nights
from reckoner.shared.redis.connections import connect
from reckoner.shared.redis.embedded import EmbeddedServer
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask, commands_of_scripts
from reckoner.shared.serving.history import Entry, EntryStage, History
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import LoadedSettings, Settings
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.location import open_store
from reckoner.shared.store.ownership import claim_store
from reckoner.shared.store.snapshots import write_snapshot
from reckoner.shared.version import installed_version
from reckoner.shared.wire.shapes import HOLDING, Beat, Holding, Running, UserSpec
from tests.commands import CommandLine
from tests.damages import DAMAGES, Damage
from tests.patience import PATIENCE_S
from tests.world import LIST_LENGTH, Hand, World, make_known, make_world

StartServer = Callable[..., EmbeddedServer]
SECRET = "hunter2 @:/"


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A store to copy, never used itself."""
    return make_world(tmp_path_factory.mktemp("kept") / "store")


@pytest.fixture
def settings(tmp_path: Path, prefix: str, redis_url: str, kept: World) -> Settings:
    """A system whose store is the world's."""
    home = tmp_path / "a höme"
    shutil.copytree(kept.store.root, home / "store")
    return Settings(home=str(home), prefix=prefix, redis_url=redis_url)


@pytest.fixture
async def fitted(settings: Settings, redis: Redis, kept: World) -> World:
    """A world with a fitted model and a worker."""
    keys = Keys(settings.prefix)
    generation = kept.generations[0]
    await make_known(redis, keys, generation.record, kept.titles)
    await Results(redis, keys).write(generation.id, list(generation.lists.items()), 600)
    await say(redis, settings)
    return kept


@pytest.fixture
async def own(fresh_server: StartServer) -> AsyncIterator[Redis]:
    """A connection to the test's own server, whose settings it may change."""
    server = fresh_server()
    redis = connect(server.url)
    redis.url = server.url  # type: ignore[attr-defined]
    yield redis
    await redis.aclose()


async def say(redis: Redis, settings: Settings, worker: str = "w", late_ms: int = 0, **changes: Any) -> None:
    """Write a worker's heartbeat, with its clock `late_ms` behind the server's."""
    seconds, _ = await ask(redis, "TIME")
    now_ms = int(seconds) * 1000 - late_ms
    beat = Beat(1, worker, "host", 1, installed_version(), now_ms - 60_000, now_ms, 10**8, [], 60_000)
    fields = {name: getattr(beat, name) for name in beat.__struct_fields__} | changes
    await Heartbeats(redis, Keys(settings.prefix)).write(Beat(**fields))


async def examined(settings: Settings) -> dict[str, Finding]:
    """All findings of an examination, by check."""
    examination = Examination(LoadedSettings(settings, None, dict.fromkeys(Settings.__struct_fields__, "default")))
    lines = [examination.settings(), *[line async for line in examination.redis()]]
    lines += examination.store(lambda done, total: None)
    assert len({line.check for line in lines}) == len(lines)
    for line in lines:
        assert line.message.endswith(".")
        assert "\n" not in line.message
        assert "hunter2" not in line.message
    return {line.check: line for line in lines}


def wrong(lines: dict[str, Finding]) -> dict[str, str]:
    return {line.check: line.message for line in lines.values() if line.state == "wrong"}


def unknown(lines: dict[str, Finding]) -> set[str]:
    return {line.check for line in lines.values() if line.state == "unknown"}


async def keys_left(redis: Redis, settings: Settings) -> list[bytes]:
    return [name async for name in redis.scan_iter(match=f"{settings.prefix}:probe*", count=10_000)]


async def test_where_all_is_well_each_line_is_ok(settings: Settings, fitted: World, redis: Redis) -> None:
    """The command prints it as lines and as objects with exit code 0, and leaves nothing behind."""
    commands = CommandLine(redis_url=settings.redis_url, prefix=settings.prefix, home=settings.home)
    ended = commands.call("doctor")
    assert (ended.code, ended.err) == (0, "")
    assert {line.partition(" ")[0] for line in ended.out.splitlines()} == {"ok"}
    shown = commands.call("doctor", "--json").objects
    assert [line["check"] for line in shown] == [
        *("settings", "redis", "eviction", "persistence", "clock", "memory", "events", "writing", "pubsub"),
        *("workers", "release", "stores", "queue", "generation", "lists", "freshness", "night", "dead letters"),
        *("store", "owner", "space", "snapshot", "artifacts"),
    ]
    assert {line["state"] for line in shown} == {"ok"}
    assert shown[-1]["message"].startswith("2 in use, ")
    assert await keys_left(redis, settings) == []
    assert list((Path(settings.home) / "store" / "parts").iterdir()) == []


async def test_a_server_that_may_lose_jobs_is_reported(settings: Settings, own: Any) -> None:
    """By its eviction policy, a missing or unsynced append-only file, or full memory."""
    settings = replace_url(settings, own.url)
    await own.config_set("maxmemory-policy", "allkeys-lru")
    await own.config_set("appendfsync", "no")
    await own.config_set("maxmemory", "100mb")
    found = wrong(await examined(settings))
    assert "allkeys-lru" in found["eviction"]
    assert "Set maxmemory-policy noeviction" in found["eviction"]
    assert "Set appendfsync everysec" in found["persistence"]
    assert "memory" not in found
    await own.config_set("appendonly", "no")
    await own.config_set("maxmemory-policy", "noeviction")
    await own.config_set("maxmemory", "1mb")
    found = wrong(await examined(settings))
    assert "Set appendonly yes" in found["persistence"]
    assert "MiB in use of 1.0 MiB. Raise maxmemory" in found["memory"]
    assert "memory is full. Raise maxmemory" in found["writing"]
    assert "eviction" not in found


async def test_a_stream_of_events_that_is_nearly_full_is_reported(settings: Settings, fitted: World) -> None:
    """Before `record` refuses."""
    settings = msgspec.structs.replace(settings, max_events=5)
    async with Reckoner(settings.redis_url, prefix=settings.prefix, max_events=5) as reckoner:
        for item, wrongs in (("a", 0), ("b", 0), ("c", 0), ("d", 1)):
            await reckoner.record("u", item)
            assert ("events" in wrong(await examined(settings))) == wrongs
    found = wrong(await examined(settings))["events"]
    assert found.startswith("4 recorded events of at most 5 are kept until the data of all lists hold them; ")
    assert "by --events in RECKONER_SOURCE, or raise RECKONER_MAX_EVENTS." in found


async def test_a_server_that_refuses_writes_is_reported(settings: Settings, own: Any, tmp_path: Path) -> None:
    """A replica, and a server that cannot write its files."""
    settings = replace_url(settings, own.url)
    await own.replicaof("127.0.0.1", "1")
    assert "is a read-only replica" in wrong(await examined(settings))["writing"]
    await own.replicaof("NO", "ONE")
    assert "writing" not in wrong(await examined(settings))


async def test_commands_that_take_their_keys_by_number_are_asked_for_with_them(own: Any) -> None:
    """The server would end otherwise."""
    names = {*SENT_COMMANDS, *commands_of_scripts()} - {"XINFO STREAM"}
    found = await ask(own, "COMMAND INFO", *names)
    by_number = {name.decode().upper() for name, _, flags, *_ in filter(None, found) if b"movablekeys" in flags}
    assert by_number == WITH_NUMBER_OF_KEYS


async def test_what_a_user_may_not_see_is_not_called_wrong(settings: Settings, own: Any, tmp_path: Path) -> None:
    """A read-only user, with a password file: INFO and CONFIG are unknown, writing and pubsub are wrong.

    Without INFO alone nothing is wrong, as workers go on without; without a command that they need they do not.
    """
    (tmp_path / "secret").write_text(SECRET)
    user = replace_url(settings, own.url.replace("unix://", "unix://looker@"), tmp_path / "secret")
    password = f">{SECRET}"
    await ask(own, "ACL SETUSER", "looker", "on", password, "~*", "+@read", "+@connection", "+time")
    lines = await examined(user)
    assert unknown(lines) == {"eviction", "persistence", "memory"}
    assert "does not allow INFO memory to this user" in lines["memory"].message
    found = wrong(lines)
    assert {"writing", "pubsub", "workers", "generation"} <= set(found)
    assert Keys(settings.prefix).rights in found["writing"]
    # The rights that it asks for are enough.
    await ask(own, "ACL SETUSER", "looker", "reset", "on", password, *Keys(settings.prefix).rights.split())
    lines = await examined(user)
    assert set(wrong(lines)) == {"workers", "generation"}, wrong(lines)
    assert "its fsync policy is unknown" in lines["persistence"].message
    await ask(own, "ACL SETUSER", "looker", "-info")
    lines = await examined(user)
    assert unknown(lines) == {"eviction", "persistence", "memory"}
    assert set(wrong(lines)) == {"workers", "generation"}
    for command in ("blpop", "zrangebyscore"):
        await ask(own, "ACL SETUSER", "looker", f"-{command}")
        assert f"may not use {command.upper()}, which workers need" in wrong(await examined(user))["writing"]
        await ask(own, "ACL SETUSER", "looker", f"+{command}")
    await ask(own, "ACL SETUSER", "looker", "-ping")
    assert "refuses commands (" in wrong(await examined(user))["redis"]
    await ask(own, "ACL SETUSER", "looker", "+ping")
    (tmp_path / "secret").write_text("tiger")
    lines = await examined(user)
    assert "refuses the user name or password" in lines["redis"].message
    assert "workers" not in lines
    assert lines["snapshot"].state == "ok"


async def test_without_redis_the_store_is_checked(settings: Settings, tmp_path: Path) -> None:
    """One finding says so; artifacts named in Redis are unknown."""
    for url, found in (
        (f"unix://{tmp_path}/nothing", "cannot be reached"),
        ("", "RECKONER_REDIS_URL"),
        ("x", "scheme"),
    ):
        lines = await examined(replace_url(settings, url))
        assert list(lines) == ["settings", "redis", "store", "owner", "space", "snapshot", "artifacts"]
        assert set(wrong(lines)) == {"redis"}
        assert found in lines["redis"].message or "must start with" in lines["redis"].message
        assert unknown(lines) == {"artifacts"}
    commands = CommandLine(home=settings.home)
    assert commands.call("doctor").code == 1


async def test_different_or_silent_workers_are_reported(settings: Settings, redis: Redis, fitted: World) -> None:
    """No worker, another release, an unreadable heartbeat, a silent worker, a wrong clock."""
    keys = Keys(settings.prefix)
    await say(redis, settings, "other", version="0.0.9")
    assert "have release 0.0.9 and" in wrong(await examined(settings))["release"]
    await ask(redis, "SET", keys.beat("other"), b'{"format":2}', "EX", 10)
    assert "have release " in wrong(await examined(settings))["release"]
    await say(redis, settings, "other", late_ms=60_000)
    assert "Use NTP" in wrong(await examined(settings))["workers"]
    await say(redis, settings, "other", lease_ms=5_000)
    seconds, _ = await ask(redis, "TIME")
    await ask(redis, "ZADD", keys.workers, (int(seconds) - 7) * 1000, "other")
    assert "other has been silent for " in wrong(await examined(settings))["workers"]
    await ask(redis, "DEL", keys.workers)
    found = wrong(await examined(settings))
    assert set(found) == {"workers"}
    assert "`reckoner worker`" in found["workers"]


async def test_a_stuck_queue_is_reported(settings: Settings, redis: Redis, fitted: World) -> None:
    """An old job is stuck only beside an idle worker."""
    keys = Keys(settings.prefix)
    await ask(redis, "ZADD", keys.click, 1, f"{settings.prefix}-old")
    assert "w is idle" in wrong(await examined(settings))["queue"]
    await say(redis, settings, jobs=[Running("split:f", 1)])
    assert "queue" not in wrong(await examined(settings))
    await ask(redis, "DEL", keys.click)


async def test_failures_and_lost_records_are_reported(settings: Settings, redis: Redis, fitted: World) -> None:
    """A dead letter, and a generation without its record."""
    keys = Keys(settings.prefix)
    flows = Flows(redis, keys, 10.0)
    [flow_id] = await flows.create([UserSpec("u", "g")], [keys.join_user("g", "u")])
    flow = await flows.load(flow_id)
    assert flow is not None
    await flows.fail(flow, "failed by the test", lease=None)
    await ask(redis, "DEL", keys.record(fitted.generations[0].id), keys.click)
    found = wrong(await examined(settings))
    assert "`reckoner dead list`" in found["dead letters"]
    assert "is gone. Build a model with `reckoner fit`." in found["generation"]
    await ask(redis, "SET", keys.current, b"\xff", "EX", 60)
    assert "holds an invalid generation. Build a model" in wrong(await examined(settings))["generation"]
    await ask(redis, "DEL", keys.dead)
    await ask(redis, "SET", keys.dead, "no stream", "EX", 60)
    await ask(redis, "SET", keys.click, "no queue", "EX", 60)
    found = wrong(await examined(settings))
    assert "has an unexpected type" in found["dead letters"]
    assert "has an unexpected type" in found["queue"]


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("pointer", ["current", "newest"])
async def test_what_the_doctor_says_of_a_pointer_helps(
    hand: Hand, world: World, redis_url: str, prefix: str, tmp_path: Path, pointer: str, damage: Damage
) -> None:
    """It says `reckoner fit`; after a fit of the same model the check is ok and a run passes."""
    store = world.store.root.as_uri()
    settings = Settings(home=str(tmp_path), prefix=prefix, redis_url=redis_url, store_url=store)
    generation, keys = await hand.adopt(world), hand.runtime.keys
    await damage(hand.redis, keys, getattr(keys, pointer), generation.id)
    assert wrong(await examined(settings))["generation"].endswith("`reckoner fit`.")
    async with Reckoner(redis_url, prefix=prefix) as reckoner:
        await reckoner.operator.fit(world.snapshot.id, generation.config, LIST_LENGTH)
        await hand.deliver_all()
        assert (await examined(settings))["generation"].state == "ok"
        run_id, _ = await reckoner.operator.start_run(2, 2)
        await hand.deliver_all()
        assert (await reckoner.operator.run(run_id)).run.outcome == "passed"


async def test_a_failed_night_is_reported(settings: Settings, redis: Redis, fitted: World) -> None:
    """Not started, refused, running, passed and expired; also if only the workers have the setting."""
    fields = {name: getattr(settings, name) for name in Settings.__struct_fields__}
    seconds, _ = await ask(redis, "TIME")
    due = datetime.fromtimestamp(int(seconds), UTC) - timedelta(hours=12)
    date = due.date().isoformat()
    nightly = Settings(**fields | {"nightly": f"{due:%H:%M}"})
    keys = Keys(settings.prefix)
    nights = Nights(redis, keys)
    assert (await examined(settings))["night"].state == "ok"
    assert f"The night of {date} has not begun. " in wrong(await examined(nightly))["night"]
    night_id, _ = await nights.begin(date, "settings", NightOptions())
    for each in (settings, nightly):
        assert "is in progress" in (await examined(each))["night"].message
    night = await nights.load(night_id)
    assert night is not None
    await ask(redis, "SET", keys.night_driver, "token", "PX", 60_000)
    assert await nights.end(night, "token", "refused")
    assert "how it ended is unknown" in (await examined(nightly))["night"].message
    assert "night" in unknown(await examined(nightly))
    entry = Entry(id=night_id, kind="night", date=date, outcome="refused", started_ms=1, ended_ms=2)
    await History(redis, keys).remember(entry)
    for each in (settings, nightly):
        assert f"ended as refused. See `reckoner runs show {night_id}`." in wrong(await examined(each))["night"]
    await History(redis, keys).remember(msgspec.structs.replace(entry, acknowledged=True))
    assert (await examined(nightly))["night"].message == f"The night of {date} ended as refused."
    await History(redis, keys).remember(entry)
    # What had nothing to do, or was dry, has not shown that it is over.
    for number, outcome in enumerate(("unchanged", "held")):
        quiet = Entry(id=outcome, kind="night", date=date, outcome=outcome, started_ms=2 + number, ended_ms=9)
        await History(redis, keys).remember(quiet)
        assert "ended as refused. See" in wrong(await examined(nightly))["night"]
    later = Entry(id="later", kind="night", date=date, outcome="live", started_ms=8, ended_ms=9)
    await History(redis, keys).remember(later)
    assert (await examined(nightly))["night"].message == f"The night of {date} ended as live."


async def test_a_live_generation_without_lists_is_reported(settings: Settings, redis: Redis, fitted: World) -> None:
    """For users sampled from its snapshot; without the snapshot the check is unknown."""
    assert (await examined(settings))["lists"].message == "6 of 6 sampled users have one."
    generation = fitted.generations[0]
    names = [Keys(settings.prefix).result(generation.id, user) for user in generation.lists]
    await ask(redis, "DEL", *names[1:])
    assert (await examined(settings))["lists"].message == "1 of 6 sampled users have one."
    await ask(redis, "DEL", *names)
    assert wrong(await examined(settings)).keys() == {"lists"}
    assert wrong(await examined(settings))["lists"].endswith("Run `reckoner batch`.")
    shutil.rmtree(Path(settings.home) / "store" / "snapshots" / generation.record.snapshot)
    assert "lists" in unknown(await examined(settings))


@pytest.fixture
async def nightly(settings: Settings, redis: Redis) -> Settings:
    """The same with a night that was due half a day ago."""
    seconds, _ = await ask(redis, "TIME")
    due = datetime.fromtimestamp(int(seconds), UTC) - timedelta(hours=12)
    return msgspec.structs.replace(settings, nightly=f"{due:%H:%M}")


def age(settings: Settings, snapshot: str, hours: float) -> None:
    """Let a snapshot have been imported so long ago."""
    at = time.time() - hours * 3600
    for file in (Path(settings.home) / "store" / "snapshots" / snapshot).iterdir():
        os.utime(file, (at, at))


def import_another(settings: Settings) -> str:
    """Make another snapshot the current one."""
    store = DirectoryStore(Path(settings.home) / "store")
    with store.scratch() as scratch:
        one = np.zeros(1, np.int64)
        later = write_snapshot(scratch, user_ids=["u"], item_ids=["i"], users=one, items=one)
        store.publish("snapshots", later, scratch)
    store.set_current_snapshot(later)
    return later


async def test_an_outdated_live_model_is_reported(
    settings: Settings, nightly: Settings, redis: Redis, fitted: World
) -> None:
    """Doctor, status and batch report it in one line each, from the import to the run. It is wrong after a night."""
    commands = CommandLine(redis_url=settings.redis_url, prefix=settings.prefix, home=settings.home)
    live = fitted.generations[0].record.snapshot
    assert "live model still uses" not in commands.call("status").out
    later = import_another(settings)
    age(settings, later, hours=11)
    outdated = f"the live model still uses {live}. Run `reckoner night`, or see `reckoner runs`."
    for each in (settings, nightly):
        found = (await examined(each))["snapshot"]
        assert found == Finding("snapshot", "ok", f"{later} is current, 11 h old; {outdated}")
    assert f"snapshot {later} is current; {outdated}" in " ".join(commands.call("status").out.split())
    assert commands.call("status", "--json").objects[0]["imported_snapshot"] == later
    said = commands.call("batch", "--no-wait").err
    assert said.startswith(f"The newest model uses snapshot {live}, not the current {later}. Run `reckoner fit` first.")
    age(settings, later, hours=13)
    assert (await examined(settings))["snapshot"].state == "ok"
    assert wrong(await examined(nightly))["snapshot"] == f"{later} is current, 13 h old; {outdated}"
    await Nights(redis, Keys(settings.prefix)).begin("2026-11-30", "command", NightOptions())
    assert (await examined(nightly))["snapshot"].state == "ok", "the night is in progress"


async def test_an_old_snapshot_is_reported(settings: Settings, nightly: Settings, fitted: World) -> None:
    """If a night should have brought another one."""
    current = fitted.generations[0].record.snapshot
    age(settings, current, hours=35)
    for each in (settings, nightly):
        assert (await examined(each))["snapshot"] == Finding("snapshot", "ok", f"{current} is current, 35 h old.")
    age(settings, current, hours=60)
    assert (await examined(settings))["snapshot"].message == f"{current} is current, 2.5 d old."
    found = wrong(await examined(replace_url(nightly, "redis://127.0.0.1:1")))["snapshot"]
    assert found == f"{current} is current, 2.5 d old. See how imports ended with `reckoner runs`."


async def test_old_data_that_a_night_has_compared_with_their_source_are_not_reported(
    nightly: Settings, redis: Redis, fitted: World
) -> None:
    """A quiet weekend: the file has not changed. One that was compared two days ago may have changed since."""
    age(nightly, str(fitted.store.current_snapshot()), 60.0)
    seconds, _ = await ask(redis, "TIME")
    for hours, state in ((40, "wrong"), (10, "ok")):
        at = (int(seconds) - hours * 3600) * 1000
        stage: EntryStage = {
            "name": "import", "started_ms": at, "ended_ms": at, "outcome": "unchanged", "message": ""
        }  # fmt: skip
        entry = Entry(id=f"n{hours}", kind="night", outcome="unchanged", started_ms=at, ended_ms=at, stages=[stage])
        await History(redis, Keys(nightly.prefix)).remember(entry)
        assert (await examined(nightly))["snapshot"].state == state
    age(nightly, str(fitted.store.current_snapshot()), 8 * 24.0)
    assert "8.0 d old: the source has not changed since." in wrong(await examined(nightly))["snapshot"]


async def test_old_lists_are_reported(settings: Settings, nightly: Settings, redis: Redis, fitted: World) -> None:
    """They are as old as the last good run or night of their generation, or else as its model."""
    history, (seconds, _) = History(redis, Keys(settings.prefix)), await ask(redis, "TIME")
    name, hour_ms = fitted.generations[0].id, 3_600_000
    assert (await examined(settings))["freshness"].state == "ok"
    assert " d old. See how nights ended with `reckoner runs`." in wrong(await examined(nightly))["freshness"]
    for number, (outcome, generation, hours, shown) in enumerate(
        [
            ("passed", name, 60, "2.5 d"),
            ("refused", name, 3, "2.5 d"),
            ("passed", "another", 3, "2.5 d"),
            ("live", name, 37, "37 h"),
            ("unchanged", name, 35, "35 h"),
        ]
    ):
        ended_ms = int(seconds) * 1000 - hours * hour_ms
        entry = Entry(id=f"{number}", kind="run", outcome=outcome, started_ms=0, ended_ms=ended_ms)
        await history.remember(msgspec.structs.replace(entry, generation=generation))
        assert (await examined(settings))["freshness"].message == f"The live lists are {shown} old."
        found = (await examined(nightly))["freshness"]
        assert found.message.startswith(f"The live lists are {shown} old.")
        assert found.state == ("ok" if shown == "35 h" else "wrong")


@pytest.mark.parametrize(
    ("left_h", "result_ttl_s", "found"),
    [
        (25, 8 * 86_400, None),
        (23, 8 * 86_400, "expire in 23 h. Run `reckoner night`."),
        (23, 40 * 3600, None),
        (19, 40 * 3600, "expire in 19 h. Run `reckoner night`."),
        (0, 8 * 86_400, "have expired. Run `reckoner night`."),
    ],
)
async def test_live_lists_that_expire_soon_are_reported(
    settings: Settings, redis: Redis, fitted: World, left_h: int, result_ttl_s: int, found: str | None
) -> None:
    """Within a day, or within half of a short life."""
    keys, name, (seconds, _) = Keys(settings.prefix), fitted.generations[0].id, await ask(redis, "TIME")
    # A minute for the examination, which rounds to hours.
    until_ms = (int(seconds) + 3600 * left_h + (60 if left_h else 0)) * 1000
    for generation, until in ((name, until_ms), ("another", 1)):
        await ask(redis, "HSET", keys.held, generation, HOLDING.encode(Holding(6, 0, until)))
    lines = await examined(msgspec.structs.replace(settings, result_ttl_s=result_ttl_s))
    assert wrong(lines) == ({} if found is None else {"freshness": f"The lists of generation {name} {found}"})


async def test_what_was_rolled_back_is_named(settings: Settings, redis: Redis, fitted: World) -> None:
    """Next to what is current."""
    keys, name = Keys(settings.prefix), fitted.generations[0].id
    assert (await examined(settings))["generation"].message == f"{name} is current."
    for generation in ("newer", "another"):
        await ask(redis, "HSET", keys.barred, generation, 1)
    found = (await examined(settings))["generation"]
    barred = "Rolled back, and not made current by any run: another, newer."
    assert found == Finding("generation", "ok", f"{name} is current. {barred}")


async def test_stores_that_differ_are_reported(
    settings: Settings, redis: Redis, fitted: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By what the workers name as the current snapshot. It is given time to reach all of them."""
    assert (await examined(settings))["stores"].message == "No worker says what it sees."
    for worker in ("a", "b", "c"):
        await say(redis, settings, worker, snapshot="new")
    assert (await examined(settings))["stores"].message == "All see snapshot new."
    monkeypatch.setattr("reckoner.producer.doctor.system.PROPAGATION_S", 0.0)
    for snapshot, named in (("old", "snapshot old"), ("", "no snapshot")):
        await say(redis, settings, "b", snapshot=snapshot)
        differ = f"The workers' stores differ: b sees {named}, the others see snapshot new."
        assert wrong(await examined(settings))["stores"].startswith(differ)
    monkeypatch.setattr("reckoner.producer.doctor.system.PROPAGATION_S", PATIENCE_S)
    looked = asyncio.Event()

    async def sleep(_: float) -> None:
        looked.set()
        await say(redis, settings, "b", snapshot="new")

    monkeypatch.setattr("reckoner.producer.doctor.system.asyncio.sleep", sleep)
    assert (await examined(settings))["stores"].state == "ok"
    assert looked.is_set()


async def test_an_artifact_that_is_damaged_or_gone_is_named(settings: Settings, fitted: World) -> None:
    """All of them, with their remedies; an unreferenced artifact does not count."""
    store, record = Path(settings.home) / "store", fitted.generations[0].record
    unnamed = store / "models" / fitted.generations[1].record.model
    next(unnamed.glob("*.npy")).write_bytes(b"tampered")
    assert wrong(await examined(settings)) == {}
    tampered = next((store / "models" / record.model).glob("*.npy"))
    data = tampered.read_bytes()
    tampered.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = wrong(await examined(settings))["artifacts"]
    assert f"{tampered.name} of model {record.model} does not match its hash; run `reckoner fit` again." in found
    directory_store = DirectoryStore(store)
    directory_store.quarantine(
        "models", record.model, directory_store.fingerprint("models", record.model), "its bits rot."
    )
    found = wrong(await examined(settings))["artifacts"]
    assert f"{record.model} was quarantined as damaged: its bits rot; the workers rebuild it." in found
    gone = next((store / "snapshots" / record.snapshot).glob("*.npy"))
    gone.unlink()
    found = wrong(await examined(settings))["artifacts"]
    assert f"{gone.name} of artifact {record.snapshot} is missing; import the" in found
    assert "its bits rot; the workers rebuild it when its snapshot, also damaged, is repaired." in found
    shutil.rmtree(store / "damaged" / f"model-{record.model}")
    found = wrong(await examined(settings))["artifacts"]
    assert f"holds no model {record.model}; run `reckoner fit` again." in found
    (store / "current-snapshot").write_text("0123456789abcdef")
    assert "holds no snapshot 0123456789abcdef; " in wrong(await examined(settings))["artifacts"]
    (store / "current-snapshot").unlink()
    assert "`reckoner import PATH`" in wrong(await examined(settings))["snapshot"]


async def test_a_store_of_another_owner_is_wrong(settings: Settings, fitted: World, redis: Redis) -> None:
    """Another prefix or Redis; the finding names the owner, and checking claims nothing."""
    assert (await examined(settings))["owner"].message.startswith("The store has no owner yet")
    await claim_store(redis, settings, open_store(settings.store_location))
    belongs = f"The store belongs to prefix {settings.prefix}"
    assert (await examined(settings))["owner"] == Finding("owner", "ok", f"{belongs} of this Redis.")
    away = msgspec.structs.replace(settings, redis_url="redis://127.0.0.1:1")
    assert (await examined(away))["owner"] == Finding(
        "owner", "unknown", f"{belongs}; whether of this Redis is unknown."
    )
    other = msgspec.structs.replace(settings, prefix="shop-b")
    assert f"belongs to prefix {settings.prefix}. Set RECKONER_STORE_URL" in wrong(await examined(other))["owner"]
    await ask(redis, "DEL", Keys(settings.prefix).store)
    found = wrong(await examined(settings))["owner"]
    assert "of another Redis, or of this one before it was emptied" in found
    assert "`reckoner store take`" in found


async def test_a_store_that_cannot_be_used_is_one_line(settings: Settings, redis: Redis, tmp_path: Path) -> None:
    """Missing, an empty mount point, a file in its place, an unwritable part, an unsupported scheme."""

    async def found(url: str) -> str:
        lines = await examined(Settings(home=settings.home, prefix=settings.prefix, store_url=url))
        assert "snapshot" not in lines
        return wrong(lines)["store"]

    assert "There is no store in" in await found((tmp_path / "nowhere").as_uri())
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "mount point").mkdir()
    assert "There is no store in" in await found((tmp_path / "mount point").as_uri())
    assert list((tmp_path / "mount point").iterdir()) == []
    (tmp_path / "file").write_text("")
    assert "cannot be created" in await found((tmp_path / "file").as_uri())
    assert "Use a directory" in await found(f"ftp://key:{SECRET}@server")
    store = Path(settings.home) / "store"
    shutil.rmtree(store / "parts")
    (store / "parts").write_text("")
    assert "cannot be created" in await found(store.as_uri())
    (store / "parts").unlink()
    shutil.rmtree(store / "scratch")
    (store / "scratch").symlink_to("/dev/null/nothing")
    assert "The store " in await found(store.as_uri())


def test_settings_that_cannot_be_read_are_its_first_line(tmp_path: Path) -> None:
    """Nothing else can be checked then."""
    ended = CommandLine(home=tmp_path, prefx="hunter2").call("doctor")
    assert (ended.code, ended.err) == (1, "")
    assert ended.out.startswith("wrong    settings      RECKONER_PREFX is not a setting")
    assert len(ended.out.splitlines()) == 1
    assert "hunter2" not in ended.out


def replace_url(settings: Settings, url: str, password_file: Path | None = None) -> Settings:
    fields = {name: getattr(settings, name) for name in Settings.__struct_fields__}
    return Settings(**fields | {"redis_url": url, "redis_password_file": str(password_file or "")})
