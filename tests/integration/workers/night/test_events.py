"""Nights put the recorded events into the snapshot, each once, and then the events leave Redis."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from reckoner.producer.importing import Options, RecordedEvents, import_interactions, read_recorded, run_import
from reckoner.shared.redis.scripts import ask
from reckoner.shared.serving.events import BEGINNING, UserEvent, parse_mark
from reckoner.shared.store.directory import DirectoryStore
from reckoner.shared.store.night_import import note_night_import
from reckoner.shared.wire.shapes import Event
from reckoner.workers.maintenance.refreshing import Refreshing
from reckoner.workers.night import model_stages
from reckoner.workers.night.importing import Imported
from tests.integration.workers.night.test_driver import change, outcomes, through
from tests.snapshots import current, interactions
from tests.world import ITEMS, Hand, World, open_gates

pytestmark = pytest.mark.usefixtures("working")

STEPS = ["publish", "set_current_snapshot"]


@dataclass
class Shop:
    """Records events, and counts what its snapshot has to hold."""

    hand: Hand
    store: DirectoryStore
    counts: dict[tuple[str, str], float] = field(default_factory=dict)
    nights: int = 0

    async def records(self, *pairs: tuple[str, str]) -> None:
        generation = await self.hand.runtime.results.generations.current() or ""
        some = [UserEvent(user, Event(item, "history", 1.0, "", 5)) for user, item in pairs]
        assert set(await self.hand.runtime.events.record(some, generation)) == {"recorded"}
        self.count(*pairs)

    def count(self, *pairs: tuple[str, str]) -> None:
        for pair in pairs:
            self.counts[pair] = self.counts.get(pair, 0.0) + 1

    async def night(self) -> dict[str, str | None]:
        """The outcomes of the stages of another night."""
        self.nights += 1
        ended = await through(self.hand, f"2026-12-{self.nights:02}", imports=True)
        assert ended.outcome in ("live", "unchanged"), ended.stages
        return outcomes(ended)

    async def new_events(self) -> RecordedEvents:
        """Those that the current snapshot lacks."""
        mark = current(self.store).mark
        after = parse_mark(mark) if mark else BEGINNING
        return await read_recorded(self.hand.runtime.events, after, lambda *_: None)

    async def imports(self, source: Path | None) -> None:
        """Append a file and the new events by hand."""
        events = await self.new_events()
        import_interactions(source, self.store, append=True, read_events=lambda *_: events)

    def check(self) -> None:
        """The current snapshot holds each row and each event once."""
        assert {pair: weight for pair, (weight, _) in interactions(current(self.store)).items()} == self.counts

    async def in_stream(self) -> int:
        """The number of events that are left after those that live lists hold have been dropped."""
        await Refreshing(self.hand.runtime).trim()
        return int(await ask(self.hand.redis, "XLEN", self.hand.runtime.keys.event_stream))


@pytest.fixture
def shop(night: Hand, own_world: World, tmp_path: Path) -> Shop:
    """Its current snapshot sums repeats."""
    open_gates(night)
    made, path = Shop(night, own_world.store), tmp_path / "all.csv"
    rows = [(f"u{user}", ITEMS[(user + place) % 9]) for user in range(12) for place in range(4)]
    path.write_text("".join(["user,item\n", *(f"{user},{item}\n" for user, item in rows)]))
    import_interactions(path, made.store, repeats="sum")
    made.count(*rows)
    return made


@pytest.fixture
def children(
    night: Hand, own_world: World, redis_url: str, prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings for real imports in child processes."""
    values = {
        "HOME": tmp_path / "home",
        "STORE_URL": own_world.store.root.as_uri(),
        "REDIS_URL": redis_url,
        "PREFIX": prefix,
    }
    for name, value in values.items():
        monkeypatch.setenv(f"RECKONER_{name}", str(value))


@pytest.mark.usefixtures("children")
async def test_nights_of_events_alone(shop: Shop) -> None:
    """Events come in and leave Redis; without new ones there is nothing to do; each counts once."""
    change(shop.hand, source="--events")
    await shop.records(("u1", ITEMS[0]), ("a visitor", ITEMS[3]))
    assert (await shop.night())["flip"] == "done"
    shop.check()
    live = await shop.hand.runtime.results.generations.follow(shop.hand.runtime.keys.current)
    assert live.record is not None
    assert live.record.mark == current(shop.store).mark == str(await shop.hand.runtime.events.last())
    await shop.records(("u1", ITEMS[0]))
    assert await shop.in_stream() == 1
    assert (await shop.night())["flip"] == "done"
    shop.check()
    before = current(shop.store).id
    assert set((await shop.night()).values()) == {"unchanged"}
    assert current(shop.store).id == before
    # The live and the previous lists count the last event.
    await shop.records(("u2", ITEMS[3]))
    await shop.night()
    assert await shop.in_stream() == 1
    shop.check()


