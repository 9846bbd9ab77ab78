"""Runs: passes over all users, their state in Redis and each change of it."""

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec
from redis.exceptions import ResponseError

from reckoner.shared.defaults import MAX_BLOCK_USERS
from reckoner.shared.errors import BarredError, RunInProgressError, WireError
from reckoner.shared.flows.flow_state import UNFINISHED
from reckoner.shared.flows.flows import CANCELLED, FLOWS_AT_ONCE, LONGEST_LOOK_MS
from reckoner.shared.flows.run_state import DamagedRunError, Manifest, Run, RunOutcome, decode_run
from reckoner.shared.ids import fresh_id
from reckoner.shared.redis.keys import job_key
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import Fence, Value, ask, call
from reckoner.shared.redis.scripts.constants import SLICE
from reckoner.shared.serving.events import Events, parse_mark
from reckoner.shared.serving.generations import Generations, base_of, with_news
from reckoner.shared.serving.hidden import Hidden
from reckoner.shared.wire.jobs import Finish, Split, encode_job
from reckoner.shared.wire.shapes import HOLDING, OUTCOME, RECORD, SPEC, BlockSpec, Holding, Outcome, Record

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from reckoner.shared.redis.keys import Keys

# The work of a block in additions of scoring, some 20 ms; a list costs as much as so many additions beside its own, and
# one of more than so many places in proportion.
BLOCK_WORK, LIST_WORK, LIST_PLACES = 28_000_000, 5_000, 20
LEAST_BLOCKS = 16
Flip = Literal["flipped", "superseded", "barred", "late", "lost"]


