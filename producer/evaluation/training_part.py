"""The training part in the store: models are fitted on it by the workers, lists made, and all of it deleted.

Nothing of it touches a generation. A training part has an id that no import gives, so whatever belongs to it is the
evaluation's own. A lock keeps a second evaluation of the same training part away.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from reckoner.producer.client.asking import job_error
from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.splits import Split
from reckoner.shared.cancelling import run_to_its_end
from reckoner.shared.errors import FlowUnknownError, UsageError, WireError
from reckoner.shared.flows.flow_state import DamagedFlowError, Flow
from reckoner.shared.flows.flows import fresh_id
from reckoner.shared.periodic import renewing
from reckoner.shared.redis.scripts import call
from reckoner.shared.store.evaluation_parts import Lists, get_lists, put_users
from reckoner.shared.store.fit_options import recency_of
from reckoner.shared.store.model_config import fit_spec, model_id
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND
from reckoner.shared.wire.shapes import PARTIAL, EvaluationSpec, Part, digest_context

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner

LOCK_MS = 60_000

Progress = Callable[[str, str, int, int | None], None]
"""What is done, in which unit, how many are done, and of how many."""


class Scored(NamedTuple):
    """A candidate's lists of the tested users, and the milliseconds of its fit and scoring on the workers."""

    lists: Lists
    recency: float
    """The candidate's, or the default for the data."""
    fit_ms: int
    score_ms: int


@dataclass
class TrainingPart:
    """A training part in the store. Candidates are scored on it, several at once if wanted."""

    snapshot: str
    _tested: NDArray[np.uint32]
    _store: Store
    _reckoner: "OpenReckoner"
    _jobs: set[str] = field(default_factory=set)
    _models: set[str] = field(default_factory=set)
    _parts: set[str] = field(default_factory=set)

    async def publish(self, directory: Path) -> None:
        """Publish the snapshot in `directory`."""
        await run_to_its_end(asyncio.to_thread(self._store.publish, KIND, self.snapshot, directory))

    async def _put(self, users: NDArray[np.uint32]) -> str:
        """Store the indices of users, or renew the part; returns its name."""

        async def put() -> str:
            name = await asyncio.to_thread(put_users, self._store, self.snapshot, users)
            self._parts.add(name)
            return name

        return await run_to_its_end(put())

    async def score(self, candidate: Candidate, progress: Progress, users: NDArray[np.uint32] | None = None) -> Scored:
        """Fit a candidate on the training part, and make the lists of some users, ascending, or of all tested ones.

        Raises:
            FlowFailedError: a job failed or was cancelled.
            RedisUnavailableError: Redis was away for longer than a minute.
        """
        # If it is old, it could be deleted between two jobs, when no flow names it.
        await asyncio.to_thread(self._store.renew, KIND, self.snapshot)
        asking, model = self._reckoner.asking, model_id(self.snapshot, candidate.config)
        self._models.add(model)
        spec = fit_spec(self.snapshot, candidate.config, metrics.LENGTH, only_model=True)
        fit = await self._done(asking.create_model(spec), f"Fitting {candidate.name}", progress)
        recency = await asyncio.to_thread(recency_of, self._store, self.snapshot, candidate.recency)
        tested = await self._put(self._tested if users is None else users)
        wanted = EvaluationSpec(self.snapshot, model, tested, metrics.LENGTH, recency or UNSET)
        scored = await self._done(asking.create_evaluation(wanted), f"Scoring {candidate.name}", progress)
        lists = await asyncio.to_thread(get_lists, self._store, scored.answer.decode())
        return Scored(lists, recency, _took_ms(fit), _took_ms(scored))

    async def _done(self, creating: Coroutine[Any, Any, str], what: str, progress: Progress) -> Flow:
        """Create a job, and wait until it has succeeded."""

        async def create() -> str:
            job = await creating
            self._jobs.add(job)
            return job

        job = await run_to_its_end(create())
        try:
            async for report in self._reckoner.follow(job):
                progress(what, "chunk tasks", report.tasks_done, report.flow.tasks or None)
        except FlowUnknownError:
            raise job_error(what, None) from None
        self._note_answer(report.flow)
        self._jobs.discard(job)
        if report.flow.state != "done":
            raise job_error(what, report.flow)
        return report.flow

    def _note_answer(self, flow: Flow) -> None:
        if flow.state == "done" and isinstance(flow.spec, EvaluationSpec):
            self._parts.add(flow.answer.decode())

    async def clean_up(self) -> None:
        """Cancel unfinished jobs, and delete everything of this training part from the store."""
        flows = self._reckoner.flows
        try:
            for flow in await flows.load_many(sorted(self._jobs)):
                if isinstance(flow, Flow) and flow.ended:
                    self._note_answer(flow)
                elif flow is not None:
                    self._parts |= await self._stored_parts(flow)
                    await flows.cancel(flow)
        finally:
            await asyncio.to_thread(self._delete)

    async def _stored_parts(self, flow: Flow | DamagedFlowError) -> set[str]:
        """The parts in the store that an unfinished flow's tasks have put there."""
        found = set[str]()
        if isinstance(flow, DamagedFlowError):
            return found
        for index, data in (await self._reckoner.flows.partials(flow.id)).items():
            with suppress(WireError, ValueError, IndexError):
                bounds = flow.plan.bounds if flow.plan else []
                partial = PARTIAL.decode(data, digest_context(flow.id, int(index), bounds))
                found |= {partial.name} if isinstance(partial, Part) else set()
        return found

    def _delete(self) -> None:
        for part in self._parts:
            self._store.delete("parts", part)
        for model in self._models:
            self._store.delete("models", model)
        self._store.delete(KIND, self.snapshot)


@asynccontextmanager
async def training_part(split: Split, reckoner: "OpenReckoner", store: Store) -> AsyncIterator[TrainingPart]:
    """Publish a training part for the block, and delete it with everything made of it at the end.

    Raises:
        UsageError: another evaluation of the same training part is under way.
        StoreError: the store cannot be written.
    """
    with store.scratch() as directory:
        snapshot = await run_to_its_end(asyncio.to_thread(split.training.write, directory))
        async with _locked(reckoner, snapshot):
            part = TrainingPart(snapshot, split.test.users, store, reckoner)
            try:
                await part.publish(directory)
                yield part
            finally:
                await run_to_its_end(part.clean_up())


@asynccontextmanager
async def _locked(reckoner: "OpenReckoner", snapshot: str) -> AsyncIterator[None]:
    lock, token = reckoner.keys.evaluation(snapshot), fresh_id()
    if not await call(reckoner.redis, "lock", [lock], [token, LOCK_MS]):
        raise UsageError("Another evaluation with the same training part is under way. Wait for its end.")
    async with renewing(reckoner.redis, lock, token, LOCK_MS):
        try:
            yield
        finally:
            await call(reckoner.redis, "unlock", [lock], [token])


def _took_ms(flow: Flow) -> int:
    return (flow.ended_ms or flow.created_ms) - flow.created_ms
