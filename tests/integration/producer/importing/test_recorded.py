"""Recorded events go into the snapshot, each exactly once, and lists stay as they were by the events."""

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from reckoner.producer.importing import (
    Columns,
    EventsReport,
    ImportLimits,
    ImportReport,
    Options,
    Query,
    RecordedEvents,
    Repeats,
    find_database,
    import_interactions,
    preview_interactions,
    read_recorded,
)
from reckoner.shared.event_types import Role
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.events import BEGINNING, ENTRIES_AT_ONCE, Mark, UserEvent, parse_mark
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.model_config import ModelConfig, model_id
from reckoner.shared.store.models import open_model
from reckoner.shared.store.snapshots import open_snapshot, write_snapshot
from reckoner.shared.wire.shapes import EVENT, RECORD, Event, FitSpec, Record, UserSpec
from tests.imports import reasons
from tests.interactions import random_interactions
from tests.plain_model import PlainUser
from tests.snapshots import current, interactions, left_out
from tests.world import ITEMS, LIST_LENGTH, Hand, World, publish_model

RULES: Sequence[Repeats] = ("last", "sum", "max")
ROLES: Sequence[Role] = ("history", "signal", "exclude")
USERS = [f"user {number:02}" for number in range(25)]
CONFIG = ModelConfig(neighbours=6, shrink=1.5)


def some_events(
    seed: int, users: Sequence[str], items: Sequence[str], count: int, roles: Sequence[Role] = ROLES
) -> Any:
    """Events whose pairs and times repeat; sums of their weights are exact."""
    drawn = random.Random(seed)
    return [
        UserEvent(
            drawn.choice(users),
            Event(drawn.choice(items), drawn.choice(ROLES), drawn.choice([1.0, 0.125, 2.5]), "", drawn.randint(0, 9)),
        )
        for _ in range(count)
    ]


class Shop:
    """Records events, imports them, and keeps count of them in a plain model."""

    def __init__(self, hand: Hand, store: DirectoryStore, repeats: Repeats = "last") -> None:
        self.hand, self.store, self.repeats = hand, store, repeats
        self.users = dict[str, PlainUser]()

    def add(self, user: str, item: str, role: str, weight: float, time_ms: int) -> None:
        self.users.setdefault(user, PlainUser()).add(item, role, weight, time_ms, self.repeats)

    async def records(self, events: Sequence[UserEvent], generation: str = "") -> None:
        for start in range(0, len(events), 100):
            some = events[start : start + 100]
            assert set(await self.hand.runtime.events.record(some, generation)) == {"recorded"}
        for user, event, _ in events:
            assert event.time_ms is not None
            self.add(user, event.item, event.role, event.weight, event.time_ms)

    async def read(self, append: bool = True) -> RecordedEvents:
        """The events that the current snapshot lacks if rows are appended to it, else all."""
        return await read_recorded(self.hand.runtime.events, self._after(append), lambda *_: None)

    def _after(self, append: bool) -> Mark:
        mark = current(self.store).mark if append and self.store.current_snapshot() else ""
        return parse_mark(mark) if mark else BEGINNING

    async def imports(self, source: Path | None = None, append: bool = True, **options: Any) -> ImportReport:
        """Import the events, after the rows of a source if there is one."""
        events, expected = await self.read(append), self._after(append)

        def given(_: Any, after: Mark) -> RecordedEvents:
            assert after == expected
            return events

        return import_interactions(source, self.store, append=append, read_events=given, **options)

    def check(self) -> None:
        """The current snapshot holds what counts for users, and what their lists leave out."""
        found, users = current(self.store), self.users
        expected = {(user, item): pair for user, plain in users.items() for item, pair in plain.counting.items()}
        assert interactions(found) == expected
        assert left_out(found) == {(user, item) for user, plain in users.items() for item in plain.left}


@pytest.fixture
def world(own_world: World) -> World:
    """The test's own, which it may change."""
    return own_world


@pytest.fixture
def shop(hand: Hand, tmp_path: Path) -> Shop:
    return Shop(hand, DirectoryStore(tmp_path / "store"), "sum")


