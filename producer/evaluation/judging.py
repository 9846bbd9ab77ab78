"""Judges the trials of a tuning in rounds, several at once on the workers."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.halving import (
    MOST_USERS,
    Standing,
    nothing_to_gain,
    order_of_users,
    rounds,
    standings,
    survivors,
)
from reckoner.producer.evaluation.splits import HeldOut, Split
from reckoner.producer.evaluation.store_jobs import Progress
from reckoner.producer.evaluation.training_part import TrainingPart, training_part
from reckoner.producer.evaluation.trials import Trial, Trials
from reckoner.shared.errors import FlowCancelledError, FlowFailedError
from reckoner.shared.store.protocol import Store

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner

# More trials at once would hold more memory, and leave no worker idle either.
MOST_IN_FLIGHT = 8


class Round(msgspec.Struct, frozen=True):
    """So many trials were judged by so many users."""

    trials: int
    users: int


class Judgement(NamedTuple):
    """How the trials stand, best first; trials are numbered as the candidates."""

    ranked: Sequence[Standing]
    rounds: list[Round]
    stopped_early: bool
    """Whether nothing was left to gain in the rounds that were left."""
    failed: Mapping[int, FlowFailedError]
    """The trials of a failed job, and why."""
    fit_s: Mapping[int, float]
    """The seconds of each trial's fit."""


@dataclass
class Judge:
    """Judges candidates by what a split holds out, with one of the metrics of users."""

    reckoner: "OpenReckoner"
    store: Store
    split: Split
    candidates: Sequence[Candidate]
    metric: str
    progress: Progress
    _values: dict[int, NDArray[np.float64]] = field(default_factory=dict)
    _fit_s: dict[int, float] = field(default_factory=dict)
    _failed: dict[int, FlowFailedError] = field(default_factory=dict)

    async def run(self, study: Sequence[Any], seed: int) -> Judgement:
        """Judge all candidates. `study` are the facts of the split; the seed draws the users of each round.

        Raises:
            UsageError: a tuning of the same split is under way.
            FlowFailedError: a job was cancelled, or one of each trial failed.
        """
        tested = self.split.test.users.size
        sizes = rounds(len(self.candidates), min(tested, MOST_USERS))
        trials = Trials(self.reckoner.redis, self.reckoner.keys, [*study, self.metric, seed, sizes])
        left, done = list(range(len(self.candidates))), list[Round]()
        async with AsyncExitStack() as stack:
            part: TrainingPart | None = None
            for number, places in enumerate(order_of_users(tested, sizes, seed)):
                found = await trials.find([self.candidates[trial] for trial in left], number, places.size)
                known = {trial: values for trial, values in zip(left, found, strict=True) if values is not None}
                if len(known) < len(left):
                    if part is None:
                        opened = training_part(self.split, self.reckoner, self.store)
                        part = await stack.enter_async_context(opened)
                    await self._judge(part, trials, number, places, left, known)
                self._note(known)
                left = [trial for trial in left if trial in known]
                done.append(Round(len(left), sizes[number]))
                kept = survivors(standings({trial: self._values[trial] for trial in left}))
                if nothing_to_gain(kept):
                    break
                left = sorted(standing.trial for standing in kept)
        return Judgement(standings(self._values), done, len(done) < len(sizes), self._failed, self._fit_s)

    async def _judge(
        self,
        part: TrainingPart,
        trials: Trials,
        number: int,
        places: NDArray[np.int64],
        left: Sequence[int],
        known: dict[int, Trial],
    ) -> None:
        """Judge the trials of a round that are not known yet, by the users at these places."""
        held, n_items = _of_users(self.split.test, places), len(self.split.training.item_ids)
        in_flight = asyncio.Semaphore(min(max(len(await self.reckoner.operator.alive()), 1), MOST_IN_FLIGHT))
        what = f"Judging trials by {places.size:,}{' more' if number else ''} users"

        async def judge(trial: int) -> None:
            candidate = self.candidates[trial]
            async with in_flight:
                try:
                    scored = await part.score(candidate, _show_nothing, held.users)
                except FlowCancelledError:
                    raise
                except FlowFailedError as error:
                    self._failed[trial] = error
                    return
            values = (await asyncio.to_thread(metrics.per_user, scored.lists, held, n_items))[self.metric]
            known[trial] = Trial(values.tobytes(), scored.fit_ms)
            await trials.remember(candidate, number, known[trial])
            self.progress(what, "trials", len(known), len(left))

        self.progress(what, "trials", len(known), len(left))
        try:
            async with asyncio.TaskGroup() as group:
                for trial in left:
                    if trial not in known:
                        group.create_task(judge(trial))
        except ExceptionGroup as raised:
            raise raised.exceptions[0] from None
        if not known:
            raise self._failed[left[0]]

    def _note(self, known: Mapping[int, Trial]) -> None:
        for trial, found in known.items():
            self._values[trial] = np.concatenate((self._values.get(trial, np.empty(0)), found.array))
            # A later round finds the model, or fits it again after a stop.
            self._fit_s[trial] = max(self._fit_s.get(trial, 0.0), found.fit_ms / 1000)


def _show_nothing(what: str, unit: str, done: int, total: int | None) -> None:
    """Several trials at once share one bar."""


def _of_users(held: HeldOut, places: NDArray[np.int64]) -> HeldOut:
    """What some users have held out; `places` are theirs among `held`, ascending."""
    counts = np.diff(held.ptr)[places]
    ptr = np.concatenate(([0], np.cumsum(counts)))
    taken = np.repeat(held.ptr[places] - ptr[:-1], counts) + np.arange(ptr[-1])
    return HeldOut(held.users[places], ptr, held.items[taken])
