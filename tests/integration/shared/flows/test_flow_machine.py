"""Whatever is delivered late, twice or never, lost or damaged, in whatever order: flows and runs end, and end right."""

import asyncio
import contextlib
import math
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args
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
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.exceptions import ResponseError

import reckoner.workers.runtime.open_flows
from reckoner.shared.errors import RetryRefusedError
from reckoner.shared.flows.dead_letters import DeadLetter, DeadLetters
from reckoner.shared.flows.flow_state import ENDED, DamagedFlowError, Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.flows.runs import Runs
from reckoner.shared.redis.keys import in_progress_key, job_key, tries_key
from reckoner.shared.redis.scripts import LeaseLostError, ask
from reckoner.shared.redis.scripts.constants import LEAST_WINDOW, MAX_REWORK
from reckoner.shared.serving.generations import Generations
from reckoner.shared.serving.results import Results
from reckoner.shared.settings import Settings
from reckoner.shared.store.models import open_model
from reckoner.shared.wire.jobs import TASKS, Chunk, FlowTask, Reduce, Split, Task
from reckoner.shared.wire.shapes import (
    REPLY,
    SPEC,
    BasketSpec,
    BlockSpec,
    ClickSpec,
    FitSpec,
    HistorySpec,
    Lane,
    QuestionSpec,
    SimilarSpec,
    UserSpec,
)
from reckoner.workers.engine.lease import Lease
from reckoner.workers.maintenance.sweeper import Sweeper
from reckoner.workers.process.wiring import connect_worker
from reckoner.workers.runtime.delivery import MAX_TRIES
from reckoner.workers.tasks.question import history, similar
from tests.patience import PATIENCE_S
from tests.world import ITEMS, USERS, Generation, Hand, World, basket_bytes, make_world, settle

# The run in `make test` is the same each time; more examples are other ones each time.
EXAMPLES = int(os.environ.get("FLOW_MACHINE_EXAMPLES", "0"))
FIXED_EXAMPLES = 30
STEPS = 45

FIELDS = (
    "state", "round", "spec", "plan", "looks", "join", "run", "block", "place", "planned", "rework", "created", "lane",
)  # fmt: skip
LANES = st.sampled_from(["click", "batch"])
HARMS = ("lost", "flipped", "stranger's", "unknown", "not UTF-8", "wrong digest")
LASTING = {
    "generation",
    "generation:previous",
    "generation:newest",
    "generations",
    "held",
    "barred",
    "history",
    "history:order",
    "live:click",
    "live:batch",
    "dead",
    "refused",
} | {f"queue:{lane}{beside}" for lane in ("click", "batch") for beside in ("", ":leases", ":wake")}


BASKETS = (ITEMS[:3], [*ITEMS[4:12:2], "nothing"], ["nothing"])
PAIRS = ((ITEMS[0], None), (ITEMS[0], ITEMS[1]), (ITEMS[0], "nothing"))


def clicks(generation: str) -> list[ClickSpec]:
    """Baskets and questions that are asked for."""
    return [
        *(BasketSpec(items, generation) for items in BASKETS),
        *(SimilarSpec(item, other, generation, 3) for item, other in PAIRS),
        *(HistorySpec(user, generation, 3) for user in (*USERS[:2], "nobody")),
    ]


class Stage:
    """What all examples share: the event loop, the world and the connection."""

    def __init__(self, url: str, root: Path) -> None:
        self.loop = asyncio.new_event_loop()
        self.world = make_world(root)
        self.redis = connect_worker(Settings(), url)
        self.answers = {
            SPEC.encode(click): self._answer(generation, click)
            for generation in self.world.generations
            for click in clicks(generation.id)
        }
        """What must be cached for a basket, and what must be answered to a question."""

    def _answer(self, generation: Generation, click: ClickSpec) -> bytes:
        world, record = self.world, generation.record
        if isinstance(click, BasketSpec):
            return basket_bytes(world.store, record, click.items)
        if isinstance(click, HistorySpec):
            return REPLY.encode(history(world.snapshot, click))
        assert isinstance(click, SimilarSpec)
        model = open_model(world.store.fetch("models", record.model))
        reply = similar(model, world.snapshot, click, np.zeros(1, np.uint8))
        assert reply is not None
        return REPLY.encode(reply)

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(work)

    def close(self) -> None:
        self.do(self.redis.aclose())
        self.loop.close()


