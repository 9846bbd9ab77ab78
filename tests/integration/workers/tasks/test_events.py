"""Recorded events: lists have the bytes that importing them and scoring with the same model gives."""

import asyncio
import math
import random
import time
from collections.abc import Sequence
from dataclasses import replace

import msgspec
import pytest

from reckoner.shared.event_types import Role
from reckoner.shared.redis.scripts import ask
from reckoner.shared.redis.scripts.constants import DEBOUNCE_MS, MOST_RECENT
from reckoner.shared.serving.events import Events, Mark, MovedError, UserEvent
from reckoner.shared.store.models import open_model
from reckoner.shared.store.snapshots import open_snapshot
from reckoner.shared.wire.jobs import Split
from reckoner.shared.wire.shapes import RECORD, BasketSpec, Event, Record, UserSpec
from reckoner.workers.maintenance.refreshing import Refreshing
from tests.patience import PATIENCE_S
from tests.plain_model import PlainUser, plain_list, plain_users
from tests.recents import all_recent
from tests.world import ITEMS, Hand, World

ROLES: Sequence[Role] = ("history", "signal", "exclude")
UNKNOWN = ["an item of today", "ein Stück"]
VISITORS = ["a visitor", "zz: another"]


def some_events(seed: int, users: Sequence[str], count: int, weights: Sequence[float] = (1.0,)) -> list[UserEvent]:
    """Events of some users with items that repeat, and times that do."""
    drawn = random.Random(seed)
    return [
        UserEvent(
            drawn.choice(users),
            Event(
                drawn.choice(ITEMS[:20] + UNKNOWN), drawn.choice(ROLES), drawn.choice(weights), "", drawn.randint(-5, 9)
            ),
        )
        for _ in range(count)
    ]


class Shop:
    """A generation, and the plain model of its users with all recorded events."""

    def __init__(self, hand: Hand, world: World, record: Record) -> None:
        self.hand, self.record = hand, record
        self.snapshot = open_snapshot(world.store.fetch("snapshots", record.snapshot))
        self._model = open_model(world.store.fetch("models", record.model))
        self._indices = {self.snapshot.items[item]: item for item in range(self.snapshot.n_items)}
        self.users = plain_users(self.snapshot)
        self.hidden = set[str]()

    async def recorded(self, events: Sequence[UserEvent]) -> list[str]:
        answers = await self.hand.runtime.events.record(events, self.record.generation)
        for (user, event, _), answer in zip(events, answers, strict=True):
            if answer == "recorded":
                plain = self.users.setdefault(user, PlainUser())
                assert event.time_ms is not None
                plain.add(event.item, event.role, event.weight, event.time_ms, self.snapshot.repeats)
        return list(answers)

    def expected(self, user: str) -> bytes:
        options, mask = self.record.options, self.record.mask
        return plain_list(self.users[user], self._model, options, self._indices, self.hidden, record_mask=mask)

    async def cached(self, user: str) -> bytes:
        found: bytes = await ask(self.hand.redis, "GET", self.hand.runtime.keys.result(self.record.generation, user))
        return found


async def check(shop: Shop, users: Sequence[str]) -> None:
    for user in users:
        assert await shop.cached(user) == shop.expected(user), user


async def check_clicks(own_world: World, hand: Hand, record: Record, tasks: int) -> None:
    settings = msgspec.structs.replace(hand.runtime.settings, tasks_per_job=tasks, chunks=40)
    hand.runtime = replace(hand.runtime, settings=settings)
    shop = Shop(hand, own_world, record)
    users = [*list(shop.users)[:6], *VISITORS]
    for seed in range(3):
        events = some_events(seed, users, 30, weights=(1.0, 2.5, 0.1))
        assert set(await shop.recorded(events)) == {"recorded"}
        await hand.deliver_all()
        touched = {event.user for event in events}
        assert len(touched) > 5
        await check(shop, sorted(touched))


@pytest.mark.parametrize("tasks", [1, 3, 40])
async def test_a_list_counts_what_was_recorded(own_world: World, hand: Hand, weighted: Record, tasks: int) -> None:
    """Byte for byte, for any number of tasks; users of the snapshot and visitors; again with more events."""
    await check_clicks(own_world, hand, weighted, tasks)


