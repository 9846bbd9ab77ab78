"""The training part in the store: models are fitted on it by the workers, lists made, and all of it deleted.

Nothing of it touches a generation. A training part has an id that no import gives, so whatever belongs to it is the
evaluation's own. A lock keeps a second evaluation of the same training part away.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from msgspec import UNSET
from numpy.typing import NDArray

from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.splits import Split
from reckoner.producer.evaluation.store_jobs import Progress, StoreJobs, locked
from reckoner.shared.cancelling import run_to_its_end
from reckoner.shared.flows.flow_state import Flow
from reckoner.shared.store.evaluation_parts import Lists, get_lists
from reckoner.shared.store.fit_options import recency_of
from reckoner.shared.store.model_config import fit_spec, model_id
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND
from reckoner.shared.wire.shapes import EvaluationSpec

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner


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
    _jobs: StoreJobs
    _models: set[str] = field(default_factory=set)

    async def publish(self, directory: Path) -> None:
        """Publish the snapshot in `directory`."""
        await run_to_its_end(asyncio.to_thread(self._store.publish, KIND, self.snapshot, directory))

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
        fit = await self._jobs.done(asking.create_model(spec), f"Fitting {candidate.name}", progress)
        recency = await asyncio.to_thread(recency_of, self._store, self.snapshot, candidate.recency)
        tested = await self._jobs.put_users(self.snapshot, self._tested if users is None else users)
        wanted = EvaluationSpec(self.snapshot, model, tested, metrics.LENGTH, recency or UNSET)
        scored = await self._jobs.done(asking.create_evaluation(wanted), f"Scoring {candidate.name}", progress)
        lists = await asyncio.to_thread(get_lists, self._store, scored.answer.decode())
        return Scored(lists, recency, _took_ms(fit), _took_ms(scored))

    async def clean_up(self) -> None:
        """Cancel unfinished jobs, and delete everything of this training part from the store."""
        try:
            await self._jobs.clean_up()
        finally:
            await asyncio.to_thread(self._delete)

    def _delete(self) -> None:
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
        async with locked(reckoner, snapshot, "Another evaluation with the same training part is under way."):
            part = TrainingPart(snapshot, split.test.users, store, reckoner, StoreJobs(reckoner, store))
            try:
                await part.publish(directory)
                yield part
            finally:
                await run_to_its_end(part.clean_up())


def _took_ms(flow: Flow) -> int:
    return (flow.ended_ms or flow.created_ms) - flow.created_ms
