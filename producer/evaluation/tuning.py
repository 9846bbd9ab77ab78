"""Tunes: judges candidates by successive halving on a validation part, and shows the test part once to the best."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.comparing import judged
from reckoner.producer.evaluation.evaluating import Evaluated, evaluate, split_to_test
from reckoner.producer.evaluation.halving import (
    MOST_USERS,
    Standing,
    nothing_to_gain,
    order_of_users,
    rounds,
    standings,
    survivors,
)
from reckoner.producer.evaluation.splits import HeldOut, Protocol, Split, interactions_of
from reckoner.producer.evaluation.store_jobs import Progress
from reckoner.producer.evaluation.training_part import TrainingPart, training_part
from reckoner.producer.evaluation.trials import Trial, Trials
from reckoner.shared.serving.evaluations import Metric
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner

# More trials at once would hold more memory, and leave no worker idle either.
MOST_IN_FLIGHT = 8


class TrialReport(msgspec.Struct, frozen=True):
    """A trial, with its metric on so many users; the difference is to the best trial on the same users."""

    name: str
    config: Mapping[str, Any]
    recency: float | None
    """None: the default for the data."""
    is_live: bool
    users: int
    metric: Metric


class Round(msgspec.Struct, frozen=True):
    """So many trials were judged by so many users."""

    trials: int
    users: int


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """All trials of a tuning, best first. Equal inputs give equal bytes."""

    format: Literal[1] = 1
    snapshot: str
    split: dict[str, Any]
    """How the test part is split off, and the same way the validation part from the rest."""
    metric: str
    seed: int
    counts: dict[str, int]
    """Of the validation part."""
    rounds: list[Round]
    stopped_early: bool
    """Whether nothing was left to gain in the rounds that were left."""
    trials: list[TrialReport]
    command: str
    """The command that builds the best model."""


class Tuned(NamedTuple):
    """A tuning; the best candidate in the test part; and the seconds of each trial's fit, by name."""

    tuning: Tuning
    test: Evaluated
    fit_s: Mapping[str, float]


class _Validation(NamedTuple):
    """The validation part, and the places of the users whom each round adds."""

    split: Split
    parts: Sequence[NDArray[np.int64]]


async def tune(
    reckoner: "OpenReckoner",
    store: Store,
    snapshot_id: str,
    protocol: Protocol,
    candidates: Mapping[Candidate, bool],
    *,
    metric: str,
    seed: int,
    progress: Progress,
) -> Tuned:
    """Judge candidates, each with whether it is the live one, on a validation part; show the best the test part.

    The first candidate, the live or default one, is shown the test part too.

    The validation part is split off the training part as the test part was split off the data. Trials that are done
    are remembered. The evaluation of the best one is kept in the history.

    Raises:
        UsageError: a split is impossible, nobody is tested, or a tuning of the same split is under way.
        FlowFailedError: a job failed or was cancelled.
        RedisUnavailableError: Redis was away for longer than a minute.
        StoreError: the store cannot be written.
    """
    data = interactions_of(await asyncio.to_thread(lambda: open_snapshot(store.fetch(KIND, snapshot_id))))
    progress("Splitting the interactions", "", 0, None)
    outer = await asyncio.to_thread(split_to_test, data, protocol)
    split = await asyncio.to_thread(split_to_test, outer.training, protocol)
    tested = split.test.users.size
    sizes = rounds(len(candidates), min(tested, MOST_USERS))
    validation = _Validation(split, order_of_users(tested, sizes, seed))
    study = [snapshot_id, protocol.facts(), metric, seed, sizes]
    trials = Trials(reckoner.redis, reckoner.keys, study)
    halving = _Halving(reckoner, store, validation, trials, metric, list(candidates), progress)
    ranked, stopped_early = await halving.run()
    best = halving.candidates[ranked[0].trial]
    shown = {candidate: candidates[candidate] for candidate in (halving.candidates[0], best)}
    test = await evaluate(reckoner, store, snapshot_id, protocol, shown, progress)
    tuning = Tuning(
        snapshot=snapshot_id,
        split=protocol.facts(),
        metric=metric,
        seed=seed,
        counts={
            "users": tested,
            "training_users": len(split.training.user_ids),
            "training_items": len(split.training.item_ids),
            "training_interactions": split.training.items.size,
        },
        rounds=halving.rounds,
        stopped_early=stopped_early,
        trials=[_report(standing, halving.candidates[standing.trial], candidates) for standing in ranked],
        command=best.command,
    )
    return Tuned(tuning, test, halving.fit_s)