@pytest.mark.parametrize("tasks", [1, 4])
async def test_the_newest_event_counts_most(own_world: World, hand: Hand, recent: Record, tasks: int) -> None:
    """The same with recency."""
    await check_clicks(own_world, hand, recent, tasks)


@pytest.mark.parametrize("task_ms", [1e-6, 20.0], ids=["many tasks", "one task"])
@pytest.mark.parametrize("block", [1, 7, 25])
async def test_a_run_counts_what_was_recorded(
    own_world: World, hand: Hand, recent: Record, block: int, task_ms: float
) -> None:
    """Byte for byte, for any size of a block."""
    settings = msgspec.structs.replace(hand.runtime.settings, batch_task_ms=task_ms, chunks=5)
    hand.runtime = replace(hand.runtime, settings=settings)
    shop, runtime = Shop(hand, own_world, recent), hand.runtime
    known = list(shop.users)
    await shop.recorded(some_events(1, [*known[:1], *known[9:15], *known[-1:], *VISITORS], 60))
    shop.hidden = {"item 03", "item 21", "not in the data"}
    await runtime.results.hidden.hide([*shop.hidden])
    record = await runtime.runs.with_news(recent)
    assert record.generation != recent.generation
    # What comes after the run's start is not in its lists.
    await runtime.results.hidden.hide(["item 05"])
    await shop.hand.runtime.events.record([UserEvent(known[0], event("item 06", time_ms=8))], recent.generation)
    for lane in runtime.keys.lanes:
        # The jobs that the events have made.
        await ask(hand.redis, "DEL", lane)
    await runtime.runs.start(record, block, 3)
    await hand.deliver_all()
    shop.record = record
    await check(shop, known)
    assert await runtime.results.generations.current() == record.generation
    assert await runtime.results.generations.pointer(runtime.keys.newest) == record.generation
    # The first user's list is computed again, with what came after the start.
    shop.users[known[0]].add("item 06", "history", 1.0, 8)
    shop.hidden.add("item 05")
    assert await Refreshing(runtime).refresh() >= 1
    await hand.deliver_all()
    await check(shop, known[:1])


async def test_what_is_hidden_during_a_run_is_gone_from_its_lists(
    own_world: World, hand: Hand, weighted: Record
) -> None:
    """Also if the user's block was done before; so is what a user loses to another one."""
    shop, runtime, user = Shop(hand, own_world, weighted), hand.runtime, "user 03"
    await shop.recorded([UserEvent(each, event("item 30", time_ms=5)) for each in ("user 04", "user 20")])
    await hand.deliver_all()
    record = await runtime.runs.with_news(weighted)
    run_id, _ = await runtime.runs.start(record, 1)
    flow = await ask(hand.redis, "HGET", runtime.keys.flight(run_id), "0")
    await hand.deliver_all(but=lambda job: job == Split(flow.decode()).job_id)
    shop.record = record
    best = msgspec.json.decode(await shop.cached(user))["items"][0][0]
    await runtime.events.hide(user, [best])
    await runtime.events.move("user 04", "user 20")
    assert await Refreshing(runtime).refresh() == 3
    await hand.deliver_all()
    assert await runtime.results.generations.current() == record.generation
    await Refreshing(runtime).refresh()
    await hand.deliver_all()
    shop.users[user].left.add(best)
    shop.users["user 04"] = plain_users(shop.snapshot)["user 04"]
    await check(shop, [user, "user 04", "user 20"])


async def test_a_run_over_live_lists_loses_no_event(own_world: World, hand: Hand, weighted: Record) -> None:
    """Its blocks may write over lists that count more, whatever becomes of it."""
    shop, runtime = Shop(hand, own_world, weighted), hand.runtime
    assert await runtime.runs.with_news(weighted) == weighted
    run_id, _ = await runtime.runs.start(weighted, 25)
    [block] = await hand.queued()
    await shop.recorded([UserEvent("user 03", event("item 30", time_ms=5))])
    await hand.deliver_all(but=lambda job: job == block)
    await hand.deliver_all()
    run = await runtime.runs.load(run_id)
    assert run is not None
    assert run.outcome == "passed"
    await Refreshing(runtime).refresh()
    await hand.deliver_all()
    await check(shop, list(shop.users))