@pytest.fixture
def bought(shop: Shop, tmp_path: Path) -> Path:
    """A file of the shop's, which counts for its users."""
    path, lines = tmp_path / "bought.csv", ["user,item,much,time"]
    for user, item, ms in (("ann", "tea", 3), ("ann", "cup", 4), ("bob", "tea", 5), ("ann", "tea", 6)):
        lines.append(f"{user},{item},2,1970-01-01T00:00:00.{ms:03}")
        shop.add(user, item, "history", 2.0, ms)
    path.write_text("\n".join(lines))
    return path


@pytest.fixture
def untimed(tmp_path: Path) -> Path:
    """A file without times and weights."""
    path = tmp_path / "untimed.csv"
    path.write_text("user,item\nann,tea\nbob,cup\n")
    return path


WEIGHTED: dict[str, Any] = {"columns": Columns(weight="much")}


def snapshot_of(store: DirectoryStore, rule: Repeats, *, weighted: bool, timed: bool) -> str:
    """A current snapshot of `ITEMS` and `USERS`, all of which have interactions."""
    pairs = random_interactions(3, n_users=25, n_items=40, n_pairs=400, weighted=True)
    assert pairs.user_weights is not None
    with store.scratch() as scratch:
        made = write_snapshot(
            scratch,
            user_ids=USERS,
            item_ids=ITEMS,
            users=np.repeat(np.arange(25), np.diff(pairs.user_ptr)),
            items=pairs.user_items,
            weights=pairs.user_weights if weighted else None,
            times=np.random.default_rng(4).integers(-5, 9, pairs.user_items.size) if timed else None,
            repeats=rule,
        )
        store.publish("snapshots", made, scratch)
    store.set_current_snapshot(made)
    return made


async def lists(hand: Hand, record: Record, users: Sequence[str]) -> list[bytes]:
    """The lists of users, computed anew."""
    keys = hand.runtime.keys
    names = [keys.result(record.generation, user) for user in users]
    await ask(hand.redis, "DEL", *names)
    specs = [UserSpec(user, record.generation) for user in users]
    await hand.runtime.flows.create(specs, [keys.join_user(record.generation, user) for user in users])
    await hand.deliver_all()
    found: list[bytes] = await ask(hand.redis, "MGET", *names)
    return found


async def with_model(hand: Hand, store: DirectoryStore, old: Record) -> Record:
    """A generation of the current snapshot, whose model has the arrays of that of another one."""
    made, arrays, runtime = current(store), open_model(store.fetch("models", old.model)), hand.runtime
    assert made.repeats == open_snapshot(store.fetch("snapshots", old.snapshot)).repeats
    assert made.mark == str(await runtime.events.last())
    assert [made.users[user] for user in range(made.n_users)] == USERS
    assert [made.items[item] for item in range(made.n_items)] == ITEMS
    publish_model(store, made, CONFIG, (arrays.row_ptr, arrays.row_items, arrays.row_values))
    model = model_id(made.id, CONFIG)
    names = {"generation": generation_id(model, old.options), "model": model, "snapshot": made.id, "mark": made.mark}
    record: Record = msgspec.structs.replace(old, **names)
    await ask(hand.redis, "SET", runtime.keys.record(record.generation), RECORD.encode(record))
    return record


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("timed", [True, False], ids=["times", "no times"])
@pytest.mark.parametrize("weighted", [True, False], ids=["weights", "no weights"])
async def test_imported_events_give_the_lists_that_recorded_ones_gave(
    own_world: World, hand: Hand, rule: Repeats, weighted: bool, timed: bool
) -> None:
    """Byte for byte, with the same model arrays; events up to the mark do not count again, and later ones do."""
    store, runtime = own_world.store, hand.runtime
    snapshot = snapshot_of(store, rule, weighted=weighted, timed=timed)
    recency = 0.5 if timed else msgspec.UNSET
    spec = FitSpec(snapshot, "cosine", CONFIG.neighbours, CONFIG.shrink, LIST_LENGTH, recency=recency)
    await runtime.flows.create([spec], [runtime.keys.join_fit("this one")])
    await hand.deliver_all()
    before = await runtime.record(str(await runtime.results.generations.pointer(runtime.keys.newest)))
    shop, touched = Shop(hand, store, rule), USERS[:8]
    await shop.records(some_events(1, touched, ITEMS[:12], 80), before.generation)
    by_events = await lists(hand, before, touched)

    record = before
    for count in (80, 20):
        # The second time with roles in the snapshot.
        report = await shop.imports()
        assert (report.rows, report.events and report.events.rows) == (0, count)
        reasons(report)
        record = await with_model(hand, store, before)
        assert await lists(hand, record, touched) == by_events
        await shop.records(some_events(count, touched, ITEMS[:12], 20), before.generation)
        earlier, by_events = by_events, await lists(hand, record, touched)
        assert by_events != earlier
        if rule != "sum":
            # Sums are rounded once for each import.
            assert await lists(hand, before, touched) == by_events


