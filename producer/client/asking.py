"""Asking the workers: a job for what is wanted, waited for, and asked for again when Redis has lost it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from reckoner.producer.client.waiting import Waiting, patiently
from reckoner.shared.errors import FlowCancelledError, FlowFailedError, WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.serving.results import Results
from reckoner.shared.wire.shapes import (
    REPLY,
    SPEC,
    UNKNOWN_USER,
    BasketResult,
    BasketSpec,
    ClickSpec,
    FitSpec,
    Lane,
    QuestionSpec,
    Reply,
    Result,
    UserSpec,
)

# How often the same is asked for when Redis has lost both flow and result.
MAX_ASKS = 3
LOST = "Redis lost the job, and lost it again"


class Asking:
    """What is asked of the workers through `flows`, and waited for by `waiting` until it is in `results`.

    A lane that holds `most_queued` jobs takes no more, and whoever asks gets a QueueFullError.
    What goes on is never asked for twice, whatever becomes of the connection meanwhile: only what Redis does not know
    any more is asked for again.
    """

    def __init__(self, flows: Flows, results: Results, waiting: Waiting, most_queued: int | None) -> None:
        self._flows = flows
        self._most_queued = most_queued
        self._results = results
        self._waiting = waiting

    async def create(self, users: Sequence[str], generation: str, lane: Lane) -> list[str]:
        """Ask for users' lists; returns the job that works for each."""
        join = self._flows.keys.join_user
        specs = [UserSpec(user, generation) for user in users]
        return await self._flows.create(specs, [join(generation, user) for user in users], lane, self._most_queued)

    async def create_fit(self, spec: FitSpec, generation: str) -> str:
        """Ask for the fit of a model; returns the job that works for it."""
        return await self._create_one(spec, self._flows.keys.join_fit(generation), "batch")

    async def _create_one(self, spec: ClickSpec | FitSpec, join: str, lane: Lane) -> str:
        return (await self._flows.create([spec], [join], lane, self._most_queued))[0]

    async def lists(
        self, users: Sequence[str], generation: str, *, fresh: bool
    ) -> tuple[dict[str, Result | None], dict[str, Flow | None]]:
        """Ask for users' lists, wait until they are in the cache, and read them.

        Returns:
            The lists, None for a user who is not in the data; and those users whose job came to another end, with that,
            None where Redis lost the job.

        Raises:
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        users, found, failed = list(dict.fromkeys(users)), dict[str, Result | None](), dict[str, Flow | None]()
        create = partial(self.create, generation=generation, lane="click")
        jobs = await create(users)
        for left in reversed(range(MAX_ASKS)):
            ends = await self._wait(dict(zip(jobs, users, strict=True)))
            failed |= {user: flow for user, flow in ends.items() if flow is not None and flow.state != "done"}
            results = await patiently(partial(self._results.read, generation, users))
            found |= zip(users, results, strict=True)
            users = [user for user in users if user not in failed and _is_lost(ends[user], found[user], fresh)]
            if not users or not left:
                break
            jobs = await patiently(partial(create, users))
        return found, failed | dict.fromkeys(users)

    async def create_basket(self, items: Sequence[str], generation: str, lane: Lane) -> str:
        """Ask for a basket's list; returns the job that works for it."""
        join = self._flows.keys.join_basket(generation, items)
        return await self._create_one(BasketSpec(list(items), generation), join, lane)

    async def basket(self, items: Sequence[str], generation: str) -> BasketResult:
        """A basket's list out of the cache, asked and waited for where it is not there.

        Raises:
            FlowFailedError: the job failed.
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        read = partial(self._results.read_basket, generation, items)
        result = await read()
        for _ in range(MAX_ASKS):
            if result is not None:
                return result
            await self._ended(partial(self.create_basket, items, generation, "click"), "The job for the basket")
            result = await patiently(read)
        if result is None:
            raise FlowFailedError("The list of the basket was computed, and is gone from the cache: is Redis full?")
        return result

    async def question(self, spec: QuestionSpec) -> Reply:
        """The answer to a question.

        Raises:
            FlowFailedError: it could not be answered.
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        keys = self._flows.keys
        join = keys.join_question(spec.generation, SPEC.encode(spec))
        flow = await self._ended(partial(self._create_one, spec, join, "click"), "The question")
        try:
            return REPLY.decode(flow.answer)
        except WireError as error:
            await self._flows.refusals.field("reply", flow.id, keys.flow(flow.id), "answer", flow.answer)
            raise FlowFailedError("The answer in Redis could not be read and was set aside; ask again.") from error

    async def _ended(self, create: Callable[[], Awaitable[str]], what: str) -> Flow:
        """Ask for one job and wait for its good end."""
        job = await create()
        for left in reversed(range(MAX_ASKS)):
            async for _, flow in self._waiting.ends([job]):
                if flow is not None and flow.state == "done":
                    return flow
                if flow is not None:
                    raise no_good_end(what, flow)
            if left:
                job = await patiently(create)
        raise no_good_end(what, None)

    async def _wait(self, users: dict[str, str]) -> dict[str, Flow | None]:
        """Wait for the jobs of `users`; returns how each user's ended, None for a job that Redis does not know."""
        return {users[job]: flow async for job, flow in self._waiting.ends(list(users))}


def _is_lost(flow: Flow | None, result: Result | None, fresh: bool) -> bool:
    """Whether Redis has lost what was asked for: the job, or the list that a job which is done has left."""
    if flow is None:
        return fresh or result is None
    return result is None and flow.answer != UNKNOWN_USER


def no_good_end(what: str, flow: Flow | None, more: str = "") -> FlowFailedError:
    """The error for a job that came to no good end, None when Redis lost it; `more` goes behind what became of it."""
    if flow is not None and flow.state == "cancelled":
        return FlowCancelledError(f"{what} was cancelled{more}.", job=flow.id)
    return FlowFailedError(f"{what} failed{more}: {LOST if flow is None else flow.reason}.", job=flow and flow.id)