async def test_a_change_during_the_refresh_is_not_forgotten(hand: Hand, world: World) -> None:
    """After the job for the list has ended, and before that is noted."""
    generation, runtime = await hand.adopt(world), hand.runtime
    await runtime.events.hide("Ada", ["item 01"])
    users = await runtime.events.take_stale(10)
    await runtime.events.hide("Ada", ["item 02"])
    await runtime.events.settled(users)
    assert await Refreshing(runtime).refresh() == 1
    await hand.deliver_all()
    data = await ask(hand.redis, "GET", runtime.keys.result(generation.id, "Ada"))
    assert not {"item 01", "item 02"} & {place[0] for place in msgspec.json.decode(data)["items"]}
    assert await Refreshing(runtime).refresh() == 0


async def test_changes_are_in_order_when_the_clock_is_behind(hand: Hand) -> None:
    """Each is later than the events before it, and has a version of its own."""
    runtime, last = hand.runtime, Mark(await hand.runtime.now_ms() + 3_600_000, 7)
    await ask(hand.redis, "XADD", runtime.keys.event_stream, str(last), "user", "nobody", "event", "")
    seen = list[tuple[int, Mark]]()
    for number in range(6):
        if number % 2:
            await runtime.events.hide("Ada", [f"item {number}"])
        else:
            await runtime.events.record([UserEvent("Ada", event("item 01"))], "")
        version = int(await ask(hand.redis, "HGET", runtime.keys.recent_versions, "Ada"))
        assert version >= last.ms * 1000
        seen.append((version, await runtime.events.last()))
    assert seen == sorted(seen)
    assert len({version for version, _ in seen}) == 6
    [recent] = [recent async for recent in runtime.events.recent("Ada")]
    marks = [mark for mark, _ in recent.events]
    assert marks == sorted(marks)
    assert marks[0] > last
    await runtime.events.add_changed(last)
    assert list(await runtime.events.take_stale(10)) == [b"Ada"]


def event(item: str, role: Role = "history", *, time_ms: int | None = None) -> Event:
    return Event(item, role, 1.0, "", time_ms)


async def flow_jobs(hand: Hand) -> list[str]:
    return [job for job in await hand.queued() if job.startswith("split:")]


async def test_an_id_counts_once(hand: Hand, world: World) -> None:
    """Within a call and later; without an id each counts."""
    generation, events = await hand.adopt(world), hand.runtime.events
    some = [UserEvent("Ada", event("item 01"), "order 1"), UserEvent("user:1", event("item 01"), "order 1")]
    assert await events.record(some, generation.id) == ["recorded", "seen"]
    assert await events.record(some[1:] * 2, generation.id) == ["seen", "seen"]
    assert await events.record([UserEvent("Ada", event("item 01"))] * 2, generation.id) == ["recorded", "recorded"]
    assert [len(recent.events) async for recent in all_recent(events)] == [3]


async def test_a_full_stream_takes_nothing_more(hand: Hand, world: World) -> None:
    """Each event is answered; those before the limit are recorded."""
    generation = await hand.adopt(world)
    events = Events(hand.redis, hand.runtime.keys, 1.0, most_events=2)
    some = [UserEvent("Ada", event(item), item) for item in ITEMS[:3]]
    assert await events.record(some, generation.id) == ["recorded", "recorded", "full"]
    assert await events.record(some, generation.id) == ["seen", "seen", "full"]
    assert await ask(hand.redis, "EXISTS", hand.runtime.keys.event(ITEMS[2])) == 0


async def test_a_user_with_very_many_events_counts_them_with_the_next_import(hand: Hand, world: World) -> None:
    """They are in the stream, and not in the recent history."""
    generation, events = await hand.adopt(world), hand.runtime.events
    answers = []
    for start in range(0, MOST_RECENT + 2, 101):
        count = min(101, MOST_RECENT + 2 - start)
        answers += await events.record([UserEvent("Ada", event("item 01", "signal"))] * count, generation.id)
    assert answers == ["recorded"] * MOST_RECENT + ["later"] * 2
    assert await ask(hand.redis, "XLEN", hand.runtime.keys.event_stream) == MOST_RECENT + 2
    assert await ask(hand.redis, "LLEN", hand.runtime.keys.recent("Ada")) == MOST_RECENT


