"""The dead letters: failed jobs and invalid bytes, to be shown, retried or dropped."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from reckoner.shared.errors import LetterUnknownError, RetryRefusedError, WireError
from reckoner.shared.flows.flow_state import parse_count
from reckoner.shared.flows.flows import Flows
from reckoner.shared.ids import fresh_id
from reckoner.shared.redis.keys import Keys, job_key
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import Value, ask, call
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.wire.filters import Filter
from reckoner.shared.wire.jobs import Split, encode_job
from reckoner.shared.wire.shapes import (
    OUTCOME,
    SPEC,
    BasketSpec,
    BlockSpec,
    EvaluationSpec,
    FitSpec,
    Spec,
    StoreSpec,
    UserSpec,
)

LETTERS_AT_ONCE = 100

LetterKind = Literal["flow", "refused", "damaged"]


@dataclass(frozen=True)
class DeadLetter:
    """A dead letter; one that our scripts did not write is `damaged`, and is shown too."""

    id: str
    """The id of its stream entry."""
    kind: LetterKind
    subject: str
    """The id of the flow, or of the value with the refused bytes."""
    of: str
    """The kind of flow or of bytes."""
    reason: str
    at_ms: int
    data: bytes
    """A flow's encoded spec, or up to 4 KiB of the refused bytes."""
    spec: Spec | None
    """The flow's spec, None if unknown."""
    block: int | None
    """The block's number in its run, None if it is no block or unknown."""


@dataclass(frozen=True)
class Retried:
    """A retried dead letter and its flow, which `is_new` unless an unfinished one was joined."""

    letter: DeadLetter
    job: str
    is_new: bool


class DeadLetters:
    """The dead letters under one prefix."""

    def __init__(self, redis: Redis, flows: Flows) -> None:
        self._redis = redis
        self._flows = flows
        self.keys: Keys = flows.keys

    async def pages(self) -> AsyncIterator[list[DeadLetter]]:
        """Yield all present dead letters in pages, newest first."""
        last = "+"
        while page := await self._read("XREVRANGE", self.keys.dead, last, "-", "COUNT", LETTERS_AT_ONCE):
            yield page
            last = f"({page[-1].id}"

    async def newest(self, count: int) -> list[DeadLetter]:
        """The `count` newest dead letters, newest first."""
        found: list[DeadLetter] = []
        async for page in self.pages():
            found += page
            if len(found) >= count:
                break
        return found[:count]

    async def find(self, letter_id: str) -> DeadLetter:
        """Find a dead letter.

        Raises:
            LetterUnknownError: no letter has this id.
        """
        known = _is_entry(letter_id) and await self._read("XRANGE", self.keys.dead, letter_id, letter_id)
        if not known:
            raise _unknown(letter_id)
        return known[0]

    async def _read(self, *command: Value) -> list[DeadLetter]:
        try:
            entries = await ask(self._redis, *command)
        except ResponseError as error:
            if not is_wrong_type(error):
                raise
            # The key has another type: quarantine it, as the sweeper would.
            await self._flows.refusals.wrong_types(self.keys.types)
            return []
        return [decode_letter(entry.decode(), dict(fields)) for entry, fields in entries]

    async def drop(self, letter_id: str) -> None:
        """Drop a dead letter.

        Raises:
            LetterUnknownError: no letter has this id.
        """
        await self.find(letter_id)
        if not await ask(self._redis, "XDEL", self.keys.dead, letter_id):
            raise _unknown(letter_id)

    async def drop_all(self) -> int:
        """Drop all present dead letters and return their number."""
        dropped = 0
        async for page in self.pages():
            dropped += int(await ask(self._redis, "XDEL", self.keys.dead, *(letter.id for letter in page)))
        return dropped

    async def retry(self, letter_id: str) -> Retried:
        """Retry a failed job: a new flow, or an unfinished one for the same, replaces the letter.

        A block is retried in its run; an ended run is reopened and checked at the gate again.

        Raises:
            LetterUnknownError: no letter has this id.
            RetryRefusedError: the letter cannot be retried, and stays.
        """
        letter = await self.find(letter_id)
        if letter.kind != "flow":
            raise RetryRefusedError(f"Dead letter {letter.id} holds invalid bytes, not a job. Drop it.")
        match letter.spec:
            case None:
                raise RetryRefusedError(f"The job of dead letter {letter.id} cannot be read. Enqueue it again.")
            case BlockSpec() as spec:
                return await self._retry_block(letter, spec)
            case spec:
                return await self._retry_flow(letter, spec)

    async def _retry_flow(self, letter: DeadLetter, spec: Spec) -> Retried:
        keys, split = self.keys, Split(fresh_id())
        names = [
            keys.dead,
            *keys.lanes,
            keys.live_stem,
            keys.flow(split.flow),
            job_key(split.job_id),
            _join(keys, spec),
        ]
        if not isinstance(spec, StoreSpec):
            names.append(keys.record(spec.generation))
        arguments: list[Value] = [letter.id, split.flow, "batch", letter.of, letter.data, split.job_id]
        arguments += [encode_job(split), self._flows.first_look_ms, keys.flow("")]
        return self._judge(letter, *await call(self._redis, "retry", names, arguments))

    async def _retry_block(self, letter: DeadLetter, spec: BlockSpec) -> Retried:
        keys, split = self.keys, Split(fresh_id())
        block = "" if letter.block is None else str(letter.block)
        outcome = await ask(self._redis, "HGET", keys.blocks(spec.run), block) or b""
        if _is_done(outcome):
            return self._judge(letter, b"no failure")
        names = [keys.dead, keys.live_stem, keys.flow(split.flow), job_key(split.job_id), keys.run(spec.run)]
        names += [keys.flight(spec.run), keys.blocks(spec.run), keys.run_of(spec.generation)]
        names += [keys.record(spec.generation), *keys.lanes]
        arguments: list[Value] = [letter.id, split.flow, spec.run, block, outcome, letter.data, split.job_id]
        arguments += [encode_job(split), self._flows.first_look_ms, keys.run("")]
        return self._judge(letter, *await call(self._redis, "retry_block", names, arguments))

    def _judge(self, letter: DeadLetter, answer: bytes, about: bytes = b"") -> Retried:
        named = about.decode(errors="replace")
        if answer in (b"created", b"joined"):
            return Retried(letter, named, answer == b"created")
        if answer == b"gone":
            raise _unknown(letter.id)
        raise RetryRefusedError(_refusal(letter, answer.decode(), named), letter=letter.id)


