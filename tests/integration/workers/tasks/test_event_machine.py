"""Whatever is recorded, hidden, moved, imported and made live, in any order: readers get what a plain model says."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from uuid import uuid4

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from reckoner.producer.importing import RecordedEvents, Repeats, import_interactions, read_recorded
from reckoner.shared.errors import BarredError, RunInProgressError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.redis.keys import job_key, tries_key
from reckoner.shared.redis.scripts import LeaseLostError, ask
from reckoner.shared.serving.events import BEGINNING, Entries, Events, Mark, UserEvent, parse_mark
from reckoner.shared.serving.generations import as_id, counted_by
from reckoner.shared.serving.results import Answer
from reckoner.shared.settings import Settings
from reckoner.shared.store.models import Model, open_model
from reckoner.shared.store.snapshots import open_snapshot, write_snapshot
from reckoner.shared.wire.jobs import Chunk
from reckoner.shared.wire.shapes import EVENT, RESULT, BlockSpec, Event, FitSpec, Plan, Record, UserSpec
from reckoner.workers.maintenance.generation_cleanup import GenerationCleanup
from reckoner.workers.maintenance.refreshing import Refreshing
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.process.wiring import connect_worker
from tests.aftermath import PASSING, table
from tests.answers import answers_of
from tests.plain_model import PlainEvent, PlainShop, plain_list, plain_users
from tests.recents import all_recent
from tests.snapshots import current
from tests.world import LIST_LENGTH, Hand, World, make_world, open_gates

Thing = TypeVar("Thing")
# The run in `make test` is the same each time; more examples are other ones each time.
EXAMPLES = int(os.environ.get("EVENT_MACHINE_EXAMPLES", "0"))
FIXED_EXAMPLES = 8
STEPS = 30

RULES: Sequence[Repeats] = ("last", "sum", "max")
KNOWN = [f"user {number}" for number in range(6)]
VISITORS = ["a visitor", "zz: another"]
ITEMS = [f"item {number:02}" for number in range(14)]
NEW = ["an item of today", "ein Stück"]
# Sums of these are exact.
WEIGHTS = (1.0, 0.5, 2.5)
USERS = st.sampled_from([*KNOWN, *VISITORS])
SOME_ITEMS = st.lists(st.sampled_from([*ITEMS, *NEW]), max_size=3, unique=True)
EVENTS = st.lists(
    st.builds(
        UserEvent,
        USERS,
        st.builds(
            Event,
            st.sampled_from([*ITEMS, *NEW]),
            st.sampled_from(["history", "signal", "exclude"]),
            st.sampled_from(WEIGHTS),
            st.just("a type"),
            st.none() | st.integers(-5, 9),
        ),
        st.sampled_from(["", "", "order 1", "order 2", "order 3"]),
    ),
    min_size=1,
    max_size=5,
)


class Stage:
    """What all examples share: the event loop, the connection, and a store with a snapshot for each rule of repeats."""

    def __init__(self, url: str, root: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.world = make_world(root)
        self.redis = connect_worker(Settings(), url)
        self.snapshots = {rule: self._snapshot(rule) for rule in RULES}
        self._models: dict[str, tuple[Model, dict[str, int]]] = {}

    def _snapshot(self, rule: Repeats) -> str:
        drawn, store = np.random.default_rng(8), self.world.store
        users, items = np.nonzero(drawn.random((len(KNOWN), len(ITEMS))) < 0.4)
        with store.scratch() as scratch:
            made = write_snapshot(
                scratch,
                user_ids=KNOWN,
                item_ids=ITEMS,
                users=users,
                items=items,
                weights=drawn.choice(WEIGHTS, users.size).astype(np.float32),
                times=drawn.integers(-5, 9, users.size),
                repeats=rule,
            )
            store.publish("snapshots", made, scratch)
        return made

    def model(self, record: Record) -> tuple[Model, dict[str, int]]:
        """The model of a generation, and the indices of its items."""
        if record.model not in self._models:
            store = self.world.store
            snapshot = open_snapshot(store.fetch("snapshots", record.snapshot))
            indices = {snapshot.items[item]: item for item in range(snapshot.n_items)}
            self._models[record.model] = open_model(store.fetch("models", record.model)), indices
        return self._models[record.model]

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.do(self.redis.aclose())
        self.loop.close()


@pytest.fixture(scope="module")
def stage(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    shared = Stage(redis_url, tmp_path_factory.mktemp("a shop") / "store")
    yield shared
    shared.close()


class SlowFlows(Flows):
    """Flows whose writes can be held back, as by a worker that stalls or dies before them.

    `expected` gives what the lists of a flow are to be by what counts now.
    """

    def __init__(self, expected: Callable[[str], Awaitable["Lists"]], *arguments: Any) -> None:
        super().__init__(*arguments)
        self._expected = expected
        self.holding = False
        self.held: list[tuple[str, Callable[[], Awaitable[Any]]]] = []
        """Writes, each with the id of its flow."""
        self.planned: dict[str, Lists] = {}
        """By the flow's id."""

    async def _write(self, flow_id: str, write: Callable[[], Awaitable[Any]]) -> Any:
        if self.holding:
            self.held.append((flow_id, write))
            raise asyncio.CancelledError
        return await write()

    async def plan(self, flow_id: str, plan: Plan, **named: Any) -> Any:
        frozen, write = await self._expected(flow_id), super().plan

        async def note() -> bool:
            if done := await write(flow_id, plan, **named):
                self.planned[flow_id] = frozen
            return done

        return await self._write(flow_id, note)

    async def store_partial(self, task: Chunk, *arguments: Any, **named: Any) -> Any:
        return await self._write(task.flow, partial(super().store_partial, task, *arguments, **named))

    async def finish(self, flow: Flow, *arguments: Any, **named: Any) -> Any:
        return await self._write(flow.id, partial(super().finish, flow, *arguments, **named))