@pytest.mark.usefixtures("children")
async def test_a_file_and_events_are_appended_when_they_are_new(shop: Shop, tmp_path: Path) -> None:
    """The file's rows only if it has changed, whatever else is new."""
    file = tmp_path / "new.csv"
    change(shop.hand, source=f"'{file}' --user who --item what --append --events")
    # A file, an event, both, and nothing.
    for rows, events in [(["u1"], []), ([], ["u2"]), (["u1", "u3"], ["u1"]), ([], [])]:
        if rows:
            file.write_text("".join(["who,what\n", *(f"{user},{ITEMS[0]}\n" for user in rows)]))
            shop.count(*((user, ITEMS[0]) for user in rows))
        if events:
            await shop.records(*((user, ITEMS[0]) for user in events))
        stages = await shop.night()
        shop.check()
    assert set(stages.values()) == {"unchanged"}


@pytest.mark.usefixtures("children")
async def test_imports_by_hand_between_nights_make_no_night_append_a_file_again(shop: Shop, tmp_path: Path) -> None:
    """Of events, and of other rows; a source that is not appended replaces them, and comes again."""
    file, other = tmp_path / "new.csv", tmp_path / "other.csv"
    for path, user in ((file, "u1"), (other, "u2")):
        path.write_text(f"user,item\n{user},{ITEMS[0]}\n")
    change(shop.hand, source=f"'{file}' --append --events")
    await shop.records(("u1", ITEMS[0]))
    shop.count(("u1", ITEMS[0]))
    await shop.night()
    for source in (None, other, None):
        await shop.records(("u3", ITEMS[0]))
        await shop.imports(source)
        shop.count(*([("u2", ITEMS[0])] if source else []))
        shop.check()
    assert (await shop.night())["import"] == "unchanged"
    shop.check()
    await shop.records(("u3", ITEMS[0]))
    assert (await shop.night())["import"] == "done"
    shop.check()
    change(shop.hand, source=f"'{file}' --min-share 0")
    for made_by_hand in (False, True):
        if made_by_hand:
            await shop.imports(other)
        assert (await shop.night())["import"] == "done"
        assert len(interactions(current(shop.store))) == 1


@pytest.mark.usefixtures("children")
async def test_a_source_that_has_the_events_lets_them_leave_redis(shop: Shop, tmp_path: Path) -> None:
    """Without another row there is nothing new, though the stream is empty by then."""
    file = tmp_path / "all.csv"
    change(shop.hand, source=f"'{file}' --source-has-events")
    await shop.records(("u1", ITEMS[5]))
    with file.open("a") as rows:
        rows.write(f"u1,{ITEMS[5]}\n")
    assert (await shop.night())["flip"] == "done"
    assert await shop.in_stream() == 0
    shop.check()
    assert set((await shop.night()).values()) == {"unchanged"}


class KilledError(BaseException):
    """The process of the import ends here."""


def killing(shop: Shop, file: Path, kill: Sequence[str], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The first import is killed: at a step, before or after it, alone or with its driver. Returns all arguments."""
    step, moment, victim = kill
    given, whole = list[str](), getattr(DirectoryStore, step)

    def killed(*arguments: Any, **options: Any) -> None:
        if moment == "after":
            whole(*arguments, **options)
        raise KilledError

    async def run(night: str, arguments: str, on_rows: object) -> Imported:
        given.append(arguments)
        events = await shop.new_events()
        options = Options(append=True, read_events=lambda *_: events)
        source = None if "--without-source" in arguments else file
        with monkeypatch.context() as patched:
            if len(given) == 1:
                patched.setattr(DirectoryStore, step, killed)
            try:
                report = run_import(
                    source, shop.store, options, on_current=partial(note_night_import, shop.store, night)
                )
            except KilledError:
                if victim == "driver":
                    raise RedisConnectionError("gone") from None
                return Imported(-9, {}, "")
        return Imported(0, {"snapshot": report.snapshot_id, "interactions": report.interactions, "users": 1}, "")

    monkeypatch.setattr(model_stages, "import_source", run)
    return given


@pytest.mark.parametrize("victim", ["import", "driver"])
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_night_that_is_killed_in_its_import_counts_rows_and_events_once(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, moment: str, victim: str
) -> None:
    """And the next night, where only events are new; what was recorded between the tries is in neither lost."""
    file = tmp_path / "new.csv"
    file.write_text(f"user,item\nu1,{ITEMS[0]}\n")
    shop.count(("u1", ITEMS[0]))
    change(shop.hand, source=f"'{file}' --append --events")
    await shop.records(("u1", ITEMS[0]), ("u2", ITEMS[1]))
    given = killing(shop, file, (step, moment, victim), monkeypatch)
    assert (await shop.night())["flip"] == "done"
    is_set = (step, moment) == ("set_current_snapshot", "after")
    assert len(given) == (1 if is_set else 2)
    shop.check()
    await shop.records(("u1", ITEMS[0]))
    assert await shop.in_stream() == 1
    assert (await shop.night())["flip"] == "done"
    assert given[-1].endswith(" --without-source")
    shop.check()
