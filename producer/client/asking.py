"""Requests to the workers: create a job, wait for its end, and create it again if Redis has lost it."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TypeVar

from reckoner.producer.client.waiting import Waiting, retry_while_away
from reckoner.shared.errors import FlowCancelledError, FlowFailedError, WireError
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.flows.flows import Flows
from reckoner.shared.serving.results import Results
from reckoner.shared.store.model_config import config_of, model_id
from reckoner.shared.wire.filters import Filter
from reckoner.shared.wire.shapes import (
    REPLY,
    SPEC,
    UNKNOWN_USER,
    BasketResult,
    BasketSpec,
    ClickSpec,
    EvaluationSpec,
    FilteredResult,
    FitSpec,
    Lane,
    QuestionSpec,
    Reply,
    Result,
    StoreSpec,
    UserSpec,
)

T = TypeVar("T")
# Attempts when Redis loses both flow and result.
MAX_ASKS = 3
LOST = "Redis lost the job repeatedly"


class Asking:
    """Creates jobs through `creating`, waits for them by `waiting`, and reads their `results` and `flows`.

    A lane with `most_queued` jobs refuses more with a QueueFullError. A job that Redis still knows is never created
    again, even if the connection was lost.
    """

    def __init__(
        self, flows: Flows, creating: Flows, results: Results, waiting: Waiting, most_queued: int | None
    ) -> None:
        self._flows = flows
        self._creating = creating
        self._most_queued = most_queued
        self._results = results
        self._waiting = waiting

    async def create(
        self, users: Sequence[str], generation: str, lane: Lane, wanted: Filter | None = None
    ) -> list[str]:
        """Create or join a job for each user's list, maybe with a filter; returns the jobs' ids."""
        keys, specs = self._flows.keys, [UserSpec(user, generation, wanted) for user in users]
        if wanted is None:
            joins = [keys.join_user(generation, user) for user in users]
        else:
            joins = [keys.join_filtered(generation, SPEC.encode(spec)) for spec in specs]
        return await self._creating.create(specs, joins, lane, self._most_queued)

    async def create_fit(self, spec: FitSpec, generation: str) -> str:
        """Create or join the job that fits a model; returns its id."""
        return await self._create_one(spec, self._flows.keys.join_fit(generation), "batch")

    async def create_model(self, spec: FitSpec) -> str:
        """Create or join the job that builds a model without a generation; returns its id."""
        return await self._create_one(
            spec, self._flows.keys.join_model(model_id(spec.snapshot, config_of(spec))), "batch"
        )

    async def create_evaluation(self, spec: EvaluationSpec) -> str:
        """Create or join the job that makes the lists of an evaluation; returns its id."""
        return await self._create_one(spec, self._flows.keys.join_evaluation(SPEC.encode(spec)), "batch")

    async def _create_one(self, spec: ClickSpec | StoreSpec, join: str, lane: Lane) -> str:
        return (await self._creating.create([spec], [join], lane, self._most_queued))[0]

    async def lists(
        self, users: Sequence[str], generation: str, *, fresh: bool, wanted: Filter | None = None
    ) -> tuple[dict[str, Result | None], dict[str, Flow | None]]:
        """Create jobs for users' lists, maybe with a filter, wait for them, and read the lists.

        Returns:
            The lists, None for a user who is not in the data; and the flows of the users whose job did not succeed,
            None if Redis lost the job.

        Raises:
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        users, found, failed = list(dict.fromkeys(users)), dict[str, Result | None](), dict[str, Flow | None]()
        create = partial(self.create, generation=generation, lane="click", wanted=wanted)
        jobs = await create(users)
        for left in reversed(range(MAX_ASKS)):
            states = {job: state async for job, state in self._waiting.ends(jobs)}
            results = await retry_while_away(partial(self._read, generation, users, wanted))
            found |= zip(users, results, strict=True)
            # The flow of a job whose list is there need not be read.
            open_jobs = {u: j for u, j in zip(users, jobs, strict=True) if states[j] != "done" or found[u] is None}
            flows = dict(zip(open_jobs, await self.flows_of(list(open_jobs.values())), strict=True))
            failed |= {user: flow for user, flow in flows.items() if flow and flow.ended and flow.state != "done"}
            users = [u for u, flow in flows.items() if u not in failed and _is_lost(flow, found[u], fresh)]
            if not users or not left:
                break
            jobs = await retry_while_away(partial(create, users))
        return found, failed | dict.fromkeys(users)

    async def _read(self, generation: str, users: Sequence[str], wanted: Filter | None) -> Sequence[Result | None]:
        if wanted is None:
            return await self._results.read(generation, users)
        return await self._results.read_filtered([UserSpec(user, generation, wanted) for user in users])

    async def flows_of(self, jobs: Sequence[str]) -> list[Flow | None]:
        """The flows of jobs, None for one that Redis has lost or that is unreadable."""
        flows = await retry_while_away(partial(self._flows.load_many, jobs)) if jobs else []
        return [flow if isinstance(flow, Flow) else None for flow in flows]

    async def create_basket(self, spec: BasketSpec, lane: Lane) -> str:
        """Create or join the job for a basket's list; returns its id."""
        join = self._flows.keys.join_basket(spec.generation, spec.items, ordered=spec.ordered)
        if spec.filter is not None:
            join = self._flows.keys.join_filtered(spec.generation, SPEC.encode(spec))
        return await self._create_one(spec, join, lane)

    async def basket(self, spec: BasketSpec) -> BasketResult:
        """A basket's list, computed now.

        Raises:
            FlowFailedError: the job failed.
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        return await self._computed_basket(spec, partial(self._results.read_basket, spec))

    async def filtered_basket(self, spec: BasketSpec) -> FilteredResult:
        """A basket's list with a filter, computed now; see `basket`."""

        async def read() -> FilteredResult | None:
            return (await self._results.read_filtered([spec]))[0]

        return await self._computed_basket(spec, read)

    async def _computed_basket(self, spec: BasketSpec, read: Callable[[], Awaitable[T | None]]) -> T:
        for _ in range(MAX_ASKS):
            await self._succeeded(partial(self.create_basket, spec, "click"), "The job for the basket")
            result = await retry_while_away(read)
            if result is not None:
                return result
        raise FlowFailedError("The basket's list was computed, but is missing from the cache. Is Redis full?")

    async def question(self, spec: QuestionSpec) -> Reply:
        """The answer to a question.

        Raises:
            FlowFailedError: the job failed, or its answer is unreadable.
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        keys, what = self._flows.keys, "The question"
        join = keys.join_question(spec.generation, SPEC.encode(spec))
        job = await self._succeeded(partial(self._create_one, spec, join, "click"), what)
        [flow] = await self.flows_of([job])
        if flow is None or flow.state != "done":
            raise job_error(what, None)
        try:
            return REPLY.decode(flow.answer)
        except WireError as error:
            await self._flows.refusals.field("reply", flow.id, keys.flow(flow.id), "answer", flow.answer)
            raise FlowFailedError("The answer in Redis was unreadable and was set aside. Ask again.") from error

    async def _succeeded(self, create: Callable[[], Awaitable[str]], what: str) -> str:
        """Create a job and wait until it succeeds; returns its id."""
        job = await create()
        for left in reversed(range(MAX_ASKS)):
            async for _, state in self._waiting.ends([job]):
                if state == "done":
                    return job
                [flow] = await self.flows_of([job]) if state is not None else [None]
                if flow is not None and flow.ended:
                    raise job_error(what, flow)
            if left:
                job = await retry_while_away(create)
        raise job_error(what, None)


def _is_lost(flow: Flow | None, result: Result | None, fresh: bool) -> bool:
    """Whether Redis has lost the job, or the list of a finished job."""
    if flow is None:
        return fresh or result is None
    return result is None and flow.answer != UNKNOWN_USER


def job_error(what: str, flow: Flow | None, more: str = "") -> FlowFailedError:
    """The error for a job that did not succeed; `flow` is None if Redis lost it, `more` is added to the sentence."""
    if flow is not None and flow.state == "cancelled":
        return FlowCancelledError(f"{what} was cancelled{more}.", job=flow.id)
    return FlowFailedError(f"{what} failed{more}: {LOST if flow is None else flow.reason}.", job=flow and flow.id)