async def test_events_for_a_generation_that_is_not_live_are_not_recorded(hand: Hand, world: World) -> None:
    """The caller reads the pointer again. Without any generation, they are recorded and no job is made."""
    events = hand.runtime.events
    assert await events.record([UserEvent("Ada", event("item 01"))], "") == ["recorded"]
    generation = await hand.adopt(world)
    with pytest.raises(MovedError):
        await events.record([UserEvent("Ada", event("item 02"))], world.generations[1].id)
    assert await hand.queued() == []
    assert [len(recent.events) async for recent in all_recent(events)] == [1]
    assert await events.record([UserEvent("Ada", event("item 02"))], generation.id) == ["recorded"]
    assert len(await flow_jobs(hand)) == 1


async def test_events_before_the_split_need_one_job(hand: Hand, world: World) -> None:
    """One job for each user; a job of the batch lane becomes a click."""
    generation, runtime = await hand.adopt(world), hand.runtime
    join = runtime.keys.join_user(generation.id, "Ada")
    [flow] = await runtime.flows.create([UserSpec("Ada", generation.id)], [join], "batch")
    for item in ITEMS[:5]:
        await runtime.events.record(
            [UserEvent("Ada", event(item)), UserEvent("user:1", event(item))] * 2, generation.id
        )
    jobs = await flow_jobs(hand)
    assert len(jobs) == 2
    assert Split(flow).job_id in jobs
    assert await ask(hand.redis, "ZCARD", runtime.keys.batch) == 0


async def test_an_event_after_the_split_makes_one_more_job(hand: Hand, world: World) -> None:
    """When the one under way ends: it had planned without the event."""
    generation, runtime = await hand.adopt(world), hand.runtime
    for items in ITEMS[:2], ITEMS[2:4]:
        await runtime.events.record([UserEvent("Ada", event(item)) for item in items], generation.id)
        if split := await flow_jobs(hand):
            await hand.deliver(split[0])
    # The chunk tasks of the first job are under way.
    assert await flow_jobs(hand) == []
    while not (follower := await flow_jobs(hand)):
        for job in await hand.queued():
            await hand.deliver(job)
    assert len(follower) == 1
    await hand.deliver_all()
    [recent] = [recent async for recent in runtime.events.recent("Ada")]
    assert [found.item for _, found in recent.events] == ITEMS[:4]
    cached = msgspec.json.decode(await ask(hand.redis, "GET", runtime.keys.result(generation.id, "Ada")))
    assert not {item for item, *_ in cached["items"]} & set(ITEMS[:4])


async def test_events_in_quick_succession_share_a_job(hand: Hand, world: World) -> None:
    """The job for a second event waits a moment, unless somebody asks for the list."""
    generation, runtime = await hand.adopt(world), hand.runtime
    await runtime.events.record([UserEvent("Ada", event("item 01"))], generation.id)
    await hand.deliver_all()
    await runtime.events.record([UserEvent("Ada", event("item 02"))], generation.id)
    [job] = await flow_jobs(hand)
    now_ms = await runtime.now_ms()
    assert now_ms < float(await ask(hand.redis, "ZSCORE", runtime.keys.click, job)) <= now_ms + 2 * DEBOUNCE_MS
    join = runtime.keys.join_user(generation.id, "Ada")
    assert [Split(flow).job_id for flow in await runtime.flows.create([UserSpec("Ada", generation.id)], [join])] == [
        job
    ]
    assert float(await ask(hand.redis, "ZSCORE", runtime.keys.click, job)) <= await runtime.now_ms()


async def test_a_full_lane_makes_lists_stale(hand: Hand, world: World) -> None:
    """Events are recorded all the same, and jobs are made once there is room."""
    generation, runtime = await hand.adopt(world), hand.runtime
    some = [UserEvent(user, event("item 01")) for user in ("Ada", "user:1", "user 2")]
    assert await runtime.events.record(some, generation.id, most_queued=1) == ["recorded"] * 3
    assert len(await flow_jobs(hand)) == 1
    stale = await runtime.events.take_stale(10)
    assert len(stale) == 2
    refreshing = Refreshing(replace(runtime, settings=msgspec.structs.replace(runtime.settings, max_queued=1)))
    assert await refreshing.refresh() == 1
    assert await Refreshing(runtime).refresh() == 1
    assert not await runtime.events.take_stale(10)
    await hand.deliver_all()
    for user in ("Ada", "user:1", "user 2"):
        data = await ask(hand.redis, "GET", runtime.keys.result(generation.id, user))
        assert b'"item 01"' not in msgspec.json.encode([place[0] for place in msgspec.json.decode(data)["items"]])


