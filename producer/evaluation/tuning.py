"""Tunes: judges candidates by successive halving on a validation part, and shows the test part once to the best."""

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import msgspec

from reckoner.producer.evaluation.candidates import Candidate
from reckoner.producer.evaluation.comparing import judged
from reckoner.producer.evaluation.evaluating import Evaluated, evaluate, split_to_test
from reckoner.producer.evaluation.halving import Standing
from reckoner.producer.evaluation.judging import Judge, Round
from reckoner.producer.evaluation.splits import Protocol, Split, interactions_of
from reckoner.producer.evaluation.store_jobs import Progress
from reckoner.shared.serving.evaluations import Metric
from reckoner.shared.store.protocol import Store
from reckoner.shared.store.snapshots import KIND, open_snapshot

if TYPE_CHECKING:
    from reckoner.producer.client.open import OpenReckoner


class TrialReport(msgspec.Struct, frozen=True):
    """A trial, with its metric on so many users; the difference is to the best trial on the same users."""

    name: str
    config: Mapping[str, Any]
    recency: float | None
    """None: the default for the data."""
    is_live: bool
    users: int
    metric: Metric


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
    failed: dict[str, str]
    """The trials of a failed job, and why."""
    command: str
    """The command that builds the best model."""


class Tuned(NamedTuple):
    """A tuning; the best candidate in the test part; and the seconds of each trial's fit, by name."""

    tuning: Tuning
    test: Evaluated
    fit_s: Mapping[str, float]


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
    progress("Splitting the interactions", "", 0, None)
    split = await asyncio.to_thread(_validation, store, snapshot_id, protocol)
    counts = {
        "users": split.test.users.size,
        "training_users": len(split.training.user_ids),
        "training_items": len(split.training.item_ids),
        "training_interactions": split.training.items.size,
    }
    asked = list(candidates)
    judge = Judge(reckoner, store, split, asked, metric, progress)
    found = await judge.run([snapshot_id, protocol.facts()], seed)
    # Free their memory for the evaluation.
    del split, judge
    best = found.ranked[0].trial
    shown = {asked[trial]: candidates[asked[trial]] for trial in (0, best) if trial not in found.failed}
    test = await evaluate(reckoner, store, snapshot_id, protocol, shown, progress)
    tuning = Tuning(
        snapshot=snapshot_id,
        split=protocol.facts(),
        metric=metric,
        seed=seed,
        counts=counts,
        rounds=found.rounds,
        stopped_early=found.stopped_early,
        trials=[_report(standing, asked[standing.trial], candidates) for standing in found.ranked],
        failed={asked[trial].name: str(error) for trial, error in sorted(found.failed.items())},
        command=asked[best].command,
    )
    return Tuned(tuning, test, {asked[trial].name: fit_s for trial, fit_s in sorted(found.fit_s.items())})


def _validation(store: Store, snapshot_id: str, protocol: Protocol) -> Split:
    """The validation part, split off the training part as that was split off the data."""
    data = interactions_of(open_snapshot(store.fetch(KIND, snapshot_id)))
    return split_to_test(split_to_test(data, protocol).training, protocol)


def _report(standing: Standing, candidate: Candidate, candidates: Mapping[Candidate, bool]) -> TrialReport:
    beside = standing.beside_best
    figures = Metric(*standing.mean, None if beside is None else judged(beside))
    facts = candidate.config.facts()
    return TrialReport(candidate.name, facts, candidate.recency, candidates[candidate], standing.users, figures)
