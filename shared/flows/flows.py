"""Flows: a job's state in Redis on its way through split, chunk and reduce, and each change of it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import Any, TypeAlias

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

from reckoner.shared.errors import QueueFullError, WireError
from reckoner.shared.flows.flow_state import (
    UNREADABLE,
    DamagedFlowError,
    Flow,
    State,
    decode_flow,
    parse_count,
    unreadable,
)
from reckoner.shared.ids import fresh_id
from reckoner.shared.redis.keys import Keys, job_key
from reckoner.shared.redis.refusals import Refusals, is_wrong_type
from reckoner.shared.redis.scripts import Cached, Fence, Value, ask, call, load_script
from reckoner.shared.tracing import caller, link, span
from reckoner.shared.wire.jobs import Chunk, Finish, FlowTask, Reduce, Split, encode_job
from reckoner.shared.wire.shapes import (
    OUTCOME,
    PARTIAL,
    PLAN,
    SPEC,
    TRACE,
    ClickSpec,
    Lane,
    Outcome,
    Partial,
    Plan,
    StoreSpec,
    Trace,
    UserSpec,
)

LONGEST_LOOK_MS = 600_000
# A script that creates more flows would block the server for over 5 ms.
FLOWS_AT_ONCE = 150
# Of one span: each takes a round trip.
MOST_LINKS = 10
# The most blocks that follow one: with two, a window that grows is full after a few blocks.
NEXT_BLOCKS = 2
CANCELLED = "it was cancelled"
# The keys and arguments of the script that ends a flow.
Ending: TypeAlias = tuple[list[str], list[Value]]
# The answers of `mend` when no job was created.
MOVED_ON, ALL_THERE = -1, -2


class Flows:
    """The flows under one prefix. A worker says how many batch `threads` it has; the others may have as many.

    `on_end` is called for each flow that is done or failed here, once.
    """

    def __init__(
        self,
        redis: Redis,
        keys: Keys,
        first_look_s: float,
        threads: int = 1,
        on_end: Callable[[Flow, State], None] | None = None,
    ) -> None:
        self._redis = redis
        self._threads = threads
        self._on_end = on_end
        self.keys = keys
        self.refusals = Refusals(redis, keys)
        self.first_look_ms = int(first_look_s * 1000)

    async def create(
        self,
        specs: Sequence[ClickSpec | StoreSpec],
        joins: Sequence[str],
        lane: Lane = "click",
        most_queued: int | None = None,
    ) -> list[str]:
        """Enqueue a flow for each of `specs`, or join the unfinished flow with the same key in `joins`.

        A join from the click lane moves a flow of the batch lane to the click lane.

        Returns:
            The id of the flow for each spec, in order.

        Raises:
            QueueFullError: the lane holds `most_queued` jobs; the error's `taken` are the ids of the flows before.
        """
        with span("enqueue", role="PRODUCER", attributes={"lane": lane, "jobs": len(specs)}) as traced:
            ids, joined = await self._create(specs, joins, lane, most_queued)
            if traced is not None and traced.is_recording():
                if len(ids) == 1:
                    traced.set_attribute("reckoner.job", ids[0])
                await self._link(traced, joined)
        return ids

    async def _link(self, traced: Any, joined: Sequence[str]) -> None:
        """Link the span of an enqueue to those who asked first for the jobs that it joined."""
        # The jobs are there whatever happens here.
        with suppress(RedisError):
            for flow_id in joined[:MOST_LINKS]:
                kept = await ask(self._redis, "HGET", self.keys.flow(flow_id), "traceparent")
                link(traced, (kept or b"").decode(errors="replace"))

    async def _create(
        self, specs: Sequence[ClickSpec | StoreSpec], joins: Sequence[str], lane: Lane, most_queued: int | None
    ) -> tuple[list[str], list[str]]:
        """The ids of all flows, and of those that were joined."""
        ids, new = list[str](), set[str]()
        pairs = list(zip(specs, joins, strict=True))
        for start in range(0, len(pairs), FLOWS_AT_ONCE):
            names = [*self.keys.lanes, self.keys.live_stem]
            arguments: list[Value] = [lane, self.first_look_ms, self.keys.flow("")]
            arguments += ["" if most_queued is None else most_queued, caller()]
            for spec, join in pairs[start : start + FLOWS_AT_ONCE]:
                split = Split(fresh_id())
                new.add(split.flow)
                names += [self.keys.flow(split.flow), job_key(split.job_id), join]
                arguments += [
                    split.flow,
                    str(spec.__struct_config__.tag),
                    SPEC.encode(spec),
                    split.job_id,
                    encode_job(split),
                ]
            answer = await call(self._redis, "create", names, arguments)
            held, *now = answer
            ids += [flow_id.decode() for flow_id in now]
            if len(ids) < min(start + FLOWS_AT_ONCE, len(pairs)):
                raise QueueFullError(int(held), most_queued or 0, len(pairs), ids)
        return ids, [flow_id for flow_id in ids if flow_id not in new]

    async def load(self, flow_id: str) -> Flow | None:
        """Load a flow, None if there is none.

        Raises:
            DamagedFlowError: a field is invalid.
        """
        try:
            fields = await ask(self._redis, "HGETALL", self.keys.flow(flow_id))
        except ResponseError as error:
            fields = error
        return self.decode(flow_id, fields)

    async def load_many(self, flow_ids: Sequence[str]) -> list[Flow | DamagedFlowError | None]:
        """Load flows in one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for flow_id in flow_ids:
                pipe.hgetall(self.keys.flow(flow_id))
            answers = await pipe.execute(raise_on_error=False)
        flows: list[Flow | DamagedFlowError | None] = []
        for flow_id, fields in zip(flow_ids, answers, strict=True):
            try:
                flows.append(self.decode(flow_id, fields))
            except DamagedFlowError as error:
                flows.append(error)
        return flows

    def decode(self, flow_id: str, fields: dict[bytes, bytes] | Exception) -> Flow | None:
        """Decode a flow's hash, or the error of its reading; see `load`."""
        if isinstance(fields, Exception):
            if not is_wrong_type(fields):
                raise fields
            raise DamagedFlowError(flow_id, "", b"", "", "") from fields
        return decode_flow(flow_id, fields, self.keys.joins) if fields else None

    async def has_partial(self, flow_id: str, index: int) -> bool:
        """Whether a chunk task's partial is stored."""
        return bool(await ask(self._redis, "HEXISTS", self.keys.partials(flow_id), str(index)))

    async def partials(self, flow_id: str) -> dict[bytes, bytes]:
        """All stored partials by field; a planted field may hold any bytes."""
        stored: dict[bytes, bytes] = await ask(self._redis, "HGETALL", self.keys.partials(flow_id))
        return stored

    async def stored(self, flow_id: str) -> int:
        """The number of stored partials."""
        return int(await ask(self._redis, "HLEN", self.keys.partials(flow_id)))

    async def traces(self, flow_id: str) -> dict[int, Trace]:
        """The trace of each chunk task by its index; invalid ones are quarantined."""
        key, found = self.keys.tasks(flow_id), dict[int, Trace]()
        for field, data in (await ask(self._redis, "HGETALL", key)).items():
            try:
                found[parse_count(field)] = TRACE.decode(data)
            except WireError:
                await self.refusals.field("trace", flow_id, key, field, data)
        return found

    async def plan(self, flow_id: str, plan: Plan, *, lease: Fence | None) -> bool:
        """Split the flow: store the plan and create its chunk jobs. False if that was done before."""
        count = len(plan.bounds) - 1
        tasks: list[FlowTask] = [Chunk(flow_id, index, 0) for index in range(count)] or [Reduce(flow_id, 0)]
        names = [self.keys.flow(flow_id), self.keys.live_stem, *self.keys.lanes]
        arguments: list[Value] = [flow_id, PLAN.encode(plan), count, self.first_look_ms]
        for task in tasks:
            names.append(job_key(task.job_id))
            arguments += [task.job_id, encode_job(task)]
        return bool(await call(self._redis, "plan", names, arguments, lease))

    async def store_partial(
        self, task: Chunk, partial: Partial, trace: Trace, context: str, *, lease: Fence | None
    ) -> str:
        """Store a chunk task's partial with a digest over its context; the last missing one moves the flow to reduce.

        Returns:
            `"stored"`, `"last"`, or `"late"` if the flow has left this round.
        """
        encoded = PARTIAL.encode(partial, context)
        return await self._note(task, str(task.index), encoded, TRACE.encode(trace), lease)

    async def _note(self, task: Chunk, index: str, partial: bytes, trace: bytes, lease: Fence | None) -> str:
        reduce = Reduce(task.flow, task.round)
        names = [
            self.keys.flow(task.flow),
            self.keys.partials(task.flow),
            self.keys.tasks(task.flow),
            self.keys.live_stem,
            *self.keys.lanes,
            job_key(reduce.job_id),
        ]
        arguments: list[Value] = [task.flow, task.round, index, partial, trace, reduce.job_id, encode_job(reduce)]
        arguments.append(self.first_look_ms)
        answer: bytes = await call(self._redis, "partial", names, arguments, lease)
        return answer.decode()

    async def rework(
        self, flow: Flow, unusable: Sequence[bytes], missing: Sequence[int], *, lease: Fence | None
    ) -> str:
        """Return a flow from reduce to run: delete the `unusable` fields, and redo the `missing` chunk tasks.

        Returns:
            `"again"`, `"late"`, or `"spent"` after `MAX_REWORK` times.
        """
        names = [self.keys.flow(flow.id), self.keys.partials(flow.id), self.keys.live_stem, *self.keys.lanes]
        arguments: list[Value] = [flow.id, flow.round, self.first_look_ms, len(unusable), *unusable]
        for index in missing:
            task = Chunk(flow.id, index, flow.round + 1)
            names.append(job_key(task.job_id))
            arguments += [index, task.job_id, encode_job(task)]
        answer: bytes = await call(self._redis, "rework", names, arguments, lease, ends_job=False)
        return answer.decode()

    async def finish(
        self,
        flow: Flow,
        answer: bytes = b"",
        outcome: Outcome | None = None,
        cached: Cached | None = None,
        *,
        lease: Fence | None,
    ) -> bool:
        """End a flow as done, and write its `cached` list with it, under the lease.

        Returns:
            False if the flow has left the state and round in which it was read.
        """
        expected = flow.state, str(flow.round)
        ending = await self._ending(flow, "done", expected, "", answer, outcome)
        return self._note_end(flow, "done", await self._end(ending, cached=cached, lease=lease))

    async def cancel(self, flow: Flow | DamagedFlowError) -> bool:
        """End a flow as cancelled in any state, and delete its jobs, even running ones. False if it had ended."""
        if isinstance(flow, DamagedFlowError):
            flow = await self._quarantine(flow)
        return await self._end(await self._ending(flow, "cancelled", ("", ""), CANCELLED), lease=None)

    async def cancel_with_partials(self, flow: Flow) -> dict[bytes, bytes]:
        """Cancel a flow; returns by field the partials that this drops, none if it had ended."""
        names, arguments = await self._ending(flow, "cancelled", ("", ""), CANCELLED)
        async with self._redis.pipeline(transaction=True) as pipe:
            pipe.hgetall(self.keys.partials(flow.id))
            pipe.execute_command("EVAL", load_script("end").text, len(names), *names, *arguments)
            partials: dict[bytes, bytes] = (await pipe.execute())[0]
        return partials

    async def fail(self, flow: Flow, reason: str, index: int | None = None, *, lease: Fence | None) -> bool:
        """End a flow as failed, with a dead letter.

        Returns:
            False if the flow has left the state and round in which it was read, or has the partial of task `index`.
        """
        ending = await self._ending(flow, "failed", (flow.state, str(flow.round)), reason, index=index)
        return self._note_end(flow, "failed", await self._end(ending, lease=lease))

    def _note_end(self, flow: Flow, state: State, ended: bool) -> bool:
        if ended and self._on_end is not None:
            self._on_end(flow, state)
        return ended

    def _join(self, flow: Flow) -> str:
        """The flow's join key. Without one, its own key: ACL key patterns do not allow an empty name."""
        return flow.join or self.keys.flow(flow.id)

    async def _end(self, ending: Ending, *, cached: Cached | None = None, lease: Fence | None) -> bool:
        return bool(await call(self._redis, "end", *ending, lease, cached=cached))

    async def _ending(
        self,
        flow: Flow,
        state: State,
        expected: tuple[str, str],
        reason: str,
        answer: bytes = b"",
        outcome: Outcome | None = None,
        index: int | None = None,
    ) -> Ending:
        """The keys and arguments of the script that ends a flow."""
        keys = self.keys
        names = [keys.flow(flow.id), keys.partials(flow.id), keys.tasks(flow.id), keys.live_stem]
        names += [self._join(flow), keys.dead, *keys.lanes, keys.recent_versions]
        arguments: list[Value] = [flow.id, state, *expected, "" if index is None else index, reason, answer]
        arguments += [keys.events(flow.id), self.first_look_ms]
        arguments.append(SPEC.encode(flow.spec) if flow.spec is UNREADABLE else "")
        if isinstance(flow.spec, UserSpec) and state == "done":
            split, frozen = Split(fresh_id()), flow.plan.frozen if flow.plan else None
            names += [keys.flow(split.flow), job_key(split.job_id)]
            arguments += [flow.spec.user, frozen.version if frozen else "", split.flow, split.job_id]
            arguments.append(encode_job(split))
        if flow.run:
            # A run keeps its round while this block is in flight.
            finish = Finish(flow.run, await self.run_round(flow.run))
            names += [keys.run(flow.run), keys.flight(flow.run), keys.blocks(flow.run), keys.workers]
            names.append(job_key(finish.job_id))
            arguments += [
                OUTCOME.encode(outcome or Outcome(reason=reason)),
                finish.job_id,
                encode_job(finish),
                flow.run,
                self._threads,
            ]
            for _ in range(NEXT_BLOCKS):
                split = Split(fresh_id())
                names += [keys.flow(split.flow), job_key(split.job_id)]
                arguments += [split.flow, split.job_id, encode_job(split)]
        return names, arguments

    async def run_round(self, run_id: str) -> int:
        """A run's round, 0 if unreadable; a finish of another round changes nothing."""
        try:
            return parse_count(await ask(self._redis, "HGET", self.keys.run(run_id), "round") or b"")
        except (WireError, ResponseError) as error:
            if isinstance(error, ResponseError) and not is_wrong_type(error):
                raise
            return 0

    async def fail_damaged(self, damage: DamagedFlowError, *, lease: Fence | None) -> None:
        """End a flow with an invalid state: quarantine the bytes, and record a dead letter."""
        flow = await self._quarantine(damage)
        ended = await self._end(await self._ending(flow, "failed", ("", ""), flow.reason), lease=lease)
        self._note_end(flow, "failed", ended)

    async def _quarantine(self, damage: DamagedFlowError) -> Flow:
        """Quarantine the invalid bytes before they are overwritten; return a placeholder."""
        flow = unreadable(damage.flow_id, "split", damage.field, damage.run, damage.join)
        await self.refusals.field("flow", flow.id, self.keys.flow(flow.id), damage.field, damage.data)
        return flow

    async def mend(self, flow: Flow) -> int:
        """Check an unfinished flow: recreate its lost jobs, and renew the TTL of its keys.

        Returns:
            The number of lost jobs; -1 if the flow has moved on, or does so now.
        """
        keys = self.keys
        names = [keys.flow(flow.id), keys.partials(flow.id), keys.tasks(flow.id), keys.live_stem, *keys.lanes]
        names.append(self._join(flow))
        delay = min(self.first_look_ms * 2 ** min(flow.looks + 1, 30), LONGEST_LOOK_MS)
        arguments: list[Value] = [flow.id, flow.state, flow.round, delay, flow.looks + 1]
        for task, index in self._wanted(flow):
            names.append(job_key(task.job_id))
            arguments += [task.job_id, encode_job(task), index]
        made = int(await call(self._redis, "mend", names, arguments))
        if made == ALL_THERE:
            # No chunk task is left that could move the flow to reduce.
            await self._note(Chunk(flow.id, 0, flow.round), "", b"", b"", None)
        return max(made, MOVED_ON)

    def _wanted(self, flow: Flow) -> Iterator[tuple[FlowTask, str]]:
        if flow.state == "split":
            yield Split(flow.id), ""
        elif flow.state == "reduce":
            yield Reduce(flow.id, flow.round), ""
        else:
            for index in range(flow.tasks):
                yield Chunk(flow.id, index, flow.round), str(index)