async def test_each_event_counts_once_in_any_number_of_imports(shop: Shop, bought: Path) -> None:
    """Beside the rows of files, whether or not there are new ones; what was imported may leave the stream."""
    import_interactions(bought, shop.store, repeats="sum", **WEIGHTED)
    users = ["ann", "bob", "cyd", "Dörte"]
    for number, count in enumerate((30, 0, 1, 50)):
        await shop.records(some_events(number, users, ["tea", "cup", "mug", "neu"], count))
        report = await shop.imports()
        assert report.events == EventsReport(current(shop.store).mark, True, count)
        reasons(report)
        shop.check()
        if number == 2:
            assert await shop.hand.runtime.events.trim(parse_mark(current(shop.store).mark)) == 31
    mark = current(shop.store).mark
    assert (await shop.imports()).snapshot_id == current(shop.store).id
    assert current(shop.store).mark == mark == str(await shop.hand.runtime.events.last())


async def test_events_come_after_the_rows_of_a_source(shop: Shop, bought: Path) -> None:
    """Of one import, which takes all that the stream has."""
    await shop.records(some_events(7, ["ann", "cyd"], ["tea", "mug"], 40))
    report = await shop.imports(bought, append=False, repeats="sum", **WEIGHTED)
    reasons(report)
    shop.check()
    assert current(shop.store).mark == str(await shop.hand.runtime.events.last())
    # Its rows are appended with the next events.
    for user, item, ms in (("ann", "tea", 3), ("ann", "cup", 4), ("bob", "tea", 5), ("ann", "tea", 6)):
        shop.add(user, item, "history", 2.0, ms)
    await shop.records(some_events(8, ["ann", "cyd"], ["tea", "mug"], 40))
    await shop.imports(bought, **WEIGHTED)
    shop.check()


async def test_at_equal_times_the_event_is_the_last(shop: Shop, bought: Path, untimed: Path) -> None:
    """Without --repeats sum, it replaces the row; without times in the source, so does each event."""
    await shop.records([UserEvent("ann", Event("tea", "history", 7.0, "", 6))])
    await shop.imports(bought, append=False, **WEIGHTED)
    assert interactions(current(shop.store))["ann", "tea"] == (7.0, 6)
    await shop.imports(untimed, append=False)
    assert interactions(current(shop.store)) == {("ann", "tea"): (7.0, None), ("bob", "cup"): (1.0, None)}


async def test_events_alone_make_the_first_snapshot(shop: Shop) -> None:
    """With their times. Events without a role but history, and weights of 1, need no more arrays than rows do."""
    await shop.records([UserEvent(user, Event("tea", "history", 1.0, "", 5)) for user in ("ann", "bob")])
    report = await shop.imports(repeats="sum")
    assert (report.rows, report.interactions, report.users) == (0, 2, 2)
    shop.check()
    assert (current(shop.store).user_weights, current(shop.store).left_items) == (None, None)


