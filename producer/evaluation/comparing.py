"""Compares models by the lists that they give to the tested users, and says what is within noise."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.bootstrap import Interval, intervals
from reckoner.producer.evaluation.splits import Protocol, Split
from reckoner.shared.serving.evaluations import Difference, Evaluation, Metric, ModelReport, Verdict
from reckoner.shared.store.evaluation_parts import Lists

POPULARITY = "popularity"

PerUser = dict[str, NDArray[np.float64]]


class Row(NamedTuple):
    """A model and its lists of the tested users. `config` is None for popularity."""

    name: str
    config: Mapping[str, Any] | None
    recency: float
    lists: Lists
    is_live: bool = False


class Fold(NamedTuple):
    """The figures of a split: for each model those of its tested users and of all its lists."""

    rows: Sequence[Row]
    tested: NDArray[np.uint32]
    per_user: Sequence[PerUser]
    of_lists: Sequence[Mapping[str, float]]
    without_history: PerUser
    """The metrics of the popular list for each user without a history."""
    counts: Mapping[str, int]


def judge(split: Split, rows: Sequence[Row]) -> Fold:
    """Judge the lists of models by the test part of a split."""
    training, cold = split.training, split.without_history
    n_items = len(training.item_ids)
    popular = metrics.most_popular(training, cold.users.size)
    return Fold(
        rows=rows,
        tested=split.tested,
        per_user=[metrics.per_user(row.lists, split.test, n_items) for row in rows],
        of_lists=[metrics.of_lists(row.lists, training) for row in rows],
        without_history=metrics.per_user(popular, cold, n_items),
        counts={
            "users": split.test.users.size,
            "test_interactions": split.test.items.size,
            "training_users": len(training.user_ids),
            "training_items": n_items,
            "training_interactions": training.items.size,
            "users_without_history": cold.users.size,
            "users_with_short_history": split.short_history,
            "test_interactions_with_new_items": split.new_items,
        },
    )


def compare(snapshot: str, protocol: Protocol, folds: Sequence[Fold]) -> Evaluation:
    """Compare the models of all folds with the live one, or without it with the first one.

    A user who is tested in several folds counts once, with the means of the folds. Counts are those of the first fold.
    """
    rows = folds[0].rows
    baseline = next((number for number, row in enumerate(rows) if row.is_live), 0)
    tested = [fold.tested for fold in folds]
    values = [_over_folds(tested, [fold.per_user[number] for fold in folds]) for number in range(len(rows))]
    models = [
        ModelReport(row.name, row.config, row.recency, row.is_live, figures, _of_lists(folds, number))
        for number, (row, figures) in enumerate(zip(rows, _with_intervals(values, baseline), strict=True))
    ]
    cold = {name: np.concatenate([fold.without_history[name] for fold in folds]) for name in metrics.PER_USER}
    return Evaluation(
        snapshot=snapshot,
        protocol=protocol.in_words(),
        split=protocol.facts(),
        baseline=rows[baseline].name,
        counts=dict(folds[0].counts),
        models=models,
        without_history=_with_intervals([cold], 0)[0] if cold[metrics.NDCG].size else {},
    )


def _over_folds(users: Sequence[NDArray[np.uint32]], values: Sequence[PerUser]) -> PerUser:
    """The means over folds of each user who is in one, in the order of the users' indices."""
    found, places = np.unique(np.concatenate(users), return_inverse=True)
    counts, at = np.bincount(places), np.split(places, np.cumsum([part.size for part in users])[:-1])
    means = PerUser()
    for name in metrics.PER_USER:
        sums = np.zeros(found.size)
        for fold, part in zip(values, at, strict=True):
            # A user is in a fold once.
            sums[part] += fold[name]
        means[name] = sums / counts
    return means


def _of_lists(folds: Sequence[Fold], number: int) -> dict[str, float]:
    """The means over folds of the metrics of all lists together."""
    return {name: math.fsum(fold.of_lists[number][name] for fold in folds) / len(folds) for name in metrics.OF_LISTS}


def _with_intervals(values: Sequence[PerUser], baseline: int) -> list[dict[str, Metric]]:
    """The metrics of each model with intervals, and the differences to the baseline, all on the same resamples."""
    names = list(metrics.PER_USER)
    columns = [model[name] for model in values for name in names]
    columns += [model[name] - values[baseline][name] for model in values for name in names]
    found = iter(intervals(columns))
    means = [{name: next(found) for name in names} for _ in values]
    differences = [{name: next(found) for name in names} for _ in values]
    return [
        {name: Metric(*mean[name], None if number == baseline else judged(apart[name])) for name in names}
        for number, (mean, apart) in enumerate(zip(means, differences, strict=True))
    ]


def judged(difference: Interval) -> Difference:
    """A difference with its verdict."""
    verdict: Verdict = "within noise" if difference.is_noise else "better" if difference.mean > 0 else "worse"
    return Difference(*difference, verdict)