async def test_what_a_user_hides_is_gone_until_it_is_shown_again(
    own_world: World, hand: Hand, weighted: Record
) -> None:
    """From the next list on; an item that the user had as well stays out."""
    shop, runtime = Shop(hand, own_world, weighted), hand.runtime
    user, refreshing = "user 03", Refreshing(hand.runtime)
    await runtime.flows.create([UserSpec(user, weighted.generation)], [runtime.keys.join_user("", user)])
    await hand.deliver_all()
    first = [place[0] for place in msgspec.json.decode(await shop.cached(user))["items"]]
    await shop.recorded([UserEvent(user, event(first[1], time_ms=3))])
    assert await runtime.events.hide(user, first[:2]) == 2
    assert await runtime.events.hide(user, first[:2]) == 0
    assert await runtime.events.hidden_for(user) == sorted(first[:2])
    shop.users[user].left.add(first[0])
    await refreshing.refresh()
    await hand.deliver_all()
    await check(shop, [user])
    assert await runtime.events.hide(user, first[:2], show=True) == 2
    shop.users[user].left.remove(first[0])
    await refreshing.refresh()
    await hand.deliver_all()
    await check(shop, [user])
    left = await ask(hand.redis, "GET", runtime.keys.left(user))
    assert msgspec.json.decode(b"[" + left[:-2] + b"]") == [first[1]]


async def test_a_visitor_who_logs_in_keeps_the_history(own_world: World, hand: Hand, recent: Record) -> None:
    """Under the user's name, after what the user has had; the visitor has nothing left."""
    shop, runtime = Shop(hand, own_world, recent), hand.runtime
    await shop.recorded(some_events(5, ["a visitor", "user 04"], 20))
    await runtime.events.hide("a visitor", ["item 07"])
    mine, theirs = shop.users["user 04"], shop.users.pop("a visitor")
    moved = await runtime.events.move("a visitor", "user 04")
    assert moved > 5
    assert await runtime.events.move("a visitor", "user 04") == 0
    for item, (weight, time_ms) in theirs.counting.items():
        mine.add(item, "signal", weight, time_ms)
    mine.left |= theirs.left | {"item 07"}
    await Refreshing(runtime).refresh()
    await hand.deliver_all()
    await check(shop, ["user 04"])
    stream = await ask(hand.redis, "XRANGE", runtime.keys.event_stream, "-", "+")
    assert {fields[b"user"] for _, fields in stream} == {b"user 04"}
    assert len(stream) == 20
    for key in (runtime.keys.recent, runtime.keys.left, runtime.keys.hides):
        assert await ask(hand.redis, "EXISTS", key("a visitor")) == 0


async def test_what_the_live_snapshots_hold_is_dropped(hand: Hand, world: World) -> None:
    """Once those of all generations with lists hold it, and from the stream too."""
    runtime, refreshing, generation = hand.runtime, Refreshing(hand.runtime), await hand.adopt(world)
    await runtime.events.record([UserEvent(user, event("item 01")) for user in ("Ada", "user:1")], generation.id)
    mark = await runtime.events.last()
    await runtime.events.record([UserEvent("Ada", event("item 02"))], generation.id)
    await runtime.events.hide("user 2", ["item 03"])
    keys, marked = runtime.keys, msgspec.structs.replace(generation.record, mark=str(mark), generation="marked")
    assert await refreshing.trim() == 0
    await ask(hand.redis, "SET", keys.record("marked"), RECORD.encode(marked))
    await ask(hand.redis, "MSET", keys.current, "marked", keys.previous, "marked", keys.newest, "marked")
    assert await refreshing.trim() == 0
    assert await ask(hand.redis, "HDEL", keys.generations, generation.id) == 1
    assert await refreshing.trim() == 2
    assert await refreshing.trim() == 0
    found = {recent.user: [it.item for _, it in recent.events] async for recent in all_recent(runtime.events)}
    assert found == {"Ada": ["item 02"], "user 2": []}
    assert await ask(hand.redis, "XLEN", keys.event_stream) == 1
    assert await ask(hand.redis, "GET", keys.left("Ada")) == b'"item 02",\n'
    assert await ask(hand.redis, "EXISTS", keys.left("user:1"), keys.recent("user:1")) == 0
    assert await ask(hand.redis, "HKEYS", keys.recent_versions) == [b"Ada", b"user 2"]