async def test_an_event_during_the_import_counts_from_the_next_one_on(shop: Shop, bought: Path) -> None:
    """It is later than the mark: it stays in the stream and in its user's recent history."""
    events = shop.hand.runtime.events
    await shop.records([UserEvent("ann", Event("tea", "signal", 1.0, "", 1))])
    before = await shop.read()
    await shop.records([UserEvent("ann", Event("mug", "signal", 1.0, "", 2))])
    report = import_interactions(bought, shop.store, read_events=lambda *_: before, repeats="sum", **WEIGHTED)
    assert report.events is not None
    assert parse_mark(report.events.mark) < await events.last()
    assert ("ann", "mug") not in interactions(current(shop.store))
    assert await events.trim(parse_mark(current(shop.store).mark)) == 1
    [recent] = [recent async for recent in events.recent("ann")]
    assert [event.item for _, event in recent.events] == ["mug"]
    await shop.imports()
    shop.check()


class KilledError(BaseException):
    """The process ends here."""


@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", ["publish", "set_current_snapshot"])
async def test_a_killed_import_loses_nothing_and_counts_nothing_twice(
    shop: Shop, bought: Path, monkeypatch: pytest.MonkeyPatch, step: str, moment: str
) -> None:
    """Before and after each step that others see; with events meanwhile, and whatever is trimmed."""
    import_interactions(bought, shop.store, repeats="sum", **WEIGHTED)
    users = ["ann", "bob", "cyd"]
    await shop.records(some_events(1, users, ["tea", "mug"], 30))
    whole = getattr(DirectoryStore, step)

    def killed(*arguments: Any, **options: Any) -> None:
        if moment == "after":
            whole(*arguments, **options)
        raise KilledError

    monkeypatch.setattr(DirectoryStore, step, killed)
    with pytest.raises(KilledError):
        await shop.imports()
    monkeypatch.undo()
    await shop.records(some_events(2, users, ["tea", "mug"], 30))
    if mark := current(shop.store).mark:
        await shop.hand.runtime.events.trim(parse_mark(mark))
    assert bool(mark) == (step == "set_current_snapshot" and moment == "after")
    for _ in range(2):
        await shop.imports()
        shop.check()


async def test_an_import_that_another_one_overtook_is_refused(shop: Shop, bought: Path) -> None:
    """Both would append the same events."""
    import_interactions(bought, shop.store, repeats="sum", **WEIGHTED)
    await shop.records(some_events(1, ["ann"], ["tea"], 5))
    late = await shop.read()

    def overtaken(*_: Any) -> RecordedEvents:
        import_interactions(None, shop.store, append=True, read_events=lambda *_: late)
        return late

    with pytest.raises(Exception, match="Another import changed the current snapshot meanwhile"):
        import_interactions(None, shop.store, append=True, read_events=overtaken)
    shop.check()


async def test_a_stream_of_many_pages_is_read_in_its_order(shop: Shop) -> None:
    """The last event of the last page wins; the progress says how many were read."""
    count, read = ENTRIES_AT_ONCE + 3, list[int]()
    for start in range(0, count, 100):
        some = [UserEvent("ann", Event("tea", "signal", float(n + 1), "", 5)) for n in range(start, start + 100)]
        await shop.hand.runtime.events.record(some[: count - start], "")
    events = await read_recorded(shop.hand.runtime.events, BEGINNING, lambda rows, _: read.append(rows))
    assert read == [ENTRIES_AT_ONCE, count]
    import_interactions(None, shop.store, append=True, read_events=lambda *_: events)
    assert interactions(current(shop.store)) == {("ann", "tea"): (float(count), 5)}


