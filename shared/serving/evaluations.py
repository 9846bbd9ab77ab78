"""Evaluations: models side by side, as `reckoner evaluate` reports and remembers them; without numpy."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Any, Final, Literal, NamedTuple, TypeAlias

import msgspec

from reckoner.shared.serving.history import Entry

# The metric by which a table and a gate judge.
MAIN_METRIC = "ndcg@10"

Verdict = Literal["better", "worse", "within noise"]
REVERSED: Final[Mapping[Verdict, Verdict]] = MappingProxyType(
    {"better": "worse", "worse": "better", "within noise": "within noise"}
)

# The facts of a model's configuration, and the recency.
Configuration: TypeAlias = tuple[Mapping[str, Any] | None, float]


class Difference(msgspec.Struct, frozen=True):
    """A model's metric minus the baseline's, with its 95 % interval."""

    mean: float
    low: float
    high: float
    verdict: Verdict

    def reversed(self) -> "Difference":
        """The baseline's metric minus the model's."""
        return Difference(-self.mean, -self.high, -self.low, REVERSED[self.verdict])


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


class Judgement(NamedTuple):
    """What an evaluation says about a configuration beside the live one, by the main metric."""

    evaluation: str
    """The id of its entry in the history."""
    metric: Metric
    live: Metric
    difference: Difference
    """The configuration's metric minus the live one's."""

    def __str__(self) -> str:
        verdict = self.difference.verdict
        found = "within noise of" if verdict == "within noise" else f"{verdict} beyond noise than"
        return (
            f"evaluation {self.evaluation} found this configuration {found} the live one: nDCG@10 "
            f"{_with_interval(self.metric)} against {_with_interval(self.live)}, a difference of "
            f"{_with_interval(self.difference, '+')}"
        )


def evaluations_in(entries: Iterable[Entry]) -> Iterator[tuple[str, Evaluation]]:
    """The evaluations among entries of the history with their ids, in their order, without those of another format."""
    for entry in entries:
        if entry.kind == "evaluation":
            with suppress(msgspec.ValidationError):
                yield entry.id, msgspec.convert(entry.figures, Evaluation)


def newest_judgement(entries: Iterable[Entry], wanted: Configuration, live: Configuration) -> Judgement | None:
    """What the newest evaluation that compares two configurations says; None without one.

    `entries` are newest first. An evaluation compares with its baseline only, so that is one of the two.
    """
    for entry_id, evaluation in evaluations_in(entries):
        one, other = _report(evaluation, wanted), _report(evaluation, live)
        if one is None or other is None:
            continue
        metric, beside = one.metrics[MAIN_METRIC], other.metrics[MAIN_METRIC]
        if other.name == evaluation.baseline and metric.difference:
            return Judgement(entry_id, metric, beside, metric.difference)
        if one.name == evaluation.baseline and beside.difference:
            return Judgement(entry_id, metric, beside, beside.difference.reversed())
    return None


def _report(evaluation: Evaluation, configuration: Configuration) -> ModelReport | None:
    reports = (report for report in evaluation.models if (report.config, report.recency) == configuration)
    return next(reports, None)


def _with_interval(metric: Metric | Difference, sign: str = "") -> str:
    return f"{metric.mean:{sign}.3f} [{metric.low:{sign}.3f} {metric.high:{sign}.3f}]"