def _refusal(letter: DeadLetter, answer: str, named: str) -> str:
    """Why a script refused a retry, and what to do."""
    this, spec = f"dead letter {letter.id}", letter.spec
    if not isinstance(spec, BlockSpec):
        return f"The generation of {this} was deleted. Enqueue the job again with `reckoner enqueue`."
    compute = "Compute all lists with `reckoner batch`"
    return {
        "forgotten": f"The generation of {this} was deleted. {compute}.",
        "run gone": f"Run {spec.run} of {this} has expired. {compute}.",
        "finishing": f"Run {spec.run} of {this} is being finished. Retry in a moment.",
        "no failure": f"The block of {this} has not failed in run {spec.run}, or was retried. Drop the letter.",
        "another run": f"Run {named} already computes all lists for the generation of {this}. Wait for its end.",
    }[answer]


def _unknown(letter_id: str) -> LetterUnknownError:
    return LetterUnknownError(
        f"There is no dead letter {letter_id}: `reckoner dead list` lists the present ones.", letter=letter_id
    )


def _is_entry(letter_id: str) -> bool:
    """Whether this is a valid id of a stream entry: two integers of 64 bits."""
    parts = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,20})", letter_id)
    return parts is not None and all(int(part) < 2**64 for part in parts.groups())


def _is_done(outcome: bytes) -> bool:
    """Whether a block succeeded; an unreadable outcome counts as failed, as in its run."""
    try:
        return not OUTCOME.decode(outcome).reason
    except WireError:
        return False


def _join(keys: Keys, spec: Spec) -> str:
    """The key by which a job joins an unfinished one for the same."""
    match spec:
        case UserSpec(filter=Filter()) | BasketSpec(filter=Filter()):
            return keys.join_filtered(spec.generation, SPEC.encode(spec))
        case UserSpec():
            return keys.join_user(spec.generation, spec.user)
        case BasketSpec():
            return keys.join_basket(spec.generation, spec.items, ordered=spec.ordered)
        case FitSpec():
            model = model_id(spec.snapshot, config_of(spec))
            fit = keys.join_fit(generation_id(model, spec.options, spec.spare))
            return keys.join_model(model) if spec.only_model else fit
        case EvaluationSpec():
            return keys.join_evaluation(SPEC.encode(spec))
        case _:
            return keys.join_question(spec.generation, SPEC.encode(spec))


def decode_letter(entry: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """Decode an entry of the stream, whatever it holds."""

    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="backslashreplace")

    kind, data, spec = text(b"kind"), fields.get(b"data", b""), None
    ours = kind in ("flow", "refused") and {b"id", b"of", b"reason", b"data"} <= fields.keys()
    if ours and kind == "flow":
        spec = _decode_spec(data, text(b"of"))
    try:
        block = parse_count(fields.get(b"block", b"")) if isinstance(spec, BlockSpec) else None
    except WireError:
        block = None
    return DeadLetter(
        id=entry,
        kind=kind if ours else "damaged",  # type: ignore[arg-type] # `ours` checks it
        subject=text(b"id"),
        of=text(b"of"),
        reason=text(b"reason"),
        at_ms=int(entry.partition("-")[0]),
        data=data,
        spec=spec,
        block=block,
    )


def _decode_spec(data: bytes, kind: str) -> Spec | None:
    try:
        spec = SPEC.decode(data)
        if isinstance(spec, FitSpec):
            config_of(spec)
    except WireError:
        return None
    return spec if spec.__struct_config__.tag == kind else None