def _report(standing: Standing, candidate: Candidate, candidates: Mapping[Candidate, bool]) -> TrialReport:
    beside = standing.beside_best
    figures = Metric(*standing.mean, None if beside is None else judged(beside))
    facts = candidate.config.facts()
    return TrialReport(candidate.name, facts, candidate.recency, candidates[candidate], standing.users, figures)


class _Halving:
    """The rounds of a tuning, several trials at once."""

    def __init__(
        self,
        reckoner: "OpenReckoner",
        store: Store,
        validation: _Validation,
        trials: Trials,
        metric: str,
        candidates: Sequence[Candidate],
        progress: Progress,
    ) -> None:
        self.candidates = candidates
        self.rounds = list[Round]()
        self.fit_s = dict[str, float]()
        self._reckoner, self._store = reckoner, store
        self._validation, self._trials = validation, trials
        self._metric, self._progress = metric, progress
        self._values: list[NDArray[np.float64]] = [np.empty(0) for _ in candidates]

    async def run(self) -> tuple[list[Standing], bool]:
        """Judge all candidates; returns them best first, and whether rounds were left out."""
        left = list(range(len(self.candidates)))
        async with AsyncExitStack() as stack:
            part: TrainingPart | None = None
            for number, places in enumerate(self._validation.parts):
                found = await self._trials.find([self.candidates[trial] for trial in left], number, places.size)
                done = {trial: known for trial, known in zip(left, found, strict=True) if known is not None}
                if len(done) < len(left):
                    if part is None:
                        opened = training_part(self._validation.split, self._reckoner, self._store)
                        part = await stack.enter_async_context(opened)
                    await self._judge(part, number, left, done)
                for trial in left:
                    self._note(trial, done[trial])
                users = self._values[left[0]].size
                self.rounds.append(Round(len(left), users))
                ranked = standings([self._values[trial] for trial in left])
                last = number == len(self._validation.parts) - 1
                kept = ranked if last else survivors(ranked)
                if last or nothing_to_gain(kept):
                    return standings(self._values), not last
                left = sorted(left[standing.trial] for standing in kept)
        raise AssertionError("a tuning has a last round")

    async def _judge(self, part: TrainingPart, number: int, left: Sequence[int], done: dict[int, Trial]) -> None:
        """Judge the trials of a round that are not done."""
        places = self._validation.parts[number]
        test = self._validation.split.test
        held = _of_users(test, places)
        n_items = len(self._validation.split.training.item_ids)
        in_flight = asyncio.Semaphore(min(max(len(await self._reckoner.operator.alive()), 1), MOST_IN_FLIGHT))
        users = self._values[left[0]].size + places.size

        def show() -> None:
            self._progress(f"Judging trials by {users:,} users", "trials", len(done), len(left))

        async def judge(trial: int) -> None:
            candidate = self.candidates[trial]
            async with in_flight:
                scored = await part.score(candidate, _show_nothing, held.users)
            values = (await asyncio.to_thread(metrics.per_user, scored.lists, held, n_items))[self._metric]
            done[trial] = Trial(values.tobytes(), scored.fit_ms)
            await self._trials.remember(candidate, number, done[trial])
            show()

        show()
        try:
            async with asyncio.TaskGroup() as group:
                for trial in left:
                    if trial not in done:
                        group.create_task(judge(trial))
        except ExceptionGroup as failed:
            raise failed.exceptions[0] from None

    def _note(self, trial: int, done: Trial) -> None:
        self._values[trial] = np.concatenate((self._values[trial], done.array))
        name, fit_s = self.candidates[trial].name, done.fit_ms / 1000
        self.fit_s[name] = max(self.fit_s.get(name, 0.0), fit_s)


def _show_nothing(what: str, unit: str, done: int, total: int | None) -> None:
    """Several trials at once share one bar."""


def _of_users(held: HeldOut, places: NDArray[np.int64]) -> HeldOut:
    """What some users have held out; `places` are theirs among `held`, ascending."""
    counts = np.diff(held.ptr)[places]
    ptr = np.concatenate(([0], np.cumsum(counts)))
    taken = np.repeat(held.ptr[places] - ptr[:-1], counts) + np.arange(ptr[-1])
    return HeldOut(held.users[places], ptr, held.items[taken])
