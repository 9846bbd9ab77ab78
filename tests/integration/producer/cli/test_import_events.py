"""`reckoner import` takes the recorded events, or notes that its source has them."""

from pathlib import Path

import pytest
from redis.asyncio import Redis

from reckoner.producer.client.open import OpenReckoner
from reckoner.shared.redis.keys import Keys
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.events import Events, UserEvent
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.wire.shapes import Event
from tests.commands import CommandLine
from tests.snapshots import current, interactions, titles

AWAY = {"RECKONER_REDIS_URL": "redis://127.0.0.1:1"}


@pytest.fixture
def events(reckoner: OpenReckoner) -> Events:
    return reckoner.events


@pytest.fixture
def store(tmp_path: Path) -> DirectoryStore:
    return DirectoryStore(tmp_path / "a höme" / "store")


@pytest.fixture
def bought(tmp_path: Path) -> str:
    """A file with two purchases."""
    path = tmp_path / "bought.csv"
    path.write_text("user,item\nann,tea\nbob,cup\n")
    return str(path)


async def record(events: Events, *pairs: tuple[str, str]) -> str:
    """Record events; returns the mark up to which these are all."""
    some = [UserEvent(user, Event(item, "history", 1.0, "", 5)) for user, item in pairs]
    assert set(await events.record(some, "")) == {"recorded"}
    return str(await events.last())


async def test_events_are_taken_alone_beside_a_source_or_appended_with_one(
    commands: CommandLine, events: Events, store: DirectoryStore, bought: str
) -> None:
    """Each once; the report says how many and up to where."""
    mark = await record(events, ("ann", "mug"))
    ended = commands.call("import", bought, "--events")
    assert (ended.code, ended.err) == (0, "")
    assert f"\nevents    1 event up to {mark}\n" in ended.out
    assert set(interactions(current(store))) == {("ann", "tea"), ("bob", "cup"), ("ann", "mug")}
    mark = await record(events, ("cyd", "tea"), ("cyd", "cup"))
    ended = commands.call("import", "--events", "--json")
    [report] = ended.objects
    assert report["events"] == {"mark": mark, "taken": True, "rows": 2, "bad": 0, "first_bad": None}
    assert (report["earlier"], report["rows"], report["interactions"], current(store).mark) == (3, 0, 5, mark)
    [again] = commands.call("import", "--events", "--json").objects
    assert (again["events"]["rows"], again["snapshot"]) == (0, report["snapshot"])
    await record(events, ("dan", "tea"))
    ended = commands.call("import", bought, "--events", "--append", "--repeats", "sum")
    assert ended.code == 0, ended.err
    found = interactions(current(store))
    assert (len(found), found["ann", "tea"], found["dan", "tea"]) == (6, (2.0, None), (1.0, None))


async def test_a_source_that_has_the_events_gets_their_mark(
    commands: CommandLine, events: Events, store: DirectoryStore, bought: str
) -> None:
    """Nothing is added. The mark is taken before the source is read, even if that cannot be read."""
    mark = await record(events, ("cyd", "mug"))
    ended = commands.call("import", bought, "--source-has-events")
    assert f"\nevents    the source has those up to {mark}\n" in ended.out
    assert (len(interactions(current(store))), current(store).mark) == (2, mark)
    ended = commands.call("import", "/no/such/file.csv", "--source-has-events", environ=AWAY)
    assert "Redis at redis://127.0.0.1:1/0 cannot" in ended.err
    assert "/no/such/file.csv" not in ended.err


async def test_a_source_alone_says_which_events_it_replaces(
    commands: CommandLine, events: Events, store: DirectoryStore, bought: str
) -> None:
    """Each time that they may go; not where rows are appended, or events were looked at."""
    mark = await record(events, ("cyd", "mug"))
    kept = [(option, False) for option in ("--events", "--append", "--source-has-events")]
    for option, says in [*kept, ("--dry-run", True), ("--json", True), ("--json", False)]:
        ended = commands.call("import", bought, option)
        assert (ended.code, f"The current snapshot had recorded events up to {mark}, " in ended.err) == (0, says)
    assert current(store).mark == ""