def block_size_of(record: Record) -> int:
    """The number of users in a block of about `BLOCK_WORK`; a run over few users has some `LEAST_BLOCKS` blocks."""
    if not record.users:
        return 1
    list_work = LIST_WORK * max(record.places / LIST_PLACES, 1)
    by_work = int(BLOCK_WORK / (record.additions / record.users + list_work))
    return max(1, min(by_work, -(-record.users // LEAST_BLOCKS), MAX_BLOCK_USERS))


class Runs:
    """The runs under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys", first_look_s: float) -> None:
        self._redis = redis
        self._generations = Generations(redis, keys)
        self._events = Events(redis, keys, first_look_s, 0)
        self._hidden = Hidden(redis, keys)
        self.keys = keys
        self.first_look_ms = int(first_look_s * 1000)

    async def start(
        self, record: Record, block_size: int | None = None, window: int | None = None, *, dry: bool = False
    ) -> tuple[str, bool]:
        """Start a run over all users, or join the unfinished one.

        Args:
            record: The record of the generation that is computed; see `with_news`.
            block_size: The number of users in a block. None sizes blocks by their work.
            window: The most blocks in flight. None is as many as the live workers hold.
            dry: Whether the run ends at the gate, and makes nothing live.

        Returns:
            The run's id, and whether it is new.

        Raises:
            BarredError: the generation was rolled back.
            RunInProgressError: a run of this generation is in progress, and only one of the two is dry.
        """
        if record.generation in await self._generations.barred():
            raise BarredError(record.generation)
        keys, run_id = self.keys, fresh_id()
        block_size = block_size or block_size_of(record)
        blocks = -(-record.users // block_size)
        while True:
            current = await self._generations.follow(keys.current)
            since = current.named or ""
            spec = BlockSpec(run_id, record.generation, block_size, since)
            names = [keys.run_of(record.generation), keys.run(run_id), keys.flight(run_id), keys.live_stem]
            names += [keys.record(record.generation), keys.current, *keys.lanes, keys.generations]
            names.append(keys.workers)
            arguments: list[Value] = [run_id, record.generation, RECORD.encode(record), current.value]
            arguments += [SPEC.encode(spec), blocks, block_size, record.users, self.first_look_ms]
            arguments += [keys.run(""), since, record.snapshot, window or "", "1" if dry else ""]
            for _ in range(min(window or FLOWS_AT_ONCE, blocks, FLOWS_AT_ONCE)):
                split = Split(fresh_id())
                names += [keys.flow(split.flow), job_key(split.job_id)]
                arguments += [split.flow, split.job_id, encode_job(split)]
            answer = await call(self._redis, "start", names, arguments)
            if answer is not None:
                started, beginning = (part.decode(errors="replace") for part in answer)
                if beginning == "other":
                    raise RunInProgressError(started)
                return started, beginning == "started"

    async def with_news(self, record: Record) -> Record:
        """The record of the generation that a run over all users computes now; see `with_news` of `generations`.

        The hidden items of now are kept for it.
        """
        last = await self._events.last()
        events = str(last) if last > parse_mark(record.mark or "0-0") else ""
        return with_news(record, events, await self._hidden.keep_mask())

    async def under_way(self) -> list[str]:
        """The ids of unfinished and recent runs of the generations with lists."""
        generations = [name.decode(errors="replace") for name in await ask(self._redis, "HKEYS", self.keys.generations)]
        named = await ask(self._redis, "MGET", *map(self.keys.run_of, generations)) if generations else []
        return sorted(each.decode(errors="replace") for each in named if each)

    async def load(self, run_id: str) -> Run | None:
        """Load a run, None if there is none.

        Raises:
            DamagedRunError: its state is invalid.
        """
        try:
            raw = await ask(self._redis, "HGETALL", self.keys.run(run_id))
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            raise DamagedRunError(run_id, "") from error
        if not raw:
            return None
        try:
            return decode_run(run_id, {name.decode(): value for name, value in raw.items()})
        except (KeyError, ValueError, msgspec.MsgspecError, WireError) as error:
            raise DamagedRunError(run_id, raw.get(b"generation", b"").decode(errors="replace")) from error

    async def progress(self, run_id: str) -> int:
        """The number of a run's ended blocks."""
        return int(await ask(self._redis, "HLEN", self.keys.blocks(run_id)))

    async def outcome_pages(self, run_id: str) -> AsyncIterator[dict[bytes, bytes]]:
        """Yield the encoded outcomes of a run's blocks in pages, so that the server is never blocked."""
        cursor = -1
        while cursor:
            cursor, page = await self._redis.hscan(self.keys.blocks(run_id), max(cursor, 0), count=SLICE)
            yield page

    async def flip(self, run: Run, *, lease: Fence | None) -> Flip:
        """Make the run's generation current, unless the pointer has moved since the run started.

        Returns:
            `"superseded"` if the pointer has moved, `"barred"` if its generation was rolled back, `"late"` if the run
            has left the state or round in which it was read, `"lost"` if its generation has no readable record.
        """
        record, newest = (
            await self._generations.record(run.generation),
            await self._generations.follow(self.keys.newest),
        )
        await self._generations.current()
        names = [self.keys.run(run.id), *self.keys.pointers, self.keys.barred]
        same = record is not None and newest.record is not None and base_of(newest.record) == base_of(record)
        arguments: list[Value] = [run.generation, run.round, newest.value if same else "", self.keys.record("")]
        arguments += self.keys.snapshot_stems
        answer: bytes = await call(self._redis, "flip", names, arguments, lease, ends_job=False)
        return answer.decode()  # type: ignore[return-value]

    async def close(
        self, run: Run, outcome: RunOutcome, manifest: Manifest, held: Holding | None = None, *, lease: Fence | None
    ) -> bool:
        """End a run, which has computed all lists of its generation if these are `held`.

        False if it has left the state and round in which it was read.
        """
        expected = run.state, str(run.round)
        return await self._close(run.id, run.generation, expected, outcome, manifest, held, lease)

    async def _close(
        self,
        run_id: str,
        generation: str,
        expected: tuple[str, str],
        outcome: RunOutcome,
        manifest: Manifest,
        held: Holding | None,
        lease: Fence | None,
    ) -> bool:
        keys = self.keys
        names = [keys.run(run_id), keys.flight(run_id), keys.blocks(run_id), keys.run_of(generation), keys.live_stem]
        names.append(keys.held)
        arguments: list[Value] = [run_id, *expected, outcome, msgspec.json.encode(manifest)]
        arguments += [keys.events(run_id), generation, HOLDING.encode(held) if held else ""]
        return bool(await call(self._redis, "close", names, arguments, lease))

    async def curtail(self, run: Run) -> tuple[bool, list[str]]:
        """Start no more blocks of a run: it fails at the gate once its blocks in flight have ended.

        Returns:
            Whether there were more blocks, and the flows of the blocks in flight.
        """
        outcome = OUTCOME.encode(Outcome(reason=CANCELLED))
        names = [self.keys.run(run.id), self.keys.blocks(run.id)]
        more = await call(self._redis, "curtail", names, [outcome])
        flight = await ask(self._redis, "HVALS", self.keys.flight(run.id))
        return bool(more), [flow_id.decode(errors="replace") for flow_id in flight]

    async def has_flipped(self, run_id: str) -> bool:
        """Whether the run has made its generation current."""
        return bool(await ask(self._redis, "HEXISTS", self.keys.run(run_id), "flipped"))

    async def fail_damaged(self, damage: DamagedRunError, *, lease: Fence | None) -> None:
        """End a run with an invalid state; the next run of its generation would join it."""
        manifest = Manifest(0, 0, 0, 0, 0.0, 0.0, [str(damage)])
        await self._close(damage.run_id, damage.generation, ("", ""), "failed", manifest, None, lease)

    async def tend(self, run: Run) -> int:
        """Check an unfinished run: recreate lost blocks and a lost finish, and renew its TTL.

        Returns:
            The number of lost jobs; -1 if the run has ended.
        """
        keys, finish = self.keys, Finish(run.id, run.round)
        names = [keys.run(run.id), keys.flight(run.id), keys.blocks(run.id), keys.live_stem]
        names += [keys.run_of(run.generation), keys.record(run.generation), job_key(finish.job_id), *keys.lanes]
        delay = min(self.first_look_ms * 2, LONGEST_LOOK_MS)
        arguments: list[Value] = [run.id, delay, self.first_look_ms, finish.job_id]
        arguments += [encode_job(finish), keys.flow(""), run.round]
        for block, flow_id in (await self._lost(run))[:FLOWS_AT_ONCE]:
            split = Split(fresh_id())
            names += [keys.flow(split.flow), job_key(split.job_id)]
            arguments += [block, flow_id, split.flow, split.job_id, encode_job(split)]
        return int(await call(self._redis, "tend", names, arguments))

    async def _lost(self, run: Run) -> Sequence[tuple[bytes, bytes]]:
        """The lost blocks: their flow is missing, ended unnoticed, or unknown."""
        flight = dict(await ask(self._redis, "HGETALL", self.keys.flight(run.id)))
        async with self._redis.pipeline(transaction=False) as pipe:
            for flow_id in flight.values():
                pipe.hget(self.keys.flow(flow_id.decode(errors="replace")), "state")
            states = await pipe.execute()
        unfinished = [state.encode() for state in UNFINISHED]
        lost = [pair for pair, state in zip(flight.items(), states, strict=True) if state not in unfinished]
        if len(flight) + await self.progress(run.id) < run.next_block:
            ended = set(await ask(self._redis, "HKEYS", self.keys.blocks(run.id)))
            lost += [
                (block, b"")
                for block in (b"%d" % i for i in range(run.next_block))
                if block not in ended | flight.keys()
            ]
        return lost
