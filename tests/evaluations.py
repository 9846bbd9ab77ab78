"""Entries of evaluations in the history, of given configurations and differences."""

import msgspec

from reckoner.shared.serving.evaluations import Configuration, Difference, Evaluation, Metric, ModelReport, Verdict
from reckoner.shared.serving.history import Entry

Other = tuple[Configuration, float, Verdict]


def evaluation_entry(entry_id: str, baseline: Configuration, *others: Other, started_ms: int = 0) -> Entry:
    """An evaluation whose baseline has an nDCG@10 of .187; others have a difference to it, and a verdict."""
    models = [_report(baseline, 0.187)]
    models += [_report(one, 0.187 + by, Difference(by, by - 0.02, by + 0.01, verdict)) for one, by, verdict in others]
    evaluation = Evaluation(
        snapshot="s", protocol="", split={}, baseline=str(baseline), counts={}, models=models, without_history={}
    )
    return Entry(
        id=entry_id,
        kind="evaluation",
        outcome="done",
        started_ms=started_ms,
        ended_ms=started_ms,
        figures=msgspec.to_builtins(evaluation),
    )


def _report(configuration: Configuration, mean: float, difference: Difference | None = None) -> ModelReport:
    metrics = {"ndcg@10": Metric(mean, mean - 0.01, mean + 0.01, difference)}
    return ModelReport(str(configuration), *configuration, difference is None, metrics, {})