@pytest.mark.parametrize("tasks", [1, 3])
async def test_no_list_holds_a_hidden_item(own_world: World, hand: Hand, weighted: Record, tasks: int) -> None:
    """From the next job on, for users, visitors and baskets; shown again, it is back."""
    settings = msgspec.structs.replace(hand.runtime.settings, tasks_per_job=tasks)
    hand.runtime = replace(hand.runtime, settings=settings)
    shop, runtime = Shop(hand, own_world, weighted), hand.runtime
    users = [*list(shop.users)[:3], "a visitor"]
    basket, whole = BasketSpec(["item 01", "item 02"], weighted.generation), set(ITEMS)
    for hidden in ([], ITEMS[3:9], ITEMS[5:30], ITEMS, ["not in the data"], []):
        await runtime.results.hidden.replace(hidden)
        shop.hidden = set(hidden)
        await shop.recorded([UserEvent(user, event("item 00", time_ms=5)) for user in users])
        await ask(hand.redis, "DEL", runtime.results.cached(basket, b"", 1).key)
        await runtime.flows.create([basket], [runtime.keys.join_basket(weighted.generation, basket.items)])
        await hand.deliver_all()
        await check(shop, users)
        found = await runtime.results.read_basket(basket)
        assert found is not None
        shown = {place.item for place in found.items}
        assert not shown & shop.hidden
        assert bool(shown) == bool(whole - shop.hidden - {"item 01", "item 02"})


async def test_a_hidden_item_is_shown_when_its_time_is_over(hand: Hand) -> None:
    """By the server's clock, to readers at once, and no trace of it is left."""
    hidden, now_ms = hand.runtime.results.hidden, await hand.runtime.now_ms()
    assert await hidden.hide(ITEMS[:2], now_ms - 1) == 2
    assert await hidden.hide(ITEMS[1:3]) == 2
    assert await hidden.hide(ITEMS[3:4], now_ms + 60_000) == 1
    assert await hidden.hide(ITEMS[3:4], now_ms + 60_000) == 0
    now = await hidden.current()
    assert now.items == {*ITEMS[1:4]}
    assert 0 < now.until - time.monotonic() <= 60
    assert await hidden.listed() == [
        (ITEMS[0], now_ms - 1), (ITEMS[1], None), (ITEMS[2], None), (ITEMS[3], now_ms + 60_000),
    ]  # fmt: skip
    await Refreshing(hand.runtime).refresh()
    assert [item for item, _ in await hidden.listed()] == ITEMS[1:4]
    assert await hidden.show(ITEMS) == 3
    now = await hidden.current()
    assert (now.version, now.items, now.until) == (b"5", frozenset(), math.inf)


async def test_many_items_are_hidden_at_once(hand: Hand) -> None:
    """More than a page; a reader never sees a part of a replacement."""
    hidden = hand.runtime.results.hidden
    first, second = ([f"{which}{number}" for number in range(6_000)] for which in ("first ", "second "))
    assert await hidden.replace(first) == 6_000
    seen = set[frozenset[str]]()

    async def look() -> None:
        while len(seen) < 2:
            seen.add((await hidden.current()).items)

    async with asyncio.timeout(PATIENCE_S), asyncio.TaskGroup() as group:
        group.create_task(look())
        await asyncio.sleep(0)
        assert await hidden.replace(second) == 6_000
    assert seen == {frozenset(first), frozenset(second)}
    assert await hidden.replace([]) == 0
    assert (await hidden.current()).items == frozenset()
    keys = hand.runtime.keys
    left = {keys.hidden_version.encode(), keys.hidden_changes.encode()}
    assert {*await hand.redis.keys(f"{keys.prefix}:hidden*")} == left