@pytest.fixture(scope="module")
def stage(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    shared = Stage(redis_url, tmp_path_factory.mktemp("a world") / "store")
    yield shared
    shared.close()


class Stall:
    """Holds writes back, as a worker does that stalls between what it has read and what it writes."""

    holding = False

    def __init__(self) -> None:
        self.held: list[Callable[[], Awaitable[Any]]] = []

    async def write(self, write: Callable[..., Awaitable[Any]], *arguments: Any) -> Any:
        if self.holding:
            self.held.append(partial(write, *arguments))
            raise asyncio.CancelledError
        return await write(*arguments)


class SlowFlows(Flows):
    """Flows whose writes can be held back."""

    def __init__(self, stall: Stall, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stall = stall

    async def plan(self, *arguments: Any, **named: Any) -> Any:
        return await self.stall.write(partial(super().plan, **named), *arguments)

    async def store_partial(self, *arguments: Any, **named: Any) -> Any:
        return await self.stall.write(partial(super().store_partial, **named), *arguments)

    async def rework(self, *arguments: Any, **named: Any) -> Any:
        return await self.stall.write(partial(super().rework, **named), *arguments)

    async def finish(self, *arguments: Any, **named: Any) -> Any:
        return await self.stall.write(partial(super().finish, **named), *arguments)

    async def fail(self, *arguments: Any, **named: Any) -> Any:
        return await self.stall.write(partial(super().fail, **named), *arguments)


class SlowGenerations(Generations):
    """Generations whose moving of pointers can be held back."""

    def __init__(self, stall: Stall, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stall = stall

    async def adopt(self, *arguments: Any, **named: Any) -> Any:
        return await self.stall.write(partial(super().adopt, **named), *arguments)


class SlowRuns(Runs):
    """Runs whose flip and end can be held back."""

    def __init__(self, stall: Stall, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.stall = stall

    async def flip(self, *arguments: Any, **named: Any) -> Any:
        return await self.stall.write(partial(super().flip, **named), *arguments)

    async def close(self, *arguments: Any, **named: Any) -> Any:
        return await self.stall.write(partial(super().close, **named), *arguments)


class FlowMachine(RuleBasedStateMachine):
    """Flows, fits and runs under one prefix, in the hands of a careless world."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage, self.world = stage, stage.world
        self.do = stage.do
        self.prefix = f"machine-{uuid4().hex}"
        self.hand: Hand = self.do(self._make_hand(self.world))
        self.slow, keys, first_look_s = Stall(), self.hand.runtime.keys, self.hand.runtime.settings.first_look_s
        results = Results(stage.redis, keys)
        results.generations = SlowGenerations(self.slow, stage.redis, keys)
        self.runtime = replace(
            self.hand.runtime,
            flows=SlowFlows(self.slow, stage.redis, keys, first_look_s),
            runs=SlowRuns(self.slow, stage.redis, keys, first_look_s),
            results=results,
        )
        self.hand.runtime = self.runtime
        self.letters = DeadLetters(stage.redis, self.runtime.flows)
        self.retried: set[str] = set()
        """Failed flows of which another has taken the place."""
        self.sweeper = Sweeper(self.runtime)
        self.newest = 0
        self.flows: list[str] = []
        """In an order that does not depend on the ids, which are random."""
        self.runs: list[str] = []
        self.jobs: dict[str, Task] = {}
        """All jobs that are or were in the queue."""
        self.ends: dict[str, Flow] = {}
        self.harms: Counter[str] = Counter()
        self.doomed: set[str] = set()
        """Flows that may fail."""
        self.damaged: set[str] = set()
        """Flows that may not even know their jobs."""
        self.cancelled: set[str] = set()
        """Flows and runs that somebody has cancelled, and runs of which a block was."""
        self.dropped: set[str] = set()
        """The jobs that went with them."""
        self.raised: set[str] = set()
        """Flows that a click has joined."""
        self.orphans: set[str] = set()
        """Joins that no flow knows any more: they expire, and nobody joins them."""
        self.rank = -1
        self.fits = 0
        self.newest_seen: str | None = None
        self.newest_by_fits = 0
        """How often the newest pointer came to name the model that only fits here build."""

    async def _make_hand(self, world: World) -> Hand:
        return Hand(world, self.stage.redis, self.prefix)

    # What the rules need to know.

    def ask(self, *command: Any) -> Any:
        return self.do(ask(self.stage.redis, *command))

    def note(self) -> None:
        """Note new flows and jobs."""
        self.do(self._note())

    async def _note(self) -> None:
        keys = self.runtime.keys
        for run in self.runs:
            flight = await ask(self.stage.redis, "HGETALL", keys.flight(run))
            for _, flow in sorted(flight.items(), key=lambda pair: int(pair[0])):
                if flow.decode() not in self.flows:
                    self.flows.append(flow.decode())
        for job in sorted(await self.hand.queued(), key=self._order):
            if job not in self.jobs:
                kind, owner, *numbers = job.split(":")
                self.jobs[job] = msgspec.convert([owner, *map(int, numbers)], TASKS[kind])

    def _order(self, job: str) -> Any:
        kind, owner, *numbers = job.split(":")
        owners = self.runs if kind == "finish" else self.flows
        return kind, owners.index(owner), list(map(int, numbers))

    def flow(self, flow_id: str) -> Flow | DamagedFlowError | None:
        found: Flow | DamagedFlowError | None = self.do(self.runtime.flows.load_many([flow_id]))[0]
        return found

    def unfinished(self) -> list[Flow]:
        flows = self.do(self.runtime.flows.load_many(self.flows))
        return [flow for flow in flows if isinstance(flow, Flow) and not flow.ended]

    def one_of(self, data: st.DataObject, things: list[Any]) -> Any:
        return things[data.draw(st.integers(0, len(things) - 1))]

    def queued(self) -> list[str]:
        waiting = set(self.do(self.hand.queued()))
        return [job for job in self.jobs if job in waiting]

    def dump(self) -> dict[str, Any]:
        state: dict[str, Any] = self.do(self.hand.dump(set(self.jobs)))
        return state

    # What happens.

    @initialize(task_ms=st.sampled_from([20.0, 1e-6]))
    def begin(self, task_ms: float) -> None:
        """A block is one job, or several chunk tasks and a reduce."""
        settings = msgspec.structs.replace(self.runtime.settings, batch_task_ms=task_ms)
        self.hand.runtime = self.runtime = replace(self.runtime, settings=settings)
        self.sweeper = Sweeper(self.runtime)
        self.world.store.delete("models", self.world.unfitted.record.model)
        self.do(self.hand.adopt(self.world, 0))

    @precondition(lambda self: self.newest + 1 < len(self.world.generations))
    @rule()
    def a_model_is_fitted_elsewhere(self) -> None:
        self.newest += 1
        self.do(self.hand.adopt(self.world, self.newest))

    @rule(users=st.lists(st.sampled_from([*USERS, "nobody"]), min_size=1, max_size=4), lane=LANES, data=st.data())
    def users_are_asked_for(self, users: list[str], lane: Lane, data: st.DataObject) -> None:
        generation = self.world.generations[data.draw(st.integers(0, self.newest))].id
        joins = [self.runtime.keys.join_user(generation, user) for user in users]
        self.create([UserSpec(user, generation) for user in users], joins, lane)

    @rule(data=st.data(), lane=LANES, count=st.integers(1, 3))
    def baskets_and_questions_are_asked_for(self, data: st.DataObject, lane: Lane, count: int) -> None:
        generation, keys = self.world.generations[data.draw(st.integers(0, self.newest))].id, self.runtime.keys
        specs = [self.one_of(data, clicks(generation)) for _ in range(count)]
        joins = [
            keys.join_basket(generation, spec.items)
            if isinstance(spec, BasketSpec)
            else keys.join_question(generation, SPEC.encode(spec))
            for spec in specs
        ]
        self.create(specs, joins, lane)

    @precondition(lambda self: self._joinable())
    @rule(data=st.data())
    def a_click_joins_what_is_on_the_batch_lane(self, data: st.DataObject) -> None:
        flow = self.one_of(data, self._joinable())
        before = set(self.queued())
        self.create([flow.spec], [flow.join], "click")
        assert flow.id in self.raised
        assert set(self.queued()) == before, "no job is lost on its way to the other lane"

    def _joinable(self) -> list[Flow]:
        flows = [flow for flow in self.unfinished() if flow.lane == "batch" and isinstance(flow.spec, ClickSpec)]
        return [flow for flow in flows if flow.id not in self.damaged]

    def create(self, specs: Sequence[ClickSpec], joins: Sequence[str], lane: Lane) -> None:
        before = {flow.join: flow.id for flow in self.unfinished()}
        ids = self.do(self.runtime.flows.create(specs, joins, lane))
        if lane == "click":
            self.raised.update(ids)
        for join, flow in zip(joins, ids, strict=True):
            assert flow == before.setdefault(join, flow) or before[join] in self.doomed, "asked again, it joins"
            found = self.flow(flow)
            assert not isinstance(found, Flow) or not found.ended, "nobody joins what has ended"
            if flow not in self.flows:
                self.flows.append(flow)
        self.note()

    @rule(anew=st.booleans())
    def a_fit_is_asked_for(self, anew: bool) -> None:
        wanted = self.world.unfitted
        if anew:
            self.world.store.delete("models", wanted.record.model)
        [flow] = self.do(self.runtime.flows.create([wanted.fit], [self.runtime.keys.join_fit(wanted.id)], "batch"))
        if flow not in self.flows:
            self.flows.append(flow)
            self.fits += 1
        self.note()

    @rule(block_size=st.none() | st.integers(1, 4), window=st.none() | st.integers(1, 3))
    def a_run_is_started(self, block_size: int | None, window: int | None) -> None:
        record = self.world.generations[self.newest].record
        run, new = self.do(self.runtime.runs.start(record, block_size, window))
        assert new == (run not in self.runs)
        if new:
            self.runs.append(run)
        self.note()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), finished=st.booleans(), again=st.booleans())
    def a_job_is_delivered(self, data: st.DataObject, finished: bool, again: bool) -> None:
        job = self.one_of(data, list(self.jobs))
        ran = self.jobs[job].name
        if finished and job in self.queued():
            ran = self.do(self.hand.deliver(job))
        else:
            self.deliver_late(job)
        self.note()
        if again and ran == self.jobs[job].name:
            before = self.dump()
            self.deliver_late(job)
            assert self.dump() == before, "run twice it leaves the state that it leaves when run once"

    @precondition(lambda self: self.queued())
    @rule(data=st.data())
    def the_queue_goes_on(self, data: st.DataObject) -> None:
        for job in self.queued()[: data.draw(st.integers(1, 6))]:
            self.do(self.hand.deliver(job))
        self.note()

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def two_jobs_run_side_by_side(self, data: st.DataObject) -> None:
        pair = [self.one_of(data, list(self.jobs)) for _ in range(2)]

        async def both() -> None:
            await asyncio.gather(*(self._deliver_late(job) for job in pair))

        self.do(both())
        self.note()
        before = self.dump()
        for job in pair:
            self.deliver_late(job)
        self.note()
        if pair[0] == pair[1]:
            assert self.dump() == before

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def a_worker_stalls_before_its_write(self, data: st.DataObject) -> None:
        self.slow.holding = True
        with contextlib.suppress(asyncio.CancelledError):
            self.deliver_late(self.one_of(data, list(self.jobs)))
        self.slow.holding = False
        self.note()

    @precondition(lambda self: self._flow_jobs())
    @rule(data=st.data())
    def a_worker_stalls_before_it_gives_up(self, data: st.DataObject) -> None:
        job = self.one_of(data, self._flow_jobs())
        task = self.jobs[job]
        assert isinstance(task, FlowTask)
        flow = self.flow(task.flow)
        if isinstance(flow, Flow):
            index = task.index if isinstance(task, Chunk) else None
            self.slow.held.append(partial(self._give_up, flow, index, self.do(self.hand.claim(job))))

    def _flow_jobs(self) -> list[str]:
        return [job for job in self.queued() if isinstance(self.jobs[job], FlowTask)]

    async def _give_up(self, flow: Flow, index: int | None, lease: Lease) -> None:
        holds = await ask(self.stage.redis, "GET", in_progress_key(lease.job_id)) == lease.token.encode()
        if holds:
            self.doomed.add(flow.id)
        try:
            await self.runtime.flows.fail(flow, "it ran too long", index, lease=lease)
        except LeaseLostError:
            assert not holds
        else:
            assert holds, "whoever has lost its lease ends nothing"

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data())
    def the_sweeper_stalls_before_it_mends(self, data: st.DataObject) -> None:
        self.slow.held.append(partial(self.runtime.flows.mend, self.one_of(data, self.unfinished())))

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data())
    def somebody_stalls_before_they_cancel(self, data: st.DataObject) -> None:
        flow = self.one_of(data, self.unfinished())
        self.slow.held.append(partial(self._cancel, flow.id, flow))

    @precondition(lambda self: self.slow.held)
    @rule(data=st.data(), again=st.booleans())
    def a_held_write_arrives(self, data: st.DataObject, again: bool) -> None:
        write = self.one_of(data, self.slow.held)
        self.do(_awaited(write))
        self.note()
        if again:
            before = self._dump_without_looks()
            self.do(_awaited(write))
            after = self._dump_without_looks()
            assert after == before, "written twice it leaves the state that it leaves when written once"

    def _dump_without_looks(self) -> dict[str, Any]:
        """The state without the moments of the next looks, which each look puts off."""
        state = self.dump()
        for live in self.runtime.keys.all_live:
            if live in state:
                state[live] = set(state[live][::2])
        return state

    def deliver_late(self, job: str) -> None:
        self.do(self._deliver_late(job))

    async def _deliver_late(self, job: str) -> None:
        task = self.jobs[job]
        with contextlib.suppress(ResponseError, LeaseLostError):
            await self.hand.run(task.name, [getattr(task, name) for name in task.__struct_fields__], job)

    @rule()
    def the_sweeper_looks(self) -> None:
        self.do(self.hand.make_due())
        before = set(self.queued())
        self.do(self.sweeper.sweep())
        self.note()
        for task in [self.jobs[job] for job in self.queued() if job not in before]:
            assert not (isinstance(task, Chunk) and self.do(self.runtime.flows.has_partial(task.flow, task.index)))

    @precondition(lambda self: self.queued())
    @rule(data=st.data(), what=st.sampled_from(["member", "body", "both"]))
    def a_job_is_lost(self, data: st.DataObject, what: str) -> None:
        job = self.one_of(data, self.queued())
        if what != "body":
            for queue in self.runtime.keys.lanes:
                self.ask("ZREM", queue, job)
        if what != "member":
            self.ask("DEL", job_key(job))

    @precondition(lambda self: self.queued())
    @rule(data=st.data())
    def a_worker_dies_of_a_job(self, data: st.DataObject) -> None:
        job = self.one_of(data, self.queued())
        if self.ask("INCR", tries_key(job)) >= MAX_TRIES:
            self.doomed.add(job.split(":")[1])

    @precondition(lambda self: self.queued())
    @rule(data=st.data())
    def a_job_body_is_damaged(self, data: st.DataObject) -> None:
        self.ask("SET", job_key(self.one_of(data, self.queued())), b"no job at all", "PX", 100_000)

    def _with_partials(self) -> list[tuple[str, bytes]]:
        pairs = [(f.id, self.ask("HKEYS", self.runtime.keys.partials(f.id))) for f in self.unfinished()]
        return [(flow, field) for flow, fields in pairs for field in sorted(fields)]

    @precondition(lambda self: self._with_partials())
    @rule(data=st.data(), how=st.sampled_from(HARMS))
    def a_partial_is_harmed(self, data: st.DataObject, how: str) -> None:
        partials = self._with_partials()
        flow, field = self.one_of(data, partials)
        key = self.runtime.keys.partials(flow)
        stored: bytes = self.ask("HGET", key, field)
        self.harms[flow] += 1
        if how == "lost":
            self.ask("HDEL", key, field)
        elif how == "flipped":
            at = data.draw(st.integers(0, len(stored) - 1))
            self.ask("HSET", key, field, stored[:at] + bytes([stored[at] ^ 0x10]) + stored[at + 1 :])
        elif how == "wrong digest":
            self.ask("HSET", key, field, bytes(16) + stored[16:])
        elif how == "stranger's":
            other, theirs = self.one_of(data, partials)
            self.ask("HSET", key, field, self.ask("HGET", self.runtime.keys.partials(other), theirs))
        else:
            self.ask("HSET", key, "99" if how == "unknown" else b"\xff", stored)

    @precondition(lambda self: any(isinstance(flow.spec, FitSpec) for flow in self.unfinished()))
    @rule()
    def the_parts_of_fits_are_lost(self) -> None:
        for entry in list(self.world.store.entries("parts")):
            self.world.store.delete("parts", entry.id)
        for flow in self.unfinished():
            if isinstance(flow.spec, FitSpec):
                self.harms[flow.id] += 1

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data(), field=st.sampled_from(FIELDS), how=st.sampled_from(["lost", "garbage", "flipped", "number"]))
    def a_field_of_a_flow_is_damaged(self, data: st.DataObject, field: str, how: str) -> None:
        flow = self.one_of(data, self.unfinished())
        key = self.runtime.keys.flow(flow.id)
        stored: bytes = self.ask("HGET", key, field) or b""
        self.doomed.add(flow.id)
        self.damaged.add(flow.id)
        if field == "join":
            self.orphans.add(flow.join)
        if how == "lost":
            self.ask("HDEL", key, field)
        elif how == "garbage":
            self.ask("HSET", key, field, b"\xff no value of ours")
        elif how == "number":
            self.ask("HSET", key, field, "3")
        elif stored:
            at = data.draw(st.integers(0, len(stored) - 1))
            self.ask("HSET", key, field, stored[:at] + bytes([stored[at] ^ 1]) + stored[at + 1 :])

    @precondition(lambda self: self.unfinished())
    @rule(data=st.data())
    def a_flow_fails(self, data: st.DataObject) -> None:
        flow = self.one_of(data, self.unfinished())
        self.doomed.add(flow.id)
        assert self.do(self.runtime.flows.fail(flow, "failed by the test", lease=None))
        self.note()

    @precondition(lambda self: self.flows)
    @rule(data=st.data())
    def somebody_cancels(self, data: st.DataObject) -> None:
        self.do(self._cancel(self.one_of(data, self.flows)))
        self.note()

    async def _cancel(self, flow_id: str, read_before: Flow | None = None) -> None:
        [flow] = await self.runtime.flows.load_many([flow_id])
        assert flow is not None
        if read_before and flow_id in self.damaged:
            # Whoever had read it before the damage ends it, and it cannot be read all the same.
            return
        ended = isinstance(flow, Flow) and flow.ended
        async with self.stage.redis.pubsub() as listener:
            await listener.subscribe(self.runtime.keys.events(flow_id))
            await listener.get_message(timeout=PATIENCE_S)
            assert await self.runtime.flows.cancel(read_before or flow) == (not ended)
            found = await listener.get_message(timeout=0 if ended else PATIENCE_S)
        assert (found and found["data"]) == (None if ended else b"cancelled"), "waiting clients are notified"
        if not ended:
            self.cancelled |= {flow_id, flow.run}
        if isinstance(flow, Flow) and not ended and flow_id not in self.damaged:
            self.dropped |= {task.job_id for task in wanted(flow)}

    @precondition(lambda self: self.runs)
    @rule(data=st.data())
    def somebody_cancels_a_run(self, data: st.DataObject) -> None:
        run = self.do(self.runtime.runs.load(self.one_of(data, self.runs)))
        more, under_way = self.do(self.runtime.runs.curtail(run))
        assert more <= (run.state == "run")
        if more:
            self.cancelled.add(run.id)
        self.note()
        for flow_id in under_way:
            self.do(self._cancel(flow_id))
        self.note()

    @precondition(lambda self: self._dead_flows())
    @rule(data=st.data())
    def somebody_retries_a_dead_letter(self, data: st.DataObject) -> None:
        self.do(self._retry(self.one_of(data, self._dead_flows())))

    @precondition(lambda self: any(isinstance(letter.spec, BlockSpec) for letter in self._dead_flows()))
    @rule()
    def a_failed_block_is_done_again_when_all_has_ended(self) -> None:
        self.do(settle(self.hand, self._sweep_and_note))
        self.do(self._retry(next(letter for letter in self._dead_flows() if isinstance(letter.spec, BlockSpec))))

    def _dead_flows(self) -> list[DeadLetter]:
        return [letter for letter in self.do(self.letters.newest(1000)) if letter.kind == "flow"]

    async def _retry(self, letter: DeadLetter) -> None:
        before = await self.hand.dump(set(self.jobs))
        try:
            retried = await self.letters.retry(letter.id)
        except RetryRefusedError:
            assert await self.hand.dump(set(self.jobs)) == before, "what is not retried is left as it is"
            assert letter.spec is None or isinstance(letter.spec, BlockSpec)
            return
        self.retried.add(letter.subject)
        assert retried.is_new == (retried.job not in self.flows)
        if retried.is_new:
            self.flows.append(retried.job)
            self.fits += isinstance(letter.spec, FitSpec)
        [found] = await self.runtime.flows.load_many([retried.job])
        assert not isinstance(found, Flow) or not found.ended, "nobody joins what has ended"
        await self._note()

    # What must always hold.

    @invariant()
    def an_end_is_the_end(self) -> None:
        for flow in self.do(self.runtime.flows.load_many(self.flows)):
            if isinstance(flow, Flow) and flow.ended:
                if flow.id not in self.ends and isinstance(flow.spec, BlockSpec):
                    run = self.do(self.runtime.runs.load(flow.run))
                    flight = self.ask("HVALS", self.runtime.keys.flight(flow.run))
                    assert run.state == "ended" or flow.id.encode() not in flight or flow.id in self.doomed
                seen = self.ends.setdefault(flow.id, flow)
                assert (seen.state, seen.ended_ms, seen.answer) == (flow.state, flow.ended_ms, flow.answer)
                assert flow.state in ENDED
                assert (flow.state != "done") == bool(flow.reason)
                assert (flow.state == "cancelled") == (flow.id in self.cancelled)

    @invariant()
    def what_was_cancelled_has_no_job_in_any_lane(self) -> None:
        assert not self.dropped.intersection(self.do(self.hand.queued()))

    @invariant()
    def each_job_is_on_the_lane_of_its_flow(self) -> None:
        keys = self.runtime.keys
        flows = [flow for flow in self.unfinished() if flow.id not in self.damaged]
        assert all(flow.lane == "click" for flow in flows if flow.id in self.raised)
        members = {
            lane: {job.decode() for job in self.ask("ZRANGE", keys.lane(lane), 0, -1)} for lane in get_args(Lane)
        }
        for flow in flows:
            other = members["batch" if flow.lane == "click" else "click"]
            assert not other.intersection(task.job_id for task in wanted(flow))

    @invariant()
    def each_failure_is_one_dead_letter(self) -> None:
        dead = [fields for _, fields in self.ask("XRANGE", self.runtime.keys.dead, "-", "+")]
        ids = Counter(letter[b"id"].decode() for letter in dead if letter[b"kind"] == b"flow")
        failed = {flow.id for flow in self.ends.values() if flow.state == "failed"}
        assert not ids or max(ids.values()) == 1
        assert failed <= set(ids) | self.retried
        assert not self.retried & set(ids)

    @invariant()
    def the_pointer_never_goes_back(self) -> None:
        names = [generation.id for generation in self.world.generations]
        current = self.do(self.runtime.results.generations.current())
        rank = names.index(current) if current else -1
        assert rank >= self.rank
        self.rank = rank

    @invariant()
    def a_fit_moves_the_newest_pointer_once(self) -> None:
        newest = self.do(self.runtime.results.generations.pointer(self.runtime.keys.newest))
        if newest != self.newest_seen and newest == self.world.unfitted.id:
            self.newest_by_fits += 1
        self.newest_seen = newest
        assert self.newest_by_fits <= self.fits

    @invariant()
    def runs_know_of_each_block(self) -> None:
        keys = self.runtime.keys
        for run_id in self.runs:
            run = self.do(self.runtime.runs.load(run_id))
            if run.state == "ended":
                continue
            flight, blocks = self.ask("HKEYS", keys.flight(run_id)), self.ask("HKEYS", keys.blocks(run_id))
            assert sorted(map(int, flight + blocks)) == list(range(run.next_block))
            assert run.state == "run" or len(blocks) == run.blocks
            # A second chance lets a block be under way beside those of the window.
            assert len(flight) <= LEAST_WINDOW + len(self.retried)

    @invariant()
    def everything_else_expires(self) -> None:
        self.do(self._check_lives())

    async def _check_lives(self) -> None:
        redis = self.stage.redis
        named = {value.decode() for name in self.runtime.keys.pointers if (value := await ask(redis, "GET", name))}
        lasting = LASTING | {f"record:{generation}" for generation in named}
        lasting |= {f"{kind}:{self.world.snapshot.id}" for kind in ("titles", "tags", "lists")}
        async for name in redis.scan_iter(match=f"{self.prefix}:*", count=10_000):
            if name.decode().removeprefix(f"{self.prefix}:") not in lasting:
                assert await ask(redis, "PTTL", name) > 0, name
        for job in await self.hand.queued():
            assert await ask(redis, "PTTL", job_key(job)) != -1

    # How it ends.

    def teardown(self) -> None:
        try:
            self.do(settle(self.hand, self._sweep_and_note))
            self.do(self._check_end())
            for letter in self._dead_flows()[::-1]:
                self.do(self._retry(letter))
            self.do(settle(self.hand, self._sweep_and_note))
            self.do(self._check_end())
            self.do(self._check_what_was_mended())
        finally:
            self.do(self._remove())
            self.hand.close()

    async def _sweep_and_note(self) -> None:
        await self.sweeper.sweep()
        await self._note()

    async def _check_end(self) -> None:
        runtime, state = self.runtime, await self.hand.dump()
        passing = ("join:", "run-of:", "sweeper"), (":partials", ":flight")
        for name in state.keys() - self.orphans:
            short = name.removeprefix(f"{self.prefix}:")
            assert not short.startswith(passing[0]), name
            assert not short.endswith(passing[1]), name
        for flow in await runtime.flows.load_many(self.flows):
            assert isinstance(flow, Flow)
            assert flow.state in ENDED
            if flow.id not in self.doomed | self.cancelled and self.harms[flow.id] <= MAX_REWORK:
                assert flow.state == "done", flow.reason
            if flow.state == "done":
                self._check_answer(flow, state)
        for generation in self.world.generations:
            for user, data in generation.lists.items():
                assert state.get(runtime.keys.result(generation.id, user), data) == data
        for run_id in self.runs:
            run = await runtime.runs.load(run_id)
            assert run is not None
            assert run.state == "ended"
            assert run.outcome in ("passed", "refused", "superseded", "failed")
            assert (runtime.keys.blocks(run_id) in state) <= (run.outcome != "passed")
            if run.manifest is not None and run.manifest.users:
                assert 0 <= run.manifest.done == len(USERS) - run.manifest.failed
            if run.outcome == "passed":
                assert all(runtime.keys.result(run.generation, user) in state for user in USERS)

    def _check_answer(self, flow: Flow, state: dict[str, Any]) -> None:
        keys, spec = self.runtime.keys, flow.spec
        if isinstance(spec, UserSpec) and spec.user != "nobody":
            assert keys.result(spec.generation, spec.user) in state
        if isinstance(spec, BasketSpec):
            assert state[keys.basket(spec.generation, spec.items)] == self.stage.answers[SPEC.encode(spec)]
        if isinstance(spec, QuestionSpec):
            assert flow.answer == self.stage.answers[SPEC.encode(spec)]

    async def _check_what_was_mended(self) -> None:
        """Whatever could be asked for again was: no run stays refused but for a block that its letter did not tell."""
        left = [letter for letter in await self.letters.newest(1000) if letter.kind == "flow"]
        assert all(letter.spec is None or isinstance(letter.spec, BlockSpec) for letter in left)
        for run_id in self.runs:
            run = await self.runtime.runs.load(run_id)
            assert run is not None
            refusable = run_id in self.cancelled or any(letter.of == "block" for letter in left)
            assert run.outcome != "refused" or refusable

    async def _remove(self) -> None:
        redis = self.stage.redis
        names = [name async for name in redis.scan_iter(match=f"{self.prefix}:*", count=10_000)]
        names += [key(job).encode() for job in self.jobs for key in (job_key, tries_key)]
        await ask(redis, "UNLINK", *names)


def wanted(flow: Flow) -> Sequence[FlowTask]:
    """The jobs that a flow may have in its state."""
    match flow.state:
        case "split":
            return [Split(flow.id)]
        case "reduce":
            return [Reduce(flow.id, flow.round)]
        case _:
            return [Chunk(flow.id, index, flow.round) for index in range(flow.tasks)]


async def _awaited(write: Callable[[], Awaitable[Any]]) -> None:
    with contextlib.suppress(LeaseLostError):
        await write()


def test_random_flows_keep_the_invariants(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Random steps of flows, fits and runs: each step keeps all invariants, and at the end nothing is left."""
    # What a worker of the engine has at hand may be as old as it likes: nothing is to depend on how fast this runs.
    monkeypatch.setattr(reckoner.workers.runtime.open_flows, "FRESH_S", math.inf)
    run_state_machine_as_test(
        lambda: FlowMachine(stage),  # type: ignore[arg-type] # anything that makes a machine is called
        settings=settings(
            max_examples=EXAMPLES or FIXED_EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=not EXAMPLES,
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            # The whole list of steps at once is worth more than a shorter one after minutes.
            phases=[Phase.generate, *([Phase.shrink] if EXAMPLES else [])],
        ),
    )