async def test_entries_that_are_no_events_are_counted_and_named(shop: Shop) -> None:
    """They stop no import, however many there are, and make no difference."""
    stream, ann = shop.hand.runtime.keys.event_stream, Event("tea", "history", 1.0, "", 5)
    await shop.records([UserEvent("ann", ann)])
    bad: list[dict[str, str | bytes]] = [
        {"user": "bob", "event": b"no JSON"},
        {"user": "bob"},
        {"event": EVENT.encode(ann)},
        {"user": b"\xff", "event": EVENT.encode(ann)},
        {"user": "", "event": EVENT.encode(ann)},
        {"user": "bob", "event": b'["","history",1.0,"",5]'},
        {"user": "bob", "event": b'["tea","owner",1.0,"",5]'},
        {"user": "bob", "event": b'["tea","history",-1.0,"",5]'},
        {"user": "b" * 1025, "event": EVENT.encode(ann)},
    ] * 5
    ids = [await ask(shop.hand.redis, "XADD", stream, "*", *sum(fields.items(), ())) for fields in bad]
    await shop.records([UserEvent("cyd", ann)])
    report = await shop.imports(limits=ImportLimits())
    assert report.events == EventsReport(current(shop.store).mark, True, 2, len(bad), ids[0].decode())
    shop.check()


async def test_an_event_without_a_time_has_that_of_its_entry(shop: Shop) -> None:
    """As in its user's list."""
    stream = shop.hand.runtime.keys.event_stream
    await ask(shop.hand.redis, "XADD", stream, "77-1", "user", "ann", "event", b'["tea","signal",1.0,"",null]')
    await shop.imports()
    assert interactions(current(shop.store)) == {("ann", "tea"): (1.0, 77)}


async def test_the_mark_of_a_snapshot_that_is_appended_to_stays(shop: Shop, bought: Path) -> None:
    """Rows alone do not change it; a new source has none; where the source has the events, it is noted."""
    await shop.records(some_events(1, ["ann"], ["tea"], 5))
    mark = str(await shop.hand.runtime.events.last())
    await shop.imports()
    import_interactions(bought, shop.store, append=True, **WEIGHTED)
    assert current(shop.store).mark == mark
    import_interactions(bought, shop.store, **WEIGHTED)
    assert (current(shop.store).mark, current(shop.store).repeats) == ("", "last")
    noted = RecordedEvents(parse_mark(mark), taken=False)
    report = import_interactions(bought, shop.store, read_events=lambda *_: noted, **WEIGHTED)
    assert (current(shop.store).mark, report.events) == (mark, EventsReport(mark, False))
    assert len(interactions(current(shop.store))) == 3
    await shop.hand.runtime.events.trim(parse_mark(mark))
    assert str(await shop.hand.runtime.events.last()) == mark


async def test_the_newest_time_of_a_source_is_not_that_of_an_event(shop: Shop, tmp_path: Path) -> None:
    """Or --since would skip rows that were not read yet; events alone leave the whole source to be read."""
    select = "select user, item, time from bought where :since_ms < time"
    with closing(sqlite3.connect(tmp_path / "shop.db")) as database:
        database.execute("create table bought (user, item, time integer)")

        async def sells(*times: int) -> list[ImportReport]:
            database.executemany("insert into bought values ('ann', 'tea', ?)", [(ms,) for ms in times])
            database.commit()
            query = Query(find_database(f"sqlite:///{tmp_path / 'shop.db'}", {}), select)
            for ms in times:
                shop.add("ann", "tea", "history", 1.0, ms)
            options: dict[str, Any] = {"append": True, "since": True, "repeats": "sum"}
            found = [import_interactions(query, shop.store, **options) for _ in range(2)]
            shop.check()
            return found

        now = 1_700_000_000_000
        for number, newest in enumerate((now + 50, now + 70, now + 60, now + 200)):
            await shop.records([UserEvent("ann", Event("tea", "history", 1.0, "", newest))])
            await shop.imports(repeats="sum")
            assert [report.rows for report in await sells(now + 10 * number, now + 10 * number + 1)] == [2, 0]
            assert current(shop.store).source_ms == now + 10 * number + 1
        await sells(now + 300)
        assert current(shop.store).source_ms is None


async def test_a_preview_counts_the_events(shop: Shop) -> None:
    """And writes nothing."""
    await shop.records(some_events(1, ["ann"], ["tea"], 5))
    events = await shop.read()
    preview = preview_interactions(None, shop.store, Options(append=True, read_events=lambda *_: events))
    assert (preview.interactions, preview.events and preview.events.rows, preview.columns) == (1, 5, {})
    assert shop.store.current_snapshot() is None
