"""One pass over all users: its state in Redis and each change of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import msgspec

from shared.errors import WireError
from shared.flows import ENDED_LIFE_MS, LONGEST_LOOK_MS, SLICE, UNFINISHED_LIFE_MS, fresh_id
from shared.redis.keys import job_key
from shared.redis.scripts import Value, ask, call
from shared.results import UNNAMED_LIFE_MS
from shared.wire import OUTCOME, RECORD, SPEC, BlockSpec, Finish, Outcome, Record, Split, encode_job

if TYPE_CHECKING:
    from redis.asyncio import Redis

    from shared.redis.keys import Keys

RunState = Literal["run", "finish", "ended"]
RunOutcome = Literal["passed", "refused", "superseded", "failed"]


class Manifest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a run did: counts of users, seconds, and how much of the lists is new."""

    users: int
    done: int
    failed: int
    empty: int
    duration_s: float
    users_per_second: float
    churn: float | None
    """The share of the places in the new lists that the lists before did not have; None when there were none before."""
    reasons: list[str]


@dataclass(frozen=True)
class Run:
    """A run as it was read."""

    id: str
    state: RunState
    generation: str
    since: str
    """The generation that was current when the run began, empty when there was none."""
    round: int
    blocks: int
    block_size: int
    users: int
    next_block: int
    started_ms: int
    ended_ms: int | None
    outcome: str
    manifest: Manifest | None


class Runs:
    """The runs under one prefix."""

    def __init__(self, redis: "Redis", keys: "Keys", first_look_s: float) -> None:
        self._redis = redis
        self.keys = keys
        self.first_look_ms = int(first_look_s * 1000)

    async def start(self, record: Record, block_size: int, window: int) -> tuple[str, bool]:
        """Start a run over all users with at most `window` blocks in flight, or join the one under way.

        Returns:
            The run's id, and whether it is a new one.
        """
        keys, run_id = self.keys, fresh_id()
        blocks = -(-record.users // block_size)
        while True:
            since = await ask(self._redis, "GET", keys.current)
            spec = BlockSpec(run_id, record.generation, block_size, since.decode() if since else "")
            names = [keys.run_of(record.generation), keys.run(run_id), keys.flight(run_id), keys.live, keys.queue]
            names += [keys.record(record.generation), keys.current]
            arguments: list[Value] = [run_id, record.generation, RECORD.encode(record), UNNAMED_LIFE_MS, since or b""]
            arguments += [SPEC.encode(spec), blocks, block_size, record.users, UNFINISHED_LIFE_MS, self.first_look_ms]
            arguments.append(keys.run(""))
            for _ in range(min(window, blocks, SLICE)):
                split = Split(fresh_id())
                names += [keys.flow(split.flow), job_key(split.job_id)]
                arguments += [split.flow, split.job_id, encode_job(split)]
            answer = await call(self._redis, "start", names, arguments)
            if answer is not None:
                return answer.decode(), answer.decode() == run_id

    async def load(self, run_id: str) -> Run | None:
        """The run as it is now, None when there is none.

        Raises:
            WireError: its state is not what it should be.
        """
        raw = await ask(self._redis, "HGETALL", self.keys.run(run_id))
        if not raw:
            return None
        try:
            fields = {name.decode(): value for name, value in raw.items()}
            state = fields["state"].decode()
            if state not in ("run", "finish", "ended"):
                raise WireError(f"The state of run {run_id} cannot be read.", data=fields["state"])
            manifest = fields.get("manifest")
            return Run(
                id=run_id,
                state=state,
                generation=fields["generation"].decode(),
                since=fields["since"].decode(),
                round=int(fields["round"]),
                blocks=int(fields["blocks"]),
                block_size=int(fields["block_size"]),
                users=int(fields["users"]),
                next_block=int(fields["next"]),
                started_ms=int(fields["started"]),
                ended_ms=int(fields["ended"]) if "ended" in fields else None,
                outcome=fields.get("outcome", b"").decode(),
                manifest=msgspec.json.decode(manifest, type=Manifest) if manifest else None,
            )
        except (KeyError, ValueError, msgspec.MsgspecError) as error:
            raise WireError(f"The state of run {run_id} cannot be read.") from error

    async def progress(self, run_id: str) -> int:
        """How many blocks of a run have ended."""
        return int(await ask(self._redis, "HLEN", self.keys.blocks(run_id)))

    async def outcomes(self, run_id: str) -> dict[int, Outcome]:
        """How the blocks of a run ended."""
        raw = await ask(self._redis, "HGETALL", self.keys.blocks(run_id))
        return {int(block): OUTCOME.decode(data) for block, data in raw.items()}

    async def flip(self, run: Run) -> Literal["flipped", "superseded", "late"]:
        """Make the run's generation the current one, unless the pointer has moved since the run began."""
        names = [self.keys.run(run.id), *self.keys.pointers]
        arguments: list[Value] = [run.generation, self.keys.record(""), self.keys.titles(""), UNNAMED_LIFE_MS]
        answer: bytes = await call(self._redis, "flip", names, arguments)
        return answer.decode()  # type: ignore[return-value]

    async def close(self, run: Run, outcome: RunOutcome, manifest: Manifest) -> bool:
        """End a run. False when it had ended."""
        keys = self.keys
        names = [keys.run(run.id), keys.flight(run.id), keys.blocks(run.id), keys.run_of(run.generation), keys.live]
        arguments: list[Value] = [run.id, run.state, outcome, msgspec.json.encode(manifest)]
        return bool(await call(self._redis, "close", names, [*arguments, ENDED_LIFE_MS, keys.events(run.id)]))

    async def tend(self, run: Run) -> int:
        """One look at an unfinished run: put back blocks whose flow is gone and a finish that is lost, renew its life.

        Returns:
            How many jobs were lost; -1 when the run has ended.
        """
        keys, finish = self.keys, Finish(run.id, run.round)
        names = [keys.run(run.id), keys.flight(run.id), keys.blocks(run.id), keys.live, keys.queue]
        names += [keys.run_of(run.generation), keys.record(run.generation), job_key(finish.job_id)]
        delay = min(self.first_look_ms * 2, LONGEST_LOOK_MS)
        arguments: list[Value] = [run.id, delay, UNFINISHED_LIFE_MS, self.first_look_ms, finish.job_id]
        arguments += [encode_job(finish), keys.flow("")]
        for block, flow_id in (await self._gone(run.id))[:SLICE]:
            split = Split(fresh_id())
            names += [keys.flow(split.flow), job_key(split.job_id)]
            arguments += [block, flow_id, split.flow, split.job_id, encode_job(split)]
        return int(await call(self._redis, "tend", names, arguments))

    async def _gone(self, run_id: str) -> Sequence[tuple[bytes, bytes]]:
        """The blocks in flight whose flow is no longer there."""
        flight = list((await ask(self._redis, "HGETALL", self.keys.flight(run_id))).items())
        async with self._redis.pipeline(transaction=False) as pipe:
            for _, flow_id in flight:
                pipe.exists(self.keys.flow(flow_id.decode(errors="replace")))
            there = await pipe.execute()
        return [pair for pair, exists in zip(flight, there, strict=True) if not exists]
