"""Evaluations: models side by side, as `reckoner evaluate` reports and remembers them; without numpy."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import msgspec

from reckoner.shared.serving.history import Entry

# The metric by which a table and a gate judge.
MAIN_METRIC = "ndcg@10"

Verdict = Literal["better", "worse", "within noise"]


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
    """The facts of its configuration; None for popularity."""
    recency: float
    is_live: bool
    """Whether its configuration and recency were the live generation's."""
    metrics: dict[str, Metric]
    """The metrics that are means over users, by name."""
    lists: dict[str, float]
    """The metrics of all lists together, by name."""

    @property
    def verdict(self) -> Verdict | None:
        """How its lists are beside the baseline's; None for the baseline itself."""
        difference = self.metrics[MAIN_METRIC].difference
        return difference.verdict if difference else None


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """All models of an evaluation side by side. Equal inputs give equal bytes."""

    format: Literal[1] = 1
    snapshot: str
    """The snapshot that was split."""
    protocol: str
    """The protocol in words."""
    split: dict[str, Any]
    baseline: str
    """The model that the others are compared with: the live one, or without it the first one."""
    counts: dict[str, int]
    models: list[ModelReport]
    without_history: dict[str, Metric]
    """The metrics of the popular list for users without a history; empty without such users."""

    def worse(self) -> list[str]:
        """The names of the models that are worse than the baseline beyond noise, without popularity."""
        return [model.name for model in self.models if model.config is not None and model.verdict == "worse"]


def evaluations_in(entries: Iterable[Entry]) -> list[Evaluation]:
    """The evaluations among entries of the history, in their order; those of another format are left out."""
    found = list[Evaluation]()
    for entry in entries:
        if entry.kind == "evaluation":
            try:
                found.append(msgspec.convert(entry.figures, Evaluation))
            except msgspec.ValidationError:
                continue
    return found


def newest_report(
    entries: Iterable[Entry], wanted: tuple[Mapping[str, Any], float], live: tuple[Mapping[str, Any], float]
) -> ModelReport | None:
    """The newest report of a model beside the live one, both by the facts of the configuration and the recency.

    `entries` are newest first.
    """
    for evaluation in evaluations_in(entries):
        reports = {report.name: report for report in evaluation.models}
        baseline = reports.get(evaluation.baseline)
        found = next((report for report in evaluation.models if (report.config, report.recency) == wanted), None)
        if found is not None and baseline is not None and (baseline.config, baseline.recency) == live:
            return found
    return None
