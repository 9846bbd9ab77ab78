"""Prints an evaluation: its protocol in words, and a table of models."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from reckoner.producer.cli.output import print_line, print_nonempty_columns, print_table
from reckoner.producer.formats import format_count

if TYPE_CHECKING:
    from reckoner.producer.evaluation.evaluating import Took
    from reckoner.shared.serving.evaluations import Difference, Evaluation, Metric, ModelReport

NAMES = {"ndcg@10": "nDCG@10", "recall@20": "Recall@20", "hit@10": "Hit@10", "mrr@20": "MRR@20"}


def print_evaluation(evaluation: "Evaluation", took: Mapping[str, "Took"]) -> None:
    """Print an evaluation. `took` has the seconds of each model's fit and scoring."""
    counts = evaluation.counts
    print_line(evaluation.protocol)
    print_line(
        f"Training part: {format_count(counts['training_interactions'], 'interaction')} of "
        f"{format_count(counts['training_users'], 'user')} and {format_count(counts['training_items'], 'item')}. "
        f"Test part: {format_count(counts['test_interactions'], 'interaction')} of "
        f"{format_count(counts['users'], 'user')}."
    )
    print_line("")
    metrics = [_metric_cells(model) for model in evaluation.models]
    beside = f"nDCG@10 against {evaluation.baseline}"
    print_nonempty_columns(["model", *NAMES.values(), beside], metrics, numbers=list(NAMES.values()), whole=["model"])
    print_line("")
    columns = ["coverage", "Gini", "popularity rank", "novelty", "short lists", "fit", "users/s"]
    lists = [[_name(model), *_list_cells(model, counts["users"], took)] for model in evaluation.models]
    print_table(["model", *columns], lists, numbers=columns, whole=["model"])
    print_line("")
    print_line("In brackets: 95 % intervals by a bootstrap over users. Coverage to novelty: of the first ten places.")
    if evaluation.without_history:
        cold = evaluation.without_history["ndcg@10"]
        print_line(
            f"{format_count(counts['users_without_history'], 'user')} without a history in the training part: every "
            f"model gives them the popular list, with nDCG@10 {format_metric(cold)}."
        )


def _name(model: "ModelReport") -> str:
    return f"{model.name} (live)" if model.is_live else model.name


def _metric_cells(model: "ModelReport") -> list[str]:
    difference = model.metrics["ndcg@10"].difference
    verdict = format_difference(difference) if difference else "-"
    return [_name(model), *(format_metric(model.metrics[name]) for name in NAMES), verdict]


def format_difference(difference: "Difference") -> str:
    """A difference with its verdict and interval."""
    beside = f"{difference.mean:+.3f} [{difference.low:+.3f} {difference.high:+.3f}]"
    return f"{difference.verdict}, {beside}"


def format_metric(metric: "Metric") -> str:
    """A metric with its interval."""
    return f"{metric.mean:.3f} [{metric.low:.3f} {metric.high:.3f}]"


def _list_cells(model: "ModelReport", users: int, took: Mapping[str, "Took"]) -> list[str]:
    figures, seconds = model.lists, took.get(model.name)
    cells = [f"{figures['coverage']:.1%}", f"{figures['gini']:.3f}", f"{figures['popularity_rank']:,.0f}"]
    cells += [f"{figures['novelty']:.1f} bits", f"{figures['short']:.1%}"]
    if seconds is None:
        return [*cells, "", ""]
    return [*cells, f"{seconds.fit_s:.1f} s", f"{users / max(seconds.score_s, 0.001):,.0f}"]
