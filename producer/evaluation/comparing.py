"""Compares models by the lists that they give to the tested users, and says what is within noise."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.bootstrap import Interval, intervals
from reckoner.producer.evaluation.splits import Protocol, Split
from reckoner.shared.store.evaluation_parts import Lists

POPULARITY = "popularity"
# The metric by which a gate and a table decide.
MAIN = metrics.NDCG

Verdict = Literal["better", "worse", "within noise"]


class Row(NamedTuple):
    """A model and its lists of the tested users. `config` is None for popularity."""

    name: str
    config: Mapping[str, Any] | None
    lists: Lists
    is_live: bool = False


class Difference(msgspec.Struct, frozen=True):
    """A model's metric minus the baseline's, with its 95 % interval."""

    mean: float
    low: float
    high: float
    verdict: Verdict


class Metric(msgspec.Struct, frozen=True, omit_defaults=True):
    """The mean of a metric over users, with its 95 % interval."""

    mean: float
    low: float
    high: float
    difference: Difference | None = None
    """None for the baseline itself."""


class ModelReport(msgspec.Struct, frozen=True):
    """One model's figures."""

    name: str
    config: Mapping[str, Any] | None
    is_live: bool
    metrics: dict[str, Metric]
    lists: dict[str, float]


class Comparison(msgspec.Struct, frozen=True, kw_only=True):
    """All models side by side. Equal inputs give equal bytes."""

    format: Literal[1] = 1
    snapshot: str
    protocol: str
    split: dict[str, Any]
    baseline: str
    counts: dict[str, int]
    models: list[ModelReport]
    without_history: dict[str, Metric]
    """The metrics of the popular list for users without a history."""

    def worse(self) -> list[str]:
        """The models that are worse than the baseline beyond noise, without popularity."""
        found = [(model, model.metrics[MAIN].difference) for model in self.models if model.config is not None]
        return [model.name for model, difference in found if difference and difference.verdict == "worse"]


def compare(snapshot: str, protocol: Protocol, split: Split, rows: Sequence[Row]) -> Comparison:
    """Compare models, all with the live one, or without it with the first one."""
    baseline = next((row for row in rows if row.is_live), rows[0])
    n_items = len(split.training.item_ids)
    values = [metrics.per_user(row.lists, split.test, n_items) for row in rows]
    found = _with_intervals(values, values[rows.index(baseline)])
    cold = split.without_history
    popular = metrics.per_user(metrics.most_popular(split.training, cold.users.size), cold, n_items)
    models = [
        ModelReport(row.name, row.config, row.is_live, figures, metrics.of_lists(row.lists, split.training))
        for row, figures in zip(rows, found, strict=True)
    ]
    return Comparison(
        snapshot=snapshot,
        protocol=protocol.in_words(),
        split={
            "split": protocol.split,
            "share": protocol.share,
            "days": protocol.days,
            "seed": protocol.seed,
            "least_history": protocol.least_history,
            "new_items": protocol.counts_new_items,
        },
        baseline=baseline.name,
        counts={
            "users": split.test.users.size,
            "test_interactions": split.test.items.size,
            "training_users": len(split.training.user_ids),
            "training_items": n_items,
            "training_interactions": split.training.items.size,
            "users_without_history": cold.users.size,
            "users_with_short_history": split.short_history,
            "test_interactions_with_new_items": split.new_items,
        },
        models=models,
        without_history=_with_intervals([popular], popular)[0] if cold.users.size else {},
    )


def _with_intervals(
    values: Sequence[Mapping[str, NDArray[np.float64]]], baseline: Mapping[str, NDArray[np.float64]]
) -> list[dict[str, Metric]]:
    """The metrics of each model with intervals, and the differences to the baseline, all on the same resamples."""
    names = list(metrics.PER_USER)
    columns = [model[name] for model in values for name in names]
    columns += [model[name] - baseline[name] for model in values for name in names]
    found = iter(intervals(columns))
    means = [{name: next(found) for name in names} for _ in values]
    differences = [{name: next(found) for name in names} for _ in values]
    return [
        {name: Metric(*mean[name], None if model is baseline else _judged(apart[name])) for name in names}
        for model, mean, apart in zip(values, means, differences, strict=True)
    ]


def _judged(difference: Interval) -> Difference:
    verdict: Verdict = "within noise" if difference.is_noise else "better" if difference.mean > 0 else "worse"
    return Difference(*difference, verdict)
