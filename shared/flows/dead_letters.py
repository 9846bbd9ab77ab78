"""The dead letters: what failed and what was refused, to be looked at, asked for again, or dropped."""

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Literal

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from reckoner.shared.errors import LetterUnknownError, RetryRefusedError, WireError
from reckoner.shared.flows.flow_state import parse_count
from reckoner.shared.flows.flows import Flows, fresh_id
from reckoner.shared.redis.keys import Keys, job_key
from reckoner.shared.redis.refusals import is_wrong_type
from reckoner.shared.redis.scripts import Value, ask, call
from reckoner.shared.serving.generations import generation_id
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.wire.jobs import Split, encode_job
from reckoner.shared.wire.shapes import OUTCOME, SPEC, BasketSpec, BlockSpec, FitSpec, Options, Spec, UserSpec

LETTERS_AT_ONCE = 100

LetterKind = Literal["flow", "refused", "damaged"]


@dataclass(frozen=True)
class DeadLetter:
    """One dead letter as it was read; one that none of our scripts has written is `damaged`, and shown all the same."""

    id: str
    """The id of its entry in the stream."""
    kind: LetterKind
    subject: str
    """The id of the flow, or of what the refused bytes were meant to be."""
    of: str
    """The kind of flow or of bytes."""
    reason: str
    at_ms: int
    data: bytes
    """A flow's encoded spec, or up to 4 KiB of what was refused."""
    spec: Spec | None
    """What the flow asked for; None where that is not known any more."""
    block: int | None
    """The number of the block in its run; None for all else, and for a block that its run did not know."""


@dataclass(frozen=True)
class Retried:
    """What became of a dead letter: the flow that works for it now, `is_new` unless it was under way already."""

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
        """All dead letters, the newest first, some at a time; those that come meanwhile are not among them."""
        last = "+"
        while page := await self._read("XREVRANGE", self.keys.dead, last, "-", "COUNT", LETTERS_AT_ONCE):
            yield page
            last = f"({page[-1].id}"

    async def newest(self, count: int) -> list[DeadLetter]:
        """The newest dead letters, the newest first."""
        found: list[DeadLetter] = []
        async for page in self.pages():
            found += page
            if len(found) >= count:
                break
        return found[:count]

    async def find(self, letter_id: str) -> DeadLetter:
        """One dead letter.

        Raises:
            LetterUnknownError: there is none of that id.
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
            # What stands in the place of the letters is no letter: it is set aside, as the sweeper would do it.
            await self._flows.refusals.wrong_types(self.keys.types)
            return []
        return [decode_letter(entry.decode(), dict(fields)) for entry, fields in entries]

    async def drop(self, letter_id: str) -> None:
        """Drop one dead letter.

        Raises:
            LetterUnknownError: there is none of that id.
        """
        await self.find(letter_id)
        if not await ask(self._redis, "XDEL", self.keys.dead, letter_id):
            raise _unknown(letter_id)

    async def drop_all(self) -> int:
        """Drop all that there are now; returns how many."""
        dropped = 0
        async for page in self.pages():
            dropped += int(await ask(self._redis, "XDEL", self.keys.dead, *(letter.id for letter in page)))
        return dropped

    async def retry(self, letter_id: str) -> Retried:
        """Ask again for what failed: a new flow, or the one under way for the same, takes the letter's place.

        A block is done again in its run; if that had ended, it is under way again and will be judged again.

        Raises:
            LetterUnknownError: there is none of that id (any more).
            RetryRefusedError: it holds no flow that can be asked for again, and is left as it is.
        """
        letter = await self.find(letter_id)
        if letter.kind != "flow":
            raise RetryRefusedError(f"Dead letter {letter.id} holds bytes that are no job: it can only be dropped.")
        match letter.spec:
            case None:
                raise RetryRefusedError(
                    f"What the job of dead letter {letter.id} asked for cannot be read: ask for it again."
                )
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
        if not isinstance(spec, FitSpec):
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
    """Why a script refused to do a letter's flow again, and what there is to do."""
    this, spec = f"dead letter {letter.id}", letter.spec
    if not isinstance(spec, BlockSpec):
        return f"The generation of {this} is forgotten: ask again with `reckoner enqueue`."
    anew = "compute everybody's list again with `reckoner batch`"
    return {
        "forgotten": f"The generation of {this} is forgotten: {anew}.",
        "run gone": f"Run {spec.run}, to which {this} belongs, is forgotten: {anew}.",
        "finishing": f"Run {spec.run}, to which {this} belongs, is just being judged: try again in a moment.",
        "no failure": f"What {this} is about is not, or no longer, a failed block of run {spec.run}: drop it.",
        "another run": f"Run {named} computes everybody's list for the generation of {this} already: wait for its end.",
    }[answer]


def _unknown(letter_id: str) -> LetterUnknownError:
    return LetterUnknownError(
        f"There is no dead letter {letter_id} (any more): `reckoner dead list` shows those that there are.",
        letter=letter_id,
    )


def _is_entry(letter_id: str) -> bool:
    """Whether it can be the id of an entry in a stream: two whole numbers of 64 bits."""
    parts = re.fullmatch(r"([0-9]{1,20})-([0-9]{1,20})", letter_id)
    return parts is not None and all(int(part) < 2**64 for part in parts.groups())


def _is_done(outcome: bytes) -> bool:
    """Whether a block has ended well; one whose outcome cannot be read counts as failed, as it does in its run."""
    try:
        return not OUTCOME.decode(outcome).reason
    except WireError:
        return False


def _join(keys: Keys, spec: Spec) -> str:
    """The name under which a job joins one for the same."""
    match spec:
        case UserSpec():
            return keys.join_user(spec.generation, spec.user)
        case BasketSpec():
            return keys.join_basket(spec.generation, spec.items)
        case FitSpec():
            model = model_id(spec.snapshot, config_of(spec))
            return (
                keys.join_heal(model) if spec.heals else keys.join_fit(generation_id(model, Options(spec.list_length)))
            )
        case _:
            return keys.join_question(spec.generation, SPEC.encode(spec))


def decode_letter(entry: str, fields: Mapping[bytes, bytes]) -> DeadLetter:
    """The dead letter that an entry of the stream holds; whatever it holds, there is one."""

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
        kind=kind if ours else "damaged",  # type: ignore[arg-type] # it is one of the two
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