async def test_a_dry_run_counts_the_events(commands: CommandLine, events: Events, tmp_path: Path) -> None:
    """There need be no store, and none is made."""
    mark = await record(events, ("cyd", "mug"), ("cyd", "mug"), ("cyd", "tea"))
    ended = commands.call("import", "--events", "--dry-run")
    assert ended.code == 0, ended.err
    lines = ended.out.splitlines()
    assert lines[0] == "holds     2 interactions of 1 user with 2 items"
    assert f"events    3 events up to {mark}" in lines
    assert not (tmp_path / "a höme" / "store").exists()


async def test_events_alone_may_have_a_file_of_items(
    commands: CommandLine, events: Events, store: DirectoryStore, tmp_path: Path
) -> None:
    """With their titles."""
    (tmp_path / "items.csv").write_text("sku,title\nmug,A mug\ntea,Tea\n")
    await record(events, ("cyd", "mug"))
    ended = commands.call("import", "--events", "--items", str(tmp_path / "items.csv"), "--item-columns", "item=sku")
    assert (ended.code, ended.err) == (0, "")
    assert titles(current(store)) == {"mug": "A mug"}


async def test_without_events_and_without_a_snapshot_there_is_nothing_to_import(commands: CommandLine) -> None:
    """Which is said."""
    ended = commands.call("import", "--events")
    assert (ended.code, ended.err) == (1, "The stream of events has no rows.\n")


async def test_invalid_entries_are_named(
    commands: CommandLine, redis: Redis, prefix: str, events: Events, store: DirectoryStore
) -> None:
    """And stop nothing."""
    await record(events, ("cyd", "mug"))
    first, _ = [await ask(redis, "XADD", Keys(prefix).event_stream, "*", "user", "cyd") for _ in range(2)]
    ended = commands.call("import", "--events")
    assert ended.code == 0
    assert ended.err == f"2 events bad: the entry of the stream is invalid ({first.decode()}, ...)\n"
    assert len(interactions(current(store))) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (
            ("{bought}", "--events", "--source-has-events"),
            "Either the source has the recorded events, or --events adds them. Remove --events or --source-has-events.",
        ),
        ((), "Name a SOURCE to import, or append the recorded events with --events."),
        (("--source-has-events",), "Name a SOURCE to import, or append the recorded events with --events."),
        (("--events", "--user", "who"), "--user is for a source. Name a SOURCE, or remove --user."),
        (("--events", "--query", "select 1"), "--query is for a source. Name a SOURCE, or remove --query."),
        (("--events", "--rejects", "bad.csv"), "--rejects is for a source. Name a SOURCE, or remove --rejects."),
        (("--events", "--since"), "--since is for a source. Name a SOURCE, or remove --since."),
    ],
)
def test_options_that_do_not_go_together_are_refused(
    commands: CommandLine, bought: str, arguments: tuple[str, ...], sentence: str
) -> None:
    """In one sentence."""
    ended = commands.call("import", *(argument.format(bought=bought) for argument in arguments))
    assert (ended.code, ended.err) == (2, f"{sentence}\n")


@pytest.mark.parametrize("arguments", [("--events",), ("{bought}", "--events"), ("{bought}", "--source-has-events")])
def test_without_redis_no_event_is_imported(
    commands: CommandLine, store: DirectoryStore, bought: str, arguments: tuple[str, ...]
) -> None:
    """One sentence, and the current snapshot stays."""
    assert commands.call("import", bought).code == 0
    before, words = store.current_snapshot(), [word.format(bought=bought) for word in arguments]
    ended = commands.call("import", *words, environ=AWAY)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert ended.err.startswith("Redis at redis://127.0.0.1:1/0 cannot be reached")
    assert store.current_snapshot() == before