class EventsAfter(Events):
    """The events of a machine, of which an import reads the first after something else."""

    def __init__(self, before: Callable[[], Awaitable[Any]], machine: "EventMachine") -> None:
        super().__init__(machine.stage.redis, machine.keys, 1.0, 10**6)
        self._before = before

    async def recorded(self, after: Mark, last: Mark) -> AsyncIterator[Entries]:
        await self._before()
        async for entries in super().recorded(after, last):
            yield entries


class Lists(NamedTuple):
    """The lists of users by key, and what is hidden from all."""

    of: dict[str, bytes]
    hidden: set[str]


class EventMachine(RuleBasedStateMachine):
    """Events, hidden items, imports, fits, runs and readers under one prefix, beside a plain model of all of it."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage, self.do = stage, stage.do
        self.prefix = f"events-{uuid4().hex}"
        self.hand: Hand = self.do(self._make_hand(stage.world))
        open_gates(self.hand)
        runtime, first_look_s = self.hand.runtime, self.hand.runtime.settings.first_look_s
        self.flows = SlowFlows(self._expected, stage.redis, runtime.keys, first_look_s)
        self.hand.runtime = replace(runtime, flows=self.flows)
        self.keys, self.events = runtime.keys, runtime.events
        self.jobs: list[str] = []
        """All jobs that are or were in the queue."""
        self.done: set[str] = set()
        """The flows that were seen to be done."""
        self.generations: list[str] = []
        """In an order that does not depend on the ids."""
        self.masks: dict[str, set[str]] = {}
        """What the runs of a generation leave out."""
        self.lists: dict[str, bytes] = {}
        """The cached lists by key."""
        self.hidden_from: dict[str, set[str]] = {}
        """What was hidden when they were planned."""
        self.by_run: set[str] = set()
        """The lists that a run has made."""

    async def _make_hand(self, world: World) -> Hand:
        return Hand(world, self.stage.redis, self.prefix)

    def ask(self, *command: Any) -> Any:
        return self.do(ask(self.stage.redis, *command))

    @property
    def runtime(self) -> Any:
        return self.hand.runtime

    def pointer(self, name: str) -> str:
        return as_id(self.ask("GET", name) or b"") or ""

    def record(self, generation: str) -> Record:
        found: Record = self.do(self.runtime.record(generation))
        return found

    # The beginning.

    @initialize(
        rule=st.sampled_from(RULES),
        tasks=st.sampled_from([1, 2, 5]),
        task_ms=st.sampled_from([20.0, 1e-6]),
        recency=st.sampled_from([0.0, 0.5]),
        early=EVENTS,
    )
    def begin(self, rule: Repeats, tasks: int, task_ms: float, recency: float, early: list[UserEvent]) -> None:
        """With events before there is a model, and then one."""
        changed = msgspec.structs.replace(
            self.runtime.settings, tasks_per_job=tasks, batch_task_ms=task_ms, chunks=7, max_queued=None
        )
        self.hand.runtime = replace(self.runtime, settings=changed)
        self.recency = recency or msgspec.UNSET
        self.stage.world.store.set_current_snapshot(self.stage.snapshots[rule])
        self.shop = PlainShop(rule, self.stage.snapshots[rule], plain_users(current(self.stage.world.store)))
        self.record_some(early, "")
        self.a_model_is_fitted()
        self.deliver_all()

    # What happens.

    def record_some(self, events: list[UserEvent], generation: str, most_queued: int | None = None) -> None:
        answers = self.do(self.events.record(events, generation, most_queued))
        self.note_stream(self.shop.record(events), answers)

    def note_stream(self, expected: list[tuple[str, Event] | None], answers: list[str] | None) -> None:
        """New events are in the stream as they were recorded, after all others."""
        last = max([BEGINNING, *(event.mark for event in self.shop.stream)])
        found = self.ask("XRANGE", self.keys.event_stream, f"({last}", "+")
        wanted = [each for each in expected if each is not None]
        assert len(found) == len(wanted)
        for (at, fields), (user, event) in zip(found, wanted, strict=True):
            stored = EVENT.decode(fields[b"event"])
            assert (fields[b"user"].decode(), stored.item, stored.role, stored.weight) == (
                user, event.item, event.role, event.weight,
            )  # fmt: skip
            assert stored.time_ms == event.time_ms or event.time_ms is None
            assert stored.time_ms is not None
            self.shop.stream.append(
                PlainEvent(parse_mark(at.decode()), user, event.item, event.role, event.weight, stored.time_ms)
            )
        if answers is not None:
            assert answers == ["seen" if each is None else "recorded" for each in expected]

    @rule(events=EVENTS, most_queued=st.sampled_from([None, None, 1]))
    def events_are_recorded(self, events: list[UserEvent], most_queued: int | None) -> None:
        self.record_some(events, self.pointer(self.keys.current), most_queued)
        self.note()

    @rule(events=EVENTS, room=st.integers(0, 2))
    def the_stream_is_full(self, events: list[UserEvent], room: int) -> None:
        full = Events(self.stage.redis, self.keys, 1.0, len(self.shop.stream) + room)
        answers = self.do(full.record(events, self.pointer(self.keys.current)))
        taken = [event for event, answer in zip(events, answers, strict=True) if answer != "full"]
        assert answers.count("recorded") <= room
        assert "full" not in answers or answers.count("recorded") == room
        self.note_stream(self.shop.record(taken), [answer for answer in answers if answer != "full"])
        self.note()

    @rule(ahead_ms=st.integers(1, 10**8))
    def the_clock_is_set_back(self, ahead_ms: int) -> None:
        """The last id of the stream is in the future."""
        last = self.do(self.events.last()).ms or self.do(self.runtime.now_ms())
        at = self.ask("XADD", self.keys.event_stream, f"{last + ahead_ms}-3", "user", "nobody", "event", "{}")
        self.ask("XDEL", self.keys.event_stream, at)

    @rule(user=USERS, items=SOME_ITEMS.filter(bool), show=st.booleans())
    def a_user_hides_or_shows_items(self, user: str, items: list[str], show: bool) -> None:
        before = self.shop.hides.get(user, set())
        after = before - set(items) if show else before | set(items)
        assert self.do(self.events.hide(user, items, show=show)) == len(before ^ after)
        self.shop.hides[user] = after
        assert self.do(self.events.hidden_for(user)) == sorted(after)

    @rule(items=SOME_ITEMS, how=st.sampled_from(["hide", "show", "replace"]))
    def items_are_hidden_or_shown(self, items: list[str], how: str) -> None:
        hidden, before = self.runtime.results.hidden, self.shop.hidden
        after = {"hide": before | {*items}, "show": before - {*items}, "replace": {*items}}[how]
        changed = self.do(getattr(hidden, how)(items))
        assert changed == (len(after) if how == "replace" else len(before ^ after))
        self.shop.hidden = after

    @rule(visitor=USERS, user=st.sampled_from(KNOWN))
    def a_visitor_logs_in(self, visitor: str, user: str) -> None:
        if visitor == user:
            return
        moved = self.shop.move(visitor, user)
        assert self.do(self.events.move(visitor, user)) == len(moved)
        self.note_stream(moved, None)

    @rule()
    def a_model_is_fitted(self) -> None:
        spec = FitSpec(self.shop.snapshot, "cosine", 4, 1.0, LIST_LENGTH, recency=self.recency, spare=2)
        self.do(self.flows.create([spec], [self.keys.join_fit(self.shop.snapshot)], "batch"))
        self.note()

    @rule(visitor=st.sampled_from(["", *VISITORS]), user=st.sampled_from(KNOWN))
    def events_are_imported(self, visitor: str = "", user: str = "") -> None:
        """A visitor may log in before they are read."""
        store = self.stage.world.store
        recorded: list[RecordedEvents] = []

        def read(_: Any, after: Mark) -> RecordedEvents:
            events = EventsAfter(lambda: self.events.move(visitor, user) if visitor else asyncio.sleep(0), self)
            recorded.append(self.do(read_recorded(events, after, lambda *_: None)))
            self.shop.taken = recorded[0].mark
            self.note_stream(self.shop.move(visitor, user) if visitor else [], None)
            return recorded[0]

        report = import_interactions(None, store, append=True, read_events=read)
        found = current(store)
        assert report.snapshot_id == found.id
        self.shop.imports(found.id, recorded[0].mark)
        assert plain_users(found) == self.shop.snapshots[found.id].users

    @rule(block_size=st.integers(1, 6), window=st.none() | st.integers(1, 3), dry=st.sampled_from([False, False, True]))
    def a_run_is_started(self, block_size: int, window: int | None, dry: bool) -> None:
        record = self.do(self.runtime.runs.with_news(self.record(self.pointer(self.keys.newest))))
        assert bool(record.mask) == bool(self.shop.hidden)
        assert self.masks.setdefault(record.generation, set(self.shop.hidden)) == self.shop.hidden
        with contextlib.suppress(BarredError, RunInProgressError):
            self.do(self.runtime.runs.start(record, block_size, window, dry=dry))
        self.note()

    @rule(imports=st.booleans(), block_size=st.integers(1, 6), jobs=st.sampled_from([0, 1, 4, 100]))
    def a_night_begins(self, imports: bool, block_size: int, jobs: int) -> None:
        """It imports and fits, and starts a run, of which some jobs are done."""
        if imports:
            self.events_are_imported()
        self.a_model_is_fitted()
        self.deliver_all()
        self.a_run_is_started(block_size, None, dry=False)
        for _ in range(jobs):
            for job in self.queued()[:1]:
                self.deliver(job)

    @rule(data=st.data(), bars=st.booleans())
    def an_operator_makes_a_generation_live(self, data: st.DataObject, bars: bool) -> None:
        generations = self.runtime.results.generations
        held = {name.decode() for name in self.ask("HKEYS", self.keys.held)}
        chosen = [name for name in self.generations if name in held]
        if bars:
            chosen = [name for name in [self.pointer(self.keys.previous)] if name]
        for name in self.some_of(data, chosen):
            now = self.do(generations.follow(self.keys.current))
            if self.do(generations.promote(name, now, bars=bars)) == "done":
                self.do(self.events.add_changed(counted_by(self.record(name))))

    # Workers.

    @rule(data=st.data())
    def the_queue_goes_on(self, data: st.DataObject) -> None:
        for job in self.queued()[: data.draw(st.sampled_from([1, 3, 100]))]:
            self.deliver(job)

    @rule(data=st.data())
    def a_job_is_delivered(self, data: st.DataObject) -> None:
        for job in self.some_of(data, self.jobs):
            self.deliver(job)

    @rule(data=st.data())
    def a_worker_dies_or_stalls_before_its_write(self, data: st.DataObject) -> None:
        self.flows.holding = True
        for job in self.some_of(data, self.queued()):
            with contextlib.suppress(asyncio.CancelledError):
                self.deliver(job)
        self.flows.holding = False

    @rule(data=st.data())
    def a_stalled_worker_goes_on(self, data: st.DataObject) -> None:
        for flow_id, write in self.some_of(data, self.flows.held):
            self.flows.held.remove((flow_id, write))
            with contextlib.suppress(LeaseLostError):
                self.do(awaited(write))
            self.note(f"reduce:{flow_id}")

    @rule()
    def lists_are_refreshed(self) -> None:
        self.do(Refreshing(self.runtime).refresh())
        self.note()

    @rule()
    def events_are_dropped(self) -> None:
        self.do(Refreshing(self.runtime).trim())
        self.check_events()

    @rule(events=EVENTS)
    def two_nights_pass(self, events: list[UserEvent]) -> None:
        """Then no generation is left that lacks the events of the first."""
        for _ in range(2):
            self.events_are_recorded(events, None)
            self.a_night_begins(imports=True, block_size=3, jobs=100)
        self.old_generations_are_deleted()
        self.events_are_dropped()

    @rule()
    def old_generations_are_deleted(self) -> None:
        self.ask("DEL", self.keys.cleanup)
        self.do(GenerationCleanup(self.runtime).delete_old())
        self.note()

    @rule()
    def all_is_done(self) -> None:
        self.check_when_idle()

    def deliver_all(self) -> None:
        while jobs := self.queued():
            for job in jobs:
                self.deliver(job)

    def deliver(self, job: str) -> None:
        try:
            self.do(self.hand.deliver(job))
        finally:
            self.note(job)

    def queued(self) -> list[str]:
        waiting = set(self.do(self.hand.queued()))
        return [job for job in self.jobs if job in waiting]

    def some_of(self, data: st.DataObject, things: list[Thing]) -> list[Thing]:
        """One of some things, if there are any. What is drawn does not depend on their number."""
        number = data.draw(st.integers(0, 1_000))
        return [things[number % len(things)]] if things else []

    def note(self, job: str = "") -> None:
        """Note new jobs, generations and lists; the lists that a job has written are the expected ones."""
        self.do(self._note(job))

    async def _note(self, job: str) -> None:
        new = [name for name in await self.hand.queued() if name not in self.jobs]
        orders = {name: await self._order(name) for name in new}
        self.jobs += sorted(new, key=lambda name: orders[name])
        names = await ask(self.stage.redis, "HKEYS", self.keys.generations)
        self.generations += sorted({name.decode() for name in names} - set(self.generations))
        flow = await self._flow(job)
        if flow is None or not isinstance(flow.spec, UserSpec | BlockSpec):
            expected = Lists({}, set())
        elif flow.id in self.flows.planned:
            expected = self.flows.planned[flow.id]
        else:
            expected = await self._expected(flow.id)
        ends = flow is not None and flow.state == "done" and not flow.run and flow.id not in self.done
        self.done |= {flow.id} if flow and ends else set()
        found = await self._cached()
        for key in self.lists.keys() | found.keys():
            was, now = self.lists.get(key), found.get(key)
            # Lists of old generations are deleted.
            if now is not None and was != now:
                assert key in expected.of, (key, "was written by", job)
            if now is not None and key in expected.of and (was != now or ends):
                self._check_list(key, now, expected, flow)
        self.lists = found

    def _check_list(self, key: str, data: bytes, expected: Lists, flow: Flow | None) -> None:
        assert data == expected.of[key], (key, data, expected.of[key], flow)
        self.hidden_from[key] = expected.hidden
        self.by_run -= {key}
        if flow and flow.run:
            self.by_run.add(key)

    async def _order(self, job: str) -> Any:
        """An order that does not depend on the ids, which are random."""
        kind, _, *numbers = job.split(":")
        flow = await self._flow(job)
        return kind, "" if flow is None else f"{getattr(flow.spec, 'user', '')} {flow.block}", numbers

    async def _flow(self, job: str) -> Flow | None:
        kind, flow_id, *_ = [*job.split(":"), "", ""]
        return await self.flows.load(flow_id) if kind in ("split", "chunk", "reduce") else None

    async def _cached(self) -> dict[str, bytes]:
        redis, start = self.stage.redis, f"{self.prefix}:rec:"
        names = [name.decode() async for name in redis.scan_iter(match=f"{start}*", count=10_000)]
        values = await ask(redis, "MGET", *names) if names else []
        return {name: value for name, value in zip(names, values, strict=True) if value is not None}

    # What is expected.

    async def _expected(self, flow_id: str) -> Lists:
        """What the lists of a flow's users are to be by what counts now."""
        flow = await self.flows.load(flow_id)
        assert flow is not None
        if not isinstance(flow.spec, UserSpec | BlockSpec):
            return Lists({}, set())
        record, in_run = await self.runtime.record(flow.spec.generation), isinstance(flow.spec, BlockSpec)
        if isinstance(flow.spec, UserSpec):
            users, hidden = [flow.spec.user], set(self.shop.hidden)
        else:
            start = (flow.block or 0) * flow.spec.block_size
            users = sorted(self.shop.snapshots[record.snapshot].users)[start : start + flow.spec.block_size]
            hidden = self.masks[record.generation]
        return Lists(
            {self.keys.result(record.generation, user): self.plain(user, record, hidden, in_run) for user in users},
            hidden,
        )

    def plain(self, user: str, record: Record, hidden: set[str], in_run: bool) -> bytes:
        """A user's list, by what counts now, or for a run when it began."""
        last = parse_mark(record.events or record.mark or "0-0") if in_run else None
        counted = self.shop.counted(user, record.snapshot, last)
        counted.left |= self.shop.hides.get(user, set())
        model, indices = self.stage.model(record)
        data = plain_list(counted, model, record.options, indices, hidden, record.spare or 0, record_mask=record.mask)
        return without_unknown(data) if in_run else data

    # What must always hold.

    @invariant()
    def readers_get_what_may_be_shown(self) -> None:
        """The places of the list that is cached, without what the user has just had and what is hidden."""
        if hasattr(self, "shop") and self.pointer(self.keys.current):
            record = self.record(self.pointer(self.keys.current))
            users = [*KNOWN, *VISITORS]
            for answer in self.do(answers_of(self.runtime.results, users, LIST_LENGTH)):
                self._check_answer(answer, record)

    def _check_answer(self, answer: Answer, record: Record) -> None:
        assert answer.generation == record.generation
        shown = [entry.item for entry in answer.items]
        never = self.shop.left(answer.user) | self.shop.hidden
        cached = self.lists.get(self.keys.result(record.generation, answer.user))
        places = [place.item for place in RESULT.decode(cached).items] if cached else []
        may = [item for item in places if item not in never]
        if may:
            assert (answer.source, shown) == ("cache", may[:LIST_LENGTH])
            last = places.index(shown[-1]) + 1 if len(may) >= LIST_LENGTH else len(places)
            assert answer.left_out == last - len(shown)
            never |= self.shop.counted(answer.user, record.snapshot).left
        else:
            assert answer.source == "popular"
            assert shown == [item for item in record.popular if item not in never][:LIST_LENGTH]
        assert not never.intersection(shown)

    def check_events(self) -> None:
        """The stream and the recent histories hold exactly the events that a generation with lists lacks."""
        marks = [self.shop.snapshots[self.record(name).snapshot].mark for name in self._needing()]
        self.shop.stream = [event for event in self.shop.stream if event.mark > min(marks)]
        found = self.ask("XRANGE", self.keys.event_stream, "-", "+")
        assert [parse_mark(at.decode()) for at, _ in found] == [event.mark for event in self.shop.stream]

    def _needing(self) -> list[str]:
        return [name.decode() for name in self.ask("HKEYS", self.keys.generations)]

    @invariant()
    def histories_are_those_of_the_stream(self) -> None:
        if hasattr(self, "shop"):
            self.do(self._check_histories())

    async def _check_histories(self) -> None:
        redis, recent = self.stage.redis, {each.user: each async for each in all_recent(self.events)}
        for user in [*KNOWN, *VISITORS]:
            mine = [event for event in self.shop.stream if event.user == user]
            found = recent[user].events if user in recent else []
            assert [(mark, event.item, event.time_ms) for mark, event in found] == [
                (event.mark, event.item, event.time_ms) for event in mine
            ]
            assert set(recent[user].hides if user in recent else []) == self.shop.hides.get(user, set())
            left = await ask(redis, "GET", self.keys.left(user)) or b""
            assert set(msgspec.json.decode(b"[" + left[:-2] + b"]")) == self.shop.left(user)
        assert recent.keys() <= {*KNOWN, *VISITORS}

    def check_when_idle(self) -> None:
        """With all jobs delivered, all lists count what they are to count, and nothing is left behind."""
        for _ in range(60):
            self.do(Refreshing(self.runtime).refresh())
            self.note()
            for job in self.queued():
                self.deliver(job)
            if not self.ask("EXISTS", self.keys.stale, *self.keys.all_live, *self.keys.lanes):
                break
            self.do(self.hand.make_due())
            self.do(Sweeper(self.runtime).sweep())
            self.note()
        else:
            raise AssertionError("the system does not become idle")
        record = self.record(self.pointer(self.keys.current))
        for user in [*KNOWN, *VISITORS]:
            key = self.keys.result(record.generation, user)
            if key in self.lists:
                data, expected = self.lists[key], self.plain(user, record, self.hidden_from[key], False)
                if key in self.by_run:
                    expected = without_unknown(expected)
                assert data == expected, (user, data, expected)
        self.do(self._check_keys())

    async def _check_keys(self) -> None:
        rules = list(table(self.prefix))
        for name, value in (await self.hand.dump()).items():
            assert not PASSING.match(name), f"{name} is left"
            assert any(rule.name.match(name) for rule in rules), f"{name} is in no table"
            kind, _, user = name.removeprefix(f"{self.prefix}:").partition(":")
            if kind in ("recent", "left"):
                assert any(event.user == user for event in self.shop.stream) or self.shop.hides.get(user), name
            assert kind != "hides" or set(map(bytes.decode, value)) == self.shop.hides[user]

    # The end.

    def teardown(self) -> None:
        try:
            if hasattr(self, "shop"):
                self.check_when_idle()
        finally:
            self.do(self._remove())
            self.hand.close()

    async def _remove(self) -> None:
        redis = self.stage.redis
        names = [name async for name in redis.scan_iter(match=f"{self.prefix}:*", count=10_000)]
        names += [key(job).encode() for job in self.jobs for key in (job_key, tries_key)]
        if names:
            await ask(redis, "UNLINK", *names)


async def awaited(write: Callable[[], Awaitable[Any]]) -> None:
    await write()


def without_unknown(data: bytes) -> bytes:
    """A list as a run makes it."""
    return RESULT.encode(msgspec.structs.replace(RESULT.decode(data), unknown=[]))


def test_random_events_keep_the_invariants(stage: Stage) -> None:
    """Random steps of readers, callers, operators and workers; at the end all lists are those of the plain model."""
    run_state_machine_as_test(
        lambda: EventMachine(stage),  # type: ignore[arg-type] # anything that makes a machine is called
        settings=settings(
            max_examples=EXAMPLES or FIXED_EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],
        ),
    )
